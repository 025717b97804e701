//! A server, its channels, and what is true of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Data, Publish};
use longwire_server::socketio::{Ack, Socket, SocketIo};
use longwire_server::{Answer, Ask, ChannelOptions, Namespaces, Slow};
use tokio::runtime::Runtime;

use super::{Chance, Way};
use crate::support::{BOUND, TestServer, serve};

/// Where the tests have what.
pub(super) const SOCKET_IO: &str = "/io/";

pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) channels: Vec<Channel>,
    runtime: Runtime,
    /// A client has little room for what it does not read.
    pub(super) is_narrow: bool,
}

/// What is true of a channel.
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) has_state: bool,
    /// Nothing of its past is ever lost, so that nobody need be told that it is.
    pub(super) keeps_all: bool,
    /// The newest offset, which is the number in what was published last.
    pub(super) head: u64,
    /// The number of what each key has for its value.
    pub(super) keys: BTreeMap<String, u64>,
}

fn namespaces() -> Namespaces {
    let plenty = ChannelOptions { history_size: 100_000, history_bytes: 256 << 20, ..ChannelOptions::default() };
    let all = [
        // Whoever reads there has a name in its cursor, and is parked between its polls.
        ("log", ChannelOptions { presence: true, ..plenty.clone() }),
        ("keys", ChannelOptions { state_keys: 100_000, ..plenty.clone() }),
        ("bare", ChannelOptions { state_keys: 100_000, ..ChannelOptions::default() }),
        ("small", ChannelOptions { history_size: 20, ..ChannelOptions::default() }),
        ("gap", ChannelOptions { slow: Slow::Gap, ..plenty.clone() }),
        ("latest", ChannelOptions { slow: Slow::Latest, ..plenty }),
    ];
    Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options")
}

impl World {
    pub(super) fn new(way: Way, chance: &mut Chance) -> Self {
        // Less than what is sent at once to who comes back would close the lines of sockets over and over.
        let little = if matches!(way, Way::SocketIo | Way::Rooms) { 400_000 } else { 100_000 };
        let outbox_bytes = chance.pick(&[1 << 20, 1 << 20, little]);
        let io = match way {
            Way::Rooms => SocketIo::new()
                .namespace("/", |namespace| {
                    let join = |socket: Socket, (room,): (String,), ack: Ack| {
                        socket.join(&room).expect("there is room");
                        ack.send((room,));
                    };
                    namespace.rooms_in("log").on("join", join)
                })
                .recovery(Duration::from_secs(120)),
            _ => SocketIo::channels(),
        };
        let server = serve(chance.pick(&[1, 2, 3, 4]), |builder| {
            builder
                .native("/v1/ws")
                .event_streams("/v1/events")
                .polls("/v1/poll")
                .http_lines("/v1/http")
                .socket_io(SOCKET_IO, io)
                .configure(|config| {
                    config.namespaces = Arc::new(namespaces());
                    config.outbox_bytes = outbox_bytes;
                    config.close_timeout = Duration::from_secs(1);
                })
        });
        let kinds: &[&str] = match way {
            Way::Rooms => &["log"],
            _ => &["log", "log", "keys", "keys", "bare", "small", "gap", "latest"],
        };
        let channels = (0..chance.pick(&[1, 1, 2, 3, 5, 8, 32])).map(|number| {
            let kind = chance.pick(kinds);
            Channel {
                name: format!("{kind}:{number}"),
                has_state: matches!(kind, "keys" | "bare"),
                keeps_all: matches!(kind, "log" | "keys"),
                head: 0,
                keys: BTreeMap::new(),
            }
        });
        let channels = channels.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut world = Self { server, channels, runtime, is_narrow: chance.one_in(3) };
        world.begins(chance);
        world
    }

    /// What is there before anybody looks: up to 2 MiB of keys, and a past.
    fn begins(&mut self, chance: &mut Chance) {
        let most = chance.size(2 << 20);
        // More than one answer to a poll holds.
        let much = (1 << 20) + chance.below(1 << 20);
        let mut left = chance.pick(&[0, most, much]);
        let with: Vec<usize> = (0..self.channels.len()).filter(|at| self.channels[*at].has_state).collect();
        while left > 0 && !with.is_empty() {
            let small = chance.size(40_000);
            let size = chance.pick(&[small, 30_000]).min(left);
            left -= size;
            self.set(chance.pick(&with), format!("first {left}"), size);
        }
        self.happens(chance);
    }

    /// Some of everything, in any channel: as much as one who was away for long has to catch up with, or little.
    pub(super) fn happens(&mut self, chance: &mut Chance) {
        let mut left = chance.size(1 << 20);
        for _ in 0..1 + chance.size(60) {
            let at = chance.below(self.channels.len());
            let size = chance.size(20_000).min(left);
            left -= size;
            match chance.below(3) {
                0 if self.channels[at].has_state => {
                    let key = format!("key {}", chance.size(500));
                    self.set(at, key, size);
                }
                1 if self.channels[at].has_state => self.remove(at, chance),
                _ => self.publishes(at, None, Some(size)),
            }
        }
    }

    /// So much that whoever does not read it falls behind, if there is room for few.
    pub(super) fn floods(&mut self, chance: &mut Chance) {
        let lossy = (0..self.channels.len()).filter(|at| !self.channels[*at].keeps_all && !self.channels[*at].has_state);
        let lossy: Vec<usize> = lossy.collect();
        for _ in 0..250 {
            let at = if lossy.is_empty() || chance.one_in(4) { chance.below(self.channels.len()) } else { chance.pick(&lossy) };
            let size = chance.below(40_000);
            self.publishes(at, None, Some(size));
        }
    }

    /// The last that happens, in each of them.
    pub(super) fn ends(&mut self) {
        (0..self.channels.len()).for_each(|at| self.publishes(at, None, Some(1)));
    }

    pub(super) fn channel(&self, name: &str) -> &Channel {
        self.channels.iter().find(|channel| channel.name == name).unwrap_or_else(|| panic!("there is no channel {name}"))
    }

    fn set(&mut self, at: usize, key: String, size: usize) {
        self.publishes(at, Some(key.clone()), Some(size));
        let head = self.channels[at].head;
        self.channels[at].keys.insert(key, head);
    }

    fn remove(&mut self, at: usize, chance: &mut Chance) {
        let keys = &self.channels[at].keys;
        if keys.is_empty() {
            return self.publishes(at, None, Some(1));
        }
        let key = keys.keys().nth(chance.below(keys.len())).expect("it has some").clone();
        self.channels[at].keys.remove(&key);
        self.publishes(at, Some(key), None);
    }

    fn publishes(&mut self, at: usize, key: Option<String>, size: Option<usize>) {
        let channel = &mut self.channels[at];
        channel.head += 1;
        let text =
            size.map(|size| format!(r#"{{"channel":"{}","n":{},"x":"{}"}}"#, channel.name, channel.head, "x".repeat(size)));
        let data = text.map(|text| Data::json(text).expect("JSON"));
        let remove = data.is_none();
        let publish = Publish { key: key.map(Into::into), remove, data, ..Publish::new(&*channel.name, "") };
        let ask = self.server.node().ask(&channel.name, Ask::Publish { publish: Box::new(publish), from: None });
        let answer = self.runtime.block_on(async { tokio::time::timeout(BOUND, ask).await }).expect("not within the bound");
        match answer.expect("published") {
            Answer::Published { position: Some(position), .. } => assert_eq!(position.offset, channel.head),
            other => panic!("{other:?}"),
        }
    }
}
