//! A connected client, as its handlers see it.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use longwire_socketio::{Arguments, DataError, Json, Namespace as Name, Packet, RESERVED_EVENTS};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::asking::Acks;
use super::broadcast::{Broadcast, EmitError, arguments_of, logged};
use super::handlers::{self, EventHandler};
use super::{IntoArguments, JoinError, Rooms, Space};
use crate::handler::Opening;
use crate::shard::{self, Key, Noted, Step};

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
    pub(super) next_ack: Cell<u64>,
    /// Those of this socket alone, which few have.
    pub(crate) handlers: RefCell<Option<Box<Handlers>>>,
    /// Its channels, and what was noted with it, when it went.
    pub(crate) last: OnceCell<Option<Box<Last>>>,
}

type Last = (Vec<Arc<str>>, Option<Box<Noted>>);

/// By the names of events; with whether just the next one is meant.
type Handlers = HashMap<Box<str>, Vec<(handlers::Event, bool)>>;

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
    pub(crate) no_namespace: bool,
}

impl ConnectRefused {
    /// With a text, which is the `message` of the client's error.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, no_namespace: false }
    }

    /// As clients are told that there is no such namespace: for a [dynamic](super::SocketIo::dynamic) one, of which it is known by what
    /// the client says, or by looking it up, whether it is one.
    pub fn no_such_namespace() -> Self {
        Self { message: String::new(), data: None, no_namespace: true }
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
            last: OnceCell::new(),
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
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        read_auth(self.0.auth.as_ref())
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
        self.0.space.tell_outgoing(Some(self), event, &arguments);
        shard::with(|shard| shard.emit_to_socket(ticket, event, &arguments, volatile)).unwrap_or(Err(EmitError::Gone))
    }

    pub(super) fn acknowledge(&self, id: u64, arguments: Arguments) {
        if let Some(ticket) = self.0.ticket.get() {
            let packet = Packet::Ack { namespace: self.0.namespace.clone(), id, arguments };
            shard::with(|shard| shard.acknowledge(ticket, packet));
        }
    }

    /// Has a function handle an event of this client, behind those of its namespace: see
    /// [`NamespaceBuilder::on`](super::NamespaceBuilder::on), which costs no memory for each client.
    ///
    /// # Panics
    /// As there.
    pub fn on<M>(&self, event: &str, handler: impl EventHandler<M>) {
        self.add_handler(event, handlers::of_event(event, handler), false);
    }

    /// As [`on`](Self::on), for the next event of this name alone.
    ///
    /// # Panics
    /// As there.
    pub fn once<M>(&self, event: &str, handler: impl EventHandler<M>) {
        self.add_handler(event, handlers::of_event(event, handler), true);
    }

    /// Forgets what [`on`](Self::on) and [`once`](Self::once) were told about an event. Those of the namespace stay.
    pub fn off(&self, event: &str) {
        if let Some(own) = &mut *self.0.handlers.borrow_mut() {
            own.remove(event);
        }
    }

    fn add_handler(&self, event: &str, handler: handlers::Event, once: bool) {
        self.0.handlers.borrow_mut().get_or_insert_default().entry(event.into()).or_default().push((handler, once));
    }

    /// Its own handlers that an event is for.
    pub(super) fn take_handlers(&self, event: &str) -> Vec<handlers::Event> {
        let mut handlers = self.0.handlers.borrow_mut();
        let Some(own) = handlers.as_mut().and_then(|own| own.get_mut(event)) else { return Vec::new() };
        let all = own.iter().map(|(handler, _)| handler.clone()).collect();
        own.retain(|(_, once)| !once);
        all
    }

    /// From now on it gets what is emitted to a room, or to several. A name is any text of up to 1,024 bytes.
    ///
    /// # Errors
    /// The first of the rooms that it is not in now; it is in those before that one.
    pub fn join(&self, rooms: impl Rooms) -> Result<(), JoinError> {
        let mut joined = Ok(());
        rooms.each(|room| {
            if joined.is_ok() {
                joined = self.join_one(room);
            }
        });
        joined
    }

    fn join_one(&self, room: &str) -> Result<(), JoinError> {
        let ticket = self.0.ticket.get().ok_or(JoinError::Disconnected)?;
        // It always is in its own.
        if room == self.id() {
            return Ok(());
        }
        let joined = shard::with(|shard| {
            let shards = shard.node().shards();
            let channel = self.0.space.possible_room(room, shards)?;
            self.0.space.is_joined(room, shards);
            shard.join_room(ticket, &channel)
        });
        joined.unwrap_or(Err(JoinError::Disconnected))
    }

    /// And from now on no longer. Of its own room, which is called as its id, it cannot be had out.
    pub fn leave(&self, rooms: impl Rooms) {
        let Some(ticket) = self.0.ticket.get() else { return };
        rooms.each(|room| {
            shard::with(|shard| {
                let channel = self.0.space.room(room, shard.node().shards());
                shard.leave_room(ticket, &channel);
            });
        });
    }

    /// The rooms that it is in, or was in when it went; its own, which has its id for a name, is not among them.
    pub fn rooms(&self) -> Vec<String> {
        let channels = match self.0.ticket.get() {
            Some(ticket) => shard::with(|shard| shard.channels_of_socket(ticket)).flatten(),
            None => self.last().map(|(channels, _)| channels.clone()),
        };
        let room = |channel: &Arc<str>| self.0.space.room_of(channel).filter(|room| *room != self.id()).map(Cow::into_owned);
        channels.unwrap_or_default().iter().filter_map(room).collect()
    }

    /// Emits to those in a room, or in one of several, without this one.
    pub fn to(&self, rooms: impl Rooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// Emits to all in the namespace, without those in a room, or in one of several, and without this one.
    pub fn except(&self, rooms: impl Rooms) -> Broadcast {
        self.broadcast().except(rooms)
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
    pub fn set_data(&self, data: &impl Serialize) -> Result<(), DataError> {
        let data = Box::new(Noted(serde_json::value::to_raw_value(data)?));
        if let Some(ticket) = self.0.ticket.get() {
            shard::with(|shard| shard.set_socket_data(ticket, data));
        }
        Ok(())
    }

    /// What was noted; nothing, if nothing was. It is there still when the socket has gone.
    ///
    /// # Errors
    /// It is something else.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, DataError> {
        let noted = match self.0.ticket.get() {
            Some(ticket) => shard::with(|shard| shard.socket_data(ticket)).flatten(),
            None => self.last().and_then(|(_, data)| data.clone()),
        };
        read_noted(noted.as_deref())
    }

    fn last(&self) -> Option<&Last> {
        self.0.last.get()?.as_deref()
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

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).field("namespace", &self.namespace()).finish_non_exhaustive()
    }
}

pub(super) fn read_auth<T: DeserializeOwned>(auth: Option<&Json>) -> Result<T, DataError> {
    match auth {
        Some(auth) => auth.read(),
        None => Ok(serde_json::from_str("{}")?),
    }
}

pub(super) fn read_noted<T: DeserializeOwned>(noted: Option<&Noted>) -> Result<Option<T>, DataError> {
    noted.map(|Noted(json)| serde_json::from_str(json.get())).transpose().map_err(DataError::from)
}

/// Whether the protocol has a name for itself.
pub(super) fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}
