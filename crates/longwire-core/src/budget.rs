//! What a node may keep in memory, counted by all its shards together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A share tells the others what it has counted once it is so much, so that counting touches nothing that shards have in common.
const TELL: usize = 16 * 1024;

/// Bytes that may be kept, and that are. What things take is an estimate, with what the allocator and the maps around them need.
pub struct Budget {
    bound: usize,
    used: AtomicUsize,
}

/// What one part of the node keeps.
pub(crate) struct Share {
    budget: Arc<Budget>,
    kept: usize,
    /// What of it the budget knows.
    told: usize,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { bound, used: AtomicUsize::new(0) })
    }

    /// Bytes that may be kept.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Bytes that are, give or take 16 KiB for each shard.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("bound", &self.bound).field("used", &self.used()).finish()
    }
}

impl Share {
    pub(crate) fn of(budget: Arc<Budget>) -> Self {
        Self { budget, kept: 0, told: 0 }
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.kept += bytes;
        if self.kept >= self.told + TELL {
            self.tell();
        }
    }

    pub(crate) fn sub(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.kept, "more has gone than there was");
        self.kept = self.kept.saturating_sub(bytes);
        if self.kept + TELL <= self.told {
            self.tell();
        }
    }

    /// Bytes that this part keeps.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Bytes that may still be kept on the node.
    pub(crate) fn free(&self) -> usize {
        (self.budget.bound + self.told).saturating_sub(self.budget.used() + self.kept)
    }

    fn tell(&mut self) {
        if self.kept >= self.told {
            self.budget.used.fetch_add(self.kept - self.told, Ordering::Relaxed);
        } else {
            self.budget.used.fetch_sub(self.told - self.kept, Ordering::Relaxed);
        }
        self.told = self.kept;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.kept = 0;
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_one_budget_know_of_each_other() {
        let budget = Budget::new(1 << 20);
        let (mut one, mut other) = (Share::of(budget.clone()), Share::of(budget.clone()));
        for _ in 0..1000 {
            one.add(500);
            other.add(100);
        }
        other.sub(50_000);
        assert!(budget.used().abs_diff(550_000) <= 2 * TELL);
        assert!(one.free().abs_diff((1 << 20) - 550_000) <= TELL);
        drop(one);
        other.sub(50_000);
        assert_eq!((budget.used(), other.free()), (0, 1 << 20));
    }

    #[test]
    fn a_budget_without_bound_never_ends() {
        let mut share = Share::of(Budget::new(usize::MAX >> 1));
        share.add(1 << 40);
        assert!(share.free() > 1 << 40);
    }
}
