//! The server's side of the opening handshake: over HTTP/1.1 (RFC 6455, 4.2), and over HTTP/2 (RFC 8441).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::deflate::{self, DeflateConfig, DeflateParams};
use super::{Limits, ParseError, VERSION, accept_key, grammar, head};

pub use super::rejection::Rejection;

/// What a server supports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// The subprotocols that the server speaks; the client's order decides among them.
    pub subprotocols: Vec<String>,
    /// What the server wants of permessage-deflate, or `None` to always decline it.
    ///
    /// A configuration out of its bounds declines as well: see [`DeflateConfig::validate`].
    pub deflate: Option<DeflateConfig>,
}

/// A valid opening handshake, and what was agreed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The value of `Sec-WebSocket-Accept`; over HTTP/2 there is none (RFC 8441, 5).
    pub accept: Option<String>,
    /// The subprotocol to speak, if the client offered one that we support.
    pub subprotocol: Option<String>,
    /// How to compress, if the client offered it in a way that fits.
    pub deflate: Option<DeflateParams>,
    headers: HeaderMap,
}

impl Accepted {
    /// The response that completes the handshake, `101` or over HTTP/2 `200`; frames follow right after it.
    #[must_use]
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        if self.accept.is_some() {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

/// Checks a request against every rule of RFC 6455, 4.2.1, and decides what to answer.
///
/// Two things are left to the caller, who knows more: the request's path, and its `Origin`
/// (RFC 6455, 10.2: check it where browsers of other sites must stay outside).
///
/// # Errors
/// The first rule that the request breaks.
pub fn accept(method: &Method, version: Version, headers: &HeaderMap, options: &ServerOptions) -> Result<Accepted, Rejection> {
    check_http(method, version, headers)?;
    check_upgrade(headers)?;
    check_websocket_version(headers)?;
    let accept = accept_key(check_key(headers)?);
    let mut accepted = negotiate(headers, options)?;
    accepted.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    accepted.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    accepted.headers.insert(SEC_WEBSOCKET_ACCEPT, visible(&accept));
    accepted.accept = Some(accept);
    Ok(accepted)
}

/// Checks a request that came over HTTP/2 (or HTTP/3, RFC 9220): an extended CONNECT with the `:protocol` that is given here
/// (RFC 8441, 4 and 5).
///
/// Left to the caller are, as for [`accept`], the path and the origin, and that `:authority`, `:scheme` and `:path` are there.
///
/// # Errors
/// The first rule that the request breaks.
pub fn accept_connect(
    method: &Method,
    protocol: Option<&str>,
    headers: &HeaderMap,
    options: &ServerOptions,
) -> Result<Accepted, Rejection> {
    if method != Method::CONNECT {
        return Err(Rejection::NotConnect(method.clone()));
    }
    // RFC 8441, 5: :protocol is websocket, and takes the place of Upgrade and Connection; the key has none to take.
    if protocol != Some("websocket") {
        return Err(Rejection::OtherProtocol);
    }
    check_websocket_version(headers)?;
    negotiate(headers, options)
}

/// Reads a request's head from `input`, for servers without an HTTP library.
///
/// Gives the request and the length of its head; what follows in `input` is the caller's.
/// `Ok(None)` asks for more input: call again with all bytes so far. That never happens with
/// [`Limits::max_header_bytes`] or more of them, so the caller's buffer stays bounded.
///
/// # Errors
/// Bytes that are not HTTP/1, or a head beyond the limits; the error knows its HTTP answer.
pub fn parse(input: &[u8], limits: &Limits) -> Result<Option<(Request<()>, usize)>, ParseError> {
    head::parse_request(input, limits)
}

/// Writes a response's head as HTTP/1.1, for servers without an HTTP library; a body, if there
/// is one, has to follow.
#[must_use]
pub fn encode_head<T>(response: &Response<T>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn check_http(method: &Method, version: Version, headers: &HeaderMap) -> Result<(), Rejection> {
    // RFC 6455, 4.2.1 (1): HTTP/1.1 or higher. HTTP/2 and later have no Upgrade (RFC 9113, 8.6).
    if version != Version::HTTP_11 {
        return Err(Rejection::HttpVersion(version));
    }
    // RFC 6455, 4.2.1 (2), RFC 9112, 3.2: exactly one Host, which names the server.
    let host = grammar::single(headers, &HOST).map_err(|_| Rejection::DuplicateHost)?;
    if host.is_none_or(<[u8]>::is_empty) {
        return Err(Rejection::MissingHost);
    }
    // RFC 6455, 4.2.1 (1): the method is GET.
    if method != Method::GET {
        return Err(Rejection::Method(method.clone()));
    }
    Ok(())
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), Rejection> {
    if !headers.contains_key(UPGRADE) {
        return Err(Rejection::NotAnUpgrade);
    }
    // RFC 6455, 4.2.1 (3): Upgrade lists websocket, in any case.
    if !grammar::list_contains(headers.get_all(UPGRADE), "websocket") {
        return Err(Rejection::OtherUpgrade);
    }
    // RFC 6455, 4.2.1 (4): Connection lists Upgrade, in any case.
    if !grammar::list_contains(headers.get_all(CONNECTION), "upgrade") {
        return Err(Rejection::Connection);
    }
    // RFC 9110, 7.8: a body would have to be read before the protocol changes, and nobody reads
    // it here: its bytes would pass for frames.
    let has_body = headers.contains_key(TRANSFER_ENCODING) || headers.get_all(CONTENT_LENGTH).iter().any(|n| n != "0");
    if has_body {
        return Err(Rejection::Body);
    }
    Ok(())
}

fn check_websocket_version(headers: &HeaderMap) -> Result<(), Rejection> {
    // RFC 6455, 11.3.5: the version is there once.
    let version = grammar::single(headers, &SEC_WEBSOCKET_VERSION)
        .map_err(|_| Rejection::DuplicateVersion)?
        .ok_or(Rejection::MissingVersion)?;
    // RFC 6455, 4.2.1 (6): the version is 13.
    if version != VERSION.as_bytes() {
        return Err(Rejection::UnsupportedVersion);
    }
    Ok(())
}

fn check_key(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    // RFC 6455, 11.3.1: the key is there once.
    let key =
        grammar::single(headers, &SEC_WEBSOCKET_KEY).map_err(|_| Rejection::DuplicateKey)?.ok_or(Rejection::MissingKey)?;
    // RFC 6455, 4.2.1 (5): base64 of 16 bytes, which is 24 characters, in its canonical form.
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key, &mut nonce) {
        Ok(16) => Ok(key),
        _ => Err(Rejection::InvalidKey),
    }
}

/// What is negotiated whatever HTTP's version is: the subprotocol and the extensions.
fn negotiate(headers: &HeaderMap, options: &ServerOptions) -> Result<Accepted, Rejection> {
    let subprotocol = choose_subprotocol(headers, &options.subprotocols)?;
    // RFC 6455, 4.2.1 (9) and 9.1: the list of extensions has to be well formed, whether or not
    // anything in it is then used.
    let offers = grammar::extensions(headers.get_all(SEC_WEBSOCKET_EXTENSIONS)).map_err(|_| Rejection::MalformedExtensions)?;
    let agreement = options.deflate.and_then(|config| deflate::negotiate(&offers, &config));

    let mut answer = HeaderMap::new();
    if let Some(subprotocol) = subprotocol {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, visible(subprotocol));
    }
    if let Some(agreement) = &agreement {
        answer.insert(SEC_WEBSOCKET_EXTENSIONS, visible(&agreement.response));
    }
    Ok(Accepted {
        accept: None,
        subprotocol: subprotocol.map(str::to_owned),
        deflate: agreement.map(|agreement| agreement.params),
        headers: answer,
    })
}

fn choose_subprotocol<'a>(headers: &'a HeaderMap, supported: &[String]) -> Result<Option<&'a str>, Rejection> {
    // RFC 6455, 4.2.1 (8) and 4.3: a list of tokens.
    let offered = grammar::tokens(headers.get_all(SEC_WEBSOCKET_PROTOCOL)).map_err(|_| Rejection::MalformedSubprotocols)?;
    // RFC 6455, 4.1 (10): no two of them the same.
    if grammar::first_repeated(offered.iter().copied()).is_some() {
        return Err(Rejection::DuplicateSubprotocol);
    }
    // RFC 6455, 4.2.2 (5.5): the client's order is its order of preference; none is fine too.
    Ok(offered.into_iter().find(|name| supported.iter().any(|known| known == name)))
}

/// What was negotiated, as a header's value: base64, a token, or a list of tokens, all of it visible ASCII.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("negotiated values are valid header values")
}
