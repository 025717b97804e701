//! Frames: the header, and whole frames for those who send them to many (RFC 6455, 5.2).

use crate::error::ProtocolError;
use crate::mask;
use crate::message::MessageKind;

/// What a frame is (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next piece of a fragmented message.
    Continuation = 0x0,
    /// A text, or its first piece.
    Text = 0x1,
    /// Binary data, or its first piece.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to it.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode for the low four bits of a header's first byte; the others are reserved (RFC 6455, 5.2).
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a close, ping or pong (RFC 6455, 5.5).
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

impl From<MessageKind> for Opcode {
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text,
            MessageKind::Binary => Self::Binary,
        }
    }
}

/// The first reserved bit: under permessage-deflate, the message is compressed (RFC 7692, 6).
pub const RSV1: u8 = 0x40;
/// The longest payload of a control frame, in bytes (RFC 6455, 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;
const RSV: u8 = 0x70;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A frame's header (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last piece of its message.
    pub fin: bool,
    /// The three reserved bits where they stand in the first byte; see [`RSV1`].
    pub rsv: u8,
    /// What it is.
    pub opcode: Opcode,
    /// The masking key of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes, below 2^63.
    pub payload_len: u64,
}

impl Header {
    /// The longest header in bytes: two, a 64-bit length, and a masking key.
    pub const MAX_BYTES: usize = 14;

    /// The header of an unmasked, unfragmented frame.
    pub const fn new(opcode: Opcode, payload_len: usize) -> Self {
        Self { fin: true, rsv: 0, opcode, mask: None, payload_len: payload_len as u64 }
    }

    /// Reads a header and how many bytes it takes; `None` if `input` ends before it does.
    ///
    /// Refuses what no extension could make right: reserved opcodes, lengths that are too large or not minimal, control frames
    /// that are too long or fragmented; each as soon as its byte is there.
    #[inline]
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::decode_judged(input, |_, _, _| Ok(()))
    }

    /// As [`decode`](Self::decode), with a judgement of what the first two bytes say: the opcode, the reserved bits, and
    /// whether there is a masking key (`None` as long as the second byte is missing).
    ///
    /// Whatever the number of bytes there are, rules are applied in the order of the bytes that show them.
    #[inline]
    pub(crate) fn decode_judged(
        input: &[u8],
        judge: impl FnOnce(Opcode, u8, Option<bool>) -> Result<(), ProtocolError>,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = input.first() else { return Ok(None) };
        // RFC 6455, 5.2: "if an unknown opcode is received", the connection fails.
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(ProtocolError::ReservedOpcode(first & 0x0F))?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl); // RFC 6455, 5.5
        }
        let second = input.get(1).copied();
        judge(opcode, first & RSV, second.map(|second| second & MASKED != 0))?;
        let Some(second) = second else { return Ok(None) };
        let short_len = second & !MASKED;
        if opcode.is_control() && usize::from(short_len) > MAX_CONTROL_BYTES {
            return Err(ProtocolError::ControlTooLong); // RFC 6455, 5.5
        }
        let (payload_len, len_end) = match short_len {
            126 => {
                let Some(bytes) = array::<2>(input, 2) else { return Ok(None) };
                let len = u16::from_be_bytes(bytes);
                // RFC 6455, 5.2: the minimal number of bytes must be used.
                if len < 126 {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (u64::from(len), 4)
            }
            127 => {
                let Some(bytes) = array::<8>(input, 2) else { return Ok(None) };
                let len = u64::from_be_bytes(bytes);
                if len >> 63 != 0 {
                    return Err(ProtocolError::LengthTooLarge); // RFC 6455, 5.2
                }
                if len <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, 10)
            }
            len => (u64::from(len), 2),
        };
        let (mask, end) = if second & MASKED != 0 {
            let Some(key) = array::<4>(input, len_end) else { return Ok(None) };
            (Some(key), len_end + 4)
        } else {
            (None, len_end)
        };
        Ok(Some((Self { fin, rsv: first & RSV, opcode, mask, payload_len }, end)))
    }

    /// Appends the header to `out`, its length in the shortest form.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let first = if self.fin { FIN } else { 0 } | self.rsv | self.opcode as u8;
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match self.payload_len {
            len @ 0..=125 => out.extend_from_slice(&[first, masked | len as u8]),
            len @ 126..=0xFFFF => {
                let [a, b] = (len as u16).to_be_bytes();
                out.extend_from_slice(&[first, masked | 126, a, b]);
            }
            len => {
                out.extend_from_slice(&[first, masked | 127]);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            out.extend_from_slice(&key);
        }
    }
}

