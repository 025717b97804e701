//! Storage for lines: in chunks that never move, so that the millionth line costs as much as the first.

const CHUNK: usize = 256;

/// Names a line on its shard. The generation tells it from an earlier line in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn to_bits(self) -> usize {
        (self.generation as usize) << 32 | self.index as usize
    }

    pub(crate) fn from_bits(bits: usize) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

pub(crate) struct Slab<T> {
    chunks: Vec<Box<[Place<T>]>>,
    /// Vacant places, to be used again last in, first out: the warmest.
    vacant: Vec<u32>,
    len: usize,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), vacant: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All indices in use are below this.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => self.grow(),
        };
        let place = &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK];
        place.value = Some(value);
        self.len += 1;
        Key { index, generation: place.generation }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key.index)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(key.index);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = &self.chunks.get(key.index as usize / CHUNK)?[key.index as usize % CHUNK];
        place.value.as_ref().filter(|_| place.generation == key.generation)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place_mut(key.index)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    /// The value at an index, for those who are told when it goes away, such as the hub.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.place_mut(index)?.value.as_mut()
    }

    /// The key of the value at an index.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let place = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        place.value.as_ref().map(|_| Key { index, generation: place.generation })
    }

    #[inline]
    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    fn grow(&mut self) -> u32 {
        let first = self.capacity();
        self.chunks.push((0..CHUNK).map(|_| Place { generation: 0, value: None }).collect());
        self.vacant.extend((first + 1..first + CHUNK).rev().map(|index| index as u32));
        first as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_reach_a_later_value_in_the_same_place() {
        let mut slab = Slab::new();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(old.index, new.index);
        assert!(slab.get_mut(old).is_none());
        assert!(slab.remove(old).is_none());
        assert_eq!(slab.get_mut(new), Some(&mut "new"));
        assert_eq!(Key::from_bits(new.to_bits()), new);
    }

    #[test]
    fn places_are_reused_before_more_are_made() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        let capacity = slab.capacity();
        for key in &keys {
            slab.remove(*key);
        }
        assert_eq!(slab.len(), 0);
        for n in 0..1000 {
            slab.insert(n);
        }
        assert_eq!(slab.capacity(), capacity);
    }
}
