//! Opening one line: connect, ask for what it is to be, check the answer (of a WebSocket: RFC 6455 section 4.1).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longwire_ws::handshake::Limits;
use longwire_ws::handshake::client::{ClientError, ClientHandshake, ClientRequest};
use mio::net::TcpStream;

use crate::args::Common;
use crate::http::{Body, Head};
use crate::way::Way;
use crate::{Error, message};

/// Bytes of the body shown when the server refuses.
const BODY_SHOWN: usize = 300;

/// Where the lines go, and how fast.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    authority: String,
    headers: HashMap<String, String>,
    subprotocols: Vec<String>,
    /// New lines per second at most.
    pub(crate) rate: u32,
    /// Handshakes under way at most.
    pub(crate) window: usize,
    /// How long one handshake may take.
    pub(crate) timeout: Duration,
}

impl Target {
    pub(crate) fn new(common: &Common) -> Result<Target, Error> {
        let mut headers: HashMap<String, String> = HashMap::new();
        for (name, value) in &common.headers {
            // RFC 9110 section 5.3: a header given twice is the list of both values.
            let list = headers.entry(name.to_ascii_lowercase()).or_default();
            list.push_str(if list.is_empty() { "" } else { ", " });
            list.push_str(value);
        }
        Ok(Target {
            address: common.address()?,
            authority: common.authority()?.to_owned(),
            headers,
            subprotocols: common.subprotocols.clone(),
            rate: common.connect_rate,
            window: common.connect_window as usize,
            timeout: common.timeout,
        })
    }

    /// The same, with a subprotocol that is offered first.
    pub(crate) fn speaking(&self, subprotocol: &str) -> Target {
        let mut target = self.clone();
        target.subprotocols.insert(0, subprotocol.to_owned());
        target
    }

    /// The beginning of an HTTP request, without the empty line.
    pub(crate) fn http_head(&self, method: &str, path: &str) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{}", self.authority, headers.collect::<String>())
    }

    fn request(&self, path: &str) -> Result<ClientRequest, Error> {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&message::random().to_be_bytes());
        key[8..].copy_from_slice(&message::random().to_be_bytes());
        let url = format!("ws://{}{path}", self.authority);
        let uri = url.parse().map_err(|error| Error::Usage(format!("{url}: {error}")))?;
        let mut request = ClientRequest::new(uri, key);
        request.subprotocols.clone_from(&self.subprotocols);
        request.headers = (&self.headers).try_into().map_err(|error| Error::Usage(format!("--header: {error}")))?;
        Ok(request)
    }
}

/// A line that is not open yet.
pub(crate) struct Opening {
    way: Way,
    began: Instant,
    request: Vec<u8>,
    /// Bytes of the request that are sent.
    sent: usize,
    answer: Vec<u8>,
    expected: Expected,
}

/// What the answer must be.
enum Expected {
    Upgrade(Box<ClientHandshake>),
    Events,
    /// None: the connection is all.
    Nothing,
}

/// What the answer to the request came to.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The bytes that followed it.
    pub(crate) rest: Vec<u8>,
    /// Whether they and what comes behind them are in chunks.
    pub(crate) chunked: bool,
    /// Bytes sent and received so far, the rest included.
    pub(crate) traffic: Traffic,
}