fn array<const N: usize>(input: &[u8], at: usize) -> Option<[u8; N]> {
    input.get(at..at + N)?.try_into().ok()
}

/// Appends a whole frame to `out`: masked if there is a key, as a client must (RFC 6455, 5.1).
///
/// A server that sends one message to many encodes it once with this (no mask) and shares the bytes.
///
/// ```
/// use longwire_ws::{Opcode, frame};
/// let mut out = Vec::new();
/// frame::encode(Opcode::Text, b"Hello", None, &mut out);
/// assert_eq!(out, b"\x81\x05Hello"); // RFC 6455, 5.7
/// ```
#[inline]
pub fn encode(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    encode_with(Header { mask, ..Header::new(opcode, payload.len()) }, payload, out);
}

/// Appends a frame with any header, fragments included. `header.payload_len` is taken from `payload`.
#[inline]
pub fn encode_with(header: Header, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(Header::MAX_BYTES + payload.len());
    Header { payload_len: payload.len() as u64, ..header }.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = header.mask {
        mask::apply(&mut out[start..], key, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6455, 5.7: the examples of the specification.
    #[test]
    fn the_examples_of_the_specification() {
        let mut out = Vec::new();
        encode(Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]), &mut out);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        encode(Opcode::Ping, b"Hello", None, &mut out);
        assert_eq!(out, b"\x89\x05Hello");
        out.clear();
        Header::new(Opcode::Binary, 256).encode(&mut out);
        assert_eq!(out, [0x82, 0x7E, 0x01, 0x00]);
        out.clear();
        Header::new(Opcode::Binary, 65536).encode(&mut out);
        assert_eq!(out, [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    /// RFC 6455, 5.2: minimal lengths, and the highest bit of a 64-bit one.
    #[test]
    fn lengths_that_are_not_minimal_or_too_large_are_refused() {
        assert_eq!(Header::decode(&[0x82, 126, 0, 125]), Err(ProtocolError::LengthNotMinimal));
        assert_eq!(Header::decode(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Err(ProtocolError::LengthNotMinimal));
        assert_eq!(Header::decode(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(ProtocolError::LengthTooLarge));
    }

    /// RFC 6455, 5.2 and 5.5: judged at the first byte that shows it.
    #[test]
    fn bad_opcodes_and_control_frames_are_refused_early() {
        for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            assert_eq!(Header::decode(&[0x80 | opcode]), Err(ProtocolError::ReservedOpcode(opcode)));
        }
        assert_eq!(Header::decode(&[0x09]), Err(ProtocolError::FragmentedControl));
        assert_eq!(Header::decode(&[0x89, 126]), Err(ProtocolError::ControlTooLong));
    }

    proptest! {
        #[test]
        fn a_header_reads_as_written(fin: bool, rsv in 0u8..8, op in 0u8..3, mask: Option<[u8; 4]>, len in prop_oneof![0u64..70000, 0u64..1 << 63]) {
            let header = Header { fin, rsv: rsv << 4, opcode: Opcode::from_bits(op).unwrap(), mask, payload_len: len };
            let mut out = Vec::new();
            header.encode(&mut out);
            prop_assert_eq!(Header::decode(&out), Ok(Some((header, out.len()))));
            for cut in 0..out.len() {
                prop_assert_eq!(Header::decode(&out[..cut]), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(Some((header, used))) = Header::decode(&bytes) {
                let mut out = Vec::new();
                header.encode(&mut out);
                prop_assert_eq!(&out[..], &bytes[..used]);
            }
        }
    }
}
