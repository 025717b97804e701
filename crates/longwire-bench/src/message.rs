//! What the load generator sends: one frame, encoded and masked once, of which only 16 bytes change.
//!
//! A payload begins with 16 letters: the tag (which line or channel it belongs to) and the sequence number, eight letters
//! each. The rest is a fixed text. The receiver compares all of it.

use std::hash::{BuildHasher, RandomState};

use longwire_ws::{Opcode, frame};

/// Bytes of a payload that change from message to message, and so the least size of a message.
pub(crate) const HEADER: usize = 16;

/// A message to be sent many times.
#[derive(Debug)]
pub(crate) struct Template {
    /// The masked frame with tag 0 and sequence number 0.
    frame: Vec<u8>,
    /// Where the payload begins in it.
    payload_at: usize,
    mask: [u8; 4],
    /// The payload as the receiver must see it, after the first [`HEADER`] bytes.
    tail: Vec<u8>,
    binary: bool,
}

/// What a received payload says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) tag: u32,
    pub(crate) sequence: u32,
}

impl Template {
    /// A message of `size` payload bytes, at least [`HEADER`].
    pub(crate) fn new(size: usize, binary: bool) -> Template {
        let tail: Vec<u8> = (HEADER..size).map(|at| b' ' + (at % 95) as u8).collect();
        let payload = [vec![b'A'; HEADER], tail.clone()].concat();
        let mask = (random() as u32).to_be_bytes();
        let mut frame = Vec::new();
        frame::encode(if binary { Opcode::Binary } else { Opcode::Text }, &payload, Some(mask), &mut frame);
        Template { payload_at: frame.len() - size, frame, mask, tail, binary }
    }

    /// Bytes of a frame as the server sends it on.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame.len() - 4
    }

    /// Appends the frame with this stamp.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let at = out.len() + self.payload_at;
        out.extend_from_slice(&self.frame);
        // The header begins at offset 0 of the payload, and 16 is a multiple of the mask's 4 bytes (RFC 6455 section 5.3).
        for ((byte, letter), mask) in out[at..at + HEADER].iter_mut().zip(stamp.letters()).zip(self.mask.iter().cycle()) {
            *byte = letter ^ mask;
        }
    }

    /// Whether a received message is the one with this stamp, byte for byte.
    #[inline]
    pub(crate) fn is(&self, stamp: Stamp, binary: bool, payload: &[u8]) -> bool {
        match payload.split_first_chunk::<HEADER>() {
            Some((header, tail)) => *header == stamp.letters() && tail == self.tail && binary == self.binary,
            None => false,
        }
    }

    /// The stamp of a received message; none when the message is damaged.
    pub(crate) fn stamp(&self, binary: bool, payload: &[u8]) -> Option<Stamp> {
        let (header, tail) = payload.split_first_chunk::<HEADER>()?;
        let stamp = Stamp::parse(header)?;
        (tail == self.tail && binary == self.binary).then_some(stamp)
    }
}

impl Stamp {
    #[inline]
    pub(crate) fn letters(self) -> [u8; HEADER] {
        let mut letters = [0; HEADER];
        letters[..8].copy_from_slice(&to_letters(self.tag));
        letters[8..].copy_from_slice(&to_letters(self.sequence));
        letters
    }

    pub(crate) fn parse(letters: &[u8; HEADER]) -> Option<Stamp> {
        let number = |letters: &[u8]| {
            letters
                .iter()
                .try_fold(0u32, |number, &letter| matches!(letter, b'A'..=b'P').then(|| number << 4 | u32::from(letter - b'A')))
        };
        Some(Stamp { tag: number(&letters[..8])?, sequence: number(&letters[8..])? })
    }
}

/// A number in base 16 with the letters A to P as digits: without a branch, all eight at once.
#[inline]
fn to_letters(number: u32) -> [u8; 8] {
    let x = u64::from(number);
    let x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    let x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (x + 0x4141_4141_4141_4141).to_be_bytes()
}

/// A number that another run does not have. For masks, keys and tags, not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmask(frame: &[u8], payload_at: usize) -> Vec<u8> {
        let mask = &frame[payload_at - 4..payload_at];
        frame[payload_at..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }

    #[test]
    fn letters_are_the_digits_of_the_number() {
        assert_eq!(&to_letters(0), b"AAAAAAAA");
        assert_eq!(&to_letters(0x0123_89ef), b"ABCDIJOP");
        assert_eq!(&to_letters(u32::MAX), b"PPPPPPPP");
    }

    #[test]
    fn frames_of_every_length_form_say_what_they_should() {
        for (size, header) in [(16, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let template = Template::new(size, false);
            let stamp = Stamp { tag: 0xdead_beef, sequence: 77 };
            let mut out = vec![1, 2, 3];
            template.append(&mut out, stamp);
            assert_eq!(out.len(), 3 + header + size);
            assert_eq!(out[3], 0x81);
            let payload = unmask(&out[3..], header);
            assert!(template.is(stamp, false, &payload));
            assert_eq!(template.stamp(false, &payload), Some(stamp));
            assert!(std::str::from_utf8(&payload).is_ok());
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let template = Template::new(40, true);
        let stamp = Stamp { tag: 3, sequence: 4 };
        let mut out = Vec::new();
        template.append(&mut out, stamp);
        let payload = unmask(&out, 6);
        assert!(!template.is(stamp, false, &payload), "the type differs");
        assert!(!template.is(stamp, true, &payload[..39]));
        assert!(!template.is(stamp, true, b""));
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 0x20;
            assert!(!template.is(stamp, true, &changed), "byte {at}");
        }
    }
}
