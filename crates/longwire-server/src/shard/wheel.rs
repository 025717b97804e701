//! A timing wheel: one deadline a line, set and moved in constant time, for a million lines as for one.
//!
//! Time comes in as a number of wheel ticks. A deadline beyond the wheel's horizon waits in the farthest slot and is put forward
//! when its turn comes. The lines of a slot are a doubly linked list over their indices, so nothing is allocated for a deadline.

const SLOTS: usize = 1024;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;
const CHUNK: usize = 1024;

#[derive(Clone, Copy)]
struct Link {
    due: u32,
    next: u32,
    /// The index before it in the list; the slot itself, marked by [`HEAD`], for the first one; [`NONE`] if not scheduled.
    prev: u32,
}

/// Marks a `prev` that is a slot and not an index.
const HEAD: u32 = 1 << 31;
const IDLE: Link = Link { due: 0, next: NONE, prev: NONE };

pub(crate) struct Wheel {
    heads: Box<[u32; SLOTS]>,
    /// A bit for every slot that is not empty.
    busy: [u64; WORDS],
    links: Vec<Box<[Link; CHUNK]>>,
    now: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { heads: Box::new([NONE; SLOTS]), busy: [0; WORDS], links: Vec::new(), now: 0 }
    }

    /// Sets the deadline of `index`, replacing an earlier one.
    pub(crate) fn schedule(&mut self, index: u32, due: u32) {
        while self.links.len() * CHUNK <= index as usize {
            self.links.push(Box::new([IDLE; CHUNK]));
        }
        self.cancel(index);
        self.link(index, due);
    }

    /// Sets the deadline of `index` unless it has an earlier one.
    pub(crate) fn schedule_earlier(&mut self, index: u32, due: u32) {
        if self.due(index).is_none_or(|set| is_after(set, due)) {
            self.schedule(index, due);
        }
    }

    /// The deadline of `index`, if it has one.
    fn due(&self, index: u32) -> Option<u32> {
        let link = self.links.get(index as usize / CHUNK)?[index as usize % CHUNK];
        (link.prev != NONE).then_some(link.due)
    }

    /// Forgets the deadline of `index`.
    pub(crate) fn cancel(&mut self, index: u32) {
        if self.due(index).is_none() {
            return;
        }
        let Link { next, prev, .. } = *self.at(index);
        if prev & HEAD != 0 {
            let slot = (prev & !HEAD) as usize;
            self.heads[slot] = next;
            if next == NONE {
                self.busy[slot / 64] &= !(1 << (slot % 64));
            }
        } else {
            self.at(prev).next = next;
        }
        if next != NONE {
            self.at(next).prev = prev;
        }
        *self.at(index) = IDLE;
    }

    /// Moves the time on and takes out what is due.
    pub(crate) fn advance(&mut self, now: u32, due: &mut Vec<u32>) {
        let passed = now.wrapping_sub(self.now);
        let from = self.now;
        self.now = now;
        for step in 1..=passed.min(SLOTS as u32) {
            let slot = from.wrapping_add(step) as usize % SLOTS;
            let mut index = std::mem::replace(&mut self.heads[slot], NONE);
            self.busy[slot / 64] &= !(1 << (slot % 64));
            while index != NONE {
                let link = std::mem::replace(self.at(index), IDLE);
                if is_after(link.due, now) {
                    self.link(index, link.due);
                } else {
                    due.push(index);
                }
                index = link.next;
            }
        }
    }

    /// How many ticks until the wheel must be looked at: when the first deadline comes, or before, to put one forward that was
    /// beyond the horizon.
    pub(crate) fn ticks_to_next(&self) -> Option<u32> {
        let start = self.now.wrapping_add(1) as usize % SLOTS;
        // From the start's word round to it again, the bits before the start coming last.
        for step in 0..=WORDS {
            let word = (start / 64 + step) % WORDS;
            let mut bits = self.busy[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == WORDS {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(((slot + SLOTS - start) % SLOTS) as u32 + 1);
            }
        }
        None
    }

    fn link(&mut self, index: u32, due: u32) {
        let wait = if is_after(due, self.now) { due.wrapping_sub(self.now) } else { 1 };
        let slot = self.now.wrapping_add(wait.min(SLOTS as u32 - 1)) as usize % SLOTS;
        let next = std::mem::replace(&mut self.heads[slot], index);
        if next != NONE {
            self.at(next).prev = index;
        }
        *self.at(index) = Link { due, next, prev: HEAD | slot as u32 };
        self.busy[slot / 64] |= 1 << (slot % 64);
    }

    fn at(&mut self, index: u32) -> &mut Link {
        &mut self.links[index as usize / CHUNK][index as usize % CHUNK]
    }
}

/// Whether `a` comes after `b` on a clock that wraps round.
fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Against a plain map of deadlines, over random schedules, cancellations and steps, across the wrap of the clock.
    #[test]
    fn fires_each_deadline_once_and_never_early_or_late() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut wheel = Wheel::new();
        let mut model = BTreeMap::<u32, u32>::new();
        let mut now = u32::MAX - 5000;
        wheel.now = now;
        let mut fired = Vec::new();
        for _ in 0..20_000 {
            let index = random(300) as u32;
            match random(4) {
                0 => {
                    wheel.cancel(index);
                    model.remove(&index);
                }
                1 | 2 => {
                    let due = now.wrapping_add(1 + random(3000) as u32);
                    wheel.schedule(index, due);
                    model.insert(index, due);
                }
                _ => {
                    let next = model.values().map(|due| due.wrapping_sub(now)).min();
                    match (wheel.ticks_to_next(), next) {
                        (None, None) => {}
                        (Some(ticks), Some(next)) => assert!((1..=next).contains(&ticks)),
                        other => panic!("{other:?}"),
                    }
                    now = now.wrapping_add(random(40) as u32);
                    fired.clear();
                    wheel.advance(now, &mut fired);
                    fired.sort_unstable();
                    let due: Vec<u32> = model.iter().filter(|(_, due)| !is_after(**due, now)).map(|(i, _)| *i).collect();
                    assert_eq!(fired, due);
                    model.retain(|_, due| is_after(*due, now));
                }
            }
        }
    }

    #[test]
    fn within_the_horizon_the_next_deadline_is_known_exactly() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.ticks_to_next(), None);
        for (index, due) in [(0, 900), (1, 70), (2, 64), (3, 5)] {
            wheel.schedule(index, due);
            assert_eq!(wheel.ticks_to_next(), Some(due));
        }
        wheel.schedule_earlier(3, 6);
        wheel.schedule_earlier(0, 3);
        assert_eq!(wheel.ticks_to_next(), Some(3));
        wheel.advance(4, &mut Vec::new());
        assert_eq!(wheel.ticks_to_next(), Some(1));
    }

    #[test]
    fn a_long_sleep_loses_nothing() {
        let mut wheel = Wheel::new();
        for index in 0..5000 {
            wheel.schedule(index, 1 + index);
        }
        let mut due = Vec::new();
        wheel.advance(1_000_000, &mut due);
        due.sort_unstable();
        assert_eq!(due, (0..5000).collect::<Vec<_>>());
        assert_eq!(wheel.ticks_to_next(), None);
    }
}
