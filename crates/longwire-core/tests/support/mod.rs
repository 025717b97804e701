//! A node whose letters arrive when the script says so.

pub(crate) mod heap;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longwire_core::broker::memory::{Limits, MemoryBroker};
use longwire_core::broker::{Answer, Broker, Delivery, Event, Failure, Now, Request, Ticket, What};
use longwire_core::engine::{Authenticator, Engine, Identity, Lines, Peer, SessionOptions};
use longwire_core::{ChannelOptions, Encoder, Namespaces, Random, Slow, Who};
use longwire_protocol::{CloseCode, Command, ErrorCode, Form, Message, Push, Rejected, SessionId};
use serde_json::{Value, json};

/// A line to a shard.
pub(crate) type Line = (usize, u32);

enum Letter {
    Ask(Request),
    Answer(Ticket, Result<Answer, Failure>),
    Deliver(Delivery),
    Cancel(SessionId, Arc<str>, u64),
    Peer(Peer),
}

struct Json;

impl Encoder for Json {
    type Encoding = ();

    fn encode(&mut self, (): (), delivery: &Delivery, out: &mut Vec<u8>) {
        let channel = delivery.channel.clone();
        let push = match &delivery.what {
            What::Publication(publication) => Push::Publication(publication.clone()),
            What::Piece(piece) => Push::Append(piece.clone()),
            What::Join(member) => Push::Join { channel, member: member.clone() },
            What::Leave(member) => Push::Leave { channel, member: member.clone() },
        };
        Form::Json.push_message(&Message::Push(push), out);
    }
}

/// Tokens are names of users; some are good for ten seconds.
#[derive(Debug)]
struct Names;

impl Authenticator for Names {
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, ErrorCode> {
        match token {
            None => Ok(Identity::default()),
            Some("bad") => Err(ErrorCode::Unauthorized),
            Some("old") => Err(ErrorCode::TokenExpired),
            Some(name) => {
                let (user, expires) = name.split_once(" for ").map_or((name, None), |(user, time)| (user, time.parse().ok()));
                Ok(Identity { user: Some(user.into()), expires })
            }
        }
    }
}

#[derive(Default)]
struct Way {
    heard: Vec<Value>,
    unfed: VecDeque<Result<Command, Rejected>>,
    /// Nothing more may be dealt to it, and it gets no room.
    full: bool,
    wants_room: bool,
}

struct Ways<'a> {
    lines: &'a mut BTreeMap<u32, Way>,
    asks: Vec<Request>,
    peers: Vec<(u16, Peer)>,
}

fn lines_of(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

impl Lines<Json> for Ways<'_> {
    fn send(&mut self, line: u32, (): (), message: &Message) {
        let mut bytes = Vec::new();
        Form::Json.push_message(message, &mut bytes);
        self.lines.entry(line).or_default().heard.extend(lines_of(&bytes));
    }

    fn deal(&mut self, line: u32, bytes: &Bytes, _alone: bool) -> bool {
        let way = self.lines.entry(line).or_default();
        if !way.full {
            way.heard.extend(lines_of(bytes));
        }
        !way.full
    }

    fn has_shard(&self, shard: u16) -> bool {
        shard < 4
    }

    fn want_room(&mut self, line: u32) {
        self.lines.entry(line).or_default().wants_room = true;
    }

    fn close(&mut self, line: u32, code: CloseCode) {
        self.lines.entry(line).or_default().heard.push(json!({"closed": code.number()}));
    }

    fn ask(&mut self, request: Request) {
        self.asks.push(request);
    }

    fn tell(&mut self, shard: u16, peer: Peer) {
        self.peers.push((shard, peer));
    }
}

/// Some shards, all channels at home on the first.
pub(crate) struct Node {
    engines: Vec<Engine<Json>>,
    lines: Vec<BTreeMap<u32, Way>>,
    broker: MemoryBroker,
    letters: VecDeque<(usize, Letter)>,
    next_line: u32,
    pub(crate) now: Now,
}

