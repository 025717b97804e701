//! What the open packet says.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EncodedPacket, PacketKind, Transport, encoded};

/// The server's first packet: the session's id and how it is kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The session's id, `sid` in later requests. Whoever knows it can take part: it must not be guessable.
    pub sid: Cow<'a, str>,
    /// Whether the client may change to a WebSocket. Only over polling.
    pub upgrades_to_websocket: bool,
    /// From one ping to the next. Sent in whole milliseconds.
    pub ping_interval: Duration,
    /// How long a pong may take. Sent in whole milliseconds.
    pub ping_timeout: Duration,
    /// The longest payload that the client may post, in bytes.
    pub max_payload: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    sid: Cow<'a, str>,
    upgrades: Vec<Cow<'a, str>>,
    ping_interval: u64,
    ping_timeout: u64,
    // Old servers of revision 3 do not say it.
    #[serde(default = "no_max_payload")]
    max_payload: usize,
}

fn no_max_payload() -> usize {
    usize::MAX
}

impl<'a> Handshake<'a> {
    /// The open packet with it.
    pub fn encode(&self) -> EncodedPacket {
        let wire = Wire {
            sid: Cow::Borrowed(&self.sid),
            upgrades: self.upgrades_to_websocket.then_some(Transport::WebSocket.name().into()).into_iter().collect(),
            ping_interval: millis(self.ping_interval),
            ping_timeout: millis(self.ping_timeout),
            max_payload: self.max_payload,
        };
        let json = serde_json::to_string(&wire).expect("texts and numbers are JSON");
        encoded::text(PacketKind::Open, &json)
    }

    /// Reads the text of an open packet. Members that are not known are passed over.
    ///
    /// # Errors
    /// If it is no JSON object with all members (`maxPayload` may be missing: then there is no limit).
    pub fn decode(text: &'a str) -> Result<Self, InvalidHandshake> {
        let wire: Wire<'a> = serde_json::from_str(text).map_err(|_| InvalidHandshake)?;
        Ok(Self {
            sid: wire.sid,
            upgrades_to_websocket: wire.upgrades.iter().any(|name| name == Transport::WebSocket.name()),
            ping_interval: Duration::from_millis(wire.ping_interval),
            ping_timeout: Duration::from_millis(wire.ping_timeout),
            max_payload: wire.max_payload,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The text of an open packet is no [`Handshake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHandshake;

impl fmt::Display for InvalidHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("open packet is no handshake")
    }
}

impl std::error::Error for InvalidHandshake {}
