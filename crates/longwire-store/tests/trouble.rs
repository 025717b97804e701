//! A store that is full, and what comes after.

use std::sync::mpsc;
use std::time::Duration;

use longwire_core::broker::memory::Record;
use longwire_core::broker::{Ask, Now};
use longwire_protocol::Publish;
use longwire_store::{Done, Fsync, Options, Store, Trouble, must_wait};

use crate::common::{Folder, Shard, child, epoch, look, publication, role, texts};

const REST: Duration = Duration::from_millis(50);

fn options() -> Options {
    Options { rest: REST, ..Options::default() }
}

/// Until a batch would be taken.
fn wait(shard: &Shard) {
    while !shard.writer.is_ready() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Brings the broker back to what the store has kept, as a shard of the server does.
fn recover(shard: &mut Shard) {
    let pending = shard.broker.take_records();
    for lost in shard.writer.recover(&pending).unwrap() {
        shard.broker.forget(&lost.channel);
        shard.broker.restore(shard.now, lost.records.unwrap());
    }
    // What it says of the forgetting is of no concern to the store.
    shard.broker.take_records();
}

/// Publishes until it fails; the number that were kept.
fn fill(shard: &mut Shard, channel: &str, first: u64, bytes: usize) -> (u64, Trouble) {
    for number in first..100_000 {
        let text = format!("{number} {}", "x".repeat(bytes));
        shard.publish(Publish::new(channel, &*text)).unwrap();
        shard.commit();
        if let Err(error) = shard.settled() {
            recover(shard);
            return (number - first, error.trouble);
        }
    }
    panic!("it was never full");
}

fn is_ours(store: &Store) -> bool {
    store.trouble().is_some_and(|error| error.trouble == Trouble::Full)
}

#[test]
fn a_full_store_loses_nothing_that_it_has_and_goes_on_when_there_is_room() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, Options { max_bytes: Some(1 << 20), ..options() }).unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    let mut other = Shard::restored(&store, Now::default(), 2);
    let (kept, trouble) = fill(&mut shard, "all:a", 1, 2000);
    assert!(kept > 100 && trouble == Trouble::Full && is_ours(&store), "{kept} {trouble:?}");
    let seen = look(&mut shard, "all:a");

    // It is tried again, and again it is full; another shard's batch fails for itself.
    wait(&shard);
    let (kept_now, trouble) = fill(&mut shard, "all:a", kept + 1, 2000);
    assert_eq!((kept_now, trouble), (0, Trouble::Full));
    wait(&other);
    other.publish(Publish::new("all:b", &*"x".repeat(8000))).unwrap();
    other.commit();
    assert_eq!(other.settled().unwrap_err().trouble, Trouble::Full);
    recover(&mut other);
    assert_eq!(look(&mut shard, "all:a"), seen, "what a client sees is what is on the disk");

    // Room is made by trimming, and after that everything goes on.
    wait(&shard);
    let trim = Record::Trim { channel: "all:a".into(), floor: kept - 10, except: Vec::new() };
    assert!(!must_wait(std::slice::from_ref(&trim)));
    shard.broker.take_records();
    shard.token += 1;
    shard.writer.commit(vec![trim], shard.token).unwrap();
    shard.settled().unwrap();
    assert!(store.trouble().is_none());
    shard.publish(Publish::new("all:a", "and on")).unwrap();
    shard.commit();
    shard.settled().unwrap();
    other.publish(Publish::new("all:b", "and on")).unwrap();
    other.commit();
    other.settled().unwrap();
    drop((shard, other, store));
    let records = folder.records();
    let texts: Vec<_> = records.iter().map(|records| texts(records)).collect();
    assert_eq!(texts[0].len(), 11, "ten and the new one");
    assert_eq!(texts[0].last(), Some(&(kept + 1, "and on".to_owned())));
    assert_eq!(texts[1], [(1, "and on".to_owned())]);
}

#[test]
fn after_a_failure_it_rests() {
    let folder = Folder::new();
    let rest = Duration::from_secs(3600);
    let store = Store::open(&folder.0, Options { max_bytes: Some(1 << 18), rest, ..Options::default() }).unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    fill(&mut shard, "all:a", 1, 2000);
    assert!(!shard.writer.is_ready());
    let refused = shard.writer.commit(vec![epoch("all:z", 1)], 1_000_000).unwrap_err();
    assert_eq!(refused.0, [epoch("all:z", 1)]);
}

