//! What carries the messages of a line: a WebSocket, or HTTP requests where there can be none.

mod caller;
mod http;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::Form;
use longwire_ws::CloseCode;

pub(crate) use self::caller::Target;
use self::http::HttpLine;
use crate::error::End;
use crate::websocket::{self, Waited, WebSocket, WebSocketBuilder};

/// A way to carry the messages of a line, from the best to what works nearly everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// What the server says comes as one HTTP answer that does not end, what the client says goes as HTTP requests.
    Stream,
    /// What the server says comes as answers to HTTP requests that wait until there is something: long polling.
    Poll,
}

impl Transport {
    /// All of them, from the best on.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::Stream, Self::Poll];

    /// `websocket`, `stream` or `poll`, as Longwire's other clients call it too.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Stream => "stream",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to reach the server.
#[derive(Clone)]
pub(crate) struct Routes {
    pub(crate) websocket: WebSocketBuilder,
    /// There are no transports over HTTP without it.
    pub(crate) http: Option<Arc<Target>>,
}

/// An open line.
pub(crate) enum Wire {
    WebSocket(WebSocket, Form),
    Http(Box<HttpLine>),
}

/// A place for a message.
pub(crate) enum Place<'a> {
    WebSocket(websocket::Place<'a>, Form),
    Http(&'a mut HttpLine),
}

impl Place<'_> {
    pub(crate) fn send(self, bytes: Vec<u8>) {
        match self {
            Self::WebSocket(place, Form::Json) => place.send(String::from_utf8(bytes).unwrap_or_default().into()),
            Self::WebSocket(place, Form::Binary) => place.send(bytes.into()),
            Self::Http(line) => line.post(bytes),
        }
    }
}

impl Wire {
    /// Opens one; why not, for people. Dropping the future gives it up.
    pub(crate) async fn open(transport: Transport, routes: Routes) -> Result<Self, String> {
        let no_http = || "the address of lines over HTTP is not known".to_owned();
        match transport {
            Transport::WebSocket => {
                let line = routes.websocket.connect().await.map_err(|error| error.to_string())?;
                let form = Form::from_subprotocol(line.established().subprotocol.as_deref());
                let form = form.ok_or_else(|| "the server chose a subprotocol that is not ours".to_owned())?;
                Ok(Self::WebSocket(line, form))
            }
            Transport::Stream => {
                HttpLine::stream(routes.http.ok_or_else(no_http)?).await.map(|line| Self::Http(Box::new(line)))
            }
            Transport::Poll => Ok(Self::Http(Box::new(HttpLine::poll(routes.http.ok_or_else(no_http)?)))),
        }
    }

    /// How messages are written on it.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::WebSocket(_, form) => *form,
            Self::Http(_) => Form::Json,
        }
    }

    /// A place for a message, if there is one now.
    pub(crate) fn try_reserve(&mut self) -> Option<Place<'_>> {
        match self {
            Self::WebSocket(line, form) => line.try_reserve().map(|place| Place::WebSocket(place, *form)),
            Self::Http(line) => line.has_room().then_some(Place::Http(line)),
        }
    }

    /// Waits for a message or the end if `reads`, and for a place for one if `crowded`. Cancelling it loses nothing.
    pub(crate) async fn wait(&mut self, reads: bool, crowded: bool) -> Waited {
        match self {
            Self::WebSocket(line, _) => line.wait(reads, crowded).await,
            Self::Http(line) => line.wait(reads).await,
        }
    }

    /// How it ended, once [`wait`](Self::wait) has said that it has: the server's close code if it gave one, and what happened, for
    /// people.
    pub(crate) fn end(&self) -> (Option<u16>, String) {
        match self {
            Self::WebSocket(line, _) => match line.end() {
                Some(End::Closed(Some(frame))) => (Some(frame.code.value()), format!("closed with {}", frame.code.value())),
                Some(End::Cut(reason)) => (None, reason),
                _ => (None, "the line was cut".to_owned()),
            },
            Self::Http(line) => line.end(),
        }
    }

    /// The session pings after so long a silence: a sign of life should come before.
    pub(crate) fn expect_silence(&mut self, most: Duration) {
        if let Self::Http(line) = self {
            line.expect_silence(most);
        }
    }

    /// Lets go of it; the server is told, if it can be.
    pub(crate) fn give_up(self, code: CloseCode) {
        match self {
            Self::WebSocket(line, _) => drop(tokio::spawn(line.close(code, ""))),
            Self::Http(line) => drop(tokio::spawn(line.delete())),
        }
    }

    /// Closes it when what was said last is on its way, and waits until it is.
    pub(crate) async fn close(self) {
        match self {
            Self::WebSocket(line, _) => drop(line.close(CloseCode::NORMAL, "").await),
            Self::Http(line) => line.close().await,
        }
    }
}
