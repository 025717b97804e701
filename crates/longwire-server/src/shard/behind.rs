//! Lines for which more waits than should: whether their clients are slow is not known at once.
//!
//! What happens in one tick may be more than the bound of an outbox, and more than a socket takes at a time, however fast its client reads.
//! So a line may be over that bound for a moment: by a burst, as long as its client goes on taking a good part of the bound in each
//! window of time, and as long as all such lines of the shard together stay within a budget. Past any of that the client is slow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::heartbeat::TICK;

/// So many times the bound of an outbox may wait for a line that is behind.
const BURST: usize = 16;
/// And so much in any case: a page of what a client has missed, and the largest of messages behind it, are put into its outbox without
/// asking, and what comes next must not be what closes it.
const BURST_MIN: usize = 2 << 20;
/// In so many ticks of the wheel a client that is behind takes half of the bound: two seconds.
pub(crate) const WINDOW: u32 = (2000 / TICK.as_millis()) as u32;

/// What may wait for one line for a moment, if this is the bound of its outbox.
pub(crate) fn burst_bytes(bound: usize) -> usize {
    bound.saturating_mul(BURST).max(BURST_MIN)
}

/// The lines of a shard that are over the bound of their outbox.
pub(crate) struct Behind {
    lines: HashMap<u32, Line>,
    /// What waits for all such lines of the node beyond it, in bytes; of those that lines share each has its part.
    weight: Arc<AtomicUsize>,
    /// And may.
    budget: usize,
    /// The bound of an outbox.
    bound: usize,
    /// The tick at which the lines were looked at.
    looked: u32,
}

struct Line {
    /// The tick at which its window began, and how much its client has taken since then.
    since: u32,
    taken: usize,
    weight: usize,
}

