//! What goes in comes out: the same answers before and after a restart.

use longwire_core::Random;
use longwire_core::broker::memory::Record;
use longwire_core::broker::{Answer, Broker, Now};
use longwire_protocol::{Append, Publish, StreamEnd};

use crate::common::{Folder, Seen, Shard, epoch, look, publication, texts};

const CHANNELS: [&str; 5] = ["all:a", "all:b", "few:a", "few:b", "state:a"];

fn publish(channel: &str, text: &str) -> Publish {
    Publish::new(channel, text)
}

/// Does one of everything that can be done, by chance.
fn step(shard: &mut Shard, random: &mut Random, streams: &mut Vec<(String, u64)>) {
    let mut pick = |below: u64| random.number() % below;
    let channel = CHANNELS[pick(5) as usize];
    let text = format!("text {}", pick(1000));
    match pick(12) {
        0..3 => drop(shard.publish(publish(channel, &text))),
        3 => {
            let stream = Publish { stream: true, ..publish(channel, "") };
            if let Ok(Answer::Published { position: Some(position), .. }) = shard.publish(stream) {
                streams.push((channel.to_owned(), position.offset));
            }
        }
        4..7 if !streams.is_empty() => {
            let at = pick(streams.len() as u64) as usize;
            let (channel, stream) = streams[at].clone();
            let end = (pick(4) == 0).then_some(StreamEnd::Finished);
            let append = Append {
                channel: channel.into(),
                stream,
                data: Some(text.into()),
                at: None,
                end,
                reason: end.map(|_| "why".into()),
            };
            drop(shard.append(append));
            if end.is_some() {
                streams.swap_remove(at);
            }
        }
        7 => drop(shard.publish(Publish { key: Some(format!("k{}", pick(9)).into()), ..publish(channel, &text) })),
        8 => {
            let key = Some(format!("k{}", pick(9)).into());
            drop(shard.publish(Publish { key, remove: true, data: None, ..publish(channel, "") }));
        }
        9 => {
            let channel = if pick(2) == 0 { "none:a" } else { channel };
            drop(shard.publish(Publish { once: Some(format!("o{}", pick(50)).into()), ..publish(channel, &text) }));
        }
        10 => {
            let ahead = pick(3000);
            shard.now = Now { steady: shard.now.steady + ahead, wall: shard.now.wall + ahead };
            shard.broker.look_at_clock(shard.now);
            while shard.broker.poll().is_some() {}
        }
        _ => {
            shard.commit();
        }
    }
}

fn everything(shard: &mut Shard) -> Vec<Seen> {
    CHANNELS.iter().map(|channel| look(shard, channel)).collect()
}

#[test]
fn a_restart_changes_no_answer() {
    for seed in 0..20 {
        let folder = Folder::new();
        let mut random = Random::seeded(seed);
        // The store drops idempotency keys that have run out by the true time.
        let mut now = Now { steady: 1000, wall: 4_000_000_000_000 };
        let mut streams = Vec::new();
        for round in 0..4 {
            let store = folder.open().unwrap();
            let mut shard = Shard::restored(&store, now, seed * 100 + round);
            for _ in 0..300 {
                step(&mut shard, &mut random, &mut streams);
            }
            let before = everything(&mut shard);
            shard.commit();
            shard.settled().unwrap();
            now = shard.now;
            drop((shard, store));

            let store = folder.open().unwrap();
            // Another machine's clock that never jumps begins anywhere.
            let mut again = Shard::restored(&store, Now { steady: 77, wall: now.wall }, seed);
            assert_eq!(everything(&mut again), before, "seed {seed}, round {round}");
            let records = again.broker.take_records();
            assert!(records.iter().all(|record| matches!(record, Record::Epoch { .. })), "nothing to write: {records:?}");
        }
    }
}

#[test]
fn an_idempotency_key_is_known_after_a_restart_and_until_its_time() {
    let folder = Folder::new();
    let now = Now { steady: 5, wall: 4_000_000_000_000 };
    let once = |channel| Publish { once: Some("k".into()), ..publish(channel, "x") };
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, now, 1);
    let first = ["all:a", "none:a"].map(|channel| match shard.publish(once(channel)) {
        Ok(Answer::Published { position, repeated: false, .. }) => position,
        other => panic!("{other:?}"),
    });
    assert!(first[0].is_some() && first[1].is_none());
    shard.commit();
    shard.settled().unwrap();
    drop((shard, store));

    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now { steady: 0, wall: now.wall + 10_000 }, 2);
    for (channel, first) in ["all:a", "none:a"].into_iter().zip(first) {
        let Ok(Answer::Published { position, repeated: true, .. }) = shard.publish(once(channel)) else { panic!("{channel}") };
        assert_eq!(position, first);
    }
    drop(shard);
    // 30 seconds are over.
    let mut shard = Shard::restored(&store, Now { steady: 0, wall: now.wall + 30_001 }, 2);
    shard.now.steady += 1;
    assert!(matches!(shard.publish(once("all:a")), Ok(Answer::Published { repeated: false, .. })));
}

