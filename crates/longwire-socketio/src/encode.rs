//! From packets to Engine.IO messages.

use bytes::Bytes;

use crate::arguments::Arguments;
use crate::engine::{EncodedPacket, Form, PacketKind};
use crate::header::Kind;
use crate::json::Json;
use crate::namespace::Namespace;
use crate::packet::Packet;

/// A packet as it is sent: an Engine.IO message with its text, and one for each attachment behind it. They belong together:
/// nothing else may be sent between them.
///
/// The text is the same for every client, whatever its protocol and transport; attachments have [four forms](Form).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    text: Bytes,
    attachments: Vec<Bytes>,
}

impl Encoded {
    /// The text, with the Engine.IO kind before it: what one WebSocket text message holds.
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// Whether there is nothing but the text, so that one encoding is every client's.
    pub const fn is_text_only(&self) -> bool {
        self.attachments.is_empty()
    }

    /// The messages in a form. Keep them for all who read that form: what is made here is base64, or a copy, of each attachment
    /// (no copy for a WebSocket of revision 4).
    pub fn packets(&self, form: Form) -> Vec<EncodedPacket> {
        let mut packets = Vec::with_capacity(1 + self.attachments.len());
        packets.push(EncodedPacket::Text(self.text.clone()));
        packets.extend(self.attachments.iter().map(|bytes| EncodedPacket::binary(bytes, form)));
        packets
    }
}

impl Packet {
    /// As it is sent to any number of clients.
    pub fn encode(&self) -> Encoded {
        match self {
            Self::Connect { namespace, query, data } => {
                let mut text = start(Kind::Connect, query.as_ref().map_or(0, |query| query.len()) + json_len(data.as_ref()));
                push_namespace(namespace, query.as_deref(), &mut text);
                text.push_str(data.as_ref().map_or("", |json| json.as_str()));
                text_only(text)
            }
            Self::Disconnect { namespace } => {
                let mut text = start(Kind::Disconnect, 0);
                push_namespace(namespace, None, &mut text);
                text_only(text)
            }
            Self::ConnectError { namespace, data } => {
                let mut text = start(Kind::ConnectError, data.as_str().len());
                push_namespace(namespace, None, &mut text);
                text.push_str(data.as_str());
                text_only(text)
            }
            Self::Event { namespace, id, arguments } => {
                let kind = if arguments.attachments().is_empty() { Kind::Event } else { Kind::BinaryEvent };
                with_arguments(kind, namespace, *id, arguments)
            }
            Self::Ack { namespace, id, arguments } => {
                let kind = if arguments.attachments().is_empty() { Kind::Ack } else { Kind::BinaryAck };
                with_arguments(kind, namespace, Some(*id), arguments)
            }
        }
    }
}

fn with_arguments(kind: Kind, namespace: &Namespace, id: Option<u64>, arguments: &Arguments) -> Encoded {
    let attachments = arguments.attachments();
    let mut text = start(kind, namespace.as_str().len() + arguments.json().len());
    if !attachments.is_empty() {
        text.push_str(&attachments.len().to_string());
        text.push('-');
    }
    push_namespace(namespace, None, &mut text);
    if let Some(id) = id {
        text.push_str(&id.to_string());
    }
    text.push_str(arguments.json());
    Encoded { text: text.into(), attachments: attachments.to_vec() }
}

fn text_only(text: String) -> Encoded {
    Encoded { text: text.into(), attachments: Vec::new() }
}

/// The two kinds, with room for what comes then: `more` bytes, numbers and signs.
fn start(kind: Kind, more: usize) -> String {
    let mut text = String::with_capacity(more + 32);
    text.push(char::from(PacketKind::Message.digit()));
    text.push(kind.digit());
    text
}

fn json_len(json: Option<&Json>) -> usize {
    json.map_or(0, |json| json.as_str().len())
}

fn push_namespace(namespace: &Namespace, query: Option<&str>, text: &mut String) {
    if namespace.is_root() && query.is_none() {
        return;
    }
    text.push_str(namespace.as_str());
    if let Some(query) = query {
        text.push('?');
        // A comma would end the namespace.
        text.push_str(&query.replace(',', "%2C"));
    }
    text.push(',');
}