fn namespaces() -> Namespaces {
    let history = |size: usize| ChannelOptions { history_size: size, ..ChannelOptions::default() };
    let all = [
        ("default", ChannelOptions::default()),
        ("log", history(500)),
        ("few", history(5)),
        ("room", ChannelOptions { presence: true, joins: true, ..history(10) }),
        ("keys", ChannelOptions { state_keys: 300, ..history(10) }),
        ("ai", ChannelOptions { streams: true, ..history(10) }),
        ("gap", ChannelOptions { slow: Slow::Gap, ..history(10) }),
        ("latest", ChannelOptions { slow: Slow::Latest, ..history(100) }),
        ("staff", ChannelOptions { publish: Who::Users, ..history(10) }),
        ("secret", ChannelOptions { subscribe: Who::Users, publish: Who::Nobody, ..history(10) }),
        ("small", ChannelOptions { message_bytes: 10, state_keys: 1, once_window: Duration::from_secs(9), ..history(10) }),
    ];
    Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options that go together")
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(1, SessionOptions { subscriptions: 5, ..SessionOptions::default() })
    }

    pub(crate) fn with(shards: u16, options: SessionOptions) -> Self {
        let namespaces = Arc::new(namespaces());
        let engine = |shard: u16| {
            let random = Random::seeded(u64::from(shard) + 1);
            Engine::new(shard, namespaces.clone(), options, Arc::new(Names), random, Json)
        };
        let mut node = Self {
            engines: (0..shards).map(engine).collect(),
            lines: (0..shards).map(|_| BTreeMap::new()).collect(),
            broker: MemoryBroker::new(namespaces.clone(), Limits { channels: 40, ..Limits::default() }, Random::seeded(99)),
            letters: VecDeque::new(),
            next_line: 0,
            now: Now { steady: 1000, wall: 1_700_000_000_000 },
        };
        (0..usize::from(shards)).for_each(|shard| node.engines[shard].set_now(node.now));
        node
    }

    fn act<T>(&mut self, shard: usize, act: impl FnOnce(&mut Engine<Json>, &mut Ways<'_>) -> T) -> T {
        let mut ways = Ways { lines: &mut self.lines[shard], asks: Vec::new(), peers: Vec::new() };
        let done = act(&mut self.engines[shard], &mut ways);
        let Ways { asks, peers, .. } = ways;
        self.letters.extend(asks.into_iter().map(|request| (0, Letter::Ask(request))));
        self.letters.extend(peers.into_iter().map(|(shard, peer)| (usize::from(shard), Letter::Peer(peer))));
        done
    }

    /// A new line to a shard.
    pub(crate) fn open(&mut self, shard: usize) -> Line {
        let line = self.next_line;
        self.next_line += 1;
        self.lines[shard].insert(line, Way::default());
        self.engines[shard].opened(line, ());
        (shard, line)
    }

    /// A new line with a new session.
    pub(crate) fn connect(&mut self) -> Line {
        self.connect_to(0)
    }

    pub(crate) fn connect_to(&mut self, shard: usize) -> Line {
        let line = self.open(shard);
        self.say(line, r#"{"type":"connect"}"#);
        self.run();
        self.heard(line);
        line
    }

    /// A client says something; its letters wait for [`run`](Self::run).
    pub(crate) fn say(&mut self, line: Line, message: &str) {
        let commands: Vec<_> = Form::Json.commands(message.as_bytes()).collect();
        self.lines[line.0].get_mut(&line.1).expect("a line").unfed.extend(commands);
        self.feed(line);
    }

    fn feed(&mut self, (shard, line): Line) {
        while !self.engines[shard].is_busy(line)
            && let Some(command) = self.lines[shard].get_mut(&line).and_then(|way| way.unfed.pop_front())
        {
            self.act(shard, |engine, ways| match command {
                Ok(command) => engine.command(line, command, ways),
                Err(rejected) => engine.rejected(line, rejected, ways),
            });
        }
    }

    /// How many commands wait because the engine is busy.
    pub(crate) fn waiting(&self, (shard, line): Line) -> usize {
        self.lines[shard][&line].unfed.len()
    }

    /// A client says something, and everything that follows happens.
    pub(crate) fn ask(&mut self, line: Line, message: &str) -> Vec<Value> {
        self.say(line, message);
        self.run();
        self.heard(line)
    }

    /// How many letters are on their way.
    pub(crate) fn letters(&self) -> usize {
        self.letters.len()
    }

    /// The next letter arrives; false if there is none.
    pub(crate) fn letter(&mut self) -> bool {
        let Some((shard, letter)) = self.letters.pop_front() else { return false };
        match letter {
            Letter::Ask(request) => {
                self.broker.submit(self.now, request);
                self.sort();
            }
            Letter::Answer(ticket, answer) => self.act(shard, |engine, ways| engine.answer(ticket, answer, ways)),
            Letter::Deliver(delivery) => self.act(shard, |engine, ways| engine.deliver(&delivery, ways)),
            Letter::Cancel(producer, channel, stream) => {
                self.act(shard, |engine, ways| engine.cancel(producer, channel, stream, ways));
            }
            Letter::Peer(peer) => self.act(shard, |engine, ways| engine.told(peer, ways)),
        }
        true
    }

    fn sort(&mut self) {
        while let Some(event) = self.broker.poll() {
            match event {
                Event::Answer(ticket, answer) => {
                    self.letters.push_back((usize::from(ticket.shard), Letter::Answer(ticket, answer)));
                }
                Event::Deliver { shards, delivery } => {
                    for shard in (0..self.engines.len()).filter(|shard| shards >> shard & 1 == 1) {
                        self.letters.push_back((shard, Letter::Deliver(delivery.clone())));
                    }
                }
                Event::Cancel { producer, channel, stream } => {
                    self.letters.push_back((usize::from(producer.shard()), Letter::Cancel(producer, channel, stream)));
                }
            }
        }
    }

    /// Everything that is on its way arrives, ticks end, and lines that want room get it.
    pub(crate) fn run(&mut self) {
        loop {
            while self.letter() {}
            let all: Vec<Line> =
                self.lines.iter().enumerate().flat_map(|(shard, lines)| lines.keys().map(move |line| (shard, *line))).collect();
            for shard in 0..self.engines.len() {
                self.act(shard, |engine, ways| engine.deal(ways));
            }
            for line in all {
                let way = self.lines[line.0].get_mut(&line.1).expect("a line");
                if !way.full && std::mem::take(&mut way.wants_room) {
                    self.act(line.0, |engine, ways| engine.room(line.1, ways));
                }
                self.feed(line);
            }
            let idle = self.lines.iter().flat_map(BTreeMap::values).all(|way| way.full || !way.wants_room);
            if self.letters.is_empty() && idle {
                return;
            }
        }
    }

    /// What has come over a line since the last time.
    pub(crate) fn heard(&mut self, (shard, line): Line) -> Vec<Value> {
        self.lines[shard].get_mut(&line).map(|way| std::mem::take(&mut way.heard)).unwrap_or_default()
    }

    /// From now on a line takes nothing, or again takes something.
    pub(crate) fn set_full(&mut self, (shard, line): Line, full: bool) {
        self.lines[shard].get_mut(&line).expect("a line").full = full;
    }

    /// A line has ended.
    pub(crate) fn close(&mut self, (shard, line): Line) {
        self.act(shard, |engine, ways| engine.closed(line, ways));
        self.lines[shard].remove(&line);
        self.run();
    }

    /// Time passes, and all happens that is due.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.now.steady += millis;
        self.now.wall += millis;
        self.broker.look_at_clock(self.now);
        self.sort();
        for shard in 0..self.engines.len() {
            self.engines[shard].set_now(self.now);
            self.act(shard, |engine, ways| engine.look_at_clock(ways));
        }
        self.run();
    }

    /// In how many channels each session of the first shard is; `None` without a line.
    pub(crate) fn sessions(&self) -> Vec<Option<usize>> {
        assert_eq!(self.engines[0].sessions(), self.engines[0].members().count());
        self.engines[0].members().map(|(_, channels)| channels).collect()
    }

    /// The server disconnects a session.
    pub(crate) fn disconnect(&mut self, shard: usize, session: &str) -> bool {
        let session = SessionId::parse(session).expect("a session");
        let done = self.act(shard, |engine, ways| engine.disconnect(session, ways));
        self.run();
        done
    }

    /// The server ends a subscription.
    pub(crate) fn unsubscribe(&mut self, session: &str, channel: &str) -> bool {
        let session = SessionId::parse(session).expect("a session");
        let done = self.act(0, |engine, ways| engine.unsubscribe_session(session, &channel.into(), ways));
        self.run();
        done
    }

    /// That nothing of any client is left.
    pub(crate) fn assert_empty(&self, channel: &str) {
        for engine in &self.engines {
            assert_eq!(engine.leftovers(), None);
        }
        assert_eq!(self.broker.followers(channel), 0, "somebody still follows {channel}");
    }

    pub(crate) fn followers(&self, channel: &str) -> u64 {
        self.broker.followers(channel)
    }
}

/// That each message has at least these members.
#[track_caller]
pub(crate) fn assert_heard(heard: &[Value], expected: &[Value]) {
    let fits = |(heard, expected): (&Value, &Value)| {
        expected.as_object().expect("an object").iter().all(|(name, value)| heard.get(name).unwrap_or(&Value::Null) == value)
    };
    let same = heard.len() == expected.len() && heard.iter().zip(expected).all(fits);
    assert!(same, "heard\n{}\nnot\n{}", shown(heard), shown(expected));
}

fn shown(messages: &[Value]) -> String {
    messages.iter().map(|message| format!("  {message}\n").chars().take(400).collect::<String>()).collect()
}

/// The types of messages, for those that matter by their order.
pub(crate) fn types(heard: &[Value]) -> Vec<&str> {
    heard.iter().map(|message| message["type"].as_str().unwrap_or("closed")).collect()
}