impl Behind {
    /// All shards of a node count in one `weight`.
    pub(crate) fn new(bound: usize, budget: usize, weight: Arc<AtomicUsize>) -> Self {
        Self { lines: HashMap::new(), weight, budget, bound, looked: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a line for which `waiting` bytes wait may get so many more, which it shares with others.
    pub(crate) fn admits(&mut self, line: u32, waiting: usize, bytes: usize, sharers: u32, now: u32) -> bool {
        let all = waiting.saturating_add(bytes);
        if all <= self.bound || waiting == 0 {
            return true;
        }
        if all > burst_bytes(self.bound) {
            return false;
        }
        self.look(now);
        let line = self.lines.entry(line).or_insert(Line { since: now, taken: 0, weight: 0 });
        if !line.is_awake(self.bound, now) {
            return false;
        }
        let weight = bytes.div_ceil(sharers.max(1) as usize);
        if self.weight.fetch_add(weight, Ordering::Relaxed).saturating_add(weight) > self.budget {
            self.weight.fetch_sub(weight, Ordering::Relaxed);
            return false;
        }
        line.weight += weight;
        true
    }

    /// A time in which nobody looked, because the shard or its whole machine did nothing, says nothing about clients.
    fn look(&mut self, now: u32) {
        let gap = now.wrapping_sub(std::mem::replace(&mut self.looked, now));
        if gap > WINDOW / 2 {
            self.lines.values_mut().for_each(|line| line.since = line.since.wrapping_add(gap));
        }
    }

    /// A client has taken this much, and so much is left.
    pub(crate) fn taken(&mut self, line: u32, taken: usize, left: usize) {
        if left <= self.bound {
            self.forget(line);
        } else if let Some(line) = self.lines.get_mut(&line) {
            line.taken += taken;
        }
    }

    pub(crate) fn forget(&mut self, line: u32) {
        if !self.lines.is_empty()
            && let Some(line) = self.lines.remove(&line)
        {
            self.weight.fetch_sub(line.weight, Ordering::Relaxed);
        }
    }

    /// The lines whose clients are slow.
    pub(crate) fn slow(&mut self, now: u32) -> Vec<u32> {
        self.look(now);
        let bound = self.bound;
        let slow = |(index, line): (&u32, &mut Line)| (!line.is_awake(bound, now)).then_some(*index);
        self.lines.iter_mut().filter_map(slow).collect()
    }
}

impl Line {
    /// Whether its client took enough, as far as that is to be seen.
    fn is_awake(&mut self, bound: usize, now: u32) -> bool {
        if now.wrapping_sub(self.since) < WINDOW {
            return true;
        }
        let is_awake = self.taken >= bound / 2;
        if is_awake {
            (self.since, self.taken) = (now, 0);
        }
        is_awake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 1 << 20;
    const MOST: usize = BURST * BOUND;

    #[test]
    fn a_line_may_be_behind_for_a_moment_as_long_as_it_is_taken_from() {
        let mut behind = Behind::new(BOUND, 2 * MOST, Arc::default());
        assert!(behind.admits(1, 0, 5 * BOUND, 1, 0) && behind.admits(1, BOUND - 1, 1, 1, 0), "as ever");
        assert!(behind.is_empty());
        let mut now = 0;
        // Looked at now and then, as long as there are such lines.
        let mut wait = |behind: &mut Behind, ticks: u32| {
            let slow: Vec<_> = (0..ticks).flat_map(|tick| behind.slow(now + tick)).collect();
            now += ticks;
            (slow, now)
        };
        assert!(behind.admits(1, BOUND, 9 * BOUND, 1, 0));
        assert!(!behind.admits(1, 10 * BOUND, 6 * BOUND + 1, 1, 0), "sixteen times the bound");
        let (slow, now) = wait(&mut behind, WINDOW - 1);
        assert!(slow.is_empty() && behind.admits(1, 10 * BOUND, 6 * BOUND, 1, now));
        behind.taken(1, BOUND / 2, MOST - BOUND / 2);
        let (slow, now) = wait(&mut behind, WINDOW);
        assert!(slow.is_empty() && behind.admits(1, MOST - BOUND / 2, 100, 1, now));
        behind.taken(1, BOUND / 2 - 1, MOST - BOUND);
        let (_, now) = wait(&mut behind, 1);
        assert!(!behind.admits(1, MOST - BOUND, 1, 1, now), "it took too little");
        assert_eq!(behind.slow(now), [1]);
        behind.forget(1);
        assert!(behind.is_empty() && behind.weight.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn all_that_are_behind_on_a_node_have_one_budget() {
        let weight = Arc::default();
        let [mut one, mut other] = [(); 2].map(|()| Behind::new(BOUND, 20 * BOUND, Arc::clone(&weight)));
        assert!((0..1000).all(|line| one.admits(line, BOUND, 10 * BOUND, 1000, 0)), "what they share counts once");
        assert!(other.admits(1000, BOUND, 9 * BOUND, 1, 0));
        assert!(!one.admits(1001, BOUND, BOUND, 1, 0) && !other.admits(1002, BOUND, BOUND, 1, 0));
        other.taken(1000, 9 * BOUND + 1, BOUND - 1);
        assert!(one.admits(1001, BOUND, 9 * BOUND, 1, 0));
        assert!(!one.admits(1001, 10 * BOUND, BOUND, 1, 0));
    }

    #[test]
    fn a_page_of_the_past_and_a_message_fit_whatever_the_bound() {
        let mut behind = Behind::new(1, 64 << 20, Arc::default());
        assert!(behind.admits(1, 256 << 10, 1 << 20, 1, 0));
        assert!(!behind.admits(1, BURST_MIN, 1, 1, 0));
    }

    #[test]
    fn a_server_that_slept_does_not_take_its_clients_for_slow() {
        let mut behind = Behind::new(BOUND, 2 * MOST, Arc::default());
        assert!(behind.admits(1, BOUND, BOUND, 1, 7));
        assert!(behind.slow(7 + 100 * WINDOW).is_empty());
        let ticks = 7 + 100 * WINDOW..7 + 101 * WINDOW;
        assert!(ticks.into_iter().all(|tick| behind.slow(tick).is_empty()));
        assert_eq!(behind.slow(7 + 101 * WINDOW), [1]);
    }
}