#[test]
fn what_is_on_its_way_when_one_fails_is_lost_with_it() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, options()).unwrap();
    // The thread is kept busy until all the batches wait.
    let (go, gate) = mpsc::channel::<()>();
    let (done, news) = mpsc::channel();
    let mut writer = store.writer(move |what| {
        drop(done.send(what));
        gate.recv().unwrap_or_default();
    });
    let (other_done, other_news) = mpsc::channel();
    let mut other = store.writer(move |what| drop(other_done.send(what)));
    writer.commit(vec![epoch("all:a", 1), publication("all:a", 1, "one")], 1).unwrap();
    assert!(matches!(news.recv().unwrap(), Done::Committed { token: 1 }));
    // The same offset again: that contradicts what is there.
    writer.commit(vec![publication("all:a", 1, "again")], 2).unwrap();
    go.send(()).unwrap();
    assert!(matches!(news.recv().unwrap(), Done::Failed { error } if error.trouble == Trouble::Conflict));
    // It has been told to nobody yet that what comes now is too late.
    std::thread::sleep(REST * 2);
    writer.commit(vec![publication("all:a", 2, "two"), epoch("all:b", 1)], 3).unwrap();
    other.commit(vec![epoch("all:c", 1), publication("all:c", 1, "three")], 1).unwrap();
    drop(go);
    assert!(matches!(other_news.recv().unwrap(), Done::Committed { token: 1 }), "another shard's are not touched");
    let recovered = writer.recover(&[epoch("all:d", 1)]).unwrap();
    let names: Vec<_> = recovered.iter().map(|recovered| &*recovered.channel).collect();
    assert_eq!(names, ["all:a", "all:b", "all:d"]);
    assert_eq!(texts(recovered[0].records.as_ref().unwrap()), [(1, "one".to_owned())]);
    assert!(recovered[1..].iter().all(|kept| kept.records.as_ref().is_ok_and(Vec::is_empty)));
    writer.commit(vec![publication("all:a", 2, "two")], 4).unwrap();
    assert!(matches!(news.recv().unwrap(), Done::Committed { token: 4 }), "and nothing was said between");
}

#[test]
fn what_may_wait_is_bounded() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, Options { queue_bytes: 10_000, ..options() }).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (done, news) = mpsc::channel();
    let mut writer = store.writer(move |what| {
        drop(done.send(what));
        gate.recv().unwrap_or_default();
    });
    writer.commit(vec![epoch("all:a", 1)], 1).unwrap();
    assert!(matches!(news.recv().unwrap(), Done::Committed { token: 1 }));
    let mut taken = 1;
    let refused = loop {
        match writer.commit(vec![publication("all:a", taken, &"x".repeat(1000))], taken + 1) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 50 && store.waiting_bytes() < 12_000, "{taken}");
    };
    assert_eq!(refused.0.len(), 1, "it comes back");
    drop(go);
    while !matches!(news.recv().unwrap(), Done::Committed { token } if token == taken) {}
    while !writer.is_ready() {
        std::thread::yield_now();
    }
    writer.commit(refused.0, taken + 1).unwrap();
    assert!(matches!(news.recv().unwrap(), Done::Committed { .. }));
}

/// The child may not write files past a size, as if the disk were full.
fn under_limit(folder: &std::path::Path, role: &str) {
    let fsync = if role == "always" { Fsync::Always } else { Fsync::Interval(Duration::from_millis(10)) };
    let store = Store::open(folder, Options { fsync, ..options() }).unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    let (kept, trouble) = fill(&mut shard, "all:a", 1, 2000);
    let page = shard.ask("all:a", Ask::Enter(Default::default()));
    println!("\nkept {kept} of {page:?}\n");
    println!("\ntrouble {trouble:?}\n");
}

#[test]
fn a_disk_that_takes_no_more_is_survived() {
    if let Some((role, folder)) = role() {
        return under_limit(&folder, &role);
    }
    for role in ["always", "interval"] {
        let folder = Folder::new();
        // Blocks of 512 or 1,024 bytes, after the shell; without the signal the write fails.
        let limit = ["sh", "-c", "trap '' XFSZ; ulimit -f 4000; exec \"$@\"", "sh"];
        let test = "trouble::a_disk_that_takes_no_more_is_survived";
        let output = child(&limit, test, role, &folder.0).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let kept: u64 =
            said.split("\nkept ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse().ok()).expect(&said);
        assert!(said.contains("\ntrouble Io") || said.contains("\ntrouble Full"), "{said}");
        assert!(output.status.success(), "{said}");
        let records = folder.records();
        assert_eq!(texts(&records[0]).last().map(|last| last.0), Some(kept), "{role}: neither less nor more");
    }
}
