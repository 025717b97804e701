//! Masking of client frames (RFC 6455, 5.3).

/// XORs `data` with `key` in place. `phase` is how many bytes of the frame's payload came before `data`, so that a payload can
/// be unmasked in the pieces in which it arrives.
///
/// Masking and unmasking are the same operation (RFC 6455, 5.3).
///
/// ```
/// let key = [1, 2, 3, 4];
/// let mut whole = *b"the quick brown fox";
/// longwire_ws::mask::apply(&mut whole, key, 0);
/// let (head, tail) = whole.split_at_mut(7);
/// longwire_ws::mask::apply(head, key, 0);
/// longwire_ws::mask::apply(tail, key, 7);
/// assert_eq!(&whole, b"the quick brown fox");
/// ```
#[inline]
pub fn apply(data: &mut [u8], key: [u8; 4], phase: usize) {
    let key = rotate(key, phase);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    // Whole words by four: the compiler turns the inner loop into vector instructions.
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        for word in block.as_chunks_mut::<8>().0 {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The key as it applies to the byte at `phase`: octet `i` is masked with `key[i mod 4]`.
fn rotate(key: [u8; 4], phase: usize) -> [u8; 4] {
    let mut key = key;
    key.rotate_left(phase & 3);
    key
}

#[cfg(test)]
mod tests {
    use super::apply;
    use proptest::prelude::*;

    proptest! {
        /// RFC 6455, 5.3: `transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4)`.
        #[test]
        fn every_octet_is_masked_by_its_place(data: Vec<u8>, key: [u8; 4], phase in 0usize..9) {
            let mut fast = data.clone();
            apply(&mut fast, key, phase);
            let slow: Vec<u8> = data.iter().enumerate().map(|(i, b)| b ^ key[(i + phase) % 4]).collect();
            prop_assert_eq!(fast, slow);
        }
    }
}
