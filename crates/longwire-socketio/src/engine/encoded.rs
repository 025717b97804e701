//! Packets as they are sent.

use bytes::Bytes;

use super::packet::push_base64;
use super::{Form, PacketKind, Revision};

/// A packet as it is sent: over a WebSocket as one message of this type, over polling as a part of a
/// [payload](super::payload::encode). Cloning it copies no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodedPacket {
    /// A WebSocket text message: UTF-8.
    Text(Bytes),
    /// A WebSocket binary message.
    Binary(Bytes),
}

impl EncodedPacket {
    /// A heartbeat of the server (revision 4).
    pub const PING: Self = Self::fixed("2");
    /// The answer to a client's heartbeat (revision 3).
    pub const PONG: Self = Self::fixed("3");
    /// The answer to the probe of a new transport.
    pub const PROBE_ANSWER: Self = Self::fixed("3probe");
    /// Ends a poll that has nothing to say.
    pub const NOOP: Self = Self::fixed("6");
    /// Ends the session.
    pub const CLOSE: Self = Self::fixed("1");

    const fn fixed(text: &'static str) -> Self {
        Self::Text(Bytes::from_static(text.as_bytes()))
    }

    /// A binary message in a form. In revision 4 over a WebSocket these are the bytes themselves, not a copy.
    pub fn binary(bytes: &Bytes, form: Form) -> Self {
        if form.base64 {
            let mut text = String::with_capacity(2 + bytes.len().div_ceil(3) * 4);
            text.push('b');
            if form.revision == Revision::V3 {
                text.push(char::from(PacketKind::Message.digit()));
            }
            push_base64(bytes, &mut text);
            return Self::Text(text.into());
        }
        match form.revision {
            Revision::V4 => Self::Binary(bytes.clone()),
            Revision::V3 => {
                let mut packet = Vec::with_capacity(1 + bytes.len());
                packet.push(PacketKind::Message.number());
                packet.extend_from_slice(bytes);
                Self::Binary(packet.into())
            }
        }
    }

    /// What a WebSocket message with it holds.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// Whether it is a binary message.
    pub const fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }
}

/// A packet with a text.
pub(super) fn text(kind: PacketKind, text: &str) -> EncodedPacket {
    let mut packet = String::with_capacity(1 + text.len());
    packet.push(char::from(kind.digit()));
    packet.push_str(text);
    EncodedPacket::Text(packet.into())
}
