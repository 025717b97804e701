//! A connected client, as its handlers see it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use longwire_socketio::{Arguments, Json, Namespace as Name, Packet, RESERVED_EVENTS};
use serde::Serialize;
use tokio::sync::oneshot;

use super::broadcast::{Broadcast, EmitError, arguments_of, event_of, logged};
use super::handlers::{self, EventHandler};
use super::{IntoArguments, Space};
use crate::handler::Opening;
use crate::shard::{self, Key, Step};

/// A client in a namespace. Cheap to clone. It belongs to its shard's thread, and so do the handlers' futures, which need not be
/// `Send`; [`SocketIo::of`](super::SocketIo::of) is for all other threads.
#[derive(Clone)]
pub struct Socket(pub(crate) Rc<SocketState>);

pub(crate) struct SocketState {
    /// Where it is, as long as it is anywhere.
    pub(crate) ticket: Cell<Option<Ticket>>,
    /// As text.
    pub(crate) id: OnceCell<[u8; 16]>,
    pub(crate) namespace: Name,
    pub(crate) space: Arc<Space>,
    pub(crate) handshake: Rc<Handshake>,
    pub(crate) auth: Option<Json>,
    pub(crate) recovered: Cell<bool>,
    /// What is waited for, which mostly is nothing.
    pub(crate) acks: RefCell<Option<Box<Acks>>>,
    next_ack: Cell<u64>,
    /// Those of this socket alone, which few have.
    pub(crate) handlers: RefCell<Option<Box<Handlers>>>,
}

type Acks = HashMap<u64, oneshot::Sender<Arguments>>;
type Handlers = HashMap<Box<str>, handlers::Event>;

/// The place of a socket on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Its connection.
    pub(crate) connection: Key,
    /// Under which the engine knows it.
    pub(crate) line: Key,
}

/// The request that opened the connection, and what the client said when it connected to the namespace.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Path and query, a line break, and then the headers, each on a line. A connection has this for as long as it lasts: what it was
    /// read from is far larger.
    text: Box<[u8]>,
    peer: Option<SocketAddr>,
}

impl Handshake {
    pub(crate) fn of(opening: &Opening) -> Self {
        let mut text = opening.uri.to_string().into_bytes();
        for (name, value) in &opening.headers {
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        Self { text: text.into(), peer: opening.peer }
    }

    /// Path and query.
    pub fn uri(&self) -> Uri {
        let path = self.text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        std::str::from_utf8(path).ok().and_then(|path| path.parse().ok()).unwrap_or_default()
    }

    /// The request's headers.
    pub fn headers(&self) -> HeaderMap {
        let lines = self.text.split(|byte| *byte == b'\n').skip(1);
        let header = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
        };
        lines.filter_map(header).collect()
    }

    /// The client's address, if the server has it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// Why a client is not let in; it is told.
#[derive(Clone, Debug)]
pub struct ConnectRefused {
    pub(crate) message: String,
    pub(crate) data: Option<Json>,
}

impl ConnectRefused {
    /// With a text, which is the `message` of the client's error.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// And with more about it, which is the `data` of the client's error.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = Json::of(data).ok();
        self
    }
}

/// Why a socket has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The client has left the namespace.
    ClientLeft,
    /// The server has put it out.
    ServerPutOut,
    /// The connection was closed, or lost.
    TransportClosed,
    /// There was no sign of life.
    PingTimeout,
    /// The server is shutting down.
    ShuttingDown,
    /// The client came back on another connection before this one was known to be lost.
    Replaced,
}

impl fmt::Display for Reason {
    /// In the words of the reference, where it has some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientLeft => "client namespace disconnect",
            Self::ServerPutOut => "server namespace disconnect",
            Self::TransportClosed => "transport close",
            Self::PingTimeout => "ping timeout",
            Self::ShuttingDown => "server shutting down",
            Self::Replaced => "replaced",
        })
    }
}

/// Why an event was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// Not in time.
    TimedOut,
    /// The client has gone.
    Disconnected,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the client has not acknowledged in time",
            Self::Disconnected => "the client has gone",
        })
    }
}

impl std::error::Error for AckError {}

