//! Lines that speak the native protocol: their commands go to the engine, as many at a time as it takes.

use longwire_protocol::{Command, Form, Rejected};
use longwire_ws::Message as Received;

use super::Shard;
use super::frames::{Content, Encoding};
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
        line.defer(Deferred::Said(self.form, message.as_bytes().to_vec()));
    }

    fn drained(&mut self, line: &mut Line<'_>) {
        line.defer(Deferred::Room);
    }
}

/// A message whose commands were not all taken yet.
pub(crate) struct Unfed {
    form: Form,
    message: Vec<u8>,
    taken: usize,
}

impl Shard {
    pub(super) fn native_opened(&mut self, key: Key, form: Form) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let encoding = Encoding { content: Content::Native(form), window: line.out.sender.shared_window_bits() };
        self.engine(|engine, _| engine.opened(key.index, encoding));
    }

    /// A client has said something.
    pub(super) fn native_said(&mut self, key: Key, form: Form, message: Vec<u8>) {
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
        loop {
            let Some(line) = self.lines.get_mut(key) else { return };
            if line.out.close_asked() || line.out.sender.close_sent() {
                return;
            }
            if self.core.channels.engine.is_busy(key.index) {
                line.out.paused = true;
                line.out.rare().unfed = Some(Box::new(unfed));
                return self.unfed.push(key);
            }
            let mut rest = &unfed.message[unfed.taken..];
            let Some(command) = unfed.form.next_command(&mut rest) else { return };
            unfed.taken = unfed.message.len() - rest.len();
            self.command(key, command);
        }
    }

    fn command(&mut self, key: Key, command: Result<Command, Rejected>) {
        self.engine(|engine, ways| match command {
            Ok(command) => engine.command(key.index, command, ways),
            Err(rejected) => engine.rejected(key.index, rejected, ways),
        });
    }
}
