//! One established line: what the shard keeps of it, and what a handler may do with it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use longwire_protocol::{Form, SessionId};
use longwire_ws::{CloseCode, MessageKind};

use super::Core;
use super::frames::{Content, Encoding};
use super::heartbeat::{Times, Waiting};
use super::native::Unfed;
use super::outbox::Outbox;
use super::requests::Requests;
use super::slab::Key;
use super::socketio::Heard;
use super::wire::{Inward, Outward};
use crate::codes;
use crate::handler::{LineHandler, PublishError};
use crate::name::ChannelName;
use crate::places::Permit;
use longwire_ws::OwnedMessage as Message;

/// What a shard keeps of a line. An idle line owns no buffer: every rare thing is allocated on first use.
pub(crate) struct LineState {
    /// None while HTTP requests fetch what is sent.
    pub(crate) fd: Option<OwnedFd>,
    /// Which of the shard's paces it keeps.
    pub(crate) pace: u8,
    /// The turn in which it was read last, in the lowest bits.
    pub(crate) turn: u8,
    /// It has its place among those that are read in the next turn.
    pub(crate) unread: bool,
    pub(crate) phase: Phase,
    pub(crate) waiting: Waiting,
    /// Wheel ticks: see [`Times`].
    pub(crate) heard: u32,
    pub(crate) message_at: u32,
    pub(crate) inward: Inward,
    /// Gone once the line has ended.
    pub(crate) handler: Option<Box<dyn LineHandler>>,
    pub(crate) out: Outgoing,
    /// Counts the connection until it is dropped.
    pub(crate) _permit: Arc<Permit>,
}

/// Where a line is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The client has closed or broken a rule, and the handler works off what came before.
    Ending,
    /// Our close frame is on its way; the client's may be to come.
    Closing,
    /// All is said, and the write direction is shut: what comes is thrown away until the client closes.
    Lingering,
}

/// For what the reading of a line waits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pauses(u8);

impl Pauses {
    /// Its handler, or the engine for it.
    pub(crate) const HANDLER: Self = Self(1);
    /// The handlers of its sockets, and what these have published.
    pub(crate) const SOCKETS: Self = Self(2);
    pub(crate) const ALL: Self = Self(3);

    #[inline]
    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    pub(crate) fn has(self, pause: Self) -> bool {
        self.0 & pause.0 != 0
    }

    pub(crate) fn add(&mut self, pause: Self) {
        self.0 |= pause.0;
    }

    fn remove(&mut self, pause: Self) {
        self.0 &= !pause.0;
    }
}

/// The half of a line that handlers act on while a message borrows the other.
pub(crate) struct Outgoing {
    pub(crate) outward: Outward,
    pub(crate) outbox: Outbox,
    /// On the shard's list of lines to flush.
    pub(crate) dirty: bool,
    /// Reading waits for these; whether something could be read meanwhile is not known.
    pub(crate) paused: Pauses,
    /// Reading waits for the client, which does not take what is sent to it.
    pub(crate) choked: bool,
    /// The handler waits for room in the outbox.
    pub(crate) wants_room: bool,
    /// What few lines have, and those not for long.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
pub(crate) struct Rare {
    /// What was read but must wait, because the handler or the client is behind.
    pub(crate) stash: Vec<u8>,
    /// What a native client has said and the engine has not taken yet.
    pub(crate) unfed: Option<Box<Unfed>>,
    /// The handler has asked for the end, with this frame.
    pub(crate) close: Option<(CloseCode, String)>,
    /// The close frame to send when the handler has worked off what came before the end.
    pub(crate) reply: CloseWith,
    /// What a line has that HTTP requests reach.
    pub(crate) requests: Option<Box<Requests>>,
    /// The sockets of Socket.IO that have more to say once there is room.
    pub(crate) want_room: Vec<Key>,
    /// Of a WebSocket that is to be the transport of another line: that one's address.
    pub(crate) becomes: Option<SessionId>,
}

/// What is to be done for a line after the call of its handler, since it is borrowed until then.
pub(crate) enum Deferred {
    /// A line is told what happens in channels, in this way, from now on.
    Opened(Content),
    /// And has said this; `None` for a message that is text where it should be bytes, or the other way round.
    Said(Form, Option<Vec<u8>>),
    /// And takes more.
    Room,
    /// A client of Socket.IO has come, or has said something.
    Socket(Heard),
}

/// If more waits for a line, what is volatile does not wait behind it.
const VOLATILE_BYTES: usize = 64 << 10;

/// What a close frame is to say; `None` for an empty one.
pub(crate) type CloseWith = Option<(CloseCode, String)>;

impl LineState {
    /// Whether nothing is read at the moment, because the handler or the client is behind.
    pub(crate) fn is_held(&self) -> bool {
        self.out.paused.any() || self.out.choked
    }