/// Bytes that went over a line's socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Opening {
    pub(crate) fn new(target: &Target, way: Way) -> Result<Opening, Error> {
        let upgrade = |path: &str| {
            let request = target.request(path)?;
            let encoded = request.encode().map_err(|error| Error::Usage(error.to_string()))?;
            Ok::<_, Error>((encoded, Expected::Upgrade(Box::new(ClientHandshake::new(&request)))))
        };
        let (request, expected) = match &way {
            Way::WebSocket(path) => upgrade(path)?,
            Way::SocketIo { path, .. } => {
                let join = if path.contains('?') { '&' } else { '?' };
                upgrade(&format!("{path}{join}EIO=4&transport=websocket"))?
            }
            Way::Events(path) => {
                let head = target.http_head("GET", path);
                (format!("{head}Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n").into_bytes(), Expected::Events)
            }
            Way::Http(_) => (Vec::new(), Expected::Nothing),
        };
        Ok(Opening { way, began: Instant::now(), request, sent: 0, answer: Vec::new(), expected })
    }

    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Goes as far as the socket lets it. Gives what followed once the answer is complete. `opened` lines are open already.
    pub(crate) fn advance(
        &mut self,
        stream: &mut TcpStream,
        target: &Target,
        opened: usize,
    ) -> Result<Option<Answered>, Error> {
        let failed = |source| Error::Connect { address: target.address, opened, source };
        if matches!(self.expected, Expected::Nothing) {
            if let Some(source) = stream.take_error().map_err(failed)? {
                return Err(failed(source));
            }
            // Whether it is connected: the event may be of something else.
            return Ok(stream.peer_addr().is_ok().then(|| self.answered(0, false)));
        }
        match self.exchange(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // What the server said before it closed tells more than the closing.
            Err(source) if self.answer.is_empty() => return Err(failed(source)),
            Err(_) | Ok(()) => {}
        }
        self.check(opened)
    }

    fn check(&mut self, opened: usize) -> Result<Option<Answered>, Error> {
        let path = || self.way.path().to_owned();
        let bad = |reason: String| Error::BadHandshake { path: path(), reason };
        let refused = |status, body: &[u8]| Error::Refused { path: path(), status, body: shown(body), opened };
        let (len, chunked) = match &self.expected {
            Expected::Upgrade(handshake) => match handshake.verify(&self.answer, &Limits::default()) {
                Ok(None) => return Ok(None),
                Ok(Some((_, len))) => (len, false),
                Err(ClientError::Status { status, head_bytes, .. }) => {
                    return Err(refused(status.as_u16(), &self.answer[head_bytes..]));
                }
                Err(error) => return Err(bad(format!("it is not a WebSocket server's: {error}"))),
            },
            Expected::Events => {
                let Some(head) = Head::read(&self.answer).map_err(|why| bad(why.0.to_owned()))? else { return Ok(None) };
                let kind = head.content_type.unwrap_or_default();
                if head.status != 200 {
                    return Err(refused(head.status, &self.answer[head.len..]));
                }
                if !kind.starts_with("text/event-stream") || matches!(head.body, Body::Length(_)) {
                    return Err(bad(format!("it is no stream of events, but {kind:?}")));
                }
                (head.len, head.body == Body::Chunks)
            }
            Expected::Nothing => (0, false),
        };
        Ok(Some(self.answered(len, chunked)))
    }

    fn answered(&mut self, len: usize, chunked: bool) -> Answered {
        let traffic = Traffic { sent: self.sent as u64, received: self.answer.len() as u64 };
        Answered { rest: self.answer.split_off(len), chunked, traffic }
    }

    /// Sends what is left of the request and reads once.
    fn exchange(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        while self.sent < self.request.len() {
            match stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Not connected yet: an event will say when.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error),
            }
        }
        // The whole socket is read, so that the next event is about what comes after.
        let before = self.answer.len();
        loop {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) if self.answer.len() == before => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(()),
                Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.answer.len() > before => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.answer.len() > Limits::default().max_header_bytes {
                return Ok(());
            }
        }
    }
}

/// The beginning of a body, on one line.
pub(crate) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(BODY_SHOWN)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_on_one_short_line() {
        assert_eq!(shown(b" two\r\n lines\n"), "two lines");
        assert!(shown(&[b'x'; 5000]).len() <= BODY_SHOWN);
    }

    #[test]
    fn headers_are_sent_and_those_of_the_handshake_are_refused() {
        let target = |headers: &[(&str, &str)]| Target {
            address: "127.0.0.1:9".parse().unwrap(),
            authority: "localhost:9".into(),
            headers: headers.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            subprotocols: vec!["chat".into()],
            rate: 1,
            window: 1,
            timeout: Duration::from_secs(1),
        };
        let socket_io = |path: &str| Way::SocketIo { path: path.into(), first: String::new() };
        for (way, asked) in [
            (Way::WebSocket("/echo?a=b".into()), "/echo?a=b"),
            (Way::Events("/v1/events?channel=c".into()), "/v1/events?channel=c"),
            (socket_io("/socket.io/"), "/socket.io/?EIO=4&transport=websocket"),
            (socket_io("/socket.io/?token=x"), "/socket.io/?token=x&EIO=4&transport=websocket"),
        ] {
            let opening = Opening::new(&target(&[("authorization", "Bearer x")]), way).unwrap();
            let request = String::from_utf8(opening.request).unwrap();
            assert!(request.starts_with(&format!("GET {asked} HTTP/1.1\r\nHost: localhost:9\r\n")), "{request}");
            assert!(request.contains("authorization: Bearer x\r\n") && request.ends_with("\r\n\r\n"), "{request}");
            let websocket = request.contains("Sec-WebSocket-Protocol: chat\r\n");
            assert_ne!(websocket, request.contains("Accept: text/event-stream\r\n"), "{request}");
        }
        assert!(Opening::new(&target(&[("upgrade", "x")]), Way::WebSocket("/".into())).is_err());
    }
}
