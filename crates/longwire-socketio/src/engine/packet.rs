//! One packet.

use std::borrow::Cow;
use std::fmt;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::encoded::{self, EncodedPacket};
use super::{Form, Revision};

/// Base64 (RFC 4648, 4), its padding left out or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// The server's first packet, with a [`Handshake`](super::Handshake).
    Open = 0,
    /// The sender ends the session.
    Close = 1,
    /// A heartbeat, or the probe of a new transport.
    Ping = 2,
    /// The answer to a ping.
    Pong = 3,
    /// What the session is for. The only kind that may be binary.
    Message = 4,
    /// The client goes over to the transport that this comes on.
    Upgrade = 5,
    /// Nothing: ends a poll.
    Noop = 6,
}

impl PacketKind {
    /// All of them, by number.
    pub const ALL: [Self; 7] = [Self::Open, Self::Close, Self::Ping, Self::Pong, Self::Message, Self::Upgrade, Self::Noop];

    /// Its number, as a byte in binary packets.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its number as an ASCII digit, as in text packets.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// From its digit.
    pub fn from_digit(digit: u8) -> Option<Self> {
        Self::from_number(digit.wrapping_sub(b'0'))
    }

    /// Whether it is a heartbeat in the direction of the other revision: in revision 4 the server pings and the client's
    /// pongs answer, in revision 3 the other way round. A session in which a client does that is closed.
    ///
    /// Not for packets of a transport that is still probed: there the client pings in both revisions.
    pub const fn is_wrong_heartbeat_of_client(self, revision: Revision) -> bool {
        matches!((self, revision), (Self::Ping, Revision::V4) | (Self::Pong, Revision::V3))
    }
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// A text, empty in most packets that are no messages.
    Text(&'a str),
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
}

/// One packet: a kind, and a text, or the bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    kind: PacketKind,
    data: Data<'a>,
}

impl<'a> Packet<'a> {
    /// A packet with a text. A payload of revision 4 takes a text with the character U+001E apart (JSON has no such).
    pub const fn text(kind: PacketKind, text: &'a str) -> Self {
        Self { kind, data: Data::Text(text) }
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { kind: PacketKind::Message, data: Data::Binary(bytes.into()) }
    }

    /// What it is for.
    pub const fn kind(&self) -> PacketKind {
        self.kind
    }

    /// What it carries. Bytes only if it is a message.
    pub const fn data(&self) -> &Data<'a> {
        &self.data
    }

    /// Whether it is of this kind with exactly this text, as the probes of an upgrade are.
    pub fn is(&self, kind: PacketKind, text: &str) -> bool {
        self.kind == kind && matches!(self.data, Data::Text(own) if own == text)
    }

    /// Reads a WebSocket text message, or one text of a payload.
    ///
    /// # Errors
    /// If it is empty, of no known kind, or base64 that is none or not of a message.
    pub fn decode_text(revision: Revision, text: &'a str) -> Result<Self, PacketError> {
        let first = *text.as_bytes().first().ok_or(PacketError::Empty)?;
        if first == b'b' {
            return decode_base64(revision, &text[1..]);
        }
        let kind = PacketKind::from_digit(first).ok_or(PacketError::UnknownKind)?;
        Ok(Self::text(kind, &text[1..]))
    }

    /// Reads a WebSocket binary message, or one binary part of a payload of revision 3.
    ///
    /// # Errors
    /// In revision 3, if it is empty, of no known kind, or of another than a message.
    pub fn decode_binary(revision: Revision, bytes: &'a [u8]) -> Result<Self, PacketError> {
        match revision {
            Revision::V4 => Ok(Self::binary(bytes)),
            Revision::V3 => {
                let (&first, rest) = bytes.split_first().ok_or(PacketError::Empty)?;
                binary_kind(PacketKind::from_number(first))?;
                Ok(Self::binary(rest))
            }
        }
    }

    /// As it is sent in a form. Bytes are copied: for those that many receive there is [`EncodedPacket::binary`].
    pub fn encode(&self, form: Form) -> EncodedPacket {
        match &self.data {
            Data::Text(text) => encoded::text(self.kind, text),
            Data::Binary(bytes) => EncodedPacket::binary(&Bytes::copy_from_slice(bytes), form),
        }
    }
}

/// Reads what follows the `b`. Only in revision 3 the kind is repeated there.
fn decode_base64(revision: Revision, text: &str) -> Result<Packet<'static>, PacketError> {
    let base64 = match revision {
        Revision::V4 => text.as_bytes(),
        Revision::V3 => {
            let (&digit, rest) = text.as_bytes().split_first().ok_or(PacketError::Empty)?;
            binary_kind(PacketKind::from_digit(digit))?;
            rest
        }
    };
    BASE64.decode(base64).map(Packet::binary).map_err(|_| PacketError::InvalidBase64)
}

fn binary_kind(kind: Option<PacketKind>) -> Result<(), PacketError> {
    match kind {
        Some(PacketKind::Message) => Ok(()),
        Some(_) => Err(PacketError::BinaryNotMessage),
        None => Err(PacketError::UnknownKind),
    }
}

/// Appends base64 to a text.
pub(super) fn push_base64(bytes: &[u8], out: &mut String) {
    BASE64.encode_string(bytes, out);
}

/// Why bytes are no packet. The session has failed: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// Nothing at all, where at least the kind has to be.
    Empty,
    /// The first character, or byte, is no packet's kind.
    UnknownKind,
    /// Binary data in a packet that is no message.
    BinaryNotMessage,
    /// What should be base64 is none (RFC 4648, 4).
    InvalidBase64,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "packet is empty",
            Self::UnknownKind => "packet of an unknown kind",
            Self::BinaryNotMessage => "binary packet that is no message",
            Self::InvalidBase64 => "binary packet is not base64",
        })
    }
}

impl std::error::Error for PacketError {}