/// Acks that one socket may owe.
const ACKS_MAX: usize = 10_000;

impl Socket {
    pub(crate) fn new(namespace: Name, space: Arc<Space>, handshake: Rc<Handshake>, auth: Option<Json>) -> Self {
        Self(Rc::new(SocketState {
            ticket: Cell::new(None),
            id: OnceCell::new(),
            namespace,
            space,
            handshake,
            auth,
            recovered: Cell::new(false),
            acks: RefCell::default(),
            next_ack: Cell::new(0),
            handlers: RefCell::new(None),
        }))
    }

    /// Its id, which others may know. A client that comes back within the time of recovery has the same again.
    pub fn id(&self) -> &str {
        self.0.id.get().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// The namespace that it is in.
    pub fn namespace(&self) -> &str {
        self.0.namespace.as_str()
    }

    /// The request that opened the connection.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// What the client said when it connected (`auth`), in whatever type it should be; an empty object if it said nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn auth<T: serde::de::DeserializeOwned>(&self) -> Result<T, longwire_socketio::DataError> {
        match &self.0.auth {
            Some(auth) => auth.read(),
            None => Json::parse("{}", 1).map_err(|error| longwire_socketio::DataError(error.to_string().into()))?.read(),
        }
    }

    /// Whether the client has come back, with its id and its rooms, and gets what was emitted meanwhile.
    pub fn recovered(&self) -> bool {
        self.0.recovered.get()
    }

    /// Whether it is still there.
    pub fn is_connected(&self) -> bool {
        self.0.ticket.get().is_some()
    }

    /// Emits an event to this client. See [`IntoArguments`] for what can be sent. What cannot be emitted is logged: see
    /// [`try_emit`](Self::try_emit).
    pub fn emit(&self, event: &str, arguments: impl IntoArguments) {
        logged(event, self.try_emit(event, arguments));
    }

    /// As [`emit`](Self::emit), and says what came of it.
    ///
    /// # Errors
    /// [`EmitError`]; the client does not get it.
    pub fn try_emit(&self, event: &str, arguments: impl IntoArguments) -> Result<(), EmitError> {
        self.send(event, arguments, false)
    }

    /// As [`emit`](Self::emit), but only if the client takes it at once: it is not kept for later.
    pub fn emit_volatile(&self, event: &str, arguments: impl IntoArguments) {
        logged(event, self.send(event, arguments, true));
    }

    fn send(&self, event: &str, arguments: impl IntoArguments, volatile: bool) -> Result<(), EmitError> {
        let ticket = self.0.ticket.get().ok_or(EmitError::Gone)?;
        let arguments = arguments_of(event, arguments)?;
        shard::with(|shard| shard.emit_to_socket(ticket, event, &arguments, volatile)).unwrap_or(Err(EmitError::Gone))
    }

