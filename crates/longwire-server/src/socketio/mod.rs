//! A Socket.IO server: namespaces, events, acks and rooms for the clients that people already have (`socket.io-client` 3 and 4, and 1
//! and 2 where [`EngineOptions::revision_3`] lets them in). `docs/socketio.md` is the guide.
//!
//! A room is a channel: what is emitted to it takes the way of every publication, reaches the sockets of all shards, and, where
//! clients may come back ([`SocketIo::recovery`]), is kept for those who have lost their line.
//!
//! ```
//! use longwire_server::Server;
//! use longwire_server::socketio::{Ack, Socket, SocketIo};
//!
//! let io = SocketIo::new().namespace("/", |chat| {
//!     chat.on_connect(|socket: Socket| socket.emit("welcome", (socket.id(),)))
//!         .on("join", |socket: Socket, (room,): (String,)| socket.join(&room))
//!         .on("say", async |socket: Socket, (room, text): (String, String), ack: Ack| {
//!             socket.to(&room).emit("said", (text,));
//!             ack.send((true,));
//!         })
//! });
//! let everyone = io.of("/");
//! let server = Server::builder().socket_io("/socket.io/", io);
//! // Once the server runs, from any thread: everyone.to("news").emit("headline", ("hello",));
//! # let _ = (server, everyone);
//! ```

mod arguments;
mod asking;
mod broadcast;
mod handlers;
mod namespace;
mod rooms;
mod socket;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderMap;

use longwire_core::{ChannelOptions, Who};
use longwire_socketio::Namespace as Name;

pub use arguments::IntoArguments;
pub use asking::{AckError, Answers};
pub(crate) use broadcast::{Action, Selection, publication};
pub use broadcast::{Broadcast, EmitError, RemoteSocket};
pub use handlers::{Ack, ConnectHandler, DisconnectHandler, EventHandler, Middleware, Outcome};
pub use longwire_socketio::{Arguments, DataError, Object, Value};
pub use namespace::NamespaceBuilder;
pub use rooms::{JoinError, Rooms};
pub use socket::{ConnectRefused, Handshake, Reason, Socket};

pub use crate::engine_io::RequestRefused;
pub(crate) use handlers::{Future as Left, dispatch};
pub(crate) use namespace::Namespace;
pub(crate) use rooms::Space;
pub(crate) use socket::{SocketState, Ticket};

use crate::engine_io::{EngineOptions, Hooks};
use crate::handler::Opening;
use crate::node::Node;

/// A Socket.IO server to be, for [`ServerBuilder::socket_io`](crate::ServerBuilder::socket_io).
#[derive(Clone)]
pub struct SocketIo {
    pub(crate) options: EngineOptions,
    connect_timeout: Duration,
    recovery: Option<Recovery>,
    namespaces: HashMap<String, Arc<Namespace>>,
    dynamic: Vec<(Matches, Arc<Namespace>)>,
    max_rooms: usize,
    asks_again: bool,
    hooks: Hooks,
    node: Arc<OnceLock<Node>>,
    ids_are_joined: Arc<AtomicBool>,
}

/// Whether a namespace may have a name.
type Matches = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How clients may come back.
#[derive(Clone, Copy, Debug)]
struct Recovery {
    within: Duration,
    events: usize,
}

/// A server as its shards know it.
pub(crate) struct Running {
    /// For how many milliseconds a connection may be without a namespace.
    pub(crate) connect_timeout: u64,
    /// For how many milliseconds a client may come back, if it may.
    pub(crate) recovery: Option<u64>,
    /// What the sockets of each share, so that none has it of its own.
    namespaces: HashMap<String, (Arc<Namespace>, Arc<Space>)>,
    dynamic: Vec<(Matches, Arc<Namespace>)>,
    /// Of a socket.
    pub(crate) max_rooms: usize,
    /// Whether middleware is asked about those who come back.
    pub(crate) asks_again: bool,
    ids_are_joined: Arc<AtomicBool>,
}

/// The namespaces of channels in which rooms are, if nobody says otherwise: without a past, and with one.
const LIVE: &str = "io-live";
const KEPT: &str = "io";
/// Namespaces of channels that nobody else can have where there is Socket.IO.
pub(crate) const RESERVED: [&str; 3] = [LIVE, KEPT, crate::shard::KEPT_SOCKETS];

