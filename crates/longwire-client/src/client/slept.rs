//! For how long the machine has slept, which the clock of the timers leaves out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the machine has slept since this was made. Whoever comes back from a long sleep is not to take what it has said for new.
#[derive(Debug)]
pub(super) struct Slept {
    /// By how much the one clock is ahead of the other: at first, and by now. In milliseconds.
    first: u64,
    now: AtomicU64,
}

/// The two clocks are not read at one moment: what is less than this is no sleep.
const LEAST_MS: u64 = 1000;

impl Default for Slept {
    fn default() -> Self {
        let first = ahead();
        Self { first, now: AtomicU64::new(first) }
    }
}

impl Slept {
    /// It only grows.
    pub(super) fn time(&self) -> Duration {
        self.update(ahead())
    }

    fn update(&self, ahead: u64) -> Duration {
        let known = self.now.load(Ordering::Relaxed);
        let now = if ahead >= known + LEAST_MS { self.now.fetch_max(ahead, Ordering::Relaxed).max(ahead) } else { known };
        Duration::from_millis(now - self.first)
    }
}

/// By how many milliseconds the clock that goes on while the machine sleeps is ahead of the one that does not.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn ahead() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let millis = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    let with_sleep = millis(ClockId::Boottime);
    u64::try_from(with_sleep - millis(ClockId::Monotonic)).unwrap_or(0)
}

/// Elsewhere it is not known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ahead() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_counts_and_nothing_else_does() {
        let slept = Slept { first: 5000, now: AtomicU64::new(5000) };
        let after = |ahead| slept.update(ahead).as_millis();
        assert_eq!([5000, 5999, 4000, 0].map(after), [0; 4]);
        assert_eq!([3_605_000, 3_605_500, 3_604_999, 5000].map(after), [3_600_000; 4]);
        assert_eq!(after(3_606_000), 3_601_000);
        assert_eq!(Slept::default().time(), Duration::ZERO);
    }
}