    pub(crate) fn times(&self, now: u32, listened_to: bool) -> Times {
        // Who is not listened to cannot be heard; but who fetches what there is by polls can, by those.
        let is_held = self.is_held() && self.fd.is_some();
        let listened_to = listened_to && !is_held && !self.waits_in_poll();
        Times {
            waiting: self.waiting,
            heard: if listened_to { self.heard } else { now },
            message: if listened_to { self.message_at } else { now },
            stalled_since: self.out.outbox.stalled_since(),
            counts_pings: self.out.outward.counts_pings(),
        }
    }

    /// Whether its client takes at once what it is sent: its socket does, or it waits for just that.
    pub(crate) fn takes_at_once(&self) -> bool {
        let Outgoing { outbox, rare, .. } = &self.out;
        let polls = || rare.as_ref().and_then(|rare| rare.requests.as_ref()).is_some_and(|requests| requests.polls());
        (self.fd.is_some() || polls()) && outbox.stalled_since().is_none() && outbox.bytes() < VOLATILE_BYTES
    }

    /// Whether a client that only listens is there, since it waits for an answer.
    fn waits_in_poll(&self) -> bool {
        let polls = || self.out.rare.as_ref().and_then(|rare| rare.requests.as_ref()).is_some_and(|requests| requests.polls());
        matches!(self.out.outward, Outward::WebSocket(_)) && self.fd.is_none() && polls()
    }
}

impl Outgoing {
    pub(crate) fn new(outward: Outward) -> Self {
        Self {
            outward,
            outbox: Outbox::default(),
            dirty: false,
            paused: Pauses::default(),
            choked: false,
            wants_room: false,
            rare: None,
        }
    }

    /// What was waited for is there. Whether there was something and nothing is left, so that there may be something to read.
    pub(crate) fn goes_on(&mut self, pause: Pauses) -> bool {
        let waited = self.paused.has(pause);
        self.paused.remove(pause);
        waited && !self.paused.any()
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn has_rare(&self) -> bool {
        self.rare.is_some()
    }

    /// What it has if HTTP requests reach it.
    pub(crate) fn requests(&mut self) -> Option<&mut Requests> {
        self.rare.as_mut()?.requests.as_deref_mut()
    }

    /// What was read and had to wait.
    pub(crate) fn take_stash(&mut self) -> Vec<u8> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.stash)).unwrap_or_default()
    }

    /// Whether the handler has asked for the end.
    pub(crate) fn close_asked(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.close.is_some())
    }

    /// Lets `encode` append frames for this line, and has it flushed at the end of the tick.
    #[inline]
    pub(crate) fn append(&mut self, key: Key, core: &mut Core, encode: impl FnOnce(&mut Outward, &mut Vec<u8>)) {
        let outward = &mut self.outward;
        self.outbox.append(&mut core.queues, |buffer| encode(outward, buffer));
        self.mark_dirty(key, core);
    }

    #[inline]
    pub(crate) fn mark_dirty(&mut self, key: Key, core: &mut Core) {
        if !self.dirty {
            self.dirty = true;
            core.dirty.push(key);
        }
    }

    /// How this line reads the publications of channels, if it is told nothing but their data.
    pub(crate) fn plain_encoding(&self) -> Encoding {
        Encoding { content: Content::Plain, window: self.outward.shared_window_bits() }
    }
}