#[test]
fn keys_that_have_run_out_leave_nothing_behind() {
    let folder = Folder::new();
    let until = |until| Record::Once { channel: "none:x".into(), key: "k".into(), position: None, until };
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    shard.writer.commit(vec![until(1), epoch("all:x", 3)], 1).unwrap();
    shard.token = 1;
    shard.settled().unwrap();
    drop(store);
    let store = folder.open().unwrap();
    let rows = |table: &str| -> i64 {
        let connection = rusqlite::Connection::open(folder.database()).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("once"), rows("channel")), (0, 1), "only the channel with a numbering stays");
    drop(store);
}

#[test]
fn of_a_channel_that_is_gone_nothing_is_left() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now { steady: 0, wall: 4_000_000_000_000 }, 1);
    shard.publish(Publish { key: Some("k".into()), ..publish("all:a", "x") }).unwrap();
    shard.publish(Publish { key: Some("k".into()), remove: true, data: None, ..publish("all:a", "") }).unwrap();
    shard.commit();
    // The history is over, then the numbering.
    for _ in 0..4 {
        shard.now = Now { steady: shard.now.steady + 101_000, wall: shard.now.wall + 101_000 };
        shard.broker.look_at_clock(shard.now);
        shard.commit();
    }
    shard.settled().unwrap();
    assert_eq!(shard.broker.channels().count(), 0);
    drop((shard, store));
    assert_eq!(folder.records(), Vec::<Vec<Record>>::new());
}

#[test]
fn the_number_of_shards_may_change() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let names: Vec<String> = (0..30).map(|at| format!("all:{at}")).collect();
    for half in names.chunks(15) {
        let mut shard = Shard::restored(&store, Now::default(), 1);
        for name in half {
            for offset in 1..=3 {
                shard.publish(publish(name, &format!("{name} {offset}"))).unwrap();
            }
        }
        shard.commit();
        shard.settled().unwrap();
    }
    drop(store);
    let one = folder.records();
    assert_eq!(one.len(), 30);
    for records in &one {
        let name = records[0].channel();
        assert_eq!(texts(records), [1, 2, 3].map(|offset| (offset, format!("{name} {offset}"))));
    }
}

#[test]
fn the_pieces_of_a_stream_that_has_ended_are_one() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    shard.publish(Publish { stream: true, ..publish("all:a", "begin") }).unwrap();
    for at in 0..100 {
        let end = (at == 99).then_some(StreamEnd::Cancelled);
        let append =
            Append { channel: "all:a".into(), stream: 1, data: Some(format!(" {at}").into()), at: None, end, reason: None };
        shard.append(append).unwrap();
        shard.commit();
    }
    shard.settled().unwrap();
    let before = look(&mut shard, "all:a");
    drop((shard, store));
    let records = folder.records();
    assert_eq!(records[0].len(), 3, "the numbering, the beginning, the rest: {records:?}");
    let Record::Piece(piece) = &records[0][2] else { panic!("{records:?}") };
    assert_eq!((piece.at, piece.offset, piece.end), (5, 101, Some(StreamEnd::Cancelled)));
    let store = folder.open().unwrap();
    assert_eq!(look(&mut Shard::restored(&store, Now::default(), 1), "all:a"), before);
}

#[test]
fn a_new_numbering_makes_an_end_of_the_old() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let mut shard = Shard::restored(&store, Now::default(), 1);
    shard.writer.commit(vec![epoch("all:a", 1), publication("all:a", 1, "old"), publication("all:a", 2, "old")], 1).unwrap();
    shard.writer.commit(vec![epoch("all:a", 2), publication("all:a", 1, "new")], 2).unwrap();
    shard.token = 2;
    shard.settled().unwrap();
    drop((shard, store));
    let records = folder.records();
    assert_eq!(texts(&records[0]), [(1, "new".to_owned())]);
    assert!(matches!(records[0][0], Record::Epoch { head: 1, .. }));
}
