//! One running server, as all its parts and the library's users see it.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::config::Config;
use crate::handler::Overloaded;
use crate::limiter::Limiter;
use crate::shard::{Command, Mailbox};
use longwire_ws::OwnedMessage as Message;

/// A handle to a running node: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<NodeState>);

pub(crate) struct NodeState {
    pub(crate) config: Config,
    pub(crate) limiter: Arc<Limiter>,
    mailboxes: Vec<Mailbox>,
    /// Bytes of publications that not every shard has encoded yet.
    in_flight: AtomicUsize,
    /// Someone may wait for `in_flight` to go down.
    room: Notify,
    /// The shard for the next connection.
    next: AtomicUsize,
    stopping: AtomicBool,
    /// Shards that have no line left, in a shutdown.
    drained: AtomicUsize,
    pub(crate) stop: Notify,
}

/// One message on its way to a channel's subscribers.
pub(crate) struct Publication {
    channel: Arc<str>,
    message: Message,
    /// Where its bytes are counted.
    node: Weak<NodeState>,
}

thread_local! {
    /// The node and shard whose thread this is.
    static HERE: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

impl Node {
    /// Publishes to all who are subscribed to `channel`. All of them get the publications of a channel in one order.
    ///
    /// # Errors
    /// [`Overloaded`] if more is on its way than [`Config::in_flight_bytes`]; nothing is published then.
    pub fn publish(&self, channel: impl Into<Arc<str>>, message: impl Into<Message>) -> Result<(), Overloaded> {
        let publication = self.publication(channel.into(), message.into())?;
        self.mailbox(self.home(publication.channel())).push(Command::Order(publication));
        Ok(())
    }

    /// As [`publish`](Self::publish), but waits while too much is on its way.
    pub async fn publish_when_possible(&self, channel: impl Into<Arc<str>>, message: impl Into<Message>) {
        let channel = channel.into();
        let mut message = message.into();
        loop {
            let room = self.0.room.notified();
            match self.publish(channel.clone(), message) {
                Ok(()) => return,
                Err(Overloaded(back)) => message = back,
            }
            room.await;
        }
    }

    /// Connections open now, whatever they are doing.
    pub fn connections(&self) -> usize {
        self.0.limiter.open()
    }

    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Begins to stop: no connection is accepted, the lines are closed with 1001 spread over [`Config::drain`].
    pub fn shutdown(&self) {
        if !self.0.stopping.swap(true, Ordering::SeqCst) {
            self.0.stop.notify_waiters();
            for mailbox in &self.0.mailboxes {
                mailbox.push(Command::Drain);
            }
        }
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn new(config: Config) -> Self {
        let limiter = Limiter::new(config.max_connections, config.max_connections_per_address);
        let mailboxes = (0..config.shards.max(1)).map(|_| Mailbox::default()).collect();
        Self(Arc::new(NodeState {
            config,
            limiter,
            mailboxes,
            in_flight: AtomicUsize::new(0),
            room: Notify::new(),
            next: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            drained: AtomicUsize::new(0),
            stop: Notify::new(),
        }))
    }

    /// One shard has no line left, in a shutdown.
    pub(crate) fn shard_is_drained(&self) {
        self.0.drained.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether no shard has a line left.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.drained.load(Ordering::SeqCst) >= self.shards()
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
        // FNV-1a: the same on every shard and in every run.
        let hash = channel
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (hash % self.shards() as u64) as usize
    }

    /// The gate (station 2): a publication, if there is room for it.
    pub(crate) fn publication(&self, channel: Arc<str>, message: Message) -> Result<Arc<Publication>, Overloaded> {
        // One over the bound is let in, so that a message larger than the bound is possible at all.
        if self.0.in_flight.load(Ordering::Relaxed) > self.0.config.in_flight_bytes {
            return Err(Overloaded(message));
        }
        let publication = Publication { channel, message, node: Arc::downgrade(&self.0) };
        self.0.in_flight.fetch_add(publication.cost(), Ordering::Relaxed);
        Ok(Arc::new(publication))
    }

    /// Whether shards should stop reading until what is on its way has arrived: before [`publication`](Self::publication)
    /// refuses anything.
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

    pub(crate) fn enter(&self, shard: usize) {
        HERE.set(Some((Arc::as_ptr(&self.0) as usize, shard)));
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("shards", &self.shards()).field("connections", &self.connections()).finish()
    }
}

impl Publication {
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// What it counts for while it is on its way, in bytes: itself, too, since a payload may be empty.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.channel.len() + self.message.as_bytes().len()
    }

    #[cfg(test)]
    pub(crate) fn for_test(channel: &str, text: &str) -> Self {
        Self { channel: channel.into(), message: text.into(), node: Weak::new() }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            let cost = self.cost();
            let before = node.in_flight.fetch_sub(cost, Ordering::Relaxed);
            let bound = node.config.in_flight_bytes;
            if before > bound && before - cost <= bound {
                node.room.notify_waiters();
            }
        }
    }
}
