//! The Socket.IO connections of a shard: their packets, and how sockets begin, come back and end.
//!
//! A connection is a line of Engine.IO. Each of its sockets, one for a namespace, is a line to the engine: the first has the
//! connection's own place among the lines, the others have places without anything of their own, from which all goes to the
//! connection ([`Outward::Through`]).

mod acting;
mod calls;
mod coming;
mod commands;
mod frames;
mod keeping;
pub(crate) mod order;
mod places;
mod waiting;

use std::rc::Rc;
use std::sync::Arc;

use longwire_protocol::{Form, Message};
use longwire_socketio::engine::{Data, Form as EngineForm};
use longwire_socketio::{Arguments, DecodeError, Decoder, Limits, Namespace as Name, Packet, Protocol};
use longwire_ws::{CloseCode, Message as Received};

pub(crate) use acting::Found;
pub(crate) use calls::Call;
pub(crate) use frames::{Body, Names, PACKED, Says, SocketForm, pack};
pub(crate) use keeping::{KEPT, KEPT_SOCKETS, Keep, keeps_sockets, options as kept_sockets};
use order::Sequence;
pub(crate) use places::{EXCEPT, Noted, ONLY, Places, TO, VOLATILE};

use coming::{Judgement, NO_SOCKET};
use waiting::{Said, Waiting};

use super::Shard;
use super::line::{Deferred, Line, LineState, Outgoing};
use super::slab::Key;
use super::wire::Outward;
use crate::codes;
use crate::handler::{LineHandler, Opening};
use crate::socketio::{self, EmitError, Handshake, Namespace, Running, Socket};

/// Commands of the server itself have ids from here on; clients' acks below it are theirs.
const OWN: u32 = 0xFFFF_0000;
const CONNECT: u32 = OWN;
const ENTER: u32 = OWN + 1;
/// Namespaces of one connection.
const SOCKETS_MAX: usize = 100;
/// Handlers of one connection that are at work at a time; past it events wait.
const HANDLERS_MAX: usize = 64;
/// The same with those that wait for acks of the client, which are not at work.
const HANDLERS_AT_MOST: usize = 1024;
/// Packets that wait for what a socket has published before; past it the client is not read.
const QUEUE_MAX: usize = 1024;

/// A client's connection.
pub(crate) struct Connection {
    server: Arc<Running>,
    form: EngineForm,
    handshake: Rc<Handshake>,
    sockets: Vec<Entry>,
    /// Handlers at work.
    at_work: u32,
    /// What the client has said for which it is too early.
    waiting: Option<Box<Waiting>>,
}

/// A socket of a connection.
struct Entry {
    socket: Socket,
    namespace: Arc<Namespace>,
    form: SocketForm,
    line: Key,
    stage: Stage,
    /// What its handlers do.
    sequence: Sequence,
}

/// What is sent to one socket alone.
pub(crate) enum Sent {
    Packet(Packet),
    Event(Body),
    /// Frames.
    Encoded(Vec<u8>),
}

impl Sent {
    /// About.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(body) => body.inner.len() + body.parts.iter().map(bytes::Bytes::len).sum::<usize>(),
            Self::Packet(packet) => packet_bytes(packet),
            Self::Encoded(frames) => frames.len(),
        }
    }
}

fn packet_bytes(packet: &Packet) -> usize {
    match packet {
        Packet::Event { arguments, .. } | Packet::Ack { arguments, .. } => {
            arguments.json().len() + arguments.attachments().iter().map(bytes::Bytes::len).sum::<usize>()
        }
        _ => 0,
    }
}

/// How far a socket is on its way in.
enum Stage {
    /// Its session is fetched or made, and has this to continue from.
    Fetching {
        offset: Option<Box<str>>,
    },
    /// It enters the channels in which it was; so many have not answered.
    Returning {
        left: u32,
        failed: bool,
        key: Box<str>,
    },
    /// The application decides.
    Judged {
        key: Box<str>,
        _by: Option<Judgement>,
    },
    /// It enters its first channels.
    Entering {
        left: u32,
        key: Box<str>,
    },
    /// It is written down that it is there.
    Keeping {
        key: Box<str>,
        recovered: bool,
    },
    Open,
}

