//! What a line's bytes mean: WebSocket in both directions, or an event stream, on which the client says nothing.

use longwire_ws::{CloseCode, MessageKind, Receiver, Sender};

use super::events::Events;

/// What comes from the client.
pub(crate) enum Inward {
    WebSocket(Receiver),
    /// Nothing: its end is waited for.
    Events,
}

/// What goes to it.
pub(crate) enum Outward {
    WebSocket(Sender),
    Events(Events, EventsEnd),
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
            Self::WebSocket(receiver) => receiver.is_done(),
            Self::Events => true,
        }
    }

    /// Whether what the client still sends must be read and thrown away before the end.
    pub(crate) fn must_linger(&self) -> bool {
        match self {
            Self::WebSocket(receiver) => receiver.failed(),
            Self::Events => true,
        }
    }
}

impl Outward {
    /// Appends a message; nothing after the end. On an event stream there are only events: see [`Events`].
    pub(crate) fn send(&mut self, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        if let Self::WebSocket(sender) = self {
            let _ = sender.send(kind, payload, [0; 4], out);
        }
    }

    /// Appends a sign of life, of at most 125 bytes, that asks for one.
    pub(crate) fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(sender) => drop(sender.ping(payload, [0; 4], out)),
            Self::Events(events, EventsEnd::Open) => events.heartbeat(out),
            Self::Events(_, EventsEnd::Said) => {}
        }
    }

    /// Appends the answer to one.
    pub(crate) fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if let Self::WebSocket(sender) = self {
            let _ = sender.pong(payload, [0; 4], out);
        }
    }

    /// Appends the last that is said.
    pub(crate) fn close(&mut self, frame: Option<(CloseCode, &str)>, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(sender) => drop(sender.close(frame, [0; 4], out)),
            Self::Events(events, end @ EventsEnd::Open) => {
                *end = EventsEnd::Said;
                events.end(frame, out);
            }
            Self::Events(_, EventsEnd::Said) => {}
        }
    }

    pub(crate) fn close_sent(&self) -> bool {
        match self {
            Self::WebSocket(sender) => sender.close_sent(),
            Self::Events(_, end) => *end == EventsEnd::Said,
        }
    }

    /// The window for which frames that lines share are compressed; `None` if this one takes none.
    pub(crate) fn shared_window_bits(&self) -> Option<u8> {
        match self {
            Self::WebSocket(sender) => sender.shared_window_bits(),
            Self::Events(..) => None,
        }
    }
}
