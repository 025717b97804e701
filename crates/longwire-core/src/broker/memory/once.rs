//! The idempotency keys of a channel.

use std::collections::{HashMap, VecDeque};

use longwire_protocol::Position;

/// Which publications were made lately, by their idempotency key.
#[derive(Default)]
pub(super) struct Once {
    known: HashMap<Box<str>, Option<Position>>,
    /// From the oldest: when it is forgotten.
    order: VecDeque<(u64, Box<str>)>,
    /// When the youngest of those would have been forgotten that had to go sooner, for want of room; 0 if that is over.
    missing: u64,
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
    pub(super) fn insert(&mut self, key: &str, position: Option<Position>, until: u64, most: usize) {
        if self.known.insert(key.into(), position).is_some() {
            return;
        }
        self.order.push_back((until, key.into()));
        while self.order.len() > most {
            let (until, key) = self.order.pop_front().expect("there is one");
            self.known.remove(&key);
            self.missing = self.missing.max(until);
        }
    }

    /// Forgets what is due.
    pub(super) fn expire(&mut self, now: u64) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.order.pop_front() {
                self.known.remove(&key);
            }
        }
        if self.missing <= now {
            self.missing = 0;
        }
    }

    /// When there is something to forget.
    pub(super) fn due(&self) -> Option<u64> {
        let missing = (self.missing > 0).then_some(self.missing);
        self.order.front().map(|(until, _)| *until).into_iter().chain(missing).min()
    }

    /// Whether nothing is known, nor known to be missing.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Once;
    use crate::random::Random;

    const WINDOW: u64 = 50;

    /// Against a memory that forgets nothing: what is within reach is known.
    #[test]
    fn everything_within_reach_is_known_and_reach_is_as_far_as_can_be() {
        for seed in 0..200 {
            let mut random = Random::seeded(seed);
            let most = (random.number() % 8) as usize;
            let (mut once, mut now) = (Once::default(), 0);
            let mut made: Vec<(u64, String)> = Vec::new();
            for step in 0..200 {
                now += random.number() % 20;
                once.expire(now);
                if !random.number().is_multiple_of(3) {
                    once.insert(&step.to_string(), None, now + WINDOW, most);
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
        }
    }
}
