//! The client's side of the opening handshake (RFC 6455, 4.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Response, StatusCode, Uri, Version};

use super::deflate::{self, ConfigError, DeflateConfig, DeflateParams, ResponseError};
use super::{Limits, ParseError, VERSION, accept_key, grammar, head};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// Where to connect: `ws://host[:port]/path[?query]`, or the same with `wss`.
    pub uri: Uri,
    /// The subprotocols that the client speaks, the preferred one first.
    pub subprotocols: Vec<String>,
    /// The offer of permessage-deflate, or `None` to make none.
    pub deflate: Option<DeflateConfig>,
    /// More headers, such as `Origin`, `Cookie` or `Authorization`; none that the handshake
    /// itself writes.
    pub headers: HeaderMap,
    /// 16 random bytes, drawn anew for every connection (RFC 6455, 4.1, item 7).
    pub key: [u8; 16],
}

impl ClientRequest {
    /// A request without subprotocols, compression or headers of its own.
    #[must_use]
    pub fn new(uri: Uri, key: [u8; 16]) -> Self {
        Self { uri, subprotocols: Vec::new(), deflate: None, headers: HeaderMap::new(), key }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// A part of the request that cannot be sent: the address, a subprotocol, the compression's
    /// bounds, or a header that belongs to the handshake.
    pub fn encode(&self) -> Result<Vec<u8>, ClientError> {
        let target = Target::from_uri(&self.uri)?;
        self.check_subprotocols()?;
        self.check_headers()?;

        // RFC 6455, 4.1 (request, 1 to 7 and 9): the lines that every request has.
        let mut text = format!(
            "GET {} HTTP/1.1\r\n\
             Host: {}\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\n\
             Sec-WebSocket-Version: {VERSION}\r\n",
            target.resource,
            target.host,
            self.encoded_key(),
        );
        // RFC 6455, 4.1 (request, 10): subprotocols in order of preference.
        if !self.subprotocols.is_empty() {
            let list = self.subprotocols.join(", ");
            text.push_str(&format!("Sec-WebSocket-Protocol: {list}\r\n"));
        }
        // RFC 6455, 4.1 (request, 11), 9.1: the extensions on offer.
        if let Some(config) = &self.deflate {
            config.validate().map_err(ClientError::Deflate)?;
            let offer = deflate::offer(config);
            text.push_str(&format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        }

        // RFC 6455, 4.1 (request, 8 and 12): other headers, cookies and credentials included.
        // Names and values cannot contain line ends, their types see to it.
        let mut bytes = text.into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        Ok(bytes)
    }

    /// RFC 6455, 4.1 (request, 10): subprotocols are tokens, no two of them the same.
    fn check_subprotocols(&self) -> Result<(), ClientError> {
        let names = || self.subprotocols.iter().map(String::as_str);
        names()
            .find(|name| !grammar::is_token(name.as_bytes()))
            .or_else(|| grammar::first_repeated(names()))
            .map_or(Ok(()), |name| Err(ClientError::Subprotocol(name.into())))
    }

    /// RFC 6455, 4.1, 11.3: what the handshake says must be said once, so it is ours to say.
    fn check_headers(&self) -> Result<(), ClientError> {
        let reserved = |name: &&HeaderName| {
            [HOST, UPGRADE, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
                || name.as_str().starts_with("sec-websocket-")
        };
        self.headers.keys().find(reserved).map_or(Ok(()), |name| Err(ClientError::ReservedHeader(name.clone())))
    }

    fn encoded_key(&self) -> String {
        STANDARD.encode(self.key)
    }
}

/// A client that has sent its request and awaits the answer.
#[derive(Debug, Clone)]
pub struct ClientHandshake {
    accept: String,
    subprotocols: Vec<String>,
    deflate: Option<DeflateConfig>,
}

/// A connection that is open: what the server agreed to.
#[derive(Debug)]
pub struct Established {
    /// The subprotocol to speak. `None` means that the server chose none of those offered; a
    /// client that cannot do without one should close.
    pub subprotocol: Option<String>,
    /// How to compress, if the server accepted the offer.
    pub deflate: Option<DeflateParams>,
    /// The whole response, for its other headers.
    pub response: Response<()>,
}

impl ClientHandshake {
    /// The state to keep while the answer to `request` is under way.
    #[must_use]
    pub fn new(request: &ClientRequest) -> Self {
        Self {
            accept: accept_key(request.encoded_key().as_bytes()),
            subprotocols: request.subprotocols.clone(),
            deflate: request.deflate,
        }
    }

    /// Reads and checks the server's answer.
    ///
    /// `input` is everything received so far. Gives what was agreed and how many bytes the
    /// answer took; frames follow from there. `Ok(None)` asks for more input, which never
    /// happens with [`Limits::max_header_bytes`] or more of them.
    ///
    /// # Errors
    /// An answer that does not open the connection; close the line. A status other than 101
    /// comes as [`ClientError::Status`], with its headers.
    pub fn verify(&self, input: &[u8], limits: &Limits) -> Result<Option<(Established, usize)>, ClientError> {
        let Some((response, head_bytes)) = final_response(input, limits)? else {
            return Ok(None);
        };
        // RFC 6455, 4.1 (response, 1): anything but 101 is an ordinary HTTP answer.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::Status {
                status: response.status(),
                headers: Box::new(response.into_parts().0.headers),
                head_bytes,
            });
        }
        check_upgrade(&response)?;
        self.check_accept(response.headers())?;
        let established = Established {
            deflate: self.check_extensions(response.headers())?,
            subprotocol: self.check_subprotocol(response.headers())?,
            response,
        };
        Ok(Some((established, head_bytes)))
    }

