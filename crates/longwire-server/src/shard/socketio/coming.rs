//! How a socket comes into its namespace, comes back, and leaves.

use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Action, Command as Said, Connect, Connected, ErrorCode, Reply, SessionId, Subscribe};
use longwire_socketio::{Json, Namespace as Name, Packet, Protocol};
use longwire_ws::CloseCode;
use tokio::task::AbortHandle;

use super::calls::caught;
use super::order::{self, Sequence};
use super::places::{Joined, Member, Return};
use super::{CONNECT, ENTER, Entry, SOCKETS_MAX, Says, SocketForm, Stage};
use crate::codes;
use crate::handler::{End, EndedBy};
use crate::shard::closing::complain;
use crate::shard::frames::{Content, Encoding};
use crate::shard::heartbeat::Waiting;
use crate::shard::line::{LineState, Outgoing, Phase};
use crate::shard::slab::Key;
use crate::shard::wire::{Inward, Outward};
use crate::shard::{self, Shard};
use crate::socketio::{self, Reason, Socket, Ticket};

impl Shard {
    /// A client wants to be in a namespace.
    pub(super) fn socket_connects(&mut self, key: Key, name: Name, auth: Option<Json>) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let form = connection.form;
        let found = connection.server.namespace(&name).filter(|_| connection.sockets.len() < SOCKETS_MAX);
        let Some((namespace, space)) = found else {
            let known: String = name.as_str().chars().take(64).collect();
            complain("a client is not let into a namespace that there is not, or into one too many", &known);
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
        let stage = Stage::Fetching { offset: claim.as_ref().and(said.offset).map(Into::into) };
        let entry = Entry { socket, namespace, form, line, stage, sequence: Sequence::default() };
        if let Some(connection) = self.core.connections.get_mut(&key.index) {
            // Most have one.
            connection.sockets.reserve_exact(1);
            connection.sockets.push(entry);
        }
        self.fetch_session(line, form, recovery, token, claim);
    }

    /// A place among the lines for a further socket of a connection.
    pub(super) fn place_through(&mut self, connection: Key) -> Option<Key> {
        let now = self.core.now;
        let permit = self.lines.get_mut(connection)?._permit.clone();
        Some(self.lines.insert(LineState {
            fd: None,
            pace: 0,
            turn: 0,
            unread: false,
            phase: Phase::Open,
            waiting: Waiting::Nothing,
            heard: now,
            message_at: now,
            inward: Inward::Requests,
            handler: None,
            out: Outgoing::new(Outward::Through(connection)),
            _permit: permit,
        }))
    }

