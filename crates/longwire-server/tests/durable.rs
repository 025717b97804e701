//! Channels that are kept on disk: what is there after a restart, and what happens when the disk takes no more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longwire_core::broker::Enter;
use longwire_core::broker::memory::Record;
use longwire_protocol::{Epoch, ErrorCode, History, Position, Publication, Publish, Unrecovered};
use longwire_server::{Answer, Ask, ChannelOptions, DataDir, Failure, Fsync, Namespaces, Server, StoreOptions};
use longwire_store::{Done, Store};

use crate::support::{TestServer, serve, within_bound};

/// A directory for one test, gone with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("longwire-durable-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(shards: usize, dir: &Path, options: StoreOptions) -> TestServer {
    let news = ChannelOptions { history_size: 100, state_keys: 10, ..ChannelOptions::default() };
    start_with(news, shards, dir, options)
}

fn start_with(news: ChannelOptions, shards: usize, dir: &Path, options: StoreOptions) -> TestServer {
    let namespaces = Namespaces::new([("news".to_owned(), news)]).unwrap();
    serve(shards, |builder| {
        builder.configure(|config| {
            config.namespaces = Arc::new(namespaces);
            config.data = Some(DataDir { dir: dir.to_owned(), options });
        })
    })
}

#[track_caller]
fn stop(server: TestServer) {
    server.shutdown();
    server.join();
}

fn publish(server: &TestServer, channel: &str, text: &str, once: Option<&str>) -> Result<(Position, bool), Failure> {
    let publish = Publish { once: once.map(Into::into), ..Publish::new(channel, text) };
    match within_bound(server.node().ask(channel, Ask::Publish { publish: Box::new(publish), from: None }))? {
        Answer::Published { position, repeated, .. } => Ok((position.expect("it is numbered"), repeated)),
        other => panic!("{other:?}"),
    }
}

