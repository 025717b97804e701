//! Lines of the log that are written once a second at most.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What may happen very often, and is worth a line of the log now and then.
pub(crate) struct Sparse {
    /// The second in which the next line may be written.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Sparse {
    pub(crate) const fn new() -> Self {
        Self { next: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// It has happened. If that is to be said: how often it has happened since it was said last, beside this.
    pub(crate) fn now(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        self.at(START.get_or_init(Instant::now).elapsed().as_secs())
    }

    fn at(&self, second: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_due =
            second >= next && self.next.compare_exchange(next, second + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !is_due {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_once_a_second_with_its_number() {
        let sparse = Sparse::new();
        assert_eq!([0, 0, 0, 1, 1, 7].map(|second| sparse.at(second)), [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
