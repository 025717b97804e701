//! Which line has which address, so that a request finds it, wherever it arrives.

use std::collections::{HashMap, VecDeque};

use longwire_protocol::SessionId;

use super::line::LineState;
use super::slab::{Key, Slab};
use crate::node::Arrival;

/// The lines that requests reach, and those that are WebSockets of Engine.IO: whoever asks for one by a request is told that it does not
/// poll, and not that there is none.
#[derive(Default)]
pub(crate) struct Addresses {
    keys: HashMap<SessionId, Key>,
    /// At how many those are forgotten whose lines are over. A WebSocket does not keep its address.
    sweep_at: usize,
    /// The last lines whose clients have closed them while none of their polls was here, and when those posts came: a poll that was sent
    /// before may have come by another way, and is told the same as one that was here.
    closed: VecDeque<(SessionId, Arrival)>,
}

/// So many are remembered. Both requests are on their way at a time, so few others come between them.
const CLOSED: usize = 64;

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

    /// A client has closed its line by a post, and no poll was there to be told.
    pub(super) fn close_met_no_poll(&mut self, id: SessionId, posted: Arrival) {
        self.closed.truncate(CLOSED - 1);
        self.closed.push_front((id, posted));
    }

    /// Whether a poll that finds no line was sent before its client closed the line, which met no other.
    pub(super) fn met_nobody(&mut self, id: SessionId, polled: Arrival) -> bool {
        let at = self.closed.iter().position(|(closed, posted)| *closed == id && polled < *posted);
        at.is_some_and(|at| self.closed.remove(at).is_some())
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        self.keys.remove(&id);
    }
}
