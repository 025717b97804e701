//! A directory, a broker with its end of the store, and children of this test program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use longwire_core::broker::memory::{Limits, MemoryBroker, Record};
use longwire_core::broker::{Answer, Ask, Broker, Enter, Event, Failure, Now, Request, Ticket};
use longwire_core::{ChannelOptions, Namespaces, Random};
use longwire_protocol::{Append, Epoch, History, Position, Publication, Publish};
use longwire_store::{Done, Error, Options, Store, Writer};

/// An empty directory, deleted in the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("longwire-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn open(&self) -> Result<Store, Error> {
        Store::open(&self.0, Options::default())
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("longwire.db")
    }

    /// All that the store has kept, channel by channel.
    pub(crate) fn records(&self) -> Vec<Vec<Record>> {
        let store = self.open().unwrap();
        let mut channels = Vec::new();
        store
            .restore(|kept| {
                channels.push(kept.records.unwrap());
                true
            })
            .unwrap();
        channels.sort_by(|a, b| a[0].channel().cmp(b[0].channel()));
        channels
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Everything that a namespace can have; of `few` it keeps only ten.
pub(crate) fn namespaces() -> Arc<Namespaces> {
    let all = ChannelOptions {
        history_size: 1000,
        history_age: Duration::from_secs(60),
        state_keys: 50,
        streams: true,
        stream_lease: Duration::from_secs(20),
        once_window: Duration::from_secs(30),
        ..ChannelOptions::default()
    };
    let few = ChannelOptions { history_size: 10, ..all.clone() };
    let state = ChannelOptions { history_size: 0, streams: false, ..all.clone() };
    let none = ChannelOptions { history_size: 0, state_keys: 0, streams: false, ..all.clone() };
    let all = [("all", all), ("few", few), ("state", state), ("none", none)];
    Arc::new(Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).unwrap())
}

/// A broker with its end of a store, as a shard of the server has them.
pub(crate) struct Shard {
    pub(crate) broker: MemoryBroker,
    pub(crate) writer: Writer,
    pub(crate) news: Receiver<Done>,
    pub(crate) now: Now,
    pub(crate) token: u64,
}

impl Shard {
    /// With all that the store has kept.
    pub(crate) fn restored(store: &Store, now: Now, seed: u64) -> Self {
        Self::restored_with(store, namespaces(), now, seed)
    }

    /// The same with other options.
    pub(crate) fn restored_with(store: &Store, namespaces: Arc<Namespaces>, now: Now, seed: u64) -> Self {
        let limits = Limits { keep: 100_000, ..Limits::default() };
        let mut broker = MemoryBroker::new(namespaces, limits, Random::seeded(seed));
        broker.make_durable();
        store
            .restore(|kept| {
                broker.restore(now, kept.records.unwrap());
                true
            })
            .unwrap();
        let (done, news) = mpsc::channel();
        let writer = store.writer(move |what| drop(done.send(what)));
        Self { broker, writer, news, now, token: 0 }
    }

    pub(crate) fn ask(&mut self, channel: &str, ask: Ask) -> Result<Answer, Failure> {
        self.broker.submit(self.now, Request { channel: channel.into(), ticket: Ticket::default(), ask });
        let mut answer = None;
        while let Some(event) = self.broker.poll() {
            if let Event::Answer(_, what) = event {
                answer = Some(what);
            }
        }
        answer.expect("it was a question")
    }

    pub(crate) fn publish(&mut self, publish: Publish) -> Result<Answer, Failure> {
        let channel = publish.channel.clone();
        self.ask(&channel, Ask::Publish { publish: Box::new(publish), from: None })
    }

    pub(crate) fn append(&mut self, append: Append) -> Result<Answer, Failure> {
        let channel = append.channel.clone();
        self.ask(&channel, Ask::Append { append: Box::new(append), producer: None })
    }

    /// Gives what has changed to the store.
    pub(crate) fn commit(&mut self) -> u64 {
        self.token += 1;
        let records = self.broker.take_records();
        self.writer.commit(records, self.token).expect("there is room");
        self.token
    }

    /// Waits until all that was committed is kept, or why not.
    pub(crate) fn settled(&mut self) -> Result<(), Arc<Error>> {
        loop {
            match self.news.recv().unwrap() {
                Done::Committed { token } if token == self.token => return Ok(()),
                Done::Committed { .. } => {}
                Done::Failed { error } => return Err(error),
            }
        }
    }
}

/// All that a client can learn of a channel. What differs between two of these has been lost.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    position: Position,
    history: Vec<Arc<Publication>>,
    state: Vec<Arc<Publication>>,
    /// For each offset: what one who comes from there gets, or that it is too late.
    resumed: Vec<Option<Vec<Arc<Publication>>>>,
}

/// Looks at a numbered channel.
pub(crate) fn look(shard: &mut Shard, channel: &str) -> Seen {
    let enter = Enter { state: true, ..Enter::default() };
    let Ok(Answer::Entered(entered)) = shard.ask(channel, Ask::Enter(enter)) else { panic!("{channel}") };
    let position = entered.position;
    let mut history: Vec<Arc<Publication>> = Vec::new();
    loop {
        let after = Some(history.last().map_or(0, |last| last.offset));
        let page = History { channel: channel.into(), after, epoch: None, before: None, limit: None };
        match shard.ask(channel, Ask::History(Box::new(page))) {
            Ok(Answer::History { publications, more, .. }) => {
                history.extend(publications);
                if !more {
                    break;
                }
            }
            _ => break,
        }
    }
    let resumed = (0..=position.offset).map(|offset| resume(shard, channel, Position { offset, ..position })).collect();
    Seen { position, history, state: entered.entries.unwrap_or_default(), resumed }
}

fn resume(shard: &mut Shard, channel: &str, since: Position) -> Option<Vec<Arc<Publication>>> {
    let enter = Enter { since: Some(since), ..Enter::default() };
    let Ok(Answer::Entered(entered)) = shard.ask(channel, Ask::Enter(enter)) else { panic!("{channel}") };
    entered.recovered?.ok()?;
    Some(entered.page.publications)
}

pub(crate) fn epoch(channel: &str, epoch: u32) -> Record {
    Record::Epoch { channel: channel.into(), epoch: Epoch(epoch), head: 0 }
}

pub(crate) fn publication(channel: &str, offset: u64, text: &str) -> Record {
    let (channel, data) = (channel.into(), Some(text.into()));
    Record::Publication(Arc::new(Publication { channel, offset, time: 1, data, from: None, rare: None }))
}

/// The offsets and texts of what is in a channel's records.
pub(crate) fn texts(records: &[Record]) -> Vec<(u64, String)> {
    let text = |publication: &Publication| String::from_utf8(publication.data.as_ref().unwrap().as_bytes().to_vec()).unwrap();
    let all = records.iter().filter_map(|record| match record {
        Record::Publication(publication) => Some((publication.offset, text(publication))),
        _ => None,
    });
    all.collect()
}

/// Runs one of these tests as a child, with a word for it in the environment; before it `wrap`, if that is not empty.
pub(crate) fn child(wrap: &[&str], test: &str, role: &str, folder: &Path) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrap {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.args(["--exact", test, "--nocapture"]);
    command.env("LONGWIRE_STORE_ROLE", role).env("LONGWIRE_STORE_FOLDER", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The role and the folder, if this process is such a child.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var("LONGWIRE_STORE_ROLE").ok()?;
    Some((role, std::env::var_os("LONGWIRE_STORE_FOLDER")?.into()))
}
