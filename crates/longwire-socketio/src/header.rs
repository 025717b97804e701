//! What stands before the data of a packet.

use crate::error::DecodeError;
use crate::limits::Limits;

/// The largest integer that JavaScript counts to.
const MAX_ACK_ID: u64 = (1 << 53) - 1;
/// The number of its digits.
const MAX_ACK_ID_DIGITS: usize = 16;

/// What a packet is, by its first digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

impl Kind {
    fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    pub(crate) const fn digit(self) -> char {
        match self {
            Self::Connect => '0',
            Self::Disconnect => '1',
            Self::Event => '2',
            Self::Ack => '3',
            Self::ConnectError => '4',
            Self::BinaryEvent => '5',
            Self::BinaryAck => '6',
        }
    }
}

/// A packet's text, taken apart: `<kind>[<attachments>-][<namespace>,][<id>][<data>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) kind: Kind,
    /// 0 but in binary packets.
    pub(crate) attachments: usize,
    /// With its query, if it has one; `/` if it is left out.
    pub(crate) namespace: &'a str,
    pub(crate) id: Option<u64>,
    /// Empty if there is none. Not checked yet.
    pub(crate) data: &'a str,
}

impl<'a> Header<'a> {
    pub(crate) fn read(text: &'a str, limits: &Limits) -> Result<Self, DecodeError> {
        let first = *text.as_bytes().first().ok_or(DecodeError::Empty)?;
        let kind = Kind::from_digit(first).ok_or(DecodeError::UnknownKind)?;
        let (attachments, rest) = match kind {
            Kind::BinaryEvent | Kind::BinaryAck => attachments(&text[1..], limits)?,
            _ => (0, &text[1..]),
        };
        let (namespace, rest) = namespace(rest);
        let (id, data) = ack_id(rest)?;
        Ok(Self { kind, attachments, namespace, id, data })
    }
}

fn attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::AttachmentCount)?;
    if digits.bytes().all(|digit| digit == b'0') {
        return Err(DecodeError::AttachmentCount); // none, or no digits
    }
    let limit = limits.max_attachments;
    // A number that is too large to be read is too large for the limit as well.
    let count = digits.parse().ok().filter(|&count| count <= limit).ok_or(DecodeError::TooManyAttachments { limit })?;
    Ok((count, rest))
}

/// A namespace goes to the comma, or to the end.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

fn ack_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    if digits.len() > MAX_ACK_ID_DIGITS {
        return Err(DecodeError::AckIdTooLarge);
    }
    let id = digits.parse().ok().filter(|&id| id <= MAX_ACK_ID).ok_or(DecodeError::AckIdTooLarge)?;
    Ok((Some(id), rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}
