//! One running server, as all its parts and the library's users see it.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use longwire_core::broker::memory::{Limits, MemoryBroker};
use longwire_core::broker::{Answer, Ask, Failure, Now, Request, Ticket};
use longwire_core::engine::Engine;
use longwire_core::{Budget, Namespaces, Random};
use longwire_protocol::{Append, Data, ErrorCode, Publish};
use longwire_store::{Error as StoreError, Store};
use tokio::sync::{Notify, oneshot};

use crate::config::{Config, descriptors_left};
use crate::cursor::Seal;
use crate::engine_io::EngineOptions;
use crate::handler::PublishError;
use crate::name::ChannelName;
use crate::origin::OriginPolicy;
use crate::places::{Always, Bounds, Places};
use crate::shard::loading::{Batch, Loading};
use crate::shard::{Command, Frames, Home, Letter, Mailbox, Pace, Timing};
use longwire_ws::OwnedMessage as Message;

/// A handle to a running node: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<NodeState>);

pub(crate) struct NodeState {
    pub(crate) config: Config,
    /// Whose pages may ask it something, and under which names.
    pub(crate) origins: OriginPolicy,
    /// The paces of the Engine.IO servers, by number, behind the node's own.
    paces: Box<[Pace]>,
    started: Instant,
    /// What channels are kept in, if anything but memory.
    store: Mutex<Option<Arc<Store>>>,
    pub(crate) places: Arc<Places>,
    /// What is answered even if there is no place.
    pub(crate) always: Always,
    seal: Seal,
    mailboxes: Vec<Mailbox>,
    /// What is kept because of clients.
    memory: Arc<Budget>,
    /// Bytes of what is on its way.
    in_flight: AtomicUsize,
    /// Bytes of what waits for lines beyond the bound of their outboxes.
    behind: Arc<AtomicUsize>,
    /// Someone may wait for `in_flight` to go down.
    room: Notify,
    /// The shard for the next connection.
    next: AtomicUsize,
    /// Connections and requests that have come.
    arrived: AtomicU64,
    stopping: AtomicBool,
    /// Shards that have no line left, in a shutdown.
    drained: AtomicUsize,
    pub(crate) stop: Notify,
    /// Shards whose channels are still being read from the store.
    loading: AtomicUsize,
    loaded: Notify,
}

/// Something on its way between shards, for as long as it is: what it weighs is counted.
pub(crate) struct Flight {
    weight: usize,
    /// Where it is counted.
    node: Weak<NodeState>,
}

/// The place of a request among all that came to the node, as far as that is known: of the first request of a connection it is the
/// place of the connection, of others when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(u64);

/// A channel's home has a bit for each.
pub(crate) const MAX_SHARDS: usize = 64;

