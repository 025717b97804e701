//! A map by names that never makes anybody wait while it grows.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// So many maps share the names. Each grows by itself, so that at a million names a growth moves some sixteen thousand small entries,
/// a millisecond, and not all of them.
const PARTS: usize = 64;

/// A part that was larger than this gives memory back when it has become nearly empty.
const SHRINK: usize = 256;

/// What there is under each name. Values should be small: they are moved when a part grows.
pub(crate) struct ByName<V> {
    /// Nobody outside can tell which names share a part.
    seed: u64,
    parts: Box<[HashMap<Arc<str>, V>]>,
    len: usize,
}

impl<V> ByName<V> {
    pub(crate) fn new() -> Self {
        let state = RandomState::new();
        let parts = (0..PARTS).map(|_| HashMap::with_hasher(state.clone())).collect();
        Self { seed: state.hash_one(0) | 1, parts, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.parts[self.part(name)].get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let part = self.part(name);
        self.parts[part].get_mut(name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Puts a value under a name; the one that was there before is dropped.
    pub(crate) fn insert(&mut self, name: Arc<str>, value: V) {
        let part = self.part(&name);
        self.len += usize::from(self.parts[part].insert(name, value).is_none());
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<V> {
        let part = self.part(name);
        let part = &mut self.parts[part];
        let removed = part.remove(name)?;
        self.len -= 1;
        if part.capacity() > SHRINK && part.len() < part.capacity() / 8 {
            part.shrink_to(part.capacity() / 4);
        }
        Some(removed)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().flat_map(HashMap::keys)
    }

    /// Cheap, since the part's own hash follows.
    fn part(&self, name: &str) -> usize {
        let mut hash = self.seed ^ name.len() as u64;
        for chunk in name.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash.rotate_left(29) ^ u64::from_le_bytes(word)).wrapping_mul(self.seed ^ 0x9e37_79b9_7f4a_7c14);
            hash ^= hash >> 32;
        }
        (hash >> 20) as usize % PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn it_is_a_map_by_names() {
        let mut random = Random::seeded(3);
        let (mut map, mut model) = (ByName::new(), HashMap::new());
        for step in 0..20_000u32 {
            let name: Arc<str> = format!("chat:{}", random.number() % 3000).into();
            if random.number().is_multiple_of(3) {
                assert_eq!(map.remove(&name), model.remove(&name));
            } else {
                map.insert(name.clone(), step);
                model.insert(name.clone(), step);
            }
            assert_eq!((map.get(&name), map.len()), (model.get(&name), model.len()));
            assert_eq!(map.contains(&name), model.contains_key(&name));
        }
        assert_eq!(map.names().count(), model.len());
    }

    /// What stalls everybody is one part that grows: it must hold a small share of all names, whatever they look like.
    #[test]
    fn no_part_has_much_more_than_its_share() {
        for name in [|n: usize| format!("c{n}"), |n| format!("chat:{n:08}"), |n| format!("{n}:room"), |n| "x".repeat(n % 250)] {
            let mut map = ByName::new();
            (0..64_000).for_each(|n| map.insert(name(n).into(), ()));
            let largest = map.parts.iter().map(HashMap::len).max().unwrap_or(0);
            assert!(largest <= (map.len() / PARTS) * 3 / 2 + 20, "{largest} of {} in one part", map.len());
        }
    }
}
