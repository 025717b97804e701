//! Rows and pages that are damaged, and files that are gone.

use std::fs;

use longwire_core::broker::{Answer, Ask, Enter, Now};
use longwire_protocol::{Append, Position, Publication, Publish};
use longwire_store::{Error, Store, Trouble};
use rusqlite::Connection;

use crate::common::{Folder, Shard, look};

/// A store with channels that have something of everything, closed.
fn filled() -> Folder {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    for channel in ["all:a", "all:b"] {
        for number in 1..=20 {
            shard.publish(Publish::new(channel, &*format!("abcdefgh {number}"))).unwrap();
        }
        for key in ["x", "y"] {
            let mut publish = Publish::new(channel, &*format!("value of {key}"));
            publish.key = Some(key.into());
            shard.publish(publish).unwrap();
        }
        shard.commit();
        shard.settled().unwrap();
    }
    drop((shard, store));
    folder
}

/// Spoils a byte of the body of a row.
fn spoil(folder: &Folder, table: &str, which: &str) {
    let database = Connection::open(folder.database()).unwrap();
    let sql = format!(
        "UPDATE {table} SET body = CAST(substr(body, 1, 6) || x'ff' || substr(body, 8) AS BLOB)
        WHERE channel = (SELECT id FROM channel WHERE name = 'all:a') AND {which}"
    );
    assert_eq!(database.execute(&sql, []).unwrap(), 1, "{sql}");
}