thread_local! {
    /// The node and shard whose thread this is.
    static HERE: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

impl Node {
    /// Publishes to all who are subscribed to `channel`. All of them get the publications of a channel in one order.
    ///
    /// # Errors
    /// [`PublishError::Overloaded`] if more is on its way than [`Config::in_flight_bytes`], or
    /// [`PublishError::UnknownNamespace`]; nothing is published then.
    pub fn publish(&self, channel: impl ChannelName, message: impl Into<Message>) -> Result<(), PublishError> {
        let (request, flight) = self.publication(channel.into_name(), message.into())?;
        self.mailbox(self.home(&request.channel)).push(Command::Letters(vec![Letter::Ask(request, Some(flight))]));
        Ok(())
    }

    /// As [`publish`](Self::publish), but waits while too much is on its way.
    ///
    /// # Errors
    /// [`PublishError::UnknownNamespace`]; nothing is published then.
    pub async fn publish_when_possible(
        &self,
        channel: impl ChannelName,
        message: impl Into<Message>,
    ) -> Result<(), PublishError> {
        let channel = channel.into_name();
        let mut message = message.into();
        loop {
            let room = self.0.room.notified();
            match self.publish(channel.clone(), message) {
                Err(PublishError::Overloaded(back)) => message = back,
                done => return done,
            }
            room.await;
        }
    }

    /// Asks a channel something, as the server itself: publishing with all that a publication can have, history, presence, state.
    ///
    /// # Errors
    /// What the channel answers; [`ErrorCode::Overloaded`] if too much is on its way, and if the node stops meanwhile.
    pub async fn ask(&self, channel: impl ChannelName, ask: Ask) -> Result<Answer, Failure> {
        // The node has stopped.
        self.post_from_outside(channel.into_name(), ask)?.await.unwrap_or_else(|_| Err(ErrorCode::Overloaded.into()))
    }

    /// Puts a question on its way: those to one channel arrive in the order of these calls.
    pub(crate) fn post_from_outside(
        &self,
        channel: Arc<str>,
        ask: Ask,
    ) -> Result<oneshot::Receiver<Result<Answer, Failure>>, Failure> {
        if self.is_overloaded() {
            return Err(ErrorCode::Overloaded.into());
        }
        let home = self.home(&channel);
        let request = Request { channel, ticket: Ticket::default(), ask };
        let flight = self.flight(&request);
        let (sender, answer) = oneshot::channel();
        self.mailbox(home).push(Command::Letters(vec![Letter::AskFor(request, Some(flight), sender)]));
        Ok(answer)
    }

    /// Whether this is the same node.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Connections open now, whatever they are doing, and lines that have none of their own.
    pub fn connections(&self) -> usize {
        self.0.places.held()
    }

    /// How many connections there may be: [`Config::max_connections`], or what the process may open beside what it has open itself.
    pub fn max_connections(&self) -> usize {
        self.0.places.max_descriptors()
    }

    /// Bytes that are kept in memory because of clients, about: see [`Config::memory`].
    pub fn kept_bytes(&self) -> usize {
        self.0.memory.used()
    }

    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Knows the readers that this node has named.
    pub(crate) fn seal(&self) -> &Seal {
        &self.0.seal
    }

    /// Whether the page that a request with these headers comes from, if it comes from one, may talk to this server: as for lines, by
    /// [`Config::allowed_origins`]. For handlers of your own that do something on behalf of a page.
    pub fn allows_page(&self, headers: &HeaderMap) -> bool {
        self.0.origins.allows(headers)
    }

    /// Begins to stop: no connection is accepted, the lines are closed with 1001 spread over [`Config::drain`].
    pub fn shutdown(&self) {
        if !self.0.stopping.swap(true, Ordering::SeqCst) {
            self.0.stop.notify_waiters();
            self.0.loaded.notify_waiters();
            for mailbox in &self.0.mailboxes {
                mailbox.push(Command::Drain);
            }
        }
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }

    /// # Errors
    /// The directory for data cannot be used.
    pub(crate) fn new(
        config: Config,
        engines: &[EngineOptions],
        always: Always,
        listeners: &[SocketAddr],
    ) -> Result<Self, StoreError> {
        let store = config.data.as_ref().map(|data| Store::open(&data.dir, data.options.clone()).map(Arc::new)).transpose()?;
        let (is_durable, shards) = (store.is_some(), config.shards);
        let places = Places::new(&Bounds {
            descriptors: config.max_connections,
            lines: config.max_polled_lines,
            per_address: config.max_connections_per_address,
            proxies: config.trusted_proxies.clone(),
        });
        let mailboxes = (0..config.shards).map(|_| Mailbox::default()).collect();
        let own = Pace { timing: Timing::new(&config), message_bytes: usize::MAX };
        let pace = |options: &EngineOptions| Pace {
            timing: Timing::exact(&config, options.ping_interval, options.ping_timeout),
            message_bytes: options.max_payload,
        };
        let paces = std::iter::once(own).chain(engines.iter().map(pace)).collect();
        Ok(Self(Arc::new(NodeState {
            origins: OriginPolicy::new(&config.allowed_origins, &config.allowed_hosts, listeners),
            memory: Budget::new(config.memory),
            config,
            paces,
            started: Instant::now(),
            store: Mutex::new(store),
            places,
            always,
            seal: Seal::default(),
            mailboxes,
            in_flight: AtomicUsize::new(0),
            behind: Arc::default(),
            room: Notify::new(),
            next: AtomicUsize::new(0),
            arrived: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            drained: AtomicUsize::new(0),
            stop: Notify::new(),
            loading: AtomicUsize::new(if is_durable { shards } else { 0 }),
            loaded: Notify::new(),
        })))
    }

    /// One shard has no line left, in a shutdown.
    pub(crate) fn shard_is_drained(&self) {
        self.0.drained.fetch_add(1, Ordering::SeqCst);
    }

    /// Everything that the node itself needs is open: what is left is for clients.
    pub(crate) fn knows_its_descriptors(&self) {
        self.0.places.descriptors_are(descriptors_left());
    }

    /// Whether no shard has a line left.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.drained.load(Ordering::SeqCst) >= self.shards()
    }

    /// The engine of a shard: its sessions.
    pub(crate) fn engine(&self, shard: usize, frames: Frames) -> Engine<Frames> {
        let Config { namespaces, sessions, authenticator, .. } = &self.0.config;
        let shard = u16::try_from(shard).unwrap_or(u16::MAX);
        Engine::new(shard, namespaces.clone(), *sessions, authenticator.clone(), system_random(), frames)
    }

    /// The channels whose home is a shard; if there is a store, the other end of what it has kept of them.
    pub(crate) fn home_of(&self, shard: usize) -> (Home, Option<SyncSender<Batch>>) {
        let Limits { channels, keep } = self.0.config.channels;
        let shards = self.shards();
        let limits = Limits { channels: channels.div_ceil(shards), keep };
        let mut broker = MemoryBroker::new(self.0.config.namespaces.clone(), limits, system_random());
        broker.count_in(self.0.memory.clone(), shards);
        let namespaces = self.0.config.namespaces.clone();
        let Some(store) = &*self.store() else { return (Home::new(broker, namespaces, None, None), None) };
        // The node keeps the store, and must not be kept by it.
        let node = Arc::downgrade(&self.0);
        let done = move |done| {
            if let Some(node) = node.upgrade() {
                node.mailboxes[shard].push(Command::Stored(done));
            }
        };
        let (loading, batches) = Loading::new();
        (Home::new(broker, namespaces, Some(store.writer(done)), Some(loading)), Some(batches))
    }

    /// The store, for as long as the node keeps it.
    pub(crate) fn weak_store(&self) -> Weak<Store> {
        self.store().as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// A shard has all that the store has kept for it.
    pub(crate) fn shard_is_loaded(&self) {
        if self.0.loading.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.loaded.notify_waiters();
        }
    }

    /// Whether all that the store has kept is read: before that nobody can be told what there is of a channel or a session.
    pub(crate) fn is_loaded(&self) -> bool {
        self.0.loading.load(Ordering::SeqCst) == 0
    }

    /// Waits until it is, or the node stops.
    pub(crate) async fn loaded(&self) {
        loop {
            let loaded = self.0.loaded.notified();
            if self.is_loaded() || self.is_stopping() {
                return;
            }
            loaded.await;
        }
    }

    /// Closes the store, if there is one: what waits is written.
    pub(crate) fn close_store(&self) {
        let store = self.store().take();
        drop(store);
    }

    fn store(&self) -> MutexGuard<'_, Option<Arc<Store>>> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { steady: self.0.started.elapsed().as_millis() as u64, wall: wall.as_millis() as u64 }
    }

    /// When a steady time is.
    pub(crate) fn steady(&self, millis: u64) -> Instant {
        self.0.started + Duration::from_millis(millis)
    }

    pub(crate) fn paces(&self) -> Box<[Pace]> {
        self.0.paces.clone()
    }

    pub(crate) fn shards(&self) -> usize {
        self.0.mailboxes.len()
    }

    pub(crate) fn mailbox(&self, shard: usize) -> &Mailbox {
        &self.0.mailboxes[shard]
    }

    /// The shard that puts the publications of a channel in order (station 3).
    pub(crate) fn home(&self, channel: &str) -> usize {
        if self.shards() == 1 {
            return 0;
        }
        let name = order_of(&self.0.config.namespaces, channel);
        // FNV-1a: the same on every shard and in every run.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (hash % self.shards() as u64) as usize
    }

    /// The gate (station 2): what the server itself publishes, if there is room for it.
    pub(crate) fn publication(&self, channel: Arc<str>, message: Message) -> Result<(Request, Arc<Flight>), PublishError> {
        if self.is_overloaded() {
            return Err(PublishError::Overloaded(message));
        }
        if self.0.config.namespaces.of(&channel).is_none() {
            return Err(PublishError::UnknownNamespace(message));
        }
        let data = match message {
            Message::Text(text) => Data::Text(text.into()),
            Message::Binary(bytes) => Data::Bytes(bytes),
        };
        let ask = Ask::Publish { publish: Box::new(Publish::new(channel.clone(), data)), from: None };
        let request = Request { channel, ticket: Ticket::default(), ask };
        let flight = self.flight(&request);
        Ok((request, flight))
    }

    /// Counts what is asked for as on its way, until the flight is dropped.
    pub(crate) fn flight(&self, request: &Request) -> Arc<Flight> {
        let more = match &request.ask {
            Ask::Publish { publish, .. } => {
                size_of::<Publish>() + publish.data.as_ref().map_or(0, |data| data.as_bytes().len())
            }
            Ask::Append { append, .. } => size_of::<Append>() + append.data.as_ref().map_or(0, |data| data.len()),
            _ => 0,
        };
        // Itself, too, in its letter, and its answer, since a payload may be empty.
        let weight = 2 * size_of::<Letter>() + size_of::<Flight>() + request.channel.len() + more;
        self.0.in_flight.fetch_add(weight, Ordering::Relaxed);
        Arc::new(Flight { weight, node: Arc::downgrade(&self.0) })
    }

    /// What waits for lines beyond the bound of their outboxes, in bytes.
    pub(crate) fn behind(&self) -> &Arc<AtomicUsize> {
        &self.0.behind
    }

    /// One over the bound is let in, so that a message larger than the bound is possible at all.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.0.in_flight.load(Ordering::Relaxed) > self.0.config.in_flight_bytes
    }

    /// Whether shards should stop reading until what is on its way has arrived: before [`publish`](Self::publish) refuses
    /// anything.
    pub(crate) fn is_congested(&self) -> bool {
        self.0.in_flight.load(Ordering::Relaxed) > self.0.config.in_flight_bytes / 2
    }

    /// The shard for a new connection: this thread's own if it is one of the node's, else each in its turn.
    pub(crate) fn shard_for_upgrade(&self) -> usize {
        match HERE.get() {
            Some((node, shard)) if node == Arc::as_ptr(&self.0) as usize => shard,
            _ => self.next_shard(),
        }
    }

    pub(crate) fn next_shard(&self) -> usize {
        self.0.next.fetch_add(1, Ordering::Relaxed) % self.shards()
    }

    /// The next place among what comes.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival(self.0.arrived.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn enter(&self, shard: usize) {
        HERE.set(Some((Arc::as_ptr(&self.0) as usize, shard)));
    }
}

/// What the channels have in common that have one order, and thereby one home: the channel itself, if it has an order of its own.
pub(crate) fn order_of<'a>(namespaces: &Namespaces, channel: &'a str) -> &'a str {
    match channel.split_once('#') {
        Some((order, _)) if namespaces.of(channel).is_some_and(|options| options.ordered) => order,
        _ => channel,
    }
}

fn system_random() -> Random {
    Random::new(|buffer| getrandom::fill(buffer).expect("the system has randomness"))
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("shards", &self.shards()).field("connections", &self.connections()).finish()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            let before = node.in_flight.fetch_sub(self.weight, Ordering::Relaxed);
            let bound = node.config.in_flight_bytes;
            if before > bound && before - self.weight <= bound {
                node.room.notify_waiters();
            }
        }
    }
}