    fn check_accept(&self, headers: &HeaderMap) -> Result<(), ClientError> {
        // RFC 6455, 4.1 (response, 4), 11.3.3: the accept value is there once and answers our key.
        let accept = grammar::single(headers, &SEC_WEBSOCKET_ACCEPT)
            .map_err(|_| ClientError::RepeatedHeader(SEC_WEBSOCKET_ACCEPT))?
            .ok_or(ClientError::MissingAccept)?;
        if accept != self.accept.as_bytes() {
            return Err(ClientError::WrongAccept);
        }
        Ok(())
    }

    fn check_extensions(&self, headers: &HeaderMap) -> Result<Option<DeflateParams>, ClientError> {
        // RFC 6455, 11.3.2: a response has this header once at most.
        grammar::single(headers, &SEC_WEBSOCKET_EXTENSIONS)
            .map_err(|_| ClientError::RepeatedHeader(SEC_WEBSOCKET_EXTENSIONS))?;
        // RFC 6455, 4.1 (response, 5), 9.1: well formed, and nothing that was not offered.
        let answer =
            grammar::extensions(headers.get_all(SEC_WEBSOCKET_EXTENSIONS)).map_err(|_| ClientError::MalformedExtensions)?;
        deflate::verify_response(&answer, self.deflate.as_ref()).map_err(ClientError::Extension)
    }

    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<Option<String>, ClientError> {
        // RFC 6455, 11.3.4: a response has this header once at most.
        let Some(chosen) = grammar::single(headers, &SEC_WEBSOCKET_PROTOCOL)
            .map_err(|_| ClientError::RepeatedHeader(SEC_WEBSOCKET_PROTOCOL))?
        else {
            return Ok(None);
        };
        // RFC 6455, 4.1 (response, 6): the server chooses one of ours, as we wrote it.
        self.subprotocols
            .iter()
            .find(|offered| offered.as_bytes() == chosen)
            .map(|offered| Some(offered.clone()))
            .ok_or_else(|| ClientError::SubprotocolNotOffered(String::from_utf8_lossy(chosen).into()))
    }
}

/// RFC 9110, 15.2: interim answers (1xx other than 101) may come first and are passed over.
fn final_response(input: &[u8], limits: &Limits) -> Result<Option<(Response<()>, usize)>, ClientError> {
    let mut consumed = 0;
    loop {
        // All heads together stay within the limit, since the caller keeps them all.
        let limits = Limits { max_header_bytes: limits.max_header_bytes.saturating_sub(consumed), ..*limits };
        let head = head::parse_response(&input[consumed..], &limits).map_err(ClientError::Http)?;
        let Some((response, head_bytes)) = head else {
            return Ok(None);
        };
        consumed += head_bytes;
        let status = response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some((response, consumed)));
        }
    }
}

fn check_upgrade(response: &Response<()>) -> Result<(), ClientError> {
    // RFC 6455, 4.1 (request, 2): the handshake is HTTP/1.1 or higher, 1.0 cannot upgrade.
    if response.version() != Version::HTTP_11 {
        return Err(ClientError::HttpVersion);
    }
    // RFC 6455, 4.1 (response, 2): Upgrade is websocket, in any case, and nothing else.
    let upgrade = grammar::single(response.headers(), &UPGRADE);
    if !matches!(upgrade, Ok(Some(value)) if value.eq_ignore_ascii_case(b"websocket")) {
        return Err(ClientError::Upgrade);
    }
    // RFC 6455, 4.1 (response, 3): Connection lists Upgrade, in any case.
    if !grammar::list_contains(response.headers().get_all(CONNECTION), "upgrade") {
        return Err(ClientError::Connection);
    }
    Ok(())
}

