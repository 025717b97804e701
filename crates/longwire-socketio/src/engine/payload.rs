//! Payloads: the bodies of polling requests and answers, several packets in each.
//!
//! | revision | body | how packets are told apart |
//! |---|---|---|
//! | 4 | text | U+001E between them; binary ones are `b` and base64 |
//! | 3 | text | before each its length in UTF-16 code units and a colon; binary ones are `b4` and base64 |
//! | 3 | binary, if one of them is | before each a 0 (text) or 1 (binary), its length in bytes as decimal digits of one byte each (0 to 9, not ASCII), and 255 |

mod v3;

use std::fmt;

use bytes::Bytes;
use http::StatusCode;

use super::{EncodedPacket, Packet, PacketError, Revision};

/// Between the packets of a payload of revision 4.
const SEPARATOR: u8 = 0x1E;

/// What is taken of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    /// The longest body, in bytes: the `maxPayload` of the handshake.
    pub max_bytes: usize,
    /// The most packets in one body. Clients flush all that they have kept into one body, as far as its bytes allow.
    pub max_packets: usize,
}

impl Default for PayloadLimits {
    /// The 1,000,000 bytes of the reference, and 100,000 packets.
    fn default() -> Self {
        Self { max_bytes: 1_000_000, max_packets: 100_000 }
    }
}

/// What a body is, by its `Content-Type`: `application/octet-stream` is binary, all else text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// UTF-8.
    Text,
    /// The binary form of revision 3.
    Binary,
}

impl Content {
    /// From the value of `Content-Type`.
    pub fn from_content_type(value: Option<&str>) -> Self {
        match value {
            Some("application/octet-stream") => Self::Binary,
            _ => Self::Text,
        }
    }

    /// The `Content-Type` of an answer with it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=UTF-8",
            Self::Binary => "application/octet-stream",
        }
    }
}

/// Reads a body packet by packet, in their order. The packets before one that is malformed are given before the error, and
/// nothing after it.
///
/// # Errors
/// If none of it can be read: too long, not UTF-8, or binary in revision 4.
pub fn decode<'a>(
    revision: Revision,
    content: Content,
    body: &'a [u8],
    limits: &PayloadLimits,
) -> Result<Packets<'a>, PayloadError> {
    if body.len() > limits.max_bytes {
        return Err(PayloadError::TooBig { limit: limits.max_bytes });
    }
    let rest = match (revision, content) {
        (Revision::V4, Content::Binary) => return Err(PayloadError::BinaryBody),
        (Revision::V3, Content::Binary) => Rest::Binary(body),
        (revision, Content::Text) => {
            let text = std::str::from_utf8(body).map_err(|_| PayloadError::NotUtf8)?;
            match revision {
                Revision::V4 => Rest::Separated(Some(text)),
                // The reference takes an empty body for a mistake, and "0:" for a payload without packets.
                Revision::V3 if text.is_empty() => return Err(PayloadError::Length),
                Revision::V3 => Rest::Measured(text),
            }
        }
    };
    Ok(Packets { rest, packets_left: limits.max_packets, packets_limit: limits.max_packets })
}

/// The packets of a body: see [`decode`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: Rest<'a>,
    packets_left: usize,
    packets_limit: usize,
}

/// What has not been read yet.
#[derive(Clone, Debug)]
enum Rest<'a> {
    /// Of a body of revision 4: `None` after the last packet, which may be empty.
    Separated(Option<&'a str>),
    /// Of a text body of revision 3.
    Measured(&'a str),
    /// Of a binary body of revision 3.
    Binary(&'a [u8]),
}

impl<'a> Rest<'a> {
    fn next(&mut self) -> Result<Option<Packet<'a>>, PayloadError> {
        match self {
            Self::Separated(rest) => {
                let Some(text) = *rest else { return Ok(None) };
                let (packet, after) = match text.split_once(char::from(SEPARATOR)) {
                    Some((packet, after)) => (packet, Some(after)),
                    None => (text, None),
                };
                *rest = after;
                Ok(Some(Packet::decode_text(Revision::V4, packet)?))
            }
            Self::Measured(rest) => v3::next_of_text(rest),
            Self::Binary(rest) => v3::next_of_binary(rest),
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.rest.next().transpose()? {
            Ok(_) if self.packets_left == 0 => Err(PayloadError::TooManyPackets { limit: self.packets_limit }),
            next => next,
        };
        self.packets_left = self.packets_left.saturating_sub(1);
        if next.is_err() {
            self.rest = Rest::Separated(None);
        }
        Some(next)
    }
}

impl std::iter::FusedIterator for Packets<'_> {}

/// The body of an answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// What its `Content-Type` is.
    pub content: Content,
    /// What it holds.
    pub bytes: Bytes,
}

/// Joins packets, which must all be encoded in a form of this revision, to a body. A single one of revision 4 is its own body,
/// without a copy.
pub fn encode(revision: Revision, packets: &[EncodedPacket]) -> Body {
    match revision {
        Revision::V4 => Body { content: Content::Text, bytes: separated(packets) },
        Revision::V3 if packets.iter().any(EncodedPacket::is_binary) => {
            Body { content: Content::Binary, bytes: v3::binary(packets) }
        }
        Revision::V3 => Body { content: Content::Text, bytes: v3::text(packets) },
    }
}

fn separated(packets: &[EncodedPacket]) -> Bytes {
    if let [only] = packets {
        return only.as_bytes().clone();
    }
    let len = packets.iter().map(|packet| packet.as_bytes().len() + 1).sum();
    let mut out = Vec::with_capacity(len);
    for (at, packet) in packets.iter().enumerate() {
        if at > 0 {
            out.push(SEPARATOR);
        }
        out.extend_from_slice(packet.as_bytes());
    }
    out.into()
}

/// Why a body is no payload. The session has failed: answer with [`status`](Self::status), and close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// Longer than [`PayloadLimits::max_bytes`].
    TooBig {
        /// What the limit is, in bytes.
        limit: usize,
    },
    /// More packets than [`PayloadLimits::max_packets`].
    TooManyPackets {
        /// What the limit is.
        limit: usize,
    },
    /// A binary body, which revision 4 does not have.
    BinaryBody,
    /// A text body that is not UTF-8, or such a text in a binary one.
    NotUtf8,
    /// A packet's length is missing, not a number, or ends inside a character (revision 3).
    Length,
    /// The body ends inside a packet (revision 3).
    Truncated,
    /// Before a packet of a binary body stands neither 0 nor 1 (revision 3).
    Marker(u8),
    /// One of the packets is none.
    Packet(PacketError),
}

impl PayloadError {
    /// The status of the answer. Its body is empty.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooBig { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<PacketError> for PayloadError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig { limit } => write!(f, "payload larger than {limit} bytes"),
            Self::TooManyPackets { limit } => write!(f, "payload of more than {limit} packets"),
            Self::BinaryBody => f.write_str("binary payload in revision 4"),
            Self::NotUtf8 => f.write_str("payload is not UTF-8"),
            Self::Length => f.write_str("length of a packet is missing or wrong"),
            Self::Truncated => f.write_str("payload ends inside a packet"),
            Self::Marker(byte) => write!(f, "packet is neither text (0) nor binary (1) but {byte}"),
            Self::Packet(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PayloadError {}
