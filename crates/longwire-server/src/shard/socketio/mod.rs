//! The Socket.IO connections of a shard: their packets, and how sockets begin, come back and end.
//!
//! A connection is a line of Engine.IO. Each of its sockets, one for a namespace, is a line to the engine: the first has the
//! connection's own place among the lines, the others have places without anything of their own, from which all goes to the
//! connection ([`Outward::Through`]).

pub(crate) mod acting;
mod frames;
mod keeping;
mod places;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use longwire_protocol::{Action, Command as Said, Connect, Connected, Form, Message, Reply, SessionId, Subscribe};
use longwire_socketio::engine::{Data, Form as EngineForm};
use longwire_socketio::{Arguments, DecodeError, Decoder, Json, Limits, Namespace as Name, Packet, Protocol};
use longwire_ws::{CloseCode, Message as Received};

pub(crate) use frames::{Body, Names, PACKED, Says, SocketForm, pack};
pub(crate) use keeping::{KEPT_SOCKETS, options as kept_sockets};
pub(crate) use places::{EXCEPT, Joined, ONLY, Places, TO};

use super::Shard;
use super::frames::{Content, Encoding};
use super::line::{Deferred, Line, LineState, Outgoing, Phase};
use super::slab::Key;
use super::wire::{Inward, Outward};
use crate::handler::{End, EndedBy, LineHandler, Opening};
use crate::socketio::{Future, Handshake, Namespace, Reason, Running, Socket, Ticket};
use crate::{codes, socketio};

/// Commands of the server itself have ids from here on; clients' acks below it are theirs.
const OWN: u32 = 0xFFFF_0000;
const CONNECT: u32 = OWN;
const ENTER: u32 = OWN + 1;
/// Namespaces of one connection.
const SOCKETS_MAX: usize = 100;
/// Handlers of one connection that are at work at a time; past it the client is not read.
const HANDLERS_MAX: usize = 64;
/// Packets that wait for what a socket has published before; past it the client is not read.
const QUEUE_MAX: usize = 1024;

/// A client's connection.
pub(crate) struct Connection {
    server: Arc<Running>,
    form: EngineForm,
    handshake: Rc<Handshake>,
    sockets: Vec<Entry>,
    /// Handlers at work.
    at_work: usize,
}

/// A socket of a connection.
struct Entry {
    socket: Socket,
    namespace: Arc<Namespace>,
    form: SocketForm,
    line: Key,
    stage: Stage,
    /// What it publishes that is not in its channel yet.
    in_flight: u32,
    /// How many of those there were before, which may go round.
    published: u32,
    /// What comes after that; each behind so many.
    queue: VecDeque<(u32, Sent)>,
}

/// What is sent to one socket alone.
pub(crate) enum Sent {
    Packet(Packet),
    Event(Body),
}

/// How far a socket is on its way in.
enum Stage {
    /// Its session is fetched or made, and has this to continue from.
    Fetching {
        offset: Option<String>,
    },
    /// It enters the channels in which it was; so many have not answered.
    Returning {
        left: usize,
        failed: bool,
        key: String,
    },
    /// The application decides.
    Judged {
        key: String,
    },
    /// It enters its first channels.
    Entering {
        left: usize,
        key: String,
    },
    Open,
}

