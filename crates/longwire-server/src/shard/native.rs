//! Lines that speak the native protocol, or have it spoken for them: their commands go to the engine, as many at a time as it takes.

use std::sync::Arc;

use longwire_core::engine::Reader;
use longwire_protocol::{Action, Command, ErrorCode, ErrorReply, Form, Rejected, SessionId};
use longwire_ws::Message as Received;

use super::Shard;
use super::events::Events;
use super::frames::{Content, Encoding, kind_of};
use super::later::Later;
use super::line::{Deferred, Line, Pauses};
use super::slab::Key;
use crate::cursor::Cursor;
use crate::handler::{LineHandler, Opening};

/// Passes what a client says to the engine of its shard.
pub(crate) struct NativeHandler {
    form: Form,
}

impl NativeHandler {
    pub(crate) fn new(opening: &Opening) -> Self {
        Self { form: Form::from_subprotocol(opening.subprotocol.as_deref()).unwrap_or(Form::Json) }
    }

    /// In JSON.
    pub(crate) fn json() -> Self {
        Self { form: Form::Json }
    }
}

impl LineHandler for NativeHandler {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.defer(Deferred::Opened(Content::Native(self.form)));
    }

    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        // In a message of the other kind there is nothing that this line could say.
        let said = (message.kind() == kind_of(self.form)).then(|| message.as_bytes().to_vec());
        line.defer(Deferred::Said(self.form, said));
    }

    fn drained(&mut self, line: &mut Line<'_>) {
        line.defer(Deferred::Room);
    }
}

/// Passes on what requests bring for a stream of events.
pub(crate) struct EventsHandler {
    pub(crate) events: Events,
    /// The channels that it follows, in the order of the request, and how far its client is there, if the ids of its events are to
    /// say that.
    pub(crate) channels: Vec<(Arc<str>, Option<Cursor>)>,
    pub(crate) first: First,
    /// How far it is must be known, even if it follows just one.
    pub(crate) keeps_place: bool,
    /// What it does where it is known who is there.
    pub(crate) reading: Reading,
}

/// What a line that only reads does where it is known who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// That is known nowhere.
    Alone,
    /// It has a look, and learns who it will be.
    Looks,
    /// It is there, as this session if it has been before, and its cursor says who it is. A poll is there for a moment, again and again.
    Stays { before: Option<SessionId>, briefly: bool },
}

/// What a stream begins with.
pub(crate) enum First {
    /// What the client would say if it could, in JSON, joined; and how soon it is to come back, in milliseconds.
    Commands { commands: Vec<u8>, retry: u64 },
    /// The address at which the client says what it has to say.
    Address(SessionId),
}

impl LineHandler for EventsHandler {
    fn opened(&mut self, line: &mut Line<'_>) {
        let number = line.key().index;
        let is_named = self.reading != Reading::Alone;
        let is_own = self.keeps_place || self.channels.len() > 1 || is_named;
        let events = Events { many: is_own.then_some(number), ..self.events };
        if !self.channels.is_empty() {
            line.core.channels.followed.begin(number, std::mem::take(&mut self.channels), is_named);
        }
        match self.reading {
            Reading::Looks => line.core.channels.engine.reads(number, Reader::Looks),
            Reading::Stays { before, briefly } => line.core.channels.engine.reads(number, Reader::Stays { before, briefly }),
            Reading::Alone => {}
        }
        line.defer(Deferred::Opened(Content::Events(events)));
        match &mut self.first {
            First::Commands { commands, retry } => {
                line.out.append(line.key(), line.core, |_, buffer| events.greeting(*retry, buffer));
                line.defer(Deferred::Said(Form::Json, Some(std::mem::take(commands))));
            }
            First::Address(id) => {
                line.out.append(line.key(), line.core, |_, buffer| events.push_address(*id, buffer));
            }
        }
    }

    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.defer(Deferred::Said(Form::Json, Some(message.as_bytes().to_vec())));
    }

    fn drained(&mut self, line: &mut Line<'_>) {
        line.defer(Deferred::Room);
    }
}

/// A message whose commands were not all taken yet.
pub(crate) struct Unfed {
    form: Form,
    /// `None` for a message of the kind that the form does not use.
    message: Option<Vec<u8>>,
    taken: usize,
    /// The next command, if it was read already.
    next: Option<Box<Command>>,
}

/// What is left of a message.
enum Left {
    Nothing,
    /// The engine answers what came before first.
    EngineIsBusy,
    /// A command that waits for its turn is next.
    WaitsForTurn,
}

