//! Who has how many places, counted in as much memory whoever comes: addresses share cells, two each, and the lesser one counts.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::network_of;

/// Cells of a row.
const CELLS: usize = 1024;
/// The level is looked for again after so many questions.
const LEVEL_EVERY: u32 = 64;

#[derive(Debug)]
pub(super) struct Shares {
    /// Two rows, so that who shares a cell with somebody greedy in one of them hardly does so in the other.
    cells: Box<[[AtomicU32; CELLS]; 2]>,
    /// Strangers do not know who shares a cell with whom.
    hasher: RandomState,
    level: AtomicU32,
    questions: AtomicU32,
}

impl Shares {
    pub(super) fn new() -> Self {
        let row = || [const { AtomicU32::new(0) }; CELLS];
        Self {
            cells: Box::new([row(), row()]),
            hasher: RandomState::new(),
            level: AtomicU32::new(u32::MAX),
            questions: AtomicU32::new(0),
        }
    }

    pub(super) fn add(&self, who: IpAddr, weight: usize) {
        for cell in self.cells_of(who) {
            cell.fetch_add(weight as u32, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, who: IpAddr, weight: usize) {
        for cell in self.cells_of(who) {
            cell.fetch_sub(weight as u32, Ordering::Relaxed);
        }
    }

    /// How many places an address has; more, if it shares its cells with others.
    pub(super) fn of(&self, who: IpAddr) -> u32 {
        let [one, other] = self.cells_of(who).map(|cell| cell.load(Ordering::Relaxed));
        one.min(other)
    }

    /// Whether an address has more than it would have if `plenty` places were dealt out fairly: each as many as it wants, and those who
    /// want most equally many. So an office behind one address is not refused while somebody else has a thousand times as much.
    pub(super) fn has_more_than_its_share(&self, who: IpAddr, plenty: usize) -> bool {
        if self.questions.fetch_add(1, Ordering::Relaxed).is_multiple_of(LEVEL_EVERY) {
            self.level.store(self.find_level(plenty), Ordering::Relaxed);
        }
        self.of(who) >= self.level.load(Ordering::Relaxed)
    }

    /// The most that anybody may have, so that all together have `plenty`.
    fn find_level(&self, plenty: usize) -> u32 {
        let mut counts: Vec<u32> = self.cells[0].iter().map(|cell| cell.load(Ordering::Relaxed)).filter(|&n| n > 0).collect();
        counts.sort_unstable();
        let mut left = plenty;
        for (at, &count) in counts.iter().enumerate() {
            let each = left / (counts.len() - at);
            if count as usize >= each {
                return (each as u32).max(1);
            }
            left -= count as usize;
        }
        u32::MAX
    }

    fn cells_of(&self, who: IpAddr) -> [&AtomicU32; 2] {
        let hash = self.hasher.hash_one(network_of(who)) as usize;
        [&self.cells[0][hash % CELLS], &self.cells[1][hash / CELLS % CELLS]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_want_most_have_equally_many() {
        let shares = Shares::new();
        let who = |last| IpAddr::from([203, 0, 113, last]);
        for (last, count) in [(1, 10), (2, 300), (3, 5000), (4, 9000)] {
            shares.add(who(last), count);
        }
        assert_eq!(shares.find_level(20_000), u32::MAX, "all have what they want");
        assert_eq!(shares.find_level(14_000), (14_000 - 5310) as u32);
        assert_eq!(shares.find_level(6310), 3000);
        assert!(shares.has_more_than_its_share(who(4), 6310) && shares.has_more_than_its_share(who(3), 6310));
        assert!(!shares.has_more_than_its_share(who(2), 6310));
        shares.remove(who(3), 5000);
        assert_eq!(shares.of(who(3)), 0);
    }

    #[test]
    fn a_network_of_ipv6_has_one_share() {
        let shares = Shares::new();
        for host in 0..100u16 {
            shares.add(format!("2001:db8:1:2::{host:x}").parse().unwrap(), 1);
        }
        assert_eq!(shares.of("2001:db8:1:2:ffff::1".parse().unwrap()), 100);
        assert_eq!(shares.of("2001:db8:1:3::1".parse().unwrap()), 0);
    }
}