impl Default for SocketIo {
    fn default() -> Self {
        Self::new()
    }
}

impl SocketIo {
    /// Without any namespace; each has to be declared, `/` too.
    pub fn new() -> Self {
        Self {
            options: EngineOptions::default(),
            connect_timeout: Duration::from_secs(45),
            recovery: None,
            namespaces: HashMap::new(),
            dynamic: Vec::new(),
            max_rooms: 1000,
            asks_again: false,
            hooks: Hooks::default(),
            node: Arc::default(),
            ids_are_joined: Arc::default(),
        }
    }

    /// For clients without any code at the server: in `/` they subscribe to channels and publish in them by events, as
    /// [`Config::namespaces`](crate::Config::namespaces) allow, and may come back within the time that sessions are kept.
    pub fn channels() -> Self {
        let mut io = Self::new().recovery(Duration::from_secs(120));
        io.namespaces.insert("/".into(), Arc::new(Namespace::of_channels()));
        io
    }

    /// Changes the settings of Engine.IO.
    #[must_use]
    pub fn engine(mut self, change: impl FnOnce(&mut EngineOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Has an async function decide whether a connection may begin, by the request that opens it, before anything else is done with it.
    /// A client that is refused gets status 403 (400 to a WebSocket) with the message, and tries again as after any failure.
    ///
    /// ```
    /// use longwire_server::socketio::{RequestRefused, SocketIo};
    ///
    /// let io = SocketIo::new().allow_request(async |opening| {
    ///     match opening.headers.get("x-api-version") {
    ///         Some(version) if version == "2" => Ok(()),
    ///         _ => Err(RequestRefused::new("version 2 is needed")),
    ///     }
    /// });
    /// # let _ = io;
    /// ```
    #[must_use]
    pub fn allow_request<Fut>(mut self, decide: impl Fn(Opening) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<(), RequestRefused>> + Send + 'static,
    {
        self.hooks.allow = Some(Arc::new(move |opening| Box::pin(decide(opening))));
        self
    }

    /// Has a function add headers, cookies for example, to the answer that opens a connection: to a poll's, or to that with which a
    /// WebSocket begins. It gets the request.
    #[must_use]
    pub fn initial_headers(mut self, add: impl Fn(&Opening, &mut HeaderMap) + Send + Sync + 'static) -> Self {
        self.hooks.headers = Some(Arc::new(add));
        self
    }

    /// A client that has not connected to a namespace within this time is closed. Default: 45 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Lets clients that have lost their line come back within this time as if they had not: with their id, their rooms and all that
    /// was emitted to them meanwhile (connection state recovery, `socket.io-client` from 4.6 on). Each event then has one more
    /// argument, a text, as it has with the reference. Of each room 10,000 events are kept; see [`recovery_events`](Self::recovery_events).
    #[must_use]
    pub fn recovery(mut self, within: Duration) -> Self {
        let events = self.recovery.map_or(10_000, |recovery| recovery.events);
        self.recovery = Some(Recovery { within, events });
        self
    }

    /// Has [middleware](NamespaceBuilder::middleware) decide about those who come back, too. They were let in before, and by default are not
    /// asked about again. In middleware, [`Socket::recovered`] tells them from others, and they have their ids.
    #[must_use]
    pub fn recovery_asks_middleware(mut self) -> Self {
        self.asks_again = true;
        self
    }

    /// How many events of each room are kept for those who come back. Of them, as many as have 4 MiB.
    #[must_use]
    pub fn recovery_events(mut self, events: usize) -> Self {
        let within = self.recovery.map_or(Duration::from_secs(120), |recovery| recovery.within);
        self.recovery = Some(Recovery { within, events });
        self
    }

    /// How many rooms a socket may be in, beside its own. Default: 1,000. Each costs some 100 bytes; where clients come back, each in
    /// which something has happened adds a few bytes to every event, too.
    #[must_use]
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.max_rooms = rooms;
        self
    }

    /// Declares a namespace: what happens when a socket connects to it, and what is done with its events.
    ///
    /// # Panics
    /// If the name does not begin with `/`, or has a comma or a control character.
    #[must_use]
    pub fn namespace(mut self, name: &str, build: impl FnOnce(NamespaceBuilder) -> NamespaceBuilder) -> Self {
        assert!(
            Name::new(name).is_ok(),
            "a namespace begins with '/', and has neither commas nor control characters: {name:?}"
        );
        self.namespaces.insert(name.to_owned(), Arc::new(build(NamespaceBuilder::new()).build()));
        self
    }

    /// Declares all namespaces whose names `matches` accepts. Those that were declared by name come first.
    #[must_use]
    pub fn dynamic(
        mut self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
        build: impl FnOnce(NamespaceBuilder) -> NamespaceBuilder,
    ) -> Self {
        self.dynamic.push((Arc::new(matches), Arc::new(build(NamespaceBuilder::new()).build())));
        self
    }

    /// Emits to the sockets of a namespace, from any thread, once the server runs. Before that nobody hears it.
    pub fn of(&self, namespace: &str) -> Broadcast {
        let declared = self.namespaces.get(namespace).or_else(|| self.dynamic_for(namespace)).cloned().unwrap_or_default();
        Broadcast::new(self.node.clone(), Arc::new(space(namespace, self.recovers(), &declared, &self.ids_are_joined)))
    }

    fn dynamic_for(&self, namespace: &str) -> Option<&Arc<Namespace>> {
        self.dynamic.iter().find(|(matches, _)| matches(namespace)).map(|(_, namespace)| namespace)
    }

    pub(crate) fn hooks(&self) -> Hooks {
        self.hooks.clone()
    }

    /// Whether clients may come back.
    pub(crate) fn recovers(&self) -> bool {
        self.recovery.is_some()
    }

    /// The namespace of channels that it needs.
    pub(crate) fn channels_needed(&self) -> (&'static str, ChannelOptions) {
        let mut options = ChannelOptions {
            subscribe: Who::Nobody,
            publish: Who::Nobody,
            ordered: true,
            message_bytes: self.options.max_payload.max(64 << 10),
            ..ChannelOptions::default()
        };
        if let Some(Recovery { within, events }) = self.recovery {
            options.history_size = events.max(1);
            options.history_age = within.max(Duration::from_secs(1)) + Duration::from_secs(60);
            options.history_bytes = options.history_bytes.max(options.message_bytes);
        }
        (prefix(self.recovers()), options)
    }

    /// As its shards know it.
    pub(crate) fn running(self, node: &Node) -> Running {
        let _ = self.node.set(node.clone());
        let recovery = self.recovery.map(|recovery| u64::try_from(recovery.within.as_millis()).unwrap_or(u64::MAX));
        let connect_timeout = u64::try_from(self.connect_timeout.as_millis()).unwrap_or(u64::MAX);
        let Self { namespaces, dynamic, max_rooms, asks_again, ids_are_joined, .. } = self;
        let shared = |(name, namespace): (String, Arc<Namespace>)| {
            let space = space(&name, recovery.is_some(), &namespace, &ids_are_joined);
            (name, (namespace, Arc::new(space)))
        };
        let namespaces = namespaces.into_iter().map(shared).collect();
        Running { connect_timeout, recovery, namespaces, dynamic, max_rooms, asks_again, ids_are_joined }
    }
}

impl Running {
    /// The namespace with a name, and what its sockets share.
    pub(crate) fn namespace(&self, name: &Name) -> Option<(Arc<Namespace>, Arc<Space>)> {
        if let Some(declared) = self.namespaces.get(name.as_str()) {
            return Some(declared.clone());
        }
        let (_, namespace) = self.dynamic.iter().find(|(matches, _)| matches(name.as_str()))?;
        let space = space(name.as_str(), self.recovery.is_some(), namespace, &self.ids_are_joined);
        Some((namespace.clone(), Arc::new(space)))
    }
}

fn prefix(recovers: bool) -> &'static str {
    if recovers { KEPT } else { LIVE }
}

fn space(name: &str, recovers: bool, of: &Namespace, ids_are_joined: &Arc<AtomicBool>) -> Space {
    Space::new(name, prefix(recovers), recovers, of, ids_are_joined.clone())
}

impl std::fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.namespaces.keys().collect();
        f.debug_struct("SocketIo").field("options", &self.options).field("namespaces", &names).finish_non_exhaustive()
    }
}
