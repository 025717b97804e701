//! The idempotency keys of a channel.

use std::collections::{HashMap, VecDeque};

use longwire_protocol::{Position, SessionId};

use super::kept::{Kept, ONCE_BYTES};

/// Which publications were made lately, by their idempotency key.
#[derive(Default)]
pub(super) struct Once {
    known: HashMap<Box<str>, Option<Position>>,
    /// From the oldest: when it is forgotten, and who has said it.
    order: VecDeque<(u64, Box<str>, Option<SessionId>)>,
    /// When the youngest of those would have been forgotten that had to go sooner, for want of room; 0 if that is over.
    missing: u64,
}

/// A publication that was made with a key.
#[derive(Clone, Copy, Default)]
pub(super) struct Made {
    /// Where it is.
    pub(super) position: Option<Position>,
    /// Who has said it.
    pub(super) by: Option<SessionId>,
}

/// What a key takes.
pub(super) fn weight(key: &str) -> usize {
    ONCE_BYTES + 2 * key.len()
}

impl Once {
    /// Where the publication with this key is, if there was one.
    pub(super) fn find(&self, key: &str) -> Option<Option<Position>> {
        self.known.get(key).copied()
    }

    /// For how long back every key is known, if each is remembered for `window` milliseconds.
    pub(super) fn reach(&self, now: u64, window: u64) -> u64 {
        window.saturating_sub(self.missing.saturating_sub(now))
    }

    /// Remembers a key until `until`, and at most `most` keys in all.
    pub(super) fn insert(&mut self, key: &str, made: Made, until: u64, most: usize, kept: &mut Kept) {
        if self.known.insert(key.into(), made.position).is_some() {
            return;
        }
        kept.add(made.by, weight(key));
        self.order.push_back((until, key.into(), made.by));
        while self.order.len() > most
            && let Some(until) = self.forget(kept)
        {
            self.missing = self.missing.max(until);
        }
    }

    /// Forgets the oldest; when that would have been.
    fn forget(&mut self, kept: &mut Kept) -> Option<u64> {
        let (until, key, by) = self.order.pop_front()?;
        self.known.remove(&key);
        kept.sub(by, weight(&key));
        Some(until)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self, kept: &mut Kept) {
        while self.forget(kept).is_some() {}
        *self = Self::default();
    }

    /// How many keys it knows.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets what is due.
    pub(super) fn expire(&mut self, now: u64, kept: &mut Kept) {
        while self.order.front().is_some_and(|(until, ..)| *until <= now) {
            self.forget(kept);
        }
        if self.missing <= now {
            self.missing = 0;
        }
    }

    /// When there is something to forget.
    pub(super) fn due(&self) -> Option<u64> {
        let missing = (self.missing > 0).then_some(self.missing);
        self.order.front().map(|(until, ..)| *until).into_iter().chain(missing).min()
    }

    /// Whether nothing is known, nor known to be missing.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Made, Once};
    use crate::broker::memory::kept::Kept;
    use crate::budget::Budget;
    use crate::random::Random;

    const WINDOW: u64 = 50;

    /// Against a memory that forgets nothing: what is within reach is known.
    #[test]
    fn everything_within_reach_is_known_and_reach_is_as_far_as_can_be() {
        for seed in 0..200 {
            let mut random = Random::seeded(seed);
            let most = (random.number() % 8) as usize;
            let (mut once, mut now) = (Once::default(), 0);
            let mut kept = Kept::new(Budget::new(1 << 40), 1);
            let mut made: Vec<(u64, String)> = Vec::new();
            for step in 0..200 {
                now += random.number() % 20;
                once.expire(now, &mut kept);
                if !random.number().is_multiple_of(3) {
                    once.insert(&step.to_string(), Made::default(), now + WINDOW, most, &mut kept);
                    made.push((now, step.to_string()));
                }
                let reach = once.reach(now, WINDOW);
                let is_known = |key: &String| once.find(key).is_some();
                assert!(made.iter().all(|(at, key)| now - at >= reach || is_known(key)), "seed {seed}, step {step}");
                let forgotten = made.iter().rev().find(|(_, key)| !is_known(key));
                let as_far = forgotten.map_or(WINDOW, |(at, _)| WINDOW.min(now - at));
                assert_eq!(reach, as_far, "seed {seed}, step {step}");
                assert_eq!(once.is_empty(), once.due().is_none());
            }
            once.clear(&mut kept);
            assert!(kept.is_empty());
        }
    }
}
