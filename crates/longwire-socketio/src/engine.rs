//! Engine.IO: packets, polling payloads, the handshake, the checks of a request, and the change of transport.
//!
//! | module or type | what it does |
//! |---|---|
//! | [`Packet`] | one packet, from a WebSocket message or a payload |
//! | [`EncodedPacket`], [`Form`] | the same as it goes out, and the ways in which it can |
//! | [`payload`] | the bodies of polling requests and answers |
//! | [`Handshake`] | what the open packet says |
//! | [`Query`], [`Refusal`], [`Abort`] | what a request asks for, and how it is refused |
//! | [`Upgrade`] | from polling to WebSocket |

mod encoded;
mod handshake;
mod packet;
pub mod payload;
mod refusal;
mod request;
mod upgrade;

pub use encoded::EncodedPacket;
pub use handshake::{Handshake, InvalidHandshake};
pub use packet::{Data, Packet, PacketError, PacketKind};
pub use refusal::{Abort, Refusal};
pub use request::{Accepted, Query};
pub use upgrade::{AlreadyUpgrading, Poll, Step, Upgrade};

/// The revision of Engine.IO that a client speaks: `EIO` in its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// Of Socket.IO 1.x and 2.x: the client pings.
    V3,
    /// Of Socket.IO 3.x and 4.x: the server pings.
    V4,
}

impl Revision {
    /// From the value of `EIO`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "3" => Some(Self::V3),
            "4" => Some(Self::V4),
            _ => None,
        }
    }

    /// The value of `EIO`.
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP: a `GET` waits for packets, a `POST` brings some.
    Polling,
    /// A WebSocket, one packet in each message.
    WebSocket,
}

impl Transport {
    /// From its name in a request.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "polling" => Some(Self::Polling),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }

    /// Its name in requests and handshakes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// In which form a client reads packets. There are [`Form::COUNT`]: who sends one packet to many encodes it once for each.
///
/// Text packets are the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// The client's revision.
    pub revision: Revision,
    /// Whether binary messages are sent as base64 text.
    pub base64: bool,
}

impl Form {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// The form of a session: `wants_base64` is [`Query::wants_base64`]. Polling of revision 4 has no other way.
    pub const fn new(revision: Revision, transport: Transport, wants_base64: bool) -> Self {
        let only_text = matches!((revision, transport), (Revision::V4, Transport::Polling));
        Self { revision, base64: wants_base64 || only_text }
    }

    /// Its place among all forms, below [`Form::COUNT`].
    pub const fn index(self) -> usize {
        let revision = match self.revision {
            Revision::V3 => 0,
            Revision::V4 => 2,
        };
        revision + self.base64 as usize
    }
}