/// The channel's newest position, and the texts that it keeps.
fn history(server: &TestServer, channel: &str) -> (Position, Vec<String>) {
    let history = History { channel: channel.into(), after: None, epoch: None, before: None, limit: None };
    match within_bound(server.node().ask(channel, Ask::History(Box::new(history)))).unwrap() {
        Answer::History { head, publications, .. } => {
            let text = |data: &longwire_protocol::Data| String::from_utf8(data.as_bytes().to_vec()).unwrap();
            (head, publications.iter().map(|publication| text(publication.data.as_ref().unwrap())).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restart_forgets_nothing_whatever_the_number_of_shards() {
    let dir = Dir::new("restart");
    let mut expected = Vec::new();
    let mut epochs = Vec::new();
    for (round, shards) in [1, 2, 1].into_iter().enumerate() {
        let server = start(shards, &dir.0, StoreOptions::default());
        for n in 0..8 {
            let channel = format!("news:{n}");
            if round > 0 {
                let (head, texts) = history(&server, &channel);
                assert_eq!((head.offset, &texts), (expected.len() as u64, &expected), "{channel}");
                assert_eq!(Some(&head.epoch), epochs.get(n));
                // What was published before is known by its key.
                assert!(publish(&server, &channel, "again", Some("key 0")).unwrap().1);
            }
            let (position, repeated) =
                publish(&server, &channel, &format!("round {round}"), Some(&format!("key {round}"))).unwrap();
            assert_eq!((position.offset, repeated), (expected.len() as u64 + 1, false));
            if round == 0 {
                epochs.push(position.epoch);
            }
        }
        expected.push(format!("round {round}"));
        stop(server);
    }
}

#[test]
fn a_full_store_refuses_and_nothing_of_what_it_refused_is_seen() {
    let dir = Dir::new("full");
    let options = StoreOptions { max_bytes: Some(256 << 10), fsync: Fsync::Never, ..StoreOptions::default() };
    let server = start(2, &dir.0, options);
    let text = "x".repeat(20_000);
    let taken = (0..100).find(|_| match publish(&server, "news:full", &text, None) {
        Ok(_) => false,
        Err(failure) => {
            assert_eq!(failure.code, ErrorCode::StorageFailed);
            true
        }
    });
    let taken = taken.expect("the store has a bound");
    assert!(taken > 2, "{taken}");
    let (head, texts) = history(&server, "news:full");
    assert_eq!((head.offset, texts.len()), (taken as u64, taken));
    stop(server);
    let server = start(1, &dir.0, StoreOptions::default());
    assert_eq!(history(&server, "news:full"), (head, texts));
    // And it goes on where it was.
    assert_eq!(publish(&server, "news:full", "more", None).unwrap().0.offset, taken as u64 + 1);
}

#[test]
fn who_was_away_while_nothing_was_numbered_is_told() {
    let dir = Dir::new("numbers");
    let with = |history_size| {
        let news = ChannelOptions { history_size, ..ChannelOptions::default() };
        start_with(news, 2, &dir.0, StoreOptions::default())
    };
    let server = with(100);
    let (since, _) = publish(&server, "news:a", "seen", None).unwrap();
    stop(server);
    let server = with(0);
    let gone = Publish::new("news:a", "gone");
    let answer = within_bound(server.node().ask("news:a", Ask::Publish { publish: Box::new(gone), from: None })).unwrap();
    assert!(matches!(answer, Answer::Published { position: None, .. }), "{answer:?}");
    stop(server);
    let server = with(100);
    publish(&server, "news:a", "new", None).unwrap();
    let enter = Enter { since: Some(since), ..Enter::default() };
    let Answer::Entered(entered) = within_bound(server.node().ask("news:a", Ask::Enter(enter))).unwrap() else { panic!() };
    assert_eq!(entered.recovered, Some(Err(Unrecovered::Epoch)));
}

#[test]
fn a_directory_belongs_to_one_server() {
    let dir = Dir::new("two");
    let _first = start(1, &dir.0, StoreOptions::default());
    let data = DataDir { dir: dir.0.clone(), options: StoreOptions::default() };
    let error = Server::builder().configure(|config| config.data = Some(data)).start("127.0.0.1:0").unwrap_err();
    assert!(error.to_string().contains("another server uses this directory"), "{error}");
}

#[test]
fn what_is_asked_while_the_channels_are_read_waits_for_them() {
    const CHANNELS: u64 = 5000;
    let dir = Dir::new("reading");
    let store = Store::open(&dir.0, StoreOptions::default()).unwrap();
    let (done, stored) = std::sync::mpsc::channel();
    let mut writer = store.writer(move |told| drop(done.send(told)));
    let records = (0..CHANNELS).flat_map(|n| {
        let channel: Arc<str> = format!("news:{n}").into();
        let data = Some(format!("kept {n}").as_str().into());
        let publication = Publication { channel: channel.clone(), offset: 1, time: u64::MAX / 2, data, from: None, rare: None };
        [Record::Epoch { channel, epoch: Epoch(7), head: 1 }, Record::Publication(Arc::new(publication))]
    });
    writer.commit(records.collect(), 1).unwrap();
    assert!(matches!(stored.recv().unwrap(), Done::Committed { .. }));
    drop((writer, store));
    let server = start(2, &dir.0, StoreOptions::default());
    // The last ones first: nothing of them is there yet.
    for n in [CHANNELS - 1, CHANNELS - 2, 0] {
        let (head, texts) = history(&server, &format!("news:{n}"));
        assert_eq!((head.offset, head.epoch, texts), (1, Epoch(7), vec![format!("kept {n}")]));
    }
    let (position, _) = publish(&server, "news:17", "and on", None).unwrap();
    assert_eq!((position.offset, position.epoch), (2, Epoch(7)));
}

#[test]
fn a_channel_that_the_disk_has_lost_is_refused_and_the_others_are_served() {
    let dir = Dir::new("lost");
    let server = start(2, &dir.0, StoreOptions::default());
    let (good, _) = publish(&server, "news:good", "well", None).unwrap();
    publish(&server, "news:bad", &"x".repeat(20_000), None).unwrap();
    stop(server);
    // A page in the middle of the long text no longer says where the text goes on.
    let path = dir.0.join("longwire.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let page = bytes.chunks(4096).position(|page| page[4..].iter().all(|byte| *byte == b'x')).expect("such a page");
    bytes[page * 4096..][..4].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();

    let server = start(2, &dir.0, StoreOptions::default());
    assert_eq!(history(&server, "news:good"), (good, vec!["well".to_owned()]));
    assert_eq!(publish(&server, "news:good", "more", None).unwrap().0.offset, 2);
    assert_eq!(publish(&server, "news:bad", "more", None).unwrap_err().code, ErrorCode::StorageFailed);
    let entered = within_bound(server.node().ask("news:bad", Ask::Enter(Enter::default())));
    assert_eq!(entered.unwrap_err().code, ErrorCode::StorageFailed);
}

#[test]
fn nothing_is_acknowledged_once_the_files_are_deleted() {
    let dir = Dir::new("deleted");
    let server = start(2, &dir.0, StoreOptions::default());
    publish(&server, "news:a", "kept", None).unwrap();
    std::fs::remove_file(dir.0.join("longwire.db")).unwrap();
    let failure = publish(&server, "news:a", "lost", None).unwrap_err();
    assert_eq!(failure.code, ErrorCode::StorageFailed);
    assert_eq!(history(&server, "news:a").1, ["kept"]);
}