/// What a client has said.
pub(crate) enum Heard {
    Opened(Box<(Arc<Running>, EngineForm, Handshake)>),
    Packet(Box<Packet>),
}

/// Makes packets of what comes on a line.
pub(crate) struct SocketIoHandler {
    server: Arc<Running>,
    opening: Option<Box<Opening>>,
    decoder: Decoder,
}

impl SocketIoHandler {
    pub(crate) fn new(server: Arc<Running>, opening: Opening) -> Self {
        let revision = if opening.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "EIO=3")) {
            Protocol::V4
        } else {
            Protocol::V5
        };
        Self { server, opening: Some(Box::new(opening)), decoder: Decoder::new(revision) }
    }
}

impl LineHandler for SocketIoHandler {
    fn opened(&mut self, line: &mut Line<'_>) {
        let Some(opening) = self.opening.take() else { return };
        let Outward::Engine(_, form) = &line.out.outward else { return };
        let opened = Box::new((self.server.clone(), *form, Handshake::of(&opening)));
        line.defer(Deferred::Socket(Heard::Opened(opened)));
    }

    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        let data = match message.as_str() {
            Some(text) => Data::Text(text),
            None => Data::Binary(message.as_bytes().into()),
        };
        match self.decoder.message(&data, &Limits::default()) {
            Ok(Some(packet)) => line.defer(Deferred::Socket(Heard::Packet(Box::new(packet)))),
            Ok(None) => {}
            // Nobody can wait for it.
            Err(DecodeError::MissingAckId) => {}
            Err(error) => line.close(CloseCode::PROTOCOL_ERROR, &error.to_string()),
        }
    }

    fn drained(&mut self, line: &mut Line<'_>) {
        line.defer(Deferred::Room);
    }
}

impl Connection {
    fn at(&mut self, line: Key) -> Option<&mut Entry> {
        self.sockets.iter_mut().find(|entry| entry.line == line)
    }

    fn named(&mut self, name: &Name) -> Option<&mut Entry> {
        self.sockets.iter_mut().find(|entry| entry.socket.0.namespace == *name)
    }
}

impl Shard {
    pub(super) fn socket_heard(&mut self, key: Key, heard: Heard) {
        match heard {
            Heard::Opened(opened) => {
                let (server, form, handshake) = *opened;
                // Whoever connects to no namespace is closed as one that does not `connect`.
                let within = server.connect_timeout;
                self.engine(|engine, _| engine.opened_for(key.index, NO_SOCKET, within));
                let connection =
                    Connection { server, form, handshake: Rc::new(handshake), sockets: Vec::new(), at_work: 0, waiting: None };
                self.core.connections.insert(key.index, connection);
                if Protocol::from(form.revision).joins_root_by_itself() {
                    self.socket_connects(key, Name::ROOT, None);
                }
            }
            Heard::Packet(packet) => self.socket_packet(key, *packet),
        }
    }

