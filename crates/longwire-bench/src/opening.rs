//! Opening one line: connect, ask for the upgrade, check the answer (RFC 6455 section 4.1).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longwire_ws::handshake::Limits;
use longwire_ws::handshake::client::{ClientError, ClientHandshake, ClientRequest};
use mio::net::TcpStream;

use crate::args::Common;
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

/// A line whose handshake is under way.
pub(crate) struct Opening {
    path: String,
    began: Instant,
    request: Vec<u8>,
    /// Bytes of the request that are sent.
    sent: usize,
    answer: Vec<u8>,
    handshake: ClientHandshake,
}

impl Opening {
    pub(crate) fn new(target: &Target, path: String) -> Result<Opening, Error> {
        let request = target.request(&path)?;
        Ok(Opening {
            path,
            began: Instant::now(),
            request: request.encode().map_err(|error| Error::Usage(error.to_string()))?,
            sent: 0,
            answer: Vec::new(),
            handshake: ClientHandshake::new(&request),
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Goes as far as the socket lets it. Gives the bytes that followed the handshake once it is complete. `opened` lines are
    /// open already.
    pub(crate) fn advance(&mut self, stream: &mut TcpStream, target: &Target, opened: usize) -> Result<Option<Vec<u8>>, Error> {
        match self.exchange(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // What the server said before it closed tells more than the closing.
            Err(source) if self.answer.is_empty() => {
                return Err(Error::Connect { address: target.address, opened, source });
            }
            Err(_) | Ok(()) => {}
        }
        match self.handshake.verify(&self.answer, &Limits::default()) {
            Ok(None) => Ok(None),
            Ok(Some((_, length))) => Ok(Some(self.answer.split_off(length))),
            Err(ClientError::Status { status, head_bytes, .. }) => Err(Error::Refused {
                path: self.path.clone(),
                status: status.as_u16(),
                body: shown(&self.answer[head_bytes..]),
                opened,
            }),
            Err(error) => Err(Error::BadHandshake { path: self.path.clone(), reason: error.to_string() }),
        }
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
fn shown(body: &[u8]) -> String {
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
        let opening = Opening::new(&target(&[("authorization", "Bearer x")]), "/echo?a=b".into()).unwrap();
        let request = String::from_utf8(opening.request).unwrap();
        assert!(request.starts_with("GET /echo?a=b HTTP/1.1\r\nHost: localhost:9\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer x\r\n"), "{request}");
        assert!(request.contains("Sec-WebSocket-Protocol: chat\r\n"), "{request}");
        assert!(Opening::new(&target(&[("upgrade", "x")]), "/".into()).is_err());
    }
}
