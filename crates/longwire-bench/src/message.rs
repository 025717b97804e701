//! What the load generator sends: one frame, encoded and masked once, of which only 16 bytes change.
//!
//! A message begins with 16 letters: the tag (which line or channel it belongs to) and the sequence number, eight letters
//! each. The rest is a fixed text. The receiver compares all of it. What a protocol puts around a message is fixed, too.

use std::hash::{BuildHasher, RandomState};

use longwire_ws::{Opcode, frame};

/// Bytes of a payload that change from message to message, and so the least size of a message.
pub(crate) const HEADER: usize = 16;

/// A message to be sent many times.
#[derive(Debug)]
pub(crate) struct Template {
    /// The masked frame with tag 0 and sequence number 0.
    frame: Vec<u8>,
    /// Where the letters begin in it.
    letters_at: usize,
    /// The mask, as it applies to the letters.
    mask: [u8; 4],
    /// The payload as the receiver must see it, before and after its [`HEADER`] letters.
    before: Vec<u8>,
    after: Vec<u8>,
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
        Template::around(b"", &tail, binary)
    }

    /// A text message of `size` bytes that needs no escape in JSON, and what stands before and after it in each payload.
    pub(crate) fn within(before: &str, size: usize, after: &str) -> Template {
        Template::around(before.as_bytes(), &[plain_tail(size).as_bytes(), after.as_bytes()].concat(), false)
    }

    fn around(before: &[u8], after: &[u8], binary: bool) -> Template {
        let payload = [before, &[b'A'; HEADER], after].concat();
        let mut mask = (random() as u32).to_be_bytes();
        let mut frame = Vec::new();
        frame::encode(if binary { Opcode::Binary } else { Opcode::Text }, &payload, Some(mask), &mut frame);
        // RFC 6455 section 5.3: the mask repeats from the beginning of the payload.
        mask.rotate_left(before.len() % 4);
        let letters_at = frame.len() - payload.len() + before.len();
        Template { letters_at, frame, mask, before: before.to_vec(), after: after.to_vec(), binary }
    }

    /// Bytes of a frame as the server sends it on.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame.len() - 4
    }

    /// Bytes of a message with what stands around it.
    pub(crate) fn payload_len(&self) -> usize {
        self.before.len() + HEADER + self.after.len()
    }

    /// Appends the frame with this stamp.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let at = out.len() + self.letters_at;
        out.extend_from_slice(&self.frame);
        for ((byte, letter), mask) in out[at..at + HEADER].iter_mut().zip(stamp.letters()).zip(self.mask.iter().cycle()) {
            *byte = letter ^ mask;
        }
    }

    /// Whether a received message is the one with this stamp, byte for byte.
    #[inline]
    pub(crate) fn is(&self, stamp: Stamp, binary: bool, payload: &[u8]) -> bool {
        self.take(stamp, binary, payload).is_some_and(<[u8]>::is_empty)
    }

    /// What follows the message with this stamp, if that is what `bytes` begin with.
    #[inline]
    pub(crate) fn take<'a>(&self, stamp: Stamp, binary: bool, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (letters, rest) = bytes.strip_prefix(&self.before[..])?.split_first_chunk::<HEADER>()?;
        let rest = rest.strip_prefix(&self.after[..])?;
        (*letters == stamp.letters() && binary == self.binary).then_some(rest)
    }

    /// The stamp of a received message; none when the message is damaged.
    pub(crate) fn stamp(&self, binary: bool, payload: &[u8]) -> Option<Stamp> {
        let (letters, after) = payload.strip_prefix(&self.before[..])?.split_first_chunk::<HEADER>()?;
        let stamp = Stamp::parse(letters)?;
        (after == self.after && binary == self.binary).then_some(stamp)
    }
}

/// What follows the letters in a message of `size` bytes that needs no escape in JSON.
pub(crate) fn plain_tail(size: usize) -> String {
    (HEADER..size).map(|at| char::from(b'a' + (at % 26) as u8)).collect()
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
    fn what_stands_around_a_message_is_masked_and_compared_with_it() {
        for before in ["", "4", "42", "42[", "42[\"m\",\""] {
            let template = Template::within(before, 20, "\"]");
            let stamp = Stamp { tag: 0xdead_beef, sequence: 77 };
            let mut out = Vec::new();
            template.append(&mut out, stamp);
            let payload = unmask(&out, 6);
            let text = format!("{before}{}{}\"]", String::from_utf8_lossy(&stamp.letters()), plain_tail(20));
            assert_eq!(String::from_utf8_lossy(&payload), text);
            assert!(template.is(stamp, false, &payload));
            assert_eq!(template.stamp(false, &payload), Some(stamp));
            assert_eq!(template.take(stamp, false, &[&payload[..], b"more"].concat()), Some(&b"more"[..]));
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
