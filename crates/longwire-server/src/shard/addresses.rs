//! Which line has which address, so that a request finds it, wherever it arrives.

use std::collections::HashMap;

use longwire_protocol::SessionId;

use super::line::LineState;
use super::slab::{Key, Slab};

/// The lines that requests reach, and those that are WebSockets of Engine.IO: whoever asks for one by a request is told that it does not
/// poll, and not that there is none.
#[derive(Default)]
pub(crate) struct Addresses {
    keys: HashMap<SessionId, Key>,
    /// At how many those are forgotten whose lines are over. A WebSocket does not keep its address.
    sweep_at: usize,
}

/// Below so many none is forgotten.
const FEW: usize = 64;

impl Addresses {
    pub(super) fn insert(&mut self, id: SessionId, key: Key, lines: &Slab<LineState>) {
        if self.keys.len() >= self.sweep_at.max(FEW) {
            self.keys.retain(|_, key| lines.contains(*key));
            self.sweep_at = self.keys.len() + self.keys.len() / 4;
        }
        self.keys.insert(id, key);
    }

    /// The line with an address; it may be over.
    pub(super) fn get(&self, id: SessionId) -> Option<Key> {
        self.keys.get(&id).copied()
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        self.keys.remove(&id);
    }
}
