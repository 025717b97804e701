//! A process that is killed at any moment, and logs that are cut off anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use longwire_core::Random;
use longwire_core::broker::memory::Record;
use longwire_protocol::{Epoch, Position};
use longwire_store::{Done, Fsync, Options, Store};

use crate::common::{Folder, child, epoch, publication, role, texts};

/// Each writing end has channels of its own.
const SHARDS: u64 = 2;
const CHANNELS: u64 = 3;

fn channel(shard: u64, at: u64) -> String {
    format!("all:{shard}-{at}")
}

fn text(shard: u64, offset: u64) -> String {
    format!("{shard}/{offset} ").repeat(20)
}

/// Commits until it is killed; says how far it is, after it has been told that that is kept.
fn commit_for_ever(role: &str, folder: &Path) {
    let fsync = match role {
        "always" => Fsync::Always,
        "interval" => Fsync::Interval(Duration::from_millis(20)),
        _ => Fsync::Never,
    };
    let store = Store::open(folder, Options { fsync, ..Options::default() }).unwrap();
    std::thread::scope(|scope| {
        for shard in 0..SHARDS {
            let store = &store;
            scope.spawn(move || commit_shard(store, shard));
        }
    });
}

fn commit_shard(store: &Store, shard: u64) {
    let heads: Vec<u64> = (0..CHANNELS).map(|at| kept(store, &channel(shard, at)).last().map_or(0, |last| last.0)).collect();
    let mut head = heads.iter().copied().max().unwrap();
    assert!(heads.iter().all(|other| *other == head), "a batch has one publication for each channel: {heads:?}");
    let (done, news) = mpsc::channel();
    let mut writer = store.writer(move |what| drop(done.send(what)));
    let mut random = Random::seeded(head + shard);
    loop {
        // Some go alone, some together.
        for _ in 0..random.number() % 20 + 1 {
            head += 1;
            let mut batch = Vec::new();
            for at in 0..CHANNELS {
                let channel = channel(shard, at);
                batch.extend([epoch(&channel, 1), publication(&channel, head, &text(shard, head))]);
                if head.is_multiple_of(50) {
                    batch.push(Record::Trim { channel: channel.into(), floor: head - 40, except: Vec::new() });
                }
            }
            writer.commit(batch, head).unwrap();
        }
        loop {
            let Ok(Done::Committed { token }) = news.recv() else { panic!("the store has failed") };
            // One write for a line, so that no line is torn.
            std::io::stdout().write_all(format!("\nkept {shard} {token}\n").as_bytes()).unwrap();
            if token == head {
                break;
            }
        }
    }
}

fn kept(store: &Store, channel: &str) -> Vec<(u64, String)> {
    let mut records = Vec::new();
    let mut take = |kept: longwire_store::Kept| {
        let is_other = *kept.channel != *channel;
        if !is_other {
            records = kept.records.unwrap();
        }
        is_other
    };
    store.restore(&mut take).unwrap();
    texts(&records)
}

/// Lets a child commit for a while, and kills it. What it said last of each shard.
fn kill_after(role: &str, folder: &Folder, after: Duration) -> BTreeMap<u64, u64> {
    let test = "killed::what_was_reported_is_there_after_a_kill";
    let mut child = child(&[], test, role, &folder.0).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (first, begun) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut newest = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            let mut words = line.split(' ');
            if let (Some("kept"), Some(shard), Some(token)) = (words.next(), words.next(), words.next()) {
                newest.insert(shard.parse().unwrap(), token.parse().unwrap());
                first.send(()).unwrap_or_default();
            }
        }
        newest
    });
    begun.recv_timeout(Duration::from_secs(60)).expect("the child commits");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn what_was_reported_is_there_after_a_kill() {
    if let Some((role, folder)) = role() {
        return commit_for_ever(&role, &folder);
    }
    for role in ["always", "interval", "never"] {
        let folder = Folder::new();
        let mut random = Random::seeded(9);
        let mut newest = BTreeMap::new();
        for round in 0..12 {
            let after = Duration::from_micros(random.number() % 60_000);
            newest.extend(kill_after(role, &folder, after));
            let store = folder.open().unwrap();
            for (shard, at) in (0..SHARDS).flat_map(|shard| (0..CHANNELS).map(move |at| (shard, at))) {
                let kept = kept(&store, &channel(shard, at));
                let first = kept.first().map_or(1, |first| first.0);
                let head = kept.last().map_or(0, |last| last.0);
                let reported = newest.get(&shard).copied().unwrap_or(0);
                assert!(head >= reported, "{role}, round {round}: {head} of {reported} in channel {at}");
                assert!(head - first < 100, "trimmed");
                let whole: Vec<_> = (first..=head).map(|offset| (offset, text(shard, offset))).collect();
                assert_eq!(kept, whole, "{role}, round {round}");
            }
        }
        assert!(newest.values().all(|token| *token > 20), "{role}: {newest:?}");
    }
}