/// What handlers are to do, once the shard is not at work.
pub(crate) struct Call {
    connection: Key,
    run: Box<dyn FnOnce() -> Option<Future>>,
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
                let encoding = Encoding { content: Content::Plain, window: None };
                let within = server.connect_timeout;
                self.engine(|engine, _| engine.opened_for(key.index, encoding, within));
                let connection = Connection { server, form, handshake: Rc::new(handshake), sockets: Vec::new(), at_work: 0 };
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
            (Packet::Connect { .. }, Some(_)) => self.close(key, CloseCode::POLICY_VIOLATION, "connected already"),
            (Packet::Connect { namespace, data, .. }, None) => self.socket_connects(key, namespace, data),
            (Packet::Disconnect { .. }, Some(entry)) => {
                let line = entry.line;
                self.socket_leaves(key, line, Reason::ClientLeft);
            }
            (Packet::Event { id, arguments, .. }, Some(entry)) if matches!(entry.stage, Stage::Open) => {
                let line = entry.line;
                self.socket_event(key, line, id, arguments);
            }
            (Packet::Ack { id, arguments, .. }, Some(entry)) => {
                if let Some(waits) = entry.socket.0.took(id) {
                    let _ = waits.send(arguments);
                    self.core.handlers_woken = true;
                }
            }
            (Packet::Disconnect { .. }, None) => {}
            (_, _) => self.close(key, CloseCode::POLICY_VIOLATION, "not connected to this namespace"),
        }
    }

    /// A client wants to be in a namespace.
    fn socket_connects(&mut self, key: Key, name: Name, auth: Option<Json>) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let form = connection.form;
        let found = connection.server.namespace(&name).filter(|_| connection.sockets.len() < SOCKETS_MAX);
        let Some((namespace, space)) = found else {
            let refused = Packet::invalid_namespace(name);
            return self.push_packet(key, form, &refused);
        };
        let said = auth.as_ref().and_then(|auth| auth.read::<Recovered>().ok()).unwrap_or_default();
        let is_first = connection.sockets.iter().all(|entry| entry.line != key);
        let recovery = connection.server.recovery;
        let socket = Socket::new(name.clone(), space, connection.handshake.clone(), auth);
        let line = if is_first { Some(key) } else { self.place_through(key) };
        let Some(line) = line else { return };
        let says = if namespace.is_of_channels { Says::Pushes } else { Says::Events };
        let number = self.core.names.take(name.as_str());
        let form = SocketForm { form, namespace: number, says, alone: recovery.map(|_| line.index) };
        let claim = said.pid.filter(|_| recovery.is_some()).and_then(|pid| {
            let (id, key) = pid.split_once('.')?;
            Some((SessionId::parse(id)?, key.to_owned()))
        });
        let token = said.token.filter(|_| namespace.is_of_channels);
        let stage = Stage::Fetching { offset: claim.as_ref().and(said.offset) };
        let entry = Entry { socket, namespace, form, line, stage, in_flight: 0, published: 0, queue: VecDeque::new() };
        if let Some(connection) = self.core.connections.get_mut(&key.index) {
            // Most have one.
            connection.sockets.reserve_exact(1);
            connection.sockets.push(entry);
        }
        // What it says next comes after its answer.
        if let Some(line) = self.lines.get_mut(key) {
            line.out.paused = true;
        }
        self.fetch_session(line, form, recovery, token, claim);
    }

    /// A place among the lines for a further socket of a connection.
    fn place_through(&mut self, connection: Key) -> Option<Key> {
        let now = self.core.now;
        let permit = self.lines.get_mut(connection)?._permit.clone();
        Some(self.lines.insert(LineState {
            fd: None,
            pace: 0,
            phase: Phase::Open,
            waiting: super::heartbeat::Waiting::Nothing,
            heard: now,
            message_at: now,
            inward: Inward::Requests,
            handler: None,
            out: Outgoing::new(Outward::Through(connection)),
            _permit: permit,
        }))
    }

    fn fetch_session(
        &mut self,
        line: Key,
        form: SocketForm,
        recovery: Option<u64>,
        token: Option<String>,
        claim: Option<(SessionId, String)>,
    ) {
        self.core.places.begin(line.index, recovery);
        if recovery.is_none() && form.says == Says::Events {
            return self.go_without_session(line);
        }
        let (session, key) = claim.unzip();
        let connect = Action::Connect(Connect { token, info: None, session, key });
        self.engine(|engine, ways| {
            engine.opened(line.index, Encoding { content: Content::Socket(form), window: None });
            if form.says == Says::Events {
                engine.trust(line.index);
            }
            engine.command(line.index, Said { id: Some(CONNECT), action: connect }, ways);
        });
    }

    /// A socket that cannot come back, and asks for nothing by itself, has an id and no session.
    fn go_without_session(&mut self, line: Key) {
        let key = self.connection_of(line);
        let Ok(id) = crate::requests::new_address(self.core.index) else {
            return self.close(key, CloseCode::INTERNAL_ERROR, "no randomness");
        };
        // Nor is one waited for.
        self.engine(|engine, ways| engine.ended(line.index, ways));
        self.core.places.name(line.index, id, "");
        if let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) {
            let _ = entry.socket.0.id.set(id.text());
        }
        self.judge(key, line, String::new());
    }

    /// The engine answers a command of the server's own.
    pub(super) fn socket_answered(&mut self, line: u32, reply: Reply) {
        let Some(line) = self.lines.key_at(line) else { return };
        let key = self.connection_of(line);
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        match reply {
            Reply::Connected(connected) => {
                let Connected { session, key: secret, resumed, .. } = *connected;
                let Stage::Fetching { offset } = &mut entry.stage else { return };
                let offset = offset.take();
                self.core.places.name(line.index, session, &secret);
                if resumed {
                    return self.return_to_channels(key, line, session, secret, offset.as_deref());
                }
                let _ = entry.socket.0.id.set(session.text());
                self.judge(key, line, secret);
            }
            Reply::Subscribed(subscribed) => self.entered(key, line, matches!(subscribed.recovered, Some(Ok(())))),
            Reply::Error(error) => match entry.stage {
                Stage::Fetching { .. } => self.refuse_socket(key, line, &error.message, None),
                Stage::Open => tracing::warn!(code = error.code.name(), channel = ?error.channel, "a socket cannot join"),
                _ => self.entered(key, line, false),
            },
            _ => {}
        }
    }

    /// A client has come back: it enters the channels in which it was, where it was.
    fn return_to_channels(&mut self, key: Key, line: Key, session: SessionId, secret: String, offset: Option<&str>) {
        let kept = self.engine(|engine, _| engine.unpack(line.index)).and_then(|kept| kept.downcast::<Joined>().ok());
        let positions = kept.as_ref().and_then(|joined| joined.continue_at(offset));
        let Some((joined, positions)) = kept.zip(positions) else { return self.begin_anew(key, line) };
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let _ = entry.socket.0.id.set(session.text());
        entry.stage = Stage::Returning { left: positions.len(), failed: false, key: secret };
        let says = entry.form.says;
        self.core.places.with(line.index, |member| member.joined = *joined);
        self.core.places.is_unsaved(line.index);
        if positions.is_empty() {
            return self.open_socket(key, line, true);
        }
        self.engine(|engine, ways| {
            engine.hold(line.index);
            for (channel, since) in positions {
                let subscribe =
                    Subscribe { channel, since: Some(since), last: None, state: false, members: says == Says::Pushes };
                engine.command(line.index, Said { id: Some(ENTER), action: Action::Subscribe(subscribe) }, ways);
            }
        });
    }

    /// A channel has answered a socket that is on its way in.
    fn entered(&mut self, key: Key, line: Key, is_recovered: bool) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        match &mut entry.stage {
            Stage::Returning { left, failed, .. } => {
                *left -= 1;
                *failed |= !is_recovered;
                if *left == 0 && *failed {
                    self.begin_anew(key, line);
                } else if *left == 0 {
                    self.open_socket(key, line, true);
                }
            }
            Stage::Entering { left, .. } => {
                *left -= 1;
                if *left == 0 {
                    self.open_socket(key, line, false);
                }
            }
            _ => {}
        }
    }

    /// What a client has missed is not there any more: it gets another id, and knows by that.
    fn begin_anew(&mut self, key: Key, line: Key) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let (recovery, handshake) = (connection.server.recovery, connection.handshake.clone());
        let Some(entry) = connection.at(line) else { return };
        let old = &entry.socket.0;
        entry.socket = Socket::new(old.namespace.clone(), old.space.clone(), handshake, old.auth.clone());
        entry.stage = Stage::Fetching { offset: None };
        let form = entry.form;
        self.engine(|engine, ways| engine.ended(line.index, ways));
        self.fetch_session(line, form, recovery, None, None);
    }

    /// Has the application decide whether a client is let in.
    fn judge(&mut self, key: Key, line: Key, secret: String) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let judges = entry.namespace.middleware.clone();
        entry.stage = Stage::Judged { key: secret };
        entry.socket.0.ticket.set(Some(Ticket { connection: key, line }));
        if judges.is_empty() {
            return self.let_in(key, line);
        }
        let socket = entry.socket.clone();
        self.call(key, move || {
            Some(Box::pin(async move {
                let mut judgement = Ok(());
                for judge in judges {
                    judgement = judge(socket.clone()).await;
                    if judgement.is_err() {
                        break;
                    }
                }
                super::with(|shard| shard.judged(Ticket { connection: key, line }, judgement));
            }))
        });
    }

    fn judged(&mut self, at: Ticket, judgement: Result<(), socketio::ConnectRefused>) {
        let Ticket { connection: key, line } = at;
        let entry = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line));
        if !entry.is_some_and(|entry| matches!(entry.stage, Stage::Judged { .. })) {
            return;
        }
        match judgement {
            Ok(()) => self.let_in(key, line),
            Err(refused) => self.refuse_socket(key, line, &refused.message, refused.data.as_ref()),
        }
        self.wake_driver();
    }

    fn refuse_socket(&mut self, key: Key, line: Key, message: &str, data: Option<&Json>) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let (name, form) = (entry.socket.0.namespace.clone(), entry.form.form);
        let refused = Packet::refused(Protocol::from(form.revision), name, message, data);
        self.push_packet(key, form, &refused);
        self.forget_socket(key, line, false);
        self.resume(key);
    }

    /// A new socket enters the channel of its namespace, and its own.
    fn let_in(&mut self, key: Key, line: Key) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let recovers = connection.server.recovery.is_some();
        let Some(entry) = connection.at(line) else { return };
        let Stage::Judged { key: secret } = &mut entry.stage else { return };
        let secret = std::mem::take(secret);
        let channels = match (entry.form.says, recovers) {
            (Says::Pushes, _) => Vec::new(),
            (Says::Events, false) => vec![entry.socket.0.space.all.clone()],
            (Says::Events, true) => {
                let space = &entry.socket.0.space;
                vec![space.all.clone(), space.own(entry.socket.id())]
            }
        };
        entry.stage = Stage::Entering { left: channels.len(), key: secret };
        if !recovers {
            for channel in &channels {
                self.enter_plainly(line, channel);
            }
            return self.open_socket(key, line, false);
        }
        if channels.is_empty() {
            return self.open_socket(key, line, false);
        }
        for channel in channels {
            self.enter(line, channel);
        }
    }

    /// A socket that cannot come back enters a channel: it is live there at once.
    fn enter_plainly(&mut self, line: Key, channel: &Arc<str>) {
        let Some(form) = self.form_of(line) else { return };
        let core = &mut self.core;
        let (engine, inbox) = (&mut core.channels.engine, &mut core.channels.inbox);
        let (node, index) = (&core.node, core.index);
        let encoding = Encoding { content: Content::Socket(form), window: None };
        if engine.subscribe_plain(line.index, encoding, channel, |request| node.post(index, inbox, request, None)) {
            let nowhere = longwire_protocol::Position { epoch: longwire_protocol::Epoch::NONE, offset: 0 };
            core.places.joined(line.index, channel, nowhere);
        }
    }

    fn enter(&mut self, line: Key, channel: Arc<str>) {
        let subscribe = Subscribe { channel, since: None, last: None, state: false, members: false };
        self.engine(|engine, ways| {
            engine.command(line.index, Said { id: Some(ENTER), action: Action::Subscribe(subscribe) }, ways);
        });
    }

    /// All that a socket needs is there: its client is told, and its handlers are called.
    fn open_socket(&mut self, key: Key, line: Key, recovered: bool) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let recovers = connection.server.recovery.is_some();
        let Some(entry) = connection.at(line) else { return };
        let (Stage::Entering { key: secret, .. } | Stage::Returning { key: secret, .. }) = &entry.stage else { return };
        let (socket, form, connect) = (entry.socket.clone(), entry.form, entry.namespace.connect.clone());
        let pid = recovers.then(|| format!("{}.{secret}", socket.id()));
        entry.stage = Stage::Open;
        self.core.places.is_unsaved(line.index);
        socket.0.recovered.set(recovered);
        socket.0.ticket.set(Some(Ticket { connection: key, line }));
        let protocol = Protocol::from(form.form.revision);
        let packet = Packet::connected(protocol, socket.0.namespace.clone(), socket.id(), pid.as_deref());
        if recovered {
            // As with the reference, what was missed comes first, as far as it is there at once.
            self.engine(|engine, ways| engine.release(line.index, ways));
        }
        self.push_packet(key, form.form, &packet);
        if let Some(connect) = connect {
            self.call(key, move || connect(socket));
        }
        self.resume(key);
    }

    fn socket_event(&mut self, key: Key, line: Key, id: Option<u64>, arguments: Arguments) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        if entry.namespace.is_of_channels {
            return self.socket_command(line, id, &arguments);
        }
        let Some(name) = arguments.event_name() else { return };
        let own = entry.socket.0.handlers.borrow().as_ref().and_then(|own| own.get(&*name).cloned());
        let handler = own.or_else(|| entry.namespace.events.get(&*name).cloned()).or_else(|| entry.namespace.any.clone());
        drop(name);
        if let Some(handler) = handler {
            let socket = entry.socket.clone();
            self.call(key, move || handler(socket, &arguments, id));
        }
    }

    /// An event in a namespace of channels is a command of the native protocol: its name, then the channel (or a token), for a
    /// publication its data, and an object with anything else.
    fn socket_command(&mut self, line: Key, id: Option<u64>, arguments: &Arguments) {
        let id = match id.map(u32::try_from) {
            Some(Ok(id)) if id + 1 < OWN => Some(id + 1),
            Some(_) => return,
            None => None,
        };
        let commands = command_of(id, arguments);
        self.native_said(line, Form::Json, commands);
    }

    /// Has a handler called once the shard is not at work.
    fn call(&mut self, connection: Key, run: impl FnOnce() -> Option<Future> + 'static) {
        self.core.calls.push_back(Call { connection, run: Box::new(run) });
    }

    /// A handler is at work. A client that keeps too many busy is not read meanwhile.
    pub(super) fn handler_began(&mut self, connection: Key) {
        if let Some(at) = self.core.connections.get_mut(&connection.index) {
            at.at_work += 1;
            if at.at_work >= HANDLERS_MAX
                && let Some(line) = self.lines.get_mut(connection)
            {
                line.out.paused = true;
            }
        }
    }

    fn handler_ended(&mut self, connection: Key) {
        let Some(at) = self.core.connections.get_mut(&connection.index) else { return };
        at.at_work = at.at_work.saturating_sub(1);
        if at.at_work + 1 == HANDLERS_MAX {
            self.resume_client(connection);
        }
    }

    /// Reads a client again, unless there is still something to wait for.
    fn resume_client(&mut self, key: Key) {
        let Some(connection) = self.core.connections.get(&key.index) else { return };
        let is_ready = |entry: &Entry| matches!(entry.stage, Stage::Open) && entry.queue.len() <= QUEUE_MAX;
        if connection.at_work < HANDLERS_MAX && connection.sockets.iter().all(is_ready) {
            self.resume(key);
        }
    }

    /// The connection of a line that may be a socket's.
    pub(super) fn connection_of(&mut self, line: Key) -> Key {
        match self.lines.get_mut(line) {
            Some(LineState { out: Outgoing { outward: Outward::Through(connection), .. }, .. }) => *connection,
            _ => line,
        }
    }

    fn form_of(&mut self, line: Key) -> Option<SocketForm> {
        let key = self.connection_of(line);
        Some(self.core.connections.get_mut(&key.index)?.at(line)?.form)
    }

    /// Puts a packet into the outbox of a connection.
    fn push_packet(&mut self, key: Key, form: EngineForm, packet: &Packet) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.out.outward.close_sent() {
            return;
        }
        if line.out.outbox.bytes() >= self.core.outbox_bytes {
            return self.close(key, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
        line.out.append(key, &mut self.core, |_, buffer| push_packet(form, packet, buffer));
    }

    fn push_sent(&mut self, key: Key, form: SocketForm, sent: &Sent) {
        let body = match sent {
            Sent::Packet(packet) => return self.push_packet(key, form.form, packet),
            Sent::Event(body) => body,
        };
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.out.outward.close_sent() {
            return;
        }
        if line.out.outbox.bytes() >= self.core.outbox_bytes {
            return self.close(key, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
        let (names, places) = (self.core.names.clone(), self.core.places.clone());
        line.out.append(key, &mut self.core, |_, buffer| form.push_event(body, &names, &places, buffer));
    }

    /// A connection is over, and its sockets with it.
    pub(super) fn connection_ends(&mut self, key: Key, end: &End) {
        let Some(connection) = self.core.connections.get(&key.index) else { return };
        let reason = match end.code {
            Some(code) if code == codes::PING_TIMEOUT => Reason::PingTimeout,
            Some(CloseCode::GOING_AWAY) if end.by == EndedBy::Server => Reason::ShuttingDown,
            Some(code) if code == codes::of(longwire_protocol::CloseCode::Replaced) => Reason::Replaced,
            _ => Reason::TransportClosed,
        };
        let lines: Vec<_> = connection.sockets.iter().map(|entry| entry.line).collect();
        for line in lines {
            self.socket_leaves(key, line, reason);
        }
        self.core.connections.remove(&key.index);
    }

    /// A socket leaves its namespace. If it may come back, its session is kept.
    fn socket_leaves(&mut self, key: Key, line: Key, reason: Reason) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let (socket, told) = (entry.socket.clone(), entry.namespace.disconnect.clone());
        let was_open = matches!(entry.stage, Stage::Open);
        let may_return = was_open && !matches!(reason, Reason::ClientLeft | Reason::ServerPutOut);
        self.forget_socket(key, line, may_return);
        if was_open && let Some(told) = told {
            self.call(key, move || told(socket, reason));
        }
    }

    fn forget_socket(&mut self, key: Key, line: Key, may_return: bool) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let Some(at) = connection.sockets.iter().position(|entry| entry.line == line) else { return };
        let may_return = may_return && connection.server.recovery.is_some();
        let entry = connection.sockets.remove(at);
        entry.socket.0.ticket.set(None);
        *entry.socket.0.acks.borrow_mut() = None;
        self.engine(|engine, ways| if may_return { engine.closed(line.index, ways) } else { engine.ended(line.index, ways) });
        self.core.places.end(line.index);
        self.core.names.give(entry.form.namespace);
        self.core.handlers_woken = true;
        if line != key {
            self.lines.remove(line);
        }
    }
}