/// The parts of an address that a request names.
struct Target {
    host: String,
    resource: String,
}

impl Target {
    /// RFC 6455, 3: ws-URI = "ws:" "//" host [ ":" port ] path [ "?" query ]
    fn from_uri(uri: &Uri) -> Result<Self, ClientError> {
        let default_port = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("ws") => 80,
            Some(scheme) if scheme.eq_ignore_ascii_case("wss") => 443,
            _ => return Err(ClientError::Uri("it has to begin with ws:// or wss://")),
        };
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            return Err(ClientError::Uri("it names no host"));
        };
        if authority.as_str().contains('@') {
            return Err(ClientError::Uri("it holds a user name or password, send an Authorization header instead"));
        }
        if host.is_empty() {
            return Err(ClientError::Uri("it names no host"));
        }
        let has_port = !matches!(&authority.as_str()[host.len()..], "" | ":");
        let resource = match uri.query() {
            Some(query) => format!("{}?{query}", uri.path()),
            None => uri.path().to_owned(),
        };
        if !resource.is_ascii() {
            return Err(ClientError::Uri("its path or query is not ASCII, percent-encode it"));
        }
        // RFC 6455, 4.1 (request, 4): the port is named if it is not the scheme's own.
        let host = match uri.port_u16() {
            None if has_port => return Err(ClientError::Uri("its port is not a number to 65535")),
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_owned(),
        };
        Ok(Self { host, resource })
    }
}

/// Why a client's opening handshake fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be connected to; the text says why.
    Uri(&'static str),
    /// This subprotocol is not a token, or is listed twice.
    Subprotocol(String),
    /// This header belongs to the handshake and cannot be set.
    ReservedHeader(HeaderName),
    /// The compression is configured out of its bounds.
    Deflate(ConfigError),
    /// The answer is not HTTP/1, or is beyond the limits.
    Http(ParseError),
    /// The server answered with another status than 101.
    Status {
        /// The status.
        status: StatusCode,
        /// The answer's headers: `Location`, `WWW-Authenticate`, `Retry-After` and the like.
        headers: Box<HeaderMap>,
        /// Length of the answer's head in bytes; its body follows from there.
        head_bytes: usize,
    },
    /// The answer is not HTTP/1.1.
    HttpVersion,
    /// `Upgrade` is not `websocket`.
    Upgrade,
    /// `Connection` does not list `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing.
    MissingAccept,
    /// `Sec-WebSocket-Accept` does not answer our key.
    WrongAccept,
    /// This header is there more than once.
    RepeatedHeader(HeaderName),
    /// The server chose a subprotocol that was not offered.
    SubprotocolNotOffered(String),
    /// `Sec-WebSocket-Extensions` does not follow its grammar.
    MalformedExtensions,
    /// The server uses extensions in a way that was not offered.
    Extension(ResponseError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(reason) => write!(f, "the address is not a WebSocket URL: {reason}"),
            Self::Subprotocol(name) => {
                write!(f, "the subprotocol {name:?} is not a token, or is listed twice")
            }
            Self::ReservedHeader(name) => {
                write!(f, "the header {name} belongs to the handshake and cannot be set")
            }
            Self::Deflate(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::Status { status, .. } => {
                write!(f, "the server answered {status} instead of opening a WebSocket")
            }
            Self::HttpVersion => f.write_str("the server's answer is not HTTP/1.1"),
            Self::Upgrade => f.write_str("the server's Upgrade header is not websocket"),
            Self::Connection => f.write_str("the server's Connection header does not list Upgrade"),
            Self::MissingAccept => f.write_str("the server sent no Sec-WebSocket-Accept header"),
            Self::WrongAccept => f.write_str("the server's Sec-WebSocket-Accept does not answer our key"),
            Self::RepeatedHeader(name) => write!(f, "the server sent {name} more than once"),
            Self::SubprotocolNotOffered(name) => {
                write!(f, "the server chose the subprotocol {name:?}, which was not offered")
            }
            Self::MalformedExtensions => f.write_str("the server's Sec-WebSocket-Extensions header is malformed"),
            Self::Extension(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}
