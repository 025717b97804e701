//! What a line's bytes mean: WebSocket, Engine.IO in it, or an event stream; and who brings what the client says: its socket, or
//! HTTP requests.

use longwire_socketio::engine::{EncodedPacket, Form, PacketKind, Revision};
use longwire_ws::{CloseCode, MessageKind, Opcode, Receiver, Sender, frame};

use super::events::Events;
use super::slab::Key;

/// What comes from the client.
pub(crate) enum Inward {
    WebSocket(Receiver),
    /// Packets of Engine.IO, in a WebSocket.
    Engine(Receiver, Revision),
    /// A WebSocket that wants to be the transport of another line: see [`Requests`](super::requests::Requests).
    Candidate(Receiver, Revision),
    /// What HTTP requests bring; on a stream of events, the end of the socket is waited for.
    Requests,
}

/// What goes to it.
pub(crate) enum Outward {
    WebSocket(Sender),
    /// Packets of Engine.IO, in frames of a WebSocket.
    Engine(Sender, Form),
    Events(Events, EventsEnd),
    /// All goes to this connection, of which this is one socket.
    Through(Key),
}

/// Whether the last event of a stream is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventsEnd {
    Open,
    Said,
}

impl Inward {
    /// Whether the client has said its last.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::WebSocket(receiver) | Self::Engine(receiver, _) | Self::Candidate(receiver, _) => receiver.is_done(),
            Self::Requests => true,
        }
    }

    /// Whether what the client still sends must be read and thrown away before the end.
    pub(crate) fn must_linger(&self) -> bool {
        match self {
            Self::WebSocket(receiver) | Self::Engine(receiver, _) | Self::Candidate(receiver, _) => receiver.failed(),
            Self::Requests => true,
        }
    }
}

impl Outward {
    /// Appends a message; nothing after the end. On an event stream there are only events: see [`Events`].
    #[inline]
    pub(crate) fn send(&mut self, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(sender) => drop(sender.send(kind, payload, [0; 4], out)),
            Self::Engine(sender, _) if sender.close_sent() => {}
            Self::Engine(_, form) => engine_message(*form, kind, payload, out),
            Self::Events(..) | Self::Through(_) => {}
        }
    }

    /// Appends a sign of life, of at most 125 bytes, that asks for one.
    pub(crate) fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(sender) => drop(sender.ping(payload, [0; 4], out)),
            // In revision 3 it is the client that pings.
            Self::Engine(_, Form { revision: Revision::V4, .. }) => self.packet(&EncodedPacket::PING, out),
            Self::Engine(..) | Self::Through(_) => {}
            Self::Events(events, EventsEnd::Open) => events.heartbeat(out),
            Self::Events(_, EventsEnd::Said) => {}
        }
    }

    /// Whether the client gives the server up that does not ping at its interval.
    pub(crate) fn counts_pings(&self) -> bool {
        matches!(self, Self::Engine(_, Form { revision: Revision::V4, .. }))
    }

    /// Appends the answer to one.
    pub(crate) fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if let Self::WebSocket(sender) | Self::Engine(sender, _) = self {
            let _ = sender.pong(payload, [0; 4], out);
        }
    }

    /// Appends a packet of Engine.IO that is no message.
    pub(crate) fn packet(&mut self, packet: &EncodedPacket, out: &mut Vec<u8>) {
        if let Self::Engine(sender, _) = self {
            let kind = if packet.is_binary() { MessageKind::Binary } else { MessageKind::Text };
            let _ = sender.send(kind, packet.as_bytes(), [0; 4], out);
        }
    }

    /// Appends the last that is said.
    pub(crate) fn close(&mut self, frame: Option<(CloseCode, &str)>, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(sender) | Self::Engine(sender, _) => drop(sender.close(frame, [0; 4], out)),
            Self::Events(events, end @ EventsEnd::Open) => {
                *end = EventsEnd::Said;
                events.end(frame, out);
            }
            Self::Events(_, EventsEnd::Said) | Self::Through(_) => {}
        }
    }

    pub(crate) fn close_sent(&self) -> bool {
        match self {
            Self::WebSocket(sender) | Self::Engine(sender, _) => sender.close_sent(),
            Self::Events(_, end) => *end == EventsEnd::Said,
            Self::Through(_) => false,
        }
    }

    /// The window for which frames that lines share are compressed; `None` if this one takes none.
    pub(crate) fn shared_window_bits(&self) -> Option<u8> {
        match self {
            Self::WebSocket(sender) => sender.shared_window_bits(),
            Self::Engine(..) | Self::Events(..) | Self::Through(_) => None,
        }
    }
}

/// Appends a message of Engine.IO as a frame of a WebSocket.
#[inline]
pub(crate) fn engine_message(form: Form, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
    match kind {
        MessageKind::Text => {
            frame::Header::new(Opcode::Text, payload.len() + 1).encode(out);
            out.push(PacketKind::Message.digit());
            out.extend_from_slice(payload);
        }
        MessageKind::Binary if form.base64 => {
            let packet = EncodedPacket::binary(&bytes::Bytes::copy_from_slice(payload), form);
            frame::encode(Opcode::Text, packet.as_bytes(), None, out);
        }
        MessageKind::Binary => {
            let number: &[u8] = match form.revision {
                Revision::V3 => &[PacketKind::Message.number()],
                Revision::V4 => &[],
            };
            frame::Header::new(Opcode::Binary, number.len() + payload.len()).encode(out);
            out.extend_from_slice(number);
            out.extend_from_slice(payload);
        }
    }
}
