//! The two kinds of payload of revision 3.

use bytes::Bytes;

use super::PayloadError;
use crate::engine::{EncodedPacket, Packet, Revision};

/// The most digits of a length: bodies are shorter than 10 GB.
const MAX_DIGITS: usize = 10;
/// Ends the length in a binary payload.
const LENGTH_END: u8 = 0xFF;
const TEXT: u8 = 0;
const BINARY: u8 = 1;

/// Takes the next packet off a text payload. Empty ones are passed over: "0:" is a payload without packets.
pub(super) fn next_of_text<'a>(rest: &mut &'a str) -> Result<Option<Packet<'a>>, PayloadError> {
    loop {
        if rest.is_empty() {
            return Ok(None);
        }
        let colon = rest.bytes().take(MAX_DIGITS + 1).position(|byte| byte == b':').ok_or(PayloadError::Length)?;
        let units = number(rest.bytes().take(colon).map(|digit| digit.wrapping_sub(b'0')))?;
        let text = &rest[colon + 1..];
        let (packet, after) = text.split_at(end_of_units(text, units)?);
        *rest = after;
        if !packet.is_empty() {
            return Ok(Some(Packet::decode_text(Revision::V3, packet)?));
        }
    }
}

/// Where in `text` so many UTF-16 code units end, in bytes.
fn end_of_units(text: &str, units: usize) -> Result<usize, PayloadError> {
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Ok(at);
        }
        left = left.checked_sub(char.len_utf16()).ok_or(PayloadError::Length)?;
    }
    if left == 0 { Ok(text.len()) } else { Err(PayloadError::Truncated) }
}

/// Takes the next packet off a binary payload.
pub(super) fn next_of_binary<'a>(rest: &mut &'a [u8]) -> Result<Option<Packet<'a>>, PayloadError> {
    let Some((&marker, after)) = rest.split_first() else { return Ok(None) };
    if !matches!(marker, TEXT | BINARY) {
        return Err(PayloadError::Marker(marker));
    }
    let end = after.iter().take(MAX_DIGITS + 1).position(|&byte| byte == LENGTH_END).ok_or(PayloadError::Length)?;
    let len = number(after[..end].iter().copied())?;
    let (packet, after) = after[end + 1..].split_at_checked(len).ok_or(PayloadError::Truncated)?;
    *rest = after;
    Ok(Some(if marker == TEXT {
        let text = std::str::from_utf8(packet).map_err(|_| PayloadError::NotUtf8)?;
        Packet::decode_text(Revision::V3, text)?
    } else {
        Packet::decode_binary(Revision::V3, packet)?
    }))
}

/// The number of digits that are 0 to 9, not ASCII; there must be one.
fn number(digits: impl Iterator<Item = u8>) -> Result<usize, PayloadError> {
    let mut number = None;
    for digit in digits {
        if digit > 9 {
            return Err(PayloadError::Length);
        }
        let next = number.unwrap_or(0_usize).checked_mul(10).and_then(|tens| tens.checked_add(usize::from(digit)));
        number = Some(next.ok_or(PayloadError::Length)?);
    }
    number.ok_or(PayloadError::Length)
}

/// A text payload.
pub(super) fn text(packets: &[EncodedPacket]) -> Bytes {
    if packets.is_empty() {
        return Bytes::from_static(b"0:");
    }
    let len: usize = packets.iter().map(|packet| packet.as_bytes().len() + 1 + MAX_DIGITS).sum();
    let mut out = Vec::with_capacity(len);
    for packet in packets {
        let packet = packet.as_bytes();
        out.extend_from_slice(utf16_units(packet).to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(packet);
    }
    out.into()
}

/// How many UTF-16 code units UTF-8 makes: one for each character, two for those of four bytes.
fn utf16_units(utf8: &[u8]) -> usize {
    utf8.iter().map(|&byte| usize::from(byte & 0xC0 != 0x80) + usize::from(byte >= 0xF0)).sum()
}

/// A binary payload.
pub(super) fn binary(packets: &[EncodedPacket]) -> Bytes {
    let len: usize = packets.iter().map(|packet| packet.as_bytes().len() + 2 + MAX_DIGITS).sum();
    let mut out = Vec::with_capacity(len);
    for packet in packets {
        out.push(if packet.is_binary() { BINARY } else { TEXT });
        let bytes = packet.as_bytes();
        out.extend(bytes.len().to_string().bytes().map(|digit| digit - b'0'));
        out.push(LENGTH_END);
        out.extend_from_slice(bytes);
    }
    out.into()
}
