//! What a library user writes for the lines of a path.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, Uri};
use longwire_ws::{CloseCode, Message as Received};

use crate::api::decoded;
use crate::shard::Line;
use longwire_ws::OwnedMessage as Message;

/// Reacts to a line on its shard, as plain function calls: nothing is kept for the line but the value itself, and no task runs.
///
/// It must not block: all lines of the shard wait for it. What takes time belongs in an async handler (see
/// [`ServerBuilder::websocket`](crate::ServerBuilder::websocket)).
///
/// ```
/// use longwire_server::{Line, LineHandler, Received};
///
/// /// Answers each message with itself.
/// struct Echo;
///
/// impl LineHandler for Echo {
///     fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
///         line.send(message.kind(), message.as_bytes());
///     }
/// }
/// ```
pub trait LineHandler: 'static {
    /// The line is open.
    fn opened(&mut self, line: &mut Line<'_>) {
        let _ = line;
    }

    /// A whole message came.
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        let _ = (line, message);
    }

    /// After [`Line::try_send`] has said that the outbox is full: half of it is free again.
    fn drained(&mut self, line: &mut Line<'_>) {
        let _ = line;
    }

    /// The line has ended and left its channels; nothing more comes. Says whether the closing handshake may go on at once.
    fn closed(&mut self, end: &End) -> ClosingReply {
        let _ = end;
        ClosingReply::Now
    }
}

/// Whether the peer's close frame is answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingReply {
    /// At once.
    Now,
    /// When what came before it has been worked off, within the close time-out.
    Later,
}

/// How a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The close code, if one was sent or received.
    pub code: Option<CloseCode>,
    /// The reason that went with it, or what happened to the connection.
    pub reason: String,
    /// Who ended it.
    pub by: EndedBy,
}

/// Who ended a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The client, with a close frame.
    Client,
    /// The server: the handler, a limit, a time-out, a broken rule, or a shutdown.
    Server,
    /// Nobody said so: the connection was cut.
    Cut,
}

/// The request that opened a line.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Path and query.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The client's address, if the server has it.
    pub peer: Option<SocketAddr>,
    /// The subprotocol that was chosen.
    pub subprotocol: Option<String>,
    /// The parameters of the path, in its order: `/sub/{name}` has one.
    pub params: Vec<(String, String)>,
}

impl Opening {
    /// The parameter `name` of the path.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name` in the query, decoded: `ada` of `?name=ada&room=a%20b`. The first one if there are several, and an empty one
    /// for a name alone.
    ///
    /// ```
    /// # fn example(opening: &longwire_server::Opening) {
    /// let room = opening.query("room").unwrap_or("lobby".into());
    /// # }
    /// ```
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.queries().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Names and values of the query, in its order; what is not UTF-8 in percent-encoding is left out.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let pairs = self.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter_map(|(name, value)| decoded(name).zip(decoded(value)))
    }
}

/// The line is closed: nothing can be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the line is closed")
    }
}

impl std::error::Error for Closed {}

/// Why something was not published. It comes back with the error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// Too many publications are on their way: try again in a moment.
    Overloaded(Message),
    /// The channel's namespace is not configured.
    UnknownNamespace(Message),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overloaded(_) => "too many publications on their way: try again in a moment",
            Self::UnknownNamespace(_) => "the channel's namespace is not configured",
        })
    }
}

impl std::error::Error for PublishError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_an_opening_is_read_by_name() {
        let uri = Uri::from_static("/ws?name=Ada+L&room=a%20b%26&name=Bo&flag&bad=%ff&=x");
        let opening = Opening { uri, headers: HeaderMap::new(), peer: None, subprotocol: None, params: Vec::new() };
        let query = |name| opening.query(name).map(Cow::into_owned);
        assert_eq!(query("name").as_deref(), Some("Ada L"));
        assert_eq!(query("room").as_deref(), Some("a b&"));
        assert_eq!(query("flag").as_deref(), Some(""));
        assert_eq!((query("bad"), query("none")), (None, None));
        assert_eq!(opening.queries().count(), 5);
    }
}