    fn socket_packet(&mut self, key: Key, packet: Packet) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let joins_by_itself = Protocol::from(connection.form.revision).joins_root_by_itself();
        let known = connection.named(packet.namespace());
        match (packet, known) {
            (Packet::Connect { namespace, .. }, Some(_)) if namespace.is_root() && joins_by_itself => {}
            (Packet::Connect { namespace, data, .. }, Some(entry)) => {
                let line = entry.line;
                self.socket_connects_again(key, line, namespace, data);
            }
            (Packet::Connect { namespace, data, .. }, None) => self.socket_connects(key, namespace, data),
            (Packet::Disconnect { .. }, Some(entry)) => {
                let line = entry.line;
                self.socket_said(key, line, Said::Left);
            }
            (Packet::Event { id, arguments, .. }, Some(entry)) => {
                let line = entry.line;
                self.socket_said(key, line, Said::Event(id, arguments));
            }
            (Packet::Ack { id, arguments, .. }, Some(entry)) => {
                if let Some(waits) = entry.socket.0.took(id) {
                    waits.answer(arguments);
                    self.core.handlers_woken = true;
                }
            }
            (Packet::Disconnect { .. }, None) => {}
            (_, _) => self.close(key, CloseCode::POLICY_VIOLATION, "not connected to this namespace"),
        }
    }

    fn socket_event(&mut self, key: Key, line: Key, id: Option<u64>, arguments: Arguments) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        if entry.namespace.is_of_channels {
            return self.socket_command(line, id, &arguments);
        }
        let (socket, namespace) = (entry.socket.clone(), entry.namespace.clone());
        self.call(key, move || order::by(&socket, || socketio::dispatch(&namespace, &socket, &arguments, id)));
    }

    /// An event in a namespace of channels is a command of the native protocol: its name, then the channel (or a token), for a
    /// publication its data, and an object with anything else.
    fn socket_command(&mut self, line: Key, id: Option<u64>, arguments: &Arguments) {
        let id = match id.map(u32::try_from) {
            Some(Ok(id)) if id + 1 < OWN => Some(id + 1),
            Some(_) => return,
            None => None,
        };
        let commands = commands::command_of(id, arguments);
        self.native_said(line, Form::Json, commands);
    }

    /// The connection of a line that may be a socket's.
    pub(in crate::shard) fn connection_of(&mut self, line: Key) -> Key {
        match self.lines.get_mut(line) {
            Some(LineState { out: Outgoing { outward: Outward::Through(connection), .. }, .. }) => *connection,
            _ => line,
        }
    }

    /// The connection of a line, if it is one.
    fn connection(&self, key: Key) -> Option<&Connection> {
        self.core.connections.get(&key.index).filter(|_| self.lines.contains(key))
    }

    fn form_of(&mut self, line: Key) -> Option<SocketForm> {
        let key = self.connection_of(line);
        Some(self.core.connections.get_mut(&key.index)?.at(line)?.form)
    }

    /// Puts a packet into the outbox of a connection. Where there is no room for it, the client is slow.
    fn push_packet(&mut self, key: Key, form: EngineForm, packet: &Packet) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.out.outward.close_sent() {
            return;
        }
        if !self.has_room_for(key, packet_bytes(packet)) {
            return self.close(key, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
        let Some(line) = self.lines.get_mut(key) else { return };
        line.out.append(key, &mut self.core, |_, buffer| push_packet(form, packet, buffer));
    }

    /// As [`push_packet`](Self::push_packet); an event for which there is no room is not sent.
    fn push_sent(&mut self, key: Key, form: SocketForm, sent: &Sent) -> Result<(), EmitError> {
        let body = match sent {
            Sent::Packet(packet @ Packet::Event { .. }) if !self.has_room_for(key, packet_bytes(packet)) => {
                return Err(EmitError::Full);
            }
            Sent::Packet(packet) => {
                self.push_packet(key, form.form, packet);
                return Ok(());
            }
            Sent::Encoded(frames) => {
                let Some(line) = self.lines.get_mut(key).filter(|line| !line.out.outward.close_sent()) else { return Ok(()) };
                line.out.append(key, &mut self.core, |_, buffer| buffer.extend_from_slice(frames));
                return Ok(());
            }
            Sent::Event(body) => body,
        };
        let is_over = self.lines.get_mut(key).is_none_or(|line| line.out.outward.close_sent());
        if !is_over && !self.has_room_for(key, sent.bytes()) {
            return Err(EmitError::Full);
        }
        let Some(line) = self.lines.get_mut(key).filter(|_| !is_over) else { return Ok(()) };
        let (names, places) = (self.core.names.clone(), self.core.places.clone());
        line.out.append(key, &mut self.core, |_, buffer| form.push_event(body, &names, &places, buffer));
        Ok(())
    }
}

/// Appends the frames of a packet.
fn push_packet(form: EngineForm, packet: &Packet, out: &mut Vec<u8>) {
    let form = SocketForm { form, namespace: 0, says: Says::Events, alone: None };
    form.push_packet(packet, out);
}

/// Whether the engine's message is an answer to the server itself.
pub(super) fn is_own(message: &Message) -> bool {
    matches!(message, Message::Reply(Some(OWN..), _))
}