/// A power cut can take the end of the log with it, anywhere.
#[test]
fn a_log_that_is_cut_off_gives_whole_batches_from_the_beginning() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, Options { fsync: Fsync::Always, ..Options::default() }).unwrap();
    let (done, news) = mpsc::channel();
    let mut writer = store.writer(move |what| drop(done.send(what)));
    const BATCHES: u64 = 40;
    for token in 1..=BATCHES {
        let batch = (0..3).flat_map(|at| {
            let channel = format!("all:{at}");
            [epoch(&channel, 1), publication(&channel, token, &text(at, token))]
        });
        writer.commit(batch.collect(), token).unwrap();
        assert!(matches!(news.recv().unwrap(), Done::Committed { .. }));
    }
    let copies = ["longwire.db", "longwire.db-wal"].map(|name| (name, fs::read(folder.0.join(name)).unwrap()));
    drop(store);

    let mut random = Random::seeded(4);
    let log = &copies[1].1;
    let mut seen = Vec::new();
    for _ in 0..60 {
        let cut = Folder::new();
        let end = (random.number() % (log.len() as u64 + 1)) as usize;
        fs::write(cut.0.join(copies[0].0), &copies[0].1).unwrap();
        fs::write(cut.0.join(copies[1].0), &log[..end]).unwrap();
        let store = match cut.open() {
            Ok(store) => store,
            // Not even the tables were on the disk by then.
            Err(error) => panic!("{end} of {} bytes: {error}", log.len()),
        };
        let heads: Vec<u64> = (0..3).map(|at| kept(&store, &format!("all:{at}")).len() as u64).collect();
        assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
        for at in 0..3 {
            let whole: Vec<_> = (1..=heads[0]).map(|offset| (offset, text(at, offset))).collect();
            assert_eq!(kept(&store, &format!("all:{at}")), whole);
        }
        seen.push(heads[0]);
    }
    assert!(seen.iter().any(|head| (1..BATCHES).contains(head)), "{seen:?}");
}

/// As above, but what is lost had been reported: clients must not go on as if nothing had happened.
#[test]
fn after_a_power_cut_channels_have_new_epochs_unless_nothing_can_be_lost() {
    let interval = Fsync::Interval(Duration::from_secs(1));
    // How it was open, during which run of the system it is opened again, whether it is the same channel to clients.
    let cases = [(interval, false, true), (interval, true, false), (Fsync::Never, true, false), (Fsync::Always, true, true)];
    for (fsync, is_other_boot, is_same) in cases {
        let (folder, copy) = (Folder::new(), Folder::new());
        let store = Store::open(&folder.0, Options { fsync, ..Options::default() }).unwrap();
        let (done, news) = mpsc::channel();
        let mut writer = store.writer(move |what| drop(done.send(what)));
        let position = Some(Position { epoch: Epoch(1), offset: 1 });
        let once = Record::Once { channel: "all:a".into(), key: "k".into(), position, until: u64::MAX >> 1 };
        writer.commit(vec![epoch("all:a", 1), publication("all:a", 1, "one"), once], 1).unwrap();
        assert!(matches!(news.recv().unwrap(), Done::Committed { .. }));
        for name in ["longwire.db", "longwire.db-wal"] {
            fs::copy(folder.0.join(name), copy.0.join(name)).unwrap();
        }
        drop(store);
        if is_other_boot {
            // The library's own connection, so that the log is read as it would be after a crash.
            let other = rusqlite::Connection::open(copy.database()).unwrap();
            other.execute("UPDATE run SET boot = 'another'", []).unwrap();
        }
        let records = copy.records().remove(0);
        let Record::Epoch { epoch: now, head: 1, .. } = records[0] else { panic!("{records:?}") };
        assert_eq!(now == Epoch(1), is_same, "{fsync:?}, other boot: {is_other_boot}");
        assert_eq!(texts(&records), [(1, "one".to_owned())], "what is there stays");
        let Some(Record::Once { position: Some(at), .. }) = records.last() else { panic!("{records:?}") };
        assert_eq!(*at, Position { epoch: now, offset: 1 });
        assert_eq!(copy.records().remove(0), records, "and only once: it was closed properly");
    }
}