/// Appends the frames of a packet.
fn push_packet(form: EngineForm, packet: &Packet, out: &mut Vec<u8>) {
    let form = SocketForm { form, namespace: 0, says: Says::Events, alone: None };
    form.push_packet(packet, out);
}

/// What a client says of itself when it connects to a namespace, as far as the server reads it.
#[derive(Default, serde::Deserialize)]
struct Recovered {
    pid: Option<String>,
    offset: Option<String>,
    token: Option<String>,
}

/// The command that an event is; `None` if it is none.
fn command_of(id: Option<u32>, arguments: &Arguments) -> Option<Vec<u8>> {
    use serde_json::Value;
    let mut values: Vec<Value> = serde_json::from_str(arguments.json()).ok()?;
    let mut members = match values.last() {
        Some(Value::Object(_)) if values.len() > 1 => match values.pop() {
            Some(Value::Object(members)) => members,
            _ => return None,
        },
        _ => serde_json::Map::new(),
    };
    let mut values = values.into_iter();
    let kind = values.next()?;
    let publishes = kind == "publish";
    let first = if kind == "refresh" { "token" } else { "channel" };
    if let Some(value) = values.next() {
        members.insert(first.into(), value);
    }
    match values.next() {
        Some(data) if publishes => match arguments.attachments() {
            [] => drop(members.insert("data".into(), data)),
            // Bytes are all of a publication, or none.
            [bytes] if data.get("_placeholder").is_some() => {
                members.insert("bytes".into(), BASE64.encode(bytes).into());
            }
            _ => return None,
        },
        // Two arguments, of which the second is the data, and an object.
        None if publishes && !arguments.attachments().is_empty() => {
            let [bytes] = arguments.attachments() else { return None };
            members.remove("_placeholder");
            members.remove("num");
            members.insert("bytes".into(), BASE64.encode(bytes).into());
        }
        None if publishes && !members.contains_key("data") => {
            let channel = members.remove("channel");
            members = serde_json::Map::from_iter([("data".to_owned(), Value::Object(members))]);
            members.extend(channel.map(|channel| ("channel".to_owned(), channel)));
        }
        _ => {}
    }
    members.insert("type".into(), kind);
    members.extend(id.map(|id| ("id".to_owned(), id.into())));
    serde_json::to_vec(&members).ok()
}

