//! Opening a line.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use longwire_ws::handshake::Limits as HeadLimits;
use longwire_ws::handshake::client::{ClientHandshake, ClientRequest, Established};
use longwire_ws::handshake::deflate::DeflateConfig;
use longwire_ws::{Connection, Limits, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{MAX_MESSAGE_BYTES, Timing, WebSocket};
use crate::error::Error;

const READ_BYTES: usize = 4096;

/// How to connect. Start with [`WebSocket::builder`].
#[derive(Clone, Debug)]
pub struct WebSocketBuilder {
    address: String,
    subprotocols: Vec<String>,
    headers: HeaderMap,
    deflate: Option<DeflateConfig>,
    limits: Limits,
    connect_timeout: Duration,
    timing: Timing,
}

impl WebSocketBuilder {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            subprotocols: Vec::new(),
            headers: HeaderMap::new(),
            deflate: None,
            limits: Limits { max_frame_bytes: MAX_MESSAGE_BYTES, max_message_bytes: MAX_MESSAGE_BYTES, ..Limits::default() },
            connect_timeout: Duration::from_secs(10),
            timing: Timing::default(),
        }
    }

    /// Offers a subprotocol; the first offered is the preferred one.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocols.push(name.to_owned());
        self
    }

    /// Sends a header with the opening request, such as `Authorization`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Offers compression. Default: none.
    #[must_use]
    pub fn deflate(mut self, config: DeflateConfig) -> Self {
        self.deflate = Some(config);
        self
    }

    /// How much the server may make us keep. Default: messages of 16 MiB.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long opening may take. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long without a sign of life to ping, and how long to wait then. Default: 25 s and 20 s.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.timing.ping_interval = interval;
        self.timing.ping_timeout = timeout;
        self
    }

    /// How long to wait for the server's part of the closing handshake. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.timing.close_timeout = timeout;
        self
    }

    /// Opens the line.
    ///
    /// # Errors
    /// The address is wrong, the server cannot be reached, refuses, or takes too long.
    pub async fn connect(self) -> Result<WebSocket, Error> {
        let timeout = self.connect_timeout;
        tokio::time::timeout(timeout, self.open()).await.unwrap_or(Err(Error::Timeout))
    }

    async fn open(self) -> Result<WebSocket, Error> {
        let uri: Uri = self.address.parse().map_err(|error| Error::Address(format!("{:?}: {error}", self.address)))?;
        if uri.scheme_str() == Some("wss") {
            return Err(Error::Address("wss:// is not supported yet; use ws://, or a proxy that speaks TLS".into()));
        }
        let host = uri.host().ok_or_else(|| Error::Address(format!("{:?} names no host", self.address)))?.to_owned();
        let port = uri.port_u16().unwrap_or(80);
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Error::Io(std::io::Error::other(error)))?;
        let request = ClientRequest {
            subprotocols: self.subprotocols,
            deflate: self.deflate,
            headers: self.headers,
            ..ClientRequest::new(uri, key)
        };
        let bytes = request.encode().map_err(Error::Handshake)?;
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(Error::Io)?;
        stream.set_nodelay(true).map_err(Error::Io)?;
        stream.write_all(&bytes).await.map_err(Error::Io)?;
        let (established, rest) = read_answer(&mut stream, &ClientHandshake::new(&request)).await?;
        let connection = Connection::new(Role::Client, established.deflate);
        Ok(WebSocket::start(stream, rest, connection, established, self.limits, self.timing))
    }
}

/// The server's answer, and what it has sent behind it.
async fn read_answer(stream: &mut TcpStream, handshake: &ClientHandshake) -> Result<(Established, Vec<u8>), Error> {
    let mut received = Vec::new();
    loop {
        let before = received.len();
        received.resize(before + READ_BYTES, 0);
        let count = stream.read(&mut received[before..]).await.map_err(Error::Io)?;
        received.truncate(before + count);
        if count == 0 {
            return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some((established, used)) = handshake.verify(&received, &HeadLimits::default()).map_err(Error::Handshake)? {
            received.drain(..used);
            return Ok((established, received));
        }
    }
}