    pub(super) fn fetch_session(
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
    pub(super) fn go_without_session(&mut self, line: Key) {
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
        self.judge(key, line, String::new(), None);
    }

    /// The engine answers a command of the server's own.
    pub(in crate::shard) fn socket_answered(&mut self, line: u32, reply: Reply) {
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
                self.judge(key, line, secret, None);
            }
            Reply::Subscribed(_) | Reply::Unsubscribed { .. } if matches!(entry.stage, Stage::Open) => {
                entry.sequence.act_is_done();
            }
            Reply::Subscribed(subscribed) => self.entered(key, line, matches!(subscribed.recovered, Some(Ok(())))),
            Reply::Error(error) => match entry.stage {
                Stage::Fetching { .. } => self.refuse_socket(key, line, &error.message, None),
                // It has left again before it was in.
                Stage::Open if error.code == ErrorCode::NotSubscribed => {
                    entry.sequence.act_is_done();
                    self.core.places.is_unsaved(line.index);
                }
                Stage::Open => {
                    entry.sequence.act_is_done();
                    self.core.places.is_unsaved(line.index);
                    sparsely!(WARN, code = error.code.name(), channel = ?error.channel, "a socket cannot join");
                    if let Some(channel) = error.channel {
                        self.core.places.left(line.index, &channel);
                    }
                }
                _ => self.entered(key, line, false),
            },
            _ => {}
        }
    }

    /// A client has come back: it enters the channels in which it was, where it was.
    pub(super) fn return_to_channels(&mut self, key: Key, line: Key, session: SessionId, secret: String, offset: Option<&str>) {
        let mut kept = self.engine(|engine, _| engine.unpack(line.index)).and_then(|kept| kept.downcast::<Joined>().ok());
        let positions = kept.as_mut().and_then(|joined| joined.continue_at(offset));
        let Some((joined, positions)) = kept.zip(positions) else { return self.begin_anew(key, line) };
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let asks_again = connection.server.asks_again;
        let Some(entry) = connection.at(line) else { return };
        let _ = entry.socket.0.id.set(session.text());
        self.core.places.with(line.index, |member| member.joined = *joined);
        self.core.places.is_unsaved(line.index);
        if asks_again && !entry.namespace.middleware.is_empty() {
            entry.socket.0.recovered.set(true);
            return self.judge(key, line, secret, Some(positions));
        }
        self.enter_again(key, line, secret.into(), positions);
    }

    fn enter_again(&mut self, key: Key, line: Key, secret: Box<str>, positions: Vec<Return>) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        entry.stage = Stage::Returning { left: positions.len() as u32, failed: false, key: secret };
        let says = entry.form.says;
        if positions.is_empty() {
            return self.is_entered(key, line, true);
        }
        self.engine(|engine, ways| {
            engine.hold(line.index);
            for Return { channel, since, keys } in positions {
                let after = keys.then(Box::default);
                let members = says == Says::Pushes;
                let subscribe = Subscribe { channel, since: Some(since), state: keys, after, members, last: None };
                engine.command(line.index, Said { id: Some(ENTER), action: Action::Subscribe(subscribe) }, ways);
            }
        });
    }

    /// A channel has answered a socket that is on its way in.
    pub(super) fn entered(&mut self, key: Key, line: Key, is_recovered: bool) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        match &mut entry.stage {
            Stage::Returning { left, failed, .. } => {
                *left -= 1;
                *failed |= !is_recovered;
                if *left == 0 && *failed {
                    self.begin_anew(key, line);
                } else if *left == 0 {
                    self.is_entered(key, line, true);
                }
            }
            Stage::Entering { left, .. } => {
                *left -= 1;
                if *left == 0 {
                    self.is_entered(key, line, false);
                }
            }
            _ => {}
        }
    }

    /// What a client has missed is not there any more: it gets another id, and knows by that.
    pub(super) fn begin_anew(&mut self, key: Key, line: Key) {
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

    /// Has the application decide whether a client is let in. It has as long as clients have to connect; meanwhile, and if it fails,
    /// the rest of the connection goes on. Who comes back goes on from these positions.
    pub(super) fn judge(&mut self, key: Key, line: Key, secret: String, back: Option<Vec<Return>>) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let within = Duration::from_millis(connection.server.connect_timeout);
        let Some(entry) = connection.at(line) else { return };
        let judges = entry.namespace.middleware.clone();
        let at = Ticket { connection: key, line };
        entry.socket.0.ticket.set(Some(at));
        if judges.is_empty() {
            entry.stage = Stage::Judged { key: secret.into(), _by: None };
            return self.let_in(key, line);
        }
        let socket = entry.socket.clone();
        let judging = async move {
            for judge in judges {
                judge(socket.clone()).await?;
            }
            Ok(())
        };
        let task = tokio::task::spawn_local(async move {
            let judged = tokio::time::timeout(within, caught(Box::pin(judging))).await;
            shard::with(|shard| match judged {
                Ok(Ok(judgement)) => shard.judged(at, judgement, back),
                Ok(Err(_)) => shard.not_judged(at, "middleware failed"),
                Err(_) => shard.not_judged(at, "middleware took too long"),
            });
        });
        entry.stage = Stage::Judged { key: secret.into(), _by: Some(Judgement(task.abort_handle())) };
        self.core.handlers_woken = true;
    }

    /// The application does not decide.
    fn not_judged(&mut self, at: Ticket, why: &str) {
        complain("a client is not let into a namespace", why);
        self.judged(at, Err(socketio::ConnectRefused::new(why)), None);
    }

    fn judged(&mut self, at: Ticket, judgement: Result<(), socketio::ConnectRefused>, back: Option<Vec<Return>>) {
        let Ticket { connection: key, line } = at;
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let Stage::Judged { key: secret, .. } = &mut entry.stage else { return };
        match (judgement, back) {
            (Ok(()), None) => self.let_in(key, line),
            (Ok(()), Some(positions)) => {
                let secret = std::mem::take(secret);
                self.enter_again(key, line, secret, positions);
            }
            (Err(refused), _) if refused.no_namespace => {
                let refused = Packet::invalid_namespace(entry.socket.0.namespace.clone());
                self.refuse_socket_with(key, line, &refused);
            }
            (Err(refused), _) => self.refuse_socket(key, line, &refused.message, refused.data.as_ref()),
        }
        self.wake_driver();
    }

    pub(super) fn refuse_socket(&mut self, key: Key, line: Key, message: &str, data: Option<&Json>) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let (name, form) = (entry.socket.0.namespace.clone(), entry.form.form);
        let refused = Packet::refused(Protocol::from(form.revision), name, message, data);
        self.refuse_socket_with(key, line, &refused);
    }

    fn refuse_socket_with(&mut self, key: Key, line: Key, refused: &Packet) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let form = entry.form.form;
        self.push_packet(key, form, refused);
        self.forget_socket(key, line, false);
        let Some(connection) = self.core.connections.get(&key.index).filter(|connection| connection.sockets.is_empty()) else {
            return;
        };
        // It has as long for another attempt as for the first.
        let within = connection.server.connect_timeout;
        self.engine(|engine, _| engine.opened_for(key.index, NO_SOCKET, within));
    }

    /// A new socket enters the channel of its namespace, and its own.
    pub(super) fn let_in(&mut self, key: Key, line: Key) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let recovers = connection.server.recovery.is_some();
        let Some(entry) = connection.at(line) else { return };
        let Stage::Judged { key: secret, .. } = &mut entry.stage else { return };
        let secret = std::mem::take(secret);
        let channels = match (entry.form.says, recovers) {
            (Says::Pushes, _) => Vec::new(),
            (Says::Events, false) => vec![entry.socket.0.space.all.clone()],
            (Says::Events, true) => {
                let space = &entry.socket.0.space;
                vec![space.all.clone(), space.own(entry.socket.id())]
            }
        };
        entry.stage = Stage::Entering { left: channels.len() as u32, key: secret };
        if !recovers {
            for channel in &channels {
                self.enter_plainly(line, channel);
            }
            return self.is_entered(key, line, false);
        }
        if channels.is_empty() {
            return self.is_entered(key, line, false);
        }
        // Nothing comes before the answer.
        self.engine(|engine, _| engine.hold(line.index));
        for channel in channels {
            self.enter(line, channel);
        }
    }

    /// A socket that cannot come back enters a channel: it is live there at once.
    pub(super) fn enter_plainly(&mut self, line: Key, channel: &Arc<str>) {
        let Some(form) = self.form_of(line) else { return };
        let core = &mut self.core;
        let (engine, inbox) = (&mut core.channels.engine, &mut core.channels.inbox);
        let (node, index) = (&core.node, core.index);
        let encoding = Encoding { content: Content::Socket(form), window: None };
        if engine.subscribe_plain(line.index, encoding, channel, |request| node.post(index, inbox, request, None)) {
            let nowhere = longwire_protocol::Position { epoch: longwire_protocol::Epoch::NONE, offset: 0 };
            core.places.joined(line.index, channel, nowhere, false);
        }
    }

    pub(super) fn enter(&mut self, line: Key, channel: Arc<str>) {
        let subscribe = Subscribe { channel, ..Subscribe::default() };
        self.engine(|engine, ways| {
            engine.command(line.index, Said { id: Some(ENTER), action: Action::Subscribe(subscribe) }, ways);
        });
    }

    /// All that a socket needs is there. That is written down before its client is told, if it is to come back over a restart.
    pub(super) fn is_entered(&mut self, key: Key, line: Key, recovered: bool) {
        if !self.core.places.is_kept(line.index) {
            return self.open_socket(key, line, recovered);
        }
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let (Stage::Entering { key: secret, .. } | Stage::Returning { key: secret, .. }) = &mut entry.stage else { return };
        entry.stage = Stage::Keeping { key: std::mem::take(secret), recovered };
        self.core.places.is_unsaved(line.index);
    }

    /// A socket's client is told that it is in, and its handlers are called.
    pub(super) fn open_socket(&mut self, key: Key, line: Key, recovered: bool) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let recovers = connection.server.recovery.is_some();
        let Some(entry) = connection.at(line) else { return };
        let (Stage::Entering { key: secret, .. } | Stage::Returning { key: secret, .. } | Stage::Keeping { key: secret, .. }) =
            &entry.stage
        else {
            return;
        };
        let (socket, form, connect) = (entry.socket.clone(), entry.form, entry.namespace.connect.clone());
        let pid = recovers.then(|| format!("{}.{secret}", socket.id()));
        entry.stage = Stage::Open;
        socket.0.recovered.set(recovered);
        socket.0.ticket.set(Some(Ticket { connection: key, line }));
        let protocol = Protocol::from(form.form.revision);
        let packet = Packet::connected(protocol, socket.0.namespace.clone(), socket.id(), pid.as_deref());
        self.push_packet(key, form.form, &packet);
        if recovers {
            // Stock clients keep what comes before they are connected, even if their line is cut then: it would come again.
            self.engine(|engine, ways| engine.release(line.index, ways));
        }
        if let Some(connect) = connect {
            self.call(key, move || order::by(&socket.clone(), || connect(socket)));
        }
        self.may_go_on(key);
    }

    /// A connection is over, and its sockets with it.
    pub(in crate::shard) fn connection_ends(&mut self, key: Key, end: &End) {
        if !self.core.connections.contains_key(&key.index) {
            return;
        }
        let reason = match end.code {
            Some(code) if code == codes::PING_TIMEOUT => Reason::PingTimeout,
            Some(CloseCode::GOING_AWAY) if end.by == EndedBy::Server => Reason::ShuttingDown,
            Some(code) if code == codes::of(longwire_protocol::CloseCode::Replaced) => Reason::Replaced,
            _ => Reason::TransportClosed,
        };
        // What the client has said before is heard, unless it is the client that is not wanted any more.
        if end.by != EndedBy::Server || reason == Reason::ShuttingDown {
            self.hear_rest(key);
        }
        let Some(connection) = self.core.connections.get(&key.index) else { return };
        let lines: Vec<_> = connection.sockets.iter().map(|entry| entry.line).collect();
        for line in lines {
            self.socket_leaves(key, line, reason);
        }
        self.core.connections.remove(&key.index);
    }

    /// A socket leaves its namespace. If it may come back, its session is kept.
    pub(super) fn socket_leaves(&mut self, key: Key, line: Key, reason: Reason) {
        let Some(entry) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.at(line)) else { return };
        let (socket, told) = (entry.socket.clone(), entry.namespace.disconnect.clone());
        let was_open = matches!(entry.stage, Stage::Open);
        // Who was about to come back may try again.
        let had_come = was_open
            || matches!(entry.stage, Stage::Returning { .. } | Stage::Keeping { recovered: true, .. })
            || matches!(entry.stage, Stage::Judged { .. }) && socket.0.recovered.get();
        let may_return = had_come && !matches!(reason, Reason::ClientLeft | Reason::ServerPutOut);
        if was_open && told.is_some() {
            // What it was is told to those who ask when it is gone.
            let last = |member: &mut Member| (member.joined.channels().cloned().collect(), member.joined.data.clone());
            socket.0.last.set(self.core.places.with(line.index, last).map(Box::new)).unwrap_or_default();
        }
        self.forget_socket(key, line, may_return);
        if was_open && let Some(told) = told {
            self.call(key, move || told(socket, reason));
        }
    }

    pub(super) fn forget_socket(&mut self, key: Key, line: Key, may_return: bool) {
        self.forget_waiting(key, line);
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let Some(at) = connection.sockets.iter().position(|entry| entry.line == line) else { return };
        let may_return = may_return && connection.server.recovery.is_some();
        let mut entry = connection.sockets.remove(at);
        let rest: Vec<_> = entry.sequence.take_rest().collect();
        entry.socket.0.ticket.set(None);
        *entry.socket.0.acks.borrow_mut() = None;
        self.engine(|engine, ways| if may_return { engine.closed(line.index, ways) } else { engine.ended(line.index, ways) });
        self.core.places.end(line.index);
        self.core.names.give(entry.form.namespace);
        self.core.handlers_woken = true;
        if line != key {
            self.lines.remove(line);
        }
        // What its handlers have done is done, as far as it is not for itself.
        for step in rest {
            self.do_late_step(None, step);
        }
        self.may_go_on(key);
    }
}

/// The task in which the application decides; without it nobody is let in.
pub(super) struct Judgement(AbortHandle);

impl Drop for Judgement {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a line is told that has no socket yet.
pub(super) const NO_SOCKET: Encoding = Encoding { content: Content::Plain, window: None };

/// What a client says of itself when it connects to a namespace, as far as the server reads it.
///
/// An application may have members of these names for itself: those that are no texts are not meant for the server.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Recovered {
    #[serde(deserialize_with = "text")]
    pid: Option<String>,
    #[serde(deserialize_with = "text")]
    offset: Option<String>,
    #[serde(deserialize_with = "text")]
    token: Option<String>,
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = <longwire_socketio::Value as serde::Deserialize>::deserialize(deserializer)?;
    Ok(if let longwire_socketio::Value::String(text) = value { Some(text) } else { None })
}
