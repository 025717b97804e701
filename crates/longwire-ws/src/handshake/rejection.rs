//! Why a server refuses an opening handshake, and the HTTP answer that says so.

use std::fmt;

use http::header::{ALLOW, CONNECTION, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};

use super::VERSION;
use super::head::refusal;

/// The rule of the opening handshake that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The request's HTTP version is not 1.1 (RFC 6455, 4.2.1, item 1).
    HttpVersion(Version),
    /// `Host` is missing or empty (RFC 6455, 4.2.1, item 2).
    MissingHost,
    /// There are several `Host` headers (RFC 9112, 3.2).
    DuplicateHost,
    /// The method is not `GET` (RFC 6455, 4.2.1, item 1).
    Method(Method),
    /// The method is not `CONNECT`, over HTTP/2 (RFC 8441, 5).
    NotConnect(Method),
    /// `:protocol` is missing or not `websocket`, over HTTP/2 (RFC 8441, 5).
    OtherProtocol,
    /// An ordinary HTTP request, without `Upgrade` (RFC 6455, 4.2.1, item 3).
    NotAnUpgrade,
    /// `Upgrade` asks for something else than `websocket` (RFC 6455, 4.2.1, item 3).
    OtherUpgrade,
    /// `Connection` does not list `Upgrade` (RFC 6455, 4.2.1, item 4).
    Connection,
    /// The request has a body (RFC 9110, 7.8).
    Body,
    /// `Sec-WebSocket-Version` is missing (RFC 6455, 4.2.1, item 6).
    MissingVersion,
    /// `Sec-WebSocket-Version` is not `13` (RFC 6455, 4.2.1, item 6, and 4.4).
    UnsupportedVersion,
    /// There are several `Sec-WebSocket-Version` headers (RFC 6455, 11.3.5).
    DuplicateVersion,
    /// `Sec-WebSocket-Key` is missing (RFC 6455, 4.2.1, item 5).
    MissingKey,
    /// `Sec-WebSocket-Key` is not the base64 form of 16 bytes (RFC 6455, 4.2.1, item 5).
    InvalidKey,
    /// There are several `Sec-WebSocket-Key` headers (RFC 6455, 11.3.1).
    DuplicateKey,
    /// `Sec-WebSocket-Protocol` is not a list of tokens (RFC 6455, 4.3).
    MalformedSubprotocols,
    /// `Sec-WebSocket-Protocol` names a subprotocol twice (RFC 6455, 4.1, item 10).
    DuplicateSubprotocol,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455, 9.1).
    MalformedExtensions,
}

