//! Packets of Socket.IO.

use crate::arguments::Arguments;
use crate::engine::Revision;
use crate::json::Json;
use crate::namespace::Namespace;

/// The protocol of a client's Socket.IO, by its Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Of 2.x clients. They are in the root namespace without asking, and put a query behind other namespaces' names.
    V4,
    /// Of 3.x and 4.x clients. They ask for every namespace, the root too, with an object for authentication.
    V5,
}

impl From<Revision> for Protocol {
    fn from(revision: Revision) -> Self {
        match revision {
            Revision::V3 => Self::V4,
            Revision::V4 => Self::V5,
        }
    }
}

impl Protocol {
    /// Whether a session is to be taken into the root namespace as soon as it is open: its clients send no CONNECT for it.
    pub const fn joins_root_by_itself(self) -> bool {
        matches!(self, Self::V4)
    }
}

/// A packet. Events and acks with binary parts are BINARY_EVENT and BINARY_ACK on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// From a client: it wants to be in the namespace. From a server: it is.
    Connect {
        /// Which one.
        namespace: Namespace,
        /// What stands behind the `?` of the namespace, without control characters: see [`pairs`](crate::pairs). Clients of
        /// protocol 4 only.
        query: Option<Box<str>>,
        /// An object: the client's authentication, or the server's `sid` (and `pid`).
        data: Option<Json>,
    },
    /// The sender leaves the namespace, or puts the client out of it.
    Disconnect {
        /// Which one.
        namespace: Namespace,
    },
    /// A name and arguments.
    Event {
        /// In which namespace.
        namespace: Namespace,
        /// If there is one, the sender wants an ack with it. At most 2^53 - 1.
        id: Option<u64>,
        /// The name, and the arguments.
        arguments: Arguments,
    },
    /// The answer to an event.
    Ack {
        /// In which namespace.
        namespace: Namespace,
        /// The event's id.
        id: u64,
        /// The arguments.
        arguments: Arguments,
    },
    /// The server does not let the client into the namespace (ERROR in protocol 4).
    ConnectError {
        /// Which one.
        namespace: Namespace,
        /// Why: an object, or a text in protocol 4.
        data: Json,
    },
}

impl Packet {
    /// Which namespace it is about.
    pub const fn namespace(&self) -> &Namespace {
        match self {
            Self::Connect { namespace, .. }
            | Self::Disconnect { namespace }
            | Self::Event { namespace, .. }
            | Self::Ack { namespace, .. }
            | Self::ConnectError { namespace, .. } => namespace,
        }
    }

    /// The server's answer to a client that is in the namespace now. Clients of protocol 4 are told no ids; `pid` is for those
    /// that may come back (connection state recovery).
    pub fn connected(protocol: Protocol, namespace: Namespace, sid: &str, pid: Option<&str>) -> Self {
        let data = match (protocol, pid) {
            (Protocol::V4, _) => None,
            (Protocol::V5, None) => Some(format!(r#"{{"sid":{}}}"#, quoted(sid))),
            (Protocol::V5, Some(pid)) => Some(format!(r#"{{"sid":{},"pid":{}}}"#, quoted(sid), quoted(pid))),
        };
        Self::Connect { namespace, query: None, data: data.map(|json| Json::checked(&json)) }
    }

    /// The server's answer to a client that is not let in: an object with `message` and, if there is more to say, `data`; in
    /// protocol 4 only one of them, the data if there is any.
    pub fn refused(protocol: Protocol, namespace: Namespace, message: &str, data: Option<&Json>) -> Self {
        let message = quoted(message);
        let data = match (protocol, data) {
            (Protocol::V4, None) => Json::checked(&message),
            (Protocol::V4, Some(data)) => data.clone(),
            (Protocol::V5, None) => Json::checked(&format!(r#"{{"message":{message}}}"#)),
            (Protocol::V5, Some(data)) => Json::checked(&format!(r#"{{"message":{message},"data":{}}}"#, data.as_str())),
        };
        Self::ConnectError { namespace, data }
    }

    /// The server's answer to a client that asks for a namespace that there is not: an object in both protocols, as the reference
    /// has it.
    pub fn invalid_namespace(namespace: Namespace) -> Self {
        Self::refused(Protocol::V5, namespace, "Invalid namespace", None)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}