    /// Emits an event that the client is to acknowledge within this time.
    ///
    /// # Errors
    /// It has not, or has gone.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        arguments: impl IntoArguments,
        within: Duration,
    ) -> Result<Arguments, AckError> {
        let ticket = self.0.ticket.get().ok_or(AckError::Disconnected)?;
        let Ok(arguments) = event_of(event, arguments).inspect_err(|error| logged(event, Err(error.clone()))) else {
            return Err(AckError::Disconnected);
        };
        let id = self.0.next_ack.get();
        self.0.next_ack.set(id + 1);
        let (sender, answer) = oneshot::channel();
        {
            let mut acks = self.0.acks.borrow_mut();
            let acks = acks.get_or_insert_default();
            acks.retain(|_, waits| !waits.is_closed());
            if acks.len() >= ACKS_MAX {
                return Err(AckError::TimedOut);
            }
            acks.insert(id, sender);
        }
        let packet = Packet::Event { namespace: self.0.namespace.clone(), id: Some(id), arguments };
        logged(event, shard::with(|shard| shard.send_packet(ticket, packet)).unwrap_or(Err(EmitError::Gone)));
        let answer = tokio::time::timeout(within, answer).await;
        self.0.took(id);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AckError::Disconnected),
            Err(_) => Err(AckError::TimedOut),
        }
    }

    pub(super) fn acknowledge(&self, id: u64, arguments: Arguments) {
        if let Some(ticket) = self.0.ticket.get() {
            let packet = Packet::Ack { namespace: self.0.namespace.clone(), id, arguments };
            shard::with(|shard| shard.acknowledge(ticket, packet));
        }
    }

    /// Has a function handle an event of this client, before those of its namespace: see
    /// [`NamespaceBuilder::on`](super::NamespaceBuilder::on), which costs no memory for each client.
    pub fn on<M>(&self, event: &str, handler: impl EventHandler<M>) {
        let handler = Arc::new(move |socket, arguments: &_, ack| handler.call(socket, arguments, ack));
        self.0.handlers.borrow_mut().get_or_insert_default().insert(event.into(), handler);
    }

    /// From now on it gets what is emitted to a room, whose name has up to 200 bytes.
    pub fn join(&self, room: &str) {
        let channel = self.0.space.room(room);
        if channel.len() > 255 || room.is_empty() || room.contains(char::is_control) {
            return tracing::warn!(room, "no room can have this name: it has 1 to 200 bytes and no control characters");
        }
        if let Some(ticket) = self.0.ticket.get() {
            shard::with(|shard| shard.join_room(ticket, &channel));
        }
    }

    /// And from now on no longer.
    pub fn leave(&self, room: &str) {
        if let Some(ticket) = self.0.ticket.get() {
            let channel = self.0.space.room(room);
            shard::with(|shard| shard.leave_room(ticket, &channel));
        }
    }

    /// The rooms that it is in; its own, which has its id for a name, is not among them.
    pub fn rooms(&self) -> Vec<String> {
        let channels = self.0.ticket.get().and_then(|ticket| shard::with(|shard| shard.channels_of_socket(ticket)).flatten());
        let room = |channel: &Arc<str>| self.0.space.room_of(channel).filter(|room| *room != self.id()).map(str::to_owned);
        channels.unwrap_or_default().iter().filter_map(room).collect()
    }

    /// Emits to those in a room, without this one.
    pub fn to(&self, room: &str) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Emits to all in the namespace, without those in a room and without this one.
    pub fn except(&self, room: &str) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Emits to all in the namespace, without this one.
    pub fn broadcast(&self) -> Broadcast {
        self.io().except(self.id())
    }

    /// Emits to all in the namespace.
    pub fn io(&self) -> Broadcast {
        Broadcast::from_socket(self)
    }

    /// Notes something with the socket, for [`Broadcast::fetch_sockets`], and for itself when it comes back.
    ///
    /// # Errors
    /// Serde cannot write it as JSON.
    pub fn set_data(&self, data: &impl Serialize) -> Result<(), serde_json::Error> {
        let data = serde_json::to_value(data)?;
        if let Some(ticket) = self.0.ticket.get() {
            shard::with(|shard| shard.set_socket_data(ticket, data));
        }
        Ok(())
    }

    /// What was noted.
    pub fn data(&self) -> Option<serde_json::Value> {
        self.0.ticket.get().and_then(|ticket| shard::with(|shard| shard.socket_data(ticket))).flatten()
    }

    /// Puts the client out of the namespace, behind all that was emitted to it before; it does not come back by itself.
    pub fn disconnect(&self) {
        if let Some(ticket) = self.0.ticket.get() {
            shard::with(|shard| shard.step_of(ticket, Step::PutOut(ticket)));
        }
    }

    /// As [`disconnect`](Self::disconnect), out of all its namespaces, and closes its connection.
    pub fn close(&self) {
        if let Some(ticket) = self.0.ticket.get() {
            shard::with(|shard| shard.step_of(ticket, Step::Close(ticket)));
        }
    }
}

impl SocketState {
    /// The one who waits for an ack, if any does.
    pub(crate) fn took(&self, id: u64) -> Option<oneshot::Sender<Arguments>> {
        let mut acks = self.acks.borrow_mut();
        let waits = acks.as_mut()?.remove(&id);
        if acks.as_ref().is_some_and(|acks| acks.is_empty()) {
            *acks = None;
        }
        waits
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).field("namespace", &self.namespace()).finish_non_exhaustive()
    }
}

/// Whether an event may have this name.
pub(super) fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}