/// Whether the engine's message is an answer to the server itself.
pub(super) fn is_own(message: &Message) -> bool {
    matches!(message, Message::Reply(Some(OWN..), _))
}

impl Call {
    /// Calls the handler; what it leaves to do goes on as a task.
    pub(super) fn run(self) {
        let Self { connection, run } = self;
        let left = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(left) => left,
            Err(_) => {
                super::with(|shard| shard.close(connection, CloseCode::INTERNAL_ERROR, "handler failed"));
                return;
            }
        };
        if let Some(left) = left {
            super::with(|shard| shard.handler_began(connection));
            tokio::task::spawn_local(async move {
                let _at_work = AtWork(connection);
                left.await;
            });
        }
    }
}

/// Counts a handler as at work until it ends, however it does.
struct AtWork(Key);

impl Drop for AtWork {
    fn drop(&mut self) {
        super::try_with(|shard| {
            shard.handler_ended(self.0);
            shard.wake_driver();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(json: &str) -> serde_json::Value {
        let mut decoder = Decoder::new(Protocol::V5);
        let packet = decoder.message(&Data::Text(&format!("2{json}")), &Limits::default()).expect("a packet").expect("whole");
        let Packet::Event { arguments, .. } = packet else { panic!("an event") };
        serde_json::from_slice(&command_of(Some(7), &arguments).expect("a command")).expect("JSON")
    }

    #[test]
    fn events_are_commands() {
        use serde_json::json;
        assert_eq!(command(r#"["subscribe","a"]"#), json!({"type": "subscribe", "id": 7, "channel": "a"}));
        let with_options = command(r#"["subscribe","a",{"last":5}]"#);
        assert_eq!(with_options, json!({"type": "subscribe", "id": 7, "channel": "a", "last": 5}));
        assert_eq!(command(r#"["publish","a",[1]]"#), json!({"type": "publish", "id": 7, "channel": "a", "data": [1]}));
        let object = command(r#"["publish","a",{"text":"x"}]"#);
        assert_eq!(object, json!({"type": "publish", "id": 7, "channel": "a", "data": {"text": "x"}}));
        let both = command(r#"["publish","a",{"text":"x"},{"once":"k"}]"#);
        assert_eq!(both, json!({"type": "publish", "id": 7, "channel": "a", "data": {"text": "x"}, "once": "k"}));
        assert_eq!(command(r#"["refresh","t"]"#), json!({"type": "refresh", "id": 7, "token": "t"}));
    }
}
