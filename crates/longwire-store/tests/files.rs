//! Files and directories that are not as they should be, and files that must not grow for ever.

use std::fs;
use std::time::Duration;

use longwire_core::broker::Now;
use longwire_core::broker::memory::Record;
use longwire_store::{Options, Store, Trouble};
use rusqlite::Connection;

use crate::common::{Folder, Shard, child, epoch, publication, role, texts};

fn trouble(folder: &Folder) -> Trouble {
    let error = folder.open().map(drop).unwrap_err();
    let said = error.to_string();
    assert!(said.contains(folder.0.to_str().unwrap()), "{said}");
    error.trouble
}

#[test]
fn a_directory_is_used_by_one_store_at_a_time() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    assert_eq!(trouble(&folder), Trouble::Locked);
    drop(store);
    drop(folder.open().unwrap());
}

#[test]
fn a_directory_is_made_for_the_server_alone() {
    let folder = Folder::new();
    let dir = folder.0.join("a/b");
    drop(Store::open(&dir, Options::default()).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let text = "This is no database, but it is long enough to have been one. ".repeat(100);
    fs::write(folder.database(), &text).unwrap();
    assert_eq!(trouble(&folder), Trouble::Foreign);
    assert_eq!(fs::read_to_string(folder.database()).unwrap(), text);

    let folder = Folder::new();
    let other = Connection::open(folder.database()).unwrap();
    other.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)").unwrap();
    assert_eq!(trouble(&folder), Trouble::Foreign);
    assert_eq!(other.query_row("SELECT count(*) FROM mine", [], |row| row.get::<_, i64>(0)), Ok(1));
}

#[test]
fn a_newer_file_is_refused() {
    let folder = Folder::new();
    drop(folder.open().unwrap());
    Connection::open(folder.database()).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(trouble(&folder), Trouble::Newer);
}

#[test]
fn a_directory_that_may_not_be_written_to_is_refused() {
    if let Some((_, folder)) = role() {
        let trouble = Store::open(folder, Options::default()).map(drop).unwrap_err().trouble;
        println!("refused as {trouble:?}");
        return;
    }
    let folder = Folder::new();
    drop(folder.open().unwrap());
    let read_only = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.0.join("longwire.lock"), fs::Permissions::from_mode(mode & 0o444)).unwrap();
        fs::set_permissions(folder.database(), fs::Permissions::from_mode(mode & 0o444)).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(mode)).unwrap();
    };
    read_only(0o555);
    // To root permissions mean nothing, unless it does without the right to ignore them.
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let without: &[&str] = if is_root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] };
    let test = "files::a_directory_that_may_not_be_written_to_is_refused";
    let output = child(without, test, "reader", &folder.0).output().expect("setpriv is part of util-linux");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("refused as ReadOnly"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    read_only(0o755);
}

/// The history is always of 1,000 publications, but 200,000 go through it.
#[test]
fn a_file_does_not_grow_with_what_is_trimmed() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, Options { queue_bytes: 1 << 30, ..Options::default() }).unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    let text = "x".repeat(128);
    let mut sizes = Vec::new();
    for round in 0..10_u64 {
        for batch in 0..200 {
            let first = round * 20_000 + batch * 100 + 1;
            let mut records = vec![epoch("all:a", 1)];
            records.extend((first..first + 100).map(|offset| publication("all:a", offset, &text)));
            let (channel, floor) = ("all:a".into(), (first + 99).saturating_sub(1000));
            records.push(Record::Trim { channel, floor, except: Vec::new() });
            shard.token += 1;
            shard.writer.commit(records, shard.token).unwrap();
        }
        shard.settled().unwrap();
        let size = |name: &str| fs::metadata(folder.0.join(name)).map_or(0, |file| file.len());
        sizes.push((size("longwire.db"), size("longwire.db-wal")));
    }
    let largest = |sizes: &[(u64, u64)]| (sizes.iter().map(|size| size.0).max(), sizes.iter().map(|size| size.1).max());
    let (file, log) = largest(&sizes);
    assert!(file < Some(4 << 20), "{sizes:?}");
    assert!(log < Some(96 << 20), "{sizes:?}");
    drop((shard, store));
    let records = folder.records();
    assert_eq!(texts(&records[0]).len(), 1000);
    assert_eq!(fs::metadata(folder.0.join("longwire.db-wal")).map_or(0, |file| file.len()), 0, "the log was copied at the end");
}

#[test]
fn what_is_deleted_goes_back_to_the_file_system() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    let text = "x".repeat(4000);
    let mut records = vec![epoch("all:a", 1)];
    records.extend((1..=10_000).map(|offset| publication("all:a", offset, &text)));
    shard.writer.commit(records, 1).unwrap();
    shard.writer.commit(vec![Record::Gone { channel: "all:a".into() }], 2).unwrap();
    shard.token = 2;
    shard.settled().unwrap();
    let pages = || -> i64 {
        let connection = Connection::open(folder.database()).unwrap();
        connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
    };
    let before = pages();
    assert!(before > 9000, "{before}");
    // It is given back bit by bit, every two seconds.
    let begun = std::time::Instant::now();
    while pages() > before - 2000 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {before} pages", pages());
        std::thread::sleep(Duration::from_millis(100));
    }
}