/// A line, as a [`LineHandler`] sees it during a call.
pub struct Line<'a> {
    pub(crate) key: Key,
    pub(crate) out: &'a mut Outgoing,
    pub(crate) core: &'a mut Core,
}

impl Line<'_> {
    /// Sends a message to this client. A text must be UTF-8, as what came as text is. After the line's end it is thrown away.
    ///
    /// While [`Config::outbox_bytes`](crate::Config::outbox_bytes) or more wait for the client, nothing is read from it: a
    /// handler that answers what it is asked needs no bound of its own.
    #[inline]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8]) {
        self.out.append(self.key, self.core, |outward, buffer| outward.send(kind, payload, buffer));
    }

    /// As [`send`](Self::send), unless the outbox is full: then false, and [`LineHandler::drained`] says when there is room. For
    /// handlers that send much without being asked.
    pub fn try_send(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        if self.out.outbox.bytes() >= self.core.outbox_bytes {
            self.out.wants_room = true;
            return false;
        }
        self.send(kind, payload);
        true
    }

    /// Sends a ping with at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        self.control(|outward, buffer| outward.ping(payload, buffer));
    }

    /// From now on the line gets what is published in `channel`. False if it did already, or if there is no such namespace.
    pub fn subscribe(&mut self, channel: &str) -> bool {
        let Core { node, index, channels, .. } = self.core;
        if node.config().namespaces.of(channel).is_none() {
            sparsely!(WARN, channel, "a handler subscribes to a channel whose namespace is not configured");
            return false;
        }
        let (engine, inbox) = (&mut channels.engine, &mut channels.inbox);
        engine.subscribe_plain(self.key.index, self.out.plain_encoding(), channel, |request| {
            node.post(*index, inbox, request, None);
        })
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, channel: &str) {
        let Core { node, index, channels, .. } = self.core;
        let (engine, inbox) = (&mut channels.engine, &mut channels.inbox);
        engine.unsubscribe_plain(self.key.index, channel, |request| node.post(*index, inbox, request, None));
    }

    /// Publishes to all who are subscribed to `channel`, on every shard.
    ///
    /// # Errors
    /// [`PublishError`] if too much is on its way already, or there is no such namespace.
    pub fn publish(&mut self, channel: impl ChannelName, message: impl Into<Message>) -> Result<(), PublishError> {
        let Core { node, index, channels, .. } = self.core;
        let (request, flight) = node.publication(channel.into_name(), message.into())?;
        node.post(*index, &mut channels.inbox, request, Some(flight));
        Ok(())
    }

    pub(crate) fn defer(&mut self, deferred: Deferred) {
        self.core.deferred.push((self.key, deferred));
    }

    /// Closes the line, once the call of the handler is over.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.out.rare().close.get_or_insert_with(|| (code, reason.to_owned()));
        self.core.close_asked = true;
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// What may wait for a handler before its line is paused, in bytes.
    pub(crate) fn inbox_bytes(&self) -> usize {
        self.core.inbox_bytes
    }

    /// Reads no more from the client until [`Shard::resume`](super::Shard::resume) with [`Pauses::HANDLER`].
    pub(crate) fn pause(&mut self) {
        self.out.paused.add(Pauses::HANDLER);
    }

    pub(crate) fn handlers_woken(&mut self) {
        self.core.handlers_woken = true;
    }

    /// A control frame, unless a handler floods its client with them.
    pub(crate) fn control(&mut self, encode: impl FnOnce(&mut Outward, &mut Vec<u8>)) {
        if self.out.outbox.bytes() >= self.core.outbox_bytes {
            self.close(codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        } else {
            self.out.append(self.key, self.core, encode);
        }
    }
}