impl Unfed {
    /// Takes its next command; `None` once nothing is left.
    fn next(&mut self) -> Option<Result<Command, Rejected>> {
        if let Some(next) = self.next.take() {
            return Some(Ok(*next));
        }
        let Some(message) = &self.message else {
            self.message = Some(Vec::new());
            let must = match self.form {
                Form::Json => "this line speaks JSON, in text messages",
                Form::Binary => "this line speaks the binary form, in binary messages",
            };
            return Some(Err(Rejected { id: None, error: ErrorReply::new(ErrorCode::BadMessage, must) }));
        };
        let mut rest = &message[self.taken..];
        let command = self.form.next_command(&mut rest);
        self.taken = message.len() - rest.len();
        command
    }
}

impl Shard {
    pub(super) fn native_opened(&mut self, key: Key, content: Content) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let encoding = Encoding { content, window: line.out.outward.shared_window_bits() };
        let is_once = line.out.requests().is_some_and(|requests| requests.is_once());
        self.engine(|engine, _| {
            engine.opened(key.index, encoding);
            if is_once {
                // How far it is in all channels comes before anything else.
                engine.hold(key.index);
            }
        });
    }

    /// A client has said something; `None` for a message of the wrong kind.
    pub(super) fn native_said(&mut self, key: Key, form: Form, message: Option<Vec<u8>>) {
        self.feed(key, Unfed { form, message, taken: 0, next: None }, false);
    }

    /// Lets those go on whose engine was busy.
    pub(super) fn feed_waiting(&mut self) {
        if self.unfed.is_empty() {
            return;
        }
        for key in std::mem::take(&mut self.unfed) {
            let Some(line) = self.lines.get_mut(key) else { continue };
            if self.core.channels.engine.is_busy(key.index) {
                self.unfed.push(key);
                continue;
            }
            let unfed = line.out.rare().unfed.take();
            self.feeds_again(key);
            if let Some(unfed) = unfed {
                self.feed(key, *unfed, false);
            }
        }
    }

    /// It is the turn of a line whose next command had to wait.
    pub(super) fn take_turn(&mut self, key: Key, unfed: Unfed) {
        self.feeds_again(key);
        self.feed(key, unfed, true);
    }

    fn feeds_again(&mut self, key: Key) {
        self.resume(key, Pauses::HANDLER);
        let connection = self.connection_of(key);
        self.may_go_on(connection);
    }

    /// Gives the engine commands until there are no more, or it is busy, or, outside of the line's turn, one has to wait for that;
    /// then the line is not read meanwhile.
    fn feed(&mut self, key: Key, mut unfed: Unfed, in_turn: bool) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.out.close_asked() || line.out.outward.close_sent() {
            return;
        }
        // All of them in one go, so that what they are answered at once is joined.
        let left = self.engine(|engine, ways| {
            while !engine.is_busy(key.index) {
                match unfed.next() {
                    _ if ways.is_closing(key.index) => return Left::Nothing,
                    None => return Left::Nothing,
                    Some(Ok(command)) if !in_turn && waits_for_turn(&command.action) => {
                        unfed.next = Some(Box::new(command));
                        return Left::WaitsForTurn;
                    }
                    Some(Ok(command)) => engine.command(key.index, command, ways),
                    Some(Err(rejected)) => engine.rejected(key.index, rejected, ways),
                }
            }
            Left::EngineIsBusy
        });
        let Some(line) = self.lines.get_mut(key) else { return };
        match left {
            Left::Nothing => {}
            Left::EngineIsBusy => {
                line.out.paused.add(Pauses::HANDLER);
                line.out.rare().unfed = Some(Box::new(unfed));
                self.unfed.push(key);
            }
            Left::WaitsForTurn => {
                line.out.paused.add(Pauses::HANDLER);
                self.later.push_back((key, Later::Feed(unfed)));
            }
        }
    }
}

/// Whether a command may take long: what enters and what reads. Those who are in and speak do not wait behind it.
fn waits_for_turn(action: &Action) -> bool {
    match action {
        Action::Connect(_) | Action::Subscribe(_) | Action::History(_) | Action::Presence { .. } | Action::State { .. } => true,
        Action::Publish(_)
        | Action::Append(_)
        | Action::Cancel { .. }
        | Action::Unsubscribe { .. }
        | Action::Refresh { .. }
        | Action::Ping => false,
    }
}
