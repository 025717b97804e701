//! Lines that speak the native protocol: their commands go to the engine, as many at a time as it takes.

use longwire_protocol::{Command, ErrorCode, ErrorReply, Form, Rejected};
use longwire_ws::Message as Received;

use super::Shard;
use super::frames::{Content, Encoding, kind_of};
use super::line::{Deferred, Line};
use super::slab::Key;
use crate::handler::{LineHandler, Opening};

/// Passes what a client says to the engine of its shard.
pub(crate) struct NativeHandler {
    form: Form,
}

impl NativeHandler {
    pub(crate) fn new(opening: &Opening) -> Self {
        Self { form: Form::from_subprotocol(opening.subprotocol.as_deref()).unwrap_or(Form::Json) }
    }
}

impl LineHandler for NativeHandler {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.defer(Deferred::Opened(self.form));
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

/// A message whose commands were not all taken yet.
pub(crate) struct Unfed {
    form: Form,
    /// `None` for a message of the kind that the form does not use.
    message: Option<Vec<u8>>,
    taken: usize,
}

impl Unfed {
    /// Takes its next command; `None` once nothing is left.
    fn next(&mut self) -> Option<Result<Command, Rejected>> {
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
    pub(super) fn native_opened(&mut self, key: Key, form: Form) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let encoding = Encoding { content: Content::Native(form), window: line.out.sender.shared_window_bits() };
        self.engine(|engine, _| engine.opened(key.index, encoding));
    }

    /// A client has said something; `None` for a message of the wrong kind.
    pub(super) fn native_said(&mut self, key: Key, form: Form, message: Option<Vec<u8>>) {
        self.feed(key, Unfed { form, message, taken: 0 });
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
            self.resume(key);
            if let Some(unfed) = unfed {
                self.feed(key, *unfed);
            }
        }
    }

    /// Gives the engine commands until there are no more, or it is busy; then the line is not read meanwhile.
    fn feed(&mut self, key: Key, mut unfed: Unfed) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.out.close_asked() || line.out.sender.close_sent() {
            return;
        }
        // All of them in one go, so that what they are answered at once is joined.
        let is_over = self.engine(|engine, ways| {
            while !engine.is_busy(key.index) {
                match unfed.next() {
                    _ if ways.is_closing(key.index) => return true,
                    None => return true,
                    Some(Ok(command)) => engine.command(key.index, command, ways),
                    Some(Err(rejected)) => engine.rejected(key.index, rejected, ways),
                }
            }
            false
        });
        if !is_over && let Some(line) = self.lines.get_mut(key) {
            line.out.paused = true;
            line.out.rare().unfed = Some(Box::new(unfed));
            self.unfed.push(key);
        }
    }
}
