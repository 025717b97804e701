//! The ways in which a line comes to a server.

/// How one line is opened, and so what comes on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// A WebSocket at this path.
    WebSocket(String),
    /// Socket.IO over a WebSocket, at the path of its Engine.IO; and the packet that it says when it is connected, if any.
    SocketIo { path: String, first: String },
    /// Server-Sent Events from this path.
    Events(String),
    /// Nothing but the connection, for HTTP requests to come. The path is for messages to people.
    Http(String),
}

impl Way {
    /// The path that is asked for.
    pub(crate) fn path(&self) -> &str {
        match self {
            Way::WebSocket(path) | Way::SocketIo { path, .. } | Way::Events(path) | Way::Http(path) => path,
        }
    }
}
