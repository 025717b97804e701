//! The numbering of channels that are not there.

use longwire_protocol::Epoch;

/// Names share a generation with so many others, one of them in so many.
const GENERATIONS: usize = 4096;

/// Says which epoch a channel has of which nothing is kept: the one that it will have when something is published into it, so that
/// whoever has looked before misses nothing. Once a channel has given out numbers and is forgotten, its name gets another epoch.
pub(super) struct Unborn {
    seed: u64,
    generations: Box<[u32]>,
}

impl Unborn {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, generations: vec![0; GENERATIONS].into() }
    }

    pub(super) fn epoch(&self, name: &str) -> Epoch {
        let hash = self.hash(name);
        let generation = self.generations[hash as usize % GENERATIONS];
        // 0 is the epoch of no channel.
        Epoch((mix(hash ^ self.seed ^ u64::from(generation) << 40) as u32).max(1))
    }

    /// The numbers of the channel of this name are not to be given out again.
    pub(super) fn renumber(&mut self, name: &str) {
        let generation = &mut self.generations[self.hash(name) as usize % GENERATIONS];
        *generation = generation.wrapping_add(1);
    }

    fn hash(&self, name: &str) -> u64 {
        // FNV-1a, from a seed.
        let bytes = name.bytes();
        mix(bytes.fold(self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// SplitMix64's end: every bit depends on every other.
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_keeps_its_epoch_until_it_is_renumbered() {
        let mut unborn = Unborn::new(7);
        let mut seen = HashSet::new();
        for _ in 0..2000 {
            let epoch = unborn.epoch("chat:a");
            assert_eq!(epoch, unborn.epoch("chat:a"));
            assert!(seen.insert(epoch), "an epoch came back");
            unborn.renumber("chat:a");
        }
        let others = (0..5000).map(|n| unborn.epoch(&format!("chat:{n}"))).collect::<HashSet<_>>();
        assert!(others.len() > 4990);
    }

    #[test]
    fn few_names_are_renumbered_with_another() {
        let mut unborn = Unborn::new(9);
        let before: Vec<Epoch> = (0..100_000).map(|n| unborn.epoch(&format!("c{n}"))).collect();
        unborn.renumber("other");
        let changed = (0..100_000).filter(|n| unborn.epoch(&format!("c{n}")) != before[*n]).count();
        assert!(changed < 100, "{changed} of 100,000");
    }
}
