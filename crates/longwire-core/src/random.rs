//! Randomness, as a value from outside.

/// Random bytes: from the operating system in a server, from a seed in a simulation.
pub struct Random(Box<dyn Fill>);

/// Fills a buffer.
trait Fill: FnMut(&mut [u8]) + Send {}

impl<T: FnMut(&mut [u8]) + Send> Fill for T {}

impl Random {
    /// From a function that fills a buffer.
    pub fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Box::new(fill))
    }

    /// The same sequence for the same seed: not for secrets.
    pub fn seeded(seed: u64) -> Self {
        let mut state = seed;
        Self::new(move |buffer| {
            for chunk in buffer.chunks_mut(8) {
                // SplitMix64.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = state;
                word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                chunk.copy_from_slice(&(word ^ word >> 31).to_le_bytes()[..chunk.len()]);
            }
        })
    }

    /// So many bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A number.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}