fn count(folder: &Folder, sql: &str) -> i64 {
    Connection::open(folder.database()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn texts(publications: &[std::sync::Arc<Publication>]) -> Vec<String> {
    let text = |publication: &Publication| String::from_utf8(publication.data.as_ref().unwrap().as_bytes().to_vec()).unwrap();
    publications.iter().map(|publication| text(publication)).collect()
}

fn enter(shard: &mut Shard, since: Option<Position>, state: bool) -> longwire_core::broker::Entered {
    match shard.ask("all:a", Ask::Enter(Enter { since, state, ..Enter::default() })) {
        Ok(Answer::Entered(entered)) => *entered,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_publication_is_put_aside_and_who_comes_from_before_it_is_told() {
    let folder = filled();
    let before = {
        let store = folder.open().unwrap();
        let mut shard = Shard::restored(&store, Now::default(), 2);
        (enter(&mut shard, None, false).position, look(&mut shard, "all:b"))
    };
    spoil(&folder, "publication", "offset = 7");
    for round in 0..2 {
        let store = folder.open().unwrap();
        let mut shard = Shard::restored(&store, Now::default(), 3);
        let resume = |shard: &mut Shard, offset| enter(shard, Some(Position { offset, ..before.0 }), false);
        assert!(matches!(resume(&mut shard, 3).recovered, Some(Err(_))), "{round}: it lacks the seventh");
        let later = resume(&mut shard, 7);
        assert!(matches!(later.recovered, Some(Ok(()))), "{round}");
        assert_eq!(texts(&later.page.publications)[..2], ["abcdefgh 8", "abcdefgh 9"]);
        assert_eq!(look(&mut shard, "all:b"), before.1, "{round}: another channel is what it was");
        shard.publish(Publish::new("all:a", "and on")).unwrap();
        shard.commit();
        shard.settled().unwrap();
    }
    assert_eq!(
        count(&folder, "SELECT count(*) FROM damaged WHERE channel = 'all:a' AND was_in = 'publication' AND offset = 7"),
        1
    );
}

#[test]
fn a_channel_that_has_lost_a_key_begins_a_new_epoch_with_the_others() {
    let folder = filled();
    let before = {
        let store = folder.open().unwrap();
        enter(&mut Shard::restored(&store, Now::default(), 2), None, false).position
    };
    spoil(&folder, "key", "key = 'x'");
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let store = folder.open().unwrap();
        let mut shard = Shard::restored(&store, Now::default(), 3);
        let entered = enter(&mut shard, Some(before), true);
        assert!(matches!(entered.recovered, Some(Err(_))), "{:?}", entered.recovered);
        assert_eq!(texts(&entered.entries.unwrap()), ["value of y"]);
        epochs.push(entered.position.epoch);
        shard.commit();
        shard.settled().unwrap();
    }
    assert!(epochs[0] == epochs[1] && epochs[0] != before.epoch, "{epochs:?}");
    assert_eq!(count(&folder, "SELECT count(*) FROM damaged WHERE key = 'x'"), 1);
}

#[test]
fn a_stream_that_lacks_a_piece_goes_as_a_whole() {
    let folder = filled();
    {
        let store = folder.open().unwrap();
        let mut shard = Shard::restored(&store, Now::default(), 2);
        let mut publish = Publish::new("all:a", "it begins");
        publish.stream = true;
        let Ok(Answer::Published { position, .. }) = shard.publish(publish) else { panic!("a stream begins") };
        let stream = position.unwrap().offset;
        for piece in ["one", "two", "three"] {
            let data = Some(piece.into());
            shard.append(Append { channel: "all:a".into(), stream, data, at: None, end: None, reason: None }).unwrap();
        }
        shard.publish(Publish::new("all:a", "behind it")).unwrap();
        shard.commit();
        shard.settled().unwrap();
    }
    spoil(&folder, "piece", "offset = stream + 2");
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 3);
    let page = enter(
        &mut shard,
        Some(Position { offset: 0, ..enter(&mut Shard::restored(&store, Now::default(), 4), None, false).position }),
        false,
    );
    assert!(matches!(page.recovered, Some(Err(_))), "{:?}", page.recovered);
    let position = enter(&mut shard, None, false).position;
    let last = enter(&mut shard, Some(Position { offset: position.offset - 1, ..position }), false);
    assert_eq!(texts(&last.page.publications), ["behind it"]);
    assert_eq!(count(&folder, "SELECT count(*) FROM damaged WHERE was_in = 'piece'"), 1);
}

#[test]
fn a_value_of_another_kind_is_damage_too() {
    let folder = filled();
    let database = Connection::open(folder.database()).unwrap();
    database.execute("UPDATE publication SET offset = 'seven' WHERE offset = 7", []).unwrap();
    drop(database);
    let store = folder.open().unwrap();
    let mut channels = 0;
    store
        .restore(|kept| {
            channels += usize::from(kept.records.is_ok());
            true
        })
        .unwrap();
    assert_eq!(channels, 2, "nothing of these histories is of use, and they go on");
    drop(store);
    assert_eq!(count(&folder, "SELECT count(*) FROM damaged"), 2);
}

#[test]
fn a_damaged_page_is_never_given_out_and_refuses_its_channels_alone() {
    let folder = filled();
    // All bodies of a table are in a page of their own: nonsense from there on.
    let page = count(&folder, "SELECT rootpage FROM sqlite_schema WHERE name = 'key'");
    let mut bytes = fs::read(folder.database()).unwrap();
    let at = usize::try_from(page - 1).unwrap() * 4096;
    bytes[at..at + 4096].fill(0xa5);
    fs::write(folder.database(), &bytes).unwrap();
    let store = folder.open().unwrap();
    let mut refused = Vec::new();
    store
        .restore(|kept| {
            refused.extend(kept.records.err().map(|error: Error| (kept.channel, error.trouble)));
            true
        })
        .unwrap();
    assert_eq!(
        refused.iter().map(|(channel, trouble)| (&**channel, *trouble)).collect::<Vec<_>>(),
        [("all:a", Trouble::Corrupt), ("all:b", Trouble::Corrupt)]
    );
}

#[test]
fn nothing_is_acknowledged_once_the_files_are_gone() {
    for file in ["longwire.db", "longwire.db-wal"] {
        let folder = Folder::new();
        let store =
            Store::open(&folder.0, longwire_store::Options { rest: std::time::Duration::ZERO, ..Default::default() }).unwrap();
        let mut shard = Shard::restored(&store, Now::default(), 1);
        let publish = |shard: &mut Shard, text: &str| {
            shard.publish(Publish::new("all:a", text)).unwrap();
            shard.commit();
            let settled = shard.settled().map_err(|error| error.trouble);
            if settled.is_err() {
                let pending = shard.broker.take_records();
                for lost in shard.writer.recover(&pending).unwrap() {
                    shard.broker.forget(&lost.channel);
                    shard.broker.restore(shard.now, lost.records.unwrap());
                }
                shard.broker.take_records();
            }
            settled
        };
        publish(&mut shard, "one").unwrap();
        let (there, away) = (folder.0.join(file), folder.0.join("away"));
        fs::rename(&there, &away).unwrap();
        assert_eq!(publish(&mut shard, "two"), Err(Trouble::Gone), "{file}");
        fs::write(&there, b"another file").unwrap();
        assert_eq!(publish(&mut shard, "two"), Err(Trouble::Gone), "{file}");
        fs::rename(&away, &there).unwrap();
        publish(&mut shard, "three").unwrap();
        drop((shard, store));
        let records = folder.records();
        let texts: Vec<_> = crate::common::texts(&records[0]).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["one", "three"], "{file}");
    }
}