impl Rejection {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            // RFC 9110, 15.6.6: 505 is about the major version. HTTP/1.0 shares ours, and by
            // RFC 9110, 7.8 it only lacks the means to upgrade, so that request is a bad one.
            Self::HttpVersion(Version::HTTP_10) => StatusCode::BAD_REQUEST,
            Self::HttpVersion(_) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method(_) | Self::NotConnect(_) => StatusCode::METHOD_NOT_ALLOWED,
            // RFC 9220, 3, which says what RFC 8441 leaves open.
            Self::OtherProtocol => StatusCode::NOT_IMPLEMENTED,
            // RFC 6455, 4.2.2 (4): 426 for a version that is not spoken here.
            Self::NotAnUpgrade | Self::OtherUpgrade | Self::MissingVersion | Self::UnsupportedVersion => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::MissingHost
            | Self::DuplicateHost
            | Self::Connection
            | Self::Body
            | Self::DuplicateVersion
            | Self::MissingKey
            | Self::InvalidKey
            | Self::DuplicateKey
            | Self::MalformedSubprotocols
            | Self::DuplicateSubprotocol
            | Self::MalformedExtensions => StatusCode::BAD_REQUEST,
        }
    }

    /// The headers that the answer needs besides those of its body.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.status() {
            // RFC 9110, 15.5.6: 405 lists the methods that are allowed.
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = if matches!(self, Self::NotConnect(_)) { "CONNECT" } else { "GET" };
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            // RFC 9110, 15.5.22 and 7.8: 426 names the protocol to upgrade to.
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            }
            _ => {}
        }
        // RFC 6455, 4.4: a client of another version is told which one is spoken here.
        if matches!(self, Self::MissingVersion | Self::UnsupportedVersion) {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        }
        headers
    }

    /// A stable name of the broken rule, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::HttpVersion(_) => "unsupported_http_version",
            Self::MissingHost => "missing_host",
            Self::DuplicateHost => "duplicate_host",
            Self::Method(_) => "method_not_allowed",
            Self::NotConnect(_) => "connect_required",
            Self::OtherProtocol => "protocol_not_websocket",
            Self::NotAnUpgrade => "upgrade_required",
            Self::OtherUpgrade => "upgrade_not_websocket",
            Self::Connection => "connection_not_upgrade",
            Self::Body => "unexpected_body",
            Self::MissingVersion => "missing_websocket_version",
            Self::UnsupportedVersion => "unsupported_websocket_version",
            Self::DuplicateVersion => "duplicate_websocket_version",
            Self::MissingKey => "missing_websocket_key",
            Self::InvalidKey => "invalid_websocket_key",
            Self::DuplicateKey => "duplicate_websocket_key",
            Self::MalformedSubprotocols => "malformed_subprotocols",
            Self::DuplicateSubprotocol => "duplicate_subprotocol",
            Self::MalformedExtensions => "malformed_extensions",
        }
    }

    /// The whole HTTP answer, with a JSON body:
    /// `{"error":{"code":"missing_host","message":"..."}}`.
    #[must_use]
    pub fn response(&self) -> Response<String> {
        let mut response = refusal(self.status(), self.code(), &self.to_string());
        response.headers_mut().extend(self.headers());
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpVersion(version) => {
                return write!(
                    f,
                    "this WebSocket opens over HTTP/1.1, but the request is {version:?}; send it as \
                     HTTP/1.1, and have proxies on the way do the same"
                );
            }
            Self::NotConnect(method) => {
                return write!(
                    f,
                    "over HTTP/2 a WebSocket opens with CONNECT and :protocol = websocket (RFC 8441), but this request is \
                     {method}; use a WebSocket client that can do that, or HTTP/1.1"
                );
            }
            Self::OtherProtocol => {
                "this address speaks WebSocket, but the request's :protocol does not say so; send CONNECT with \
                 :protocol = websocket"
            }
            Self::Method(method) => {
                return write!(f, "a WebSocket opens with GET, but this request is {method}; send a GET request");
            }
            Self::MissingHost => "the Host header is missing or empty; send one with this server's name",
            Self::DuplicateHost => "there is more than one Host header; send exactly one",
            Self::NotAnUpgrade => {
                "this address speaks WebSocket, but the request has no Upgrade header; connect \
                 with a WebSocket client, or send Upgrade: websocket and Connection: Upgrade \
                 (proxies on the way have to pass both on)"
            }
            Self::OtherUpgrade => {
                "this address speaks WebSocket, but the Upgrade header does not say so; send \
                 Upgrade: websocket"
            }
            Self::Connection => {
                "the Connection header does not list Upgrade; send Connection: Upgrade (proxies \
                 on the way have to pass it on)"
            }
            Self::Body => "an opening handshake has no body; leave out Transfer-Encoding and Content-Length",
            Self::MissingVersion => "the Sec-WebSocket-Version header is missing; send Sec-WebSocket-Version: 13",
            Self::UnsupportedVersion => "this Sec-WebSocket-Version is not supported; send Sec-WebSocket-Version: 13",
            Self::DuplicateVersion => "there is more than one Sec-WebSocket-Version header; send exactly one",
            Self::MissingKey => "the Sec-WebSocket-Key header is missing; send 16 random bytes in base64",
            Self::InvalidKey => {
                "the Sec-WebSocket-Key is not 16 bytes in base64; send 24 characters that end in \
                 ==, such as dGhlIHNhbXBsZSBub25jZQ=="
            }
            Self::DuplicateKey => "there is more than one Sec-WebSocket-Key header; send exactly one",
            Self::MalformedSubprotocols => {
                "the Sec-WebSocket-Protocol header is malformed; send names of letters, digits \
                 and punctuation other than separators, with commas between them"
            }
            Self::DuplicateSubprotocol => "the Sec-WebSocket-Protocol header names a subprotocol twice; send each name once",
            Self::MalformedExtensions => {
                "the Sec-WebSocket-Extensions header is malformed; send extensions with commas \
                 between them, such as permessage-deflate; client_max_window_bits"
            }
        })
    }
}

impl std::error::Error for Rejection {}
