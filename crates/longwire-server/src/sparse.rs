//! Lines of the log that clients can cause: only so many a second are written, and those say how many were left out.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Writes a line of the log at a level (`INFO`, …), with these fields and this message, as [`tracing`] has them. Of the lines of one
/// place in the code there is one a second, ten if they are for finding faults (`DEBUG`); `more` is how many were left out before.
macro_rules! sparsely {
    (DEBUG, $($line:tt)+) => { sparsely!(@ DEBUG, 10, $($line)+) };
    ($level:ident, $($line:tt)+) => { sparsely!(@ $level, 1, $($line)+) };
    (@ $level:ident, $each_second:literal, $($line:tt)+) => {{
        static LINES: $crate::sparse::Sparse = $crate::sparse::Sparse::new($each_second);
        if ::tracing::enabled!(::tracing::Level::$level)
            && let Some(more) = LINES.now()
        {
            ::tracing::event!(::tracing::Level::$level, more, $($line)+);
        }
    }};
}

/// What may happen very often, and is worth a line of the log now and then.
pub(crate) struct Sparse {
    each_second: u64,
    /// The second of the last line, and how many there were in it.
    last: AtomicU64,
    unsaid: AtomicU64,
}

/// Bits of `last` for the number of lines.
const COUNT_BITS: u32 = 16;

impl Sparse {
    pub(crate) const fn new(each_second: u16) -> Self {
        Self { each_second: each_second as u64, last: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// It has happened. If that is to be said: how often it has happened since it was said last, beside this.
    pub(crate) fn now(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        self.at(START.get_or_init(Instant::now).elapsed().as_secs())
    }

    fn at(&self, second: u64) -> Option<u64> {
        let more = |last: u64| match last >> COUNT_BITS {
            that if that < second => Some(second << COUNT_BITS | 1),
            // A clock that another thread has read later counts.
            _ => (last & ((1 << COUNT_BITS) - 1) < self.each_second).then_some(last + 1),
        };
        if self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
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
        let sparse = Sparse::new(1);
        assert_eq!([0, 0, 0, 1, 1, 7].map(|second| sparse.at(second)), [Some(0), None, None, Some(2), None, Some(1)]);
        let twice = Sparse::new(2);
        assert_eq!([5, 5, 5, 5, 6].map(|second| twice.at(second)), [Some(0), Some(0), None, None, Some(2)]);
    }
}
