//! The idempotency keys of a channel.

use std::collections::{HashMap, VecDeque};

use longwire_protocol::Position;

/// Which publications were made lately, by their idempotency key.
#[derive(Default)]
pub(super) struct Once {
    known: HashMap<Box<str>, Option<Position>>,
    /// From the oldest: when it is forgotten.
    order: VecDeque<(u64, Box<str>)>,
}

impl Once {
    /// Where the publication with this key is, if there was one.
    pub(super) fn find(&self, key: &str) -> Option<Option<Position>> {
        self.known.get(key).copied()
    }

    /// Remembers a key until `until`, and at most `most` keys in all.
    pub(super) fn insert(&mut self, key: &str, position: Option<Position>, until: u64, most: usize) {
        if most == 0 || self.known.insert(key.into(), position).is_some() {
            return;
        }
        self.order.push_back((until, key.into()));
        while self.order.len() > most {
            self.forget_oldest();
        }
    }

    /// Forgets what is due.
    pub(super) fn expire(&mut self, now: u64) {
        while self.due().is_some_and(|due| due <= now) {
            self.forget_oldest();
        }
    }

    /// When the next key is forgotten.
    pub(super) fn due(&self) -> Option<u64> {
        self.order.front().map(|(until, _)| *until)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }
}
