//! How requests are refused.

use std::fmt;

use http::StatusCode;

/// Why a request does not get, or reach, a session. The client is told a number and a text; no session is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `transport` is missing, unknown or not offered.
    TransportUnknown,
    /// There is no session with this `sid`: never was, or not any more.
    SessionIdUnknown,
    /// A session is opened by `GET` only.
    BadHandshakeMethod,
    /// What is asked for does not fit the session, or itself.
    BadRequest,
    /// Whoever decides does not let this client in.
    Forbidden,
    /// `EIO` is missing, unknown or not offered.
    UnsupportedRevision,
}

impl Refusal {
    /// All of them, by number.
    pub const ALL: [Self; 6] = [
        Self::TransportUnknown,
        Self::SessionIdUnknown,
        Self::BadHandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedRevision,
    ];

    /// Its number for programs.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its text for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TransportUnknown => "Transport unknown",
            Self::SessionIdUnknown => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedRevision => "Unsupported protocol version",
        }
    }

    /// The status of the answer. To a WebSocket's opening request it is always 400.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the answer, `application/json`. To a WebSocket's opening request it is the bare
    /// [`message`](Self::message).
    pub fn body(self) -> String {
        self.body_with(self.message())
    }

    /// As [`body`](Self::body), with another text: why the client is not let in.
    pub fn body_with(self, message: &str) -> String {
        serde_json::json!({ "code": self.code(), "message": message }).to_string()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Refusal {}

/// A polling request that breaks its session: it is answered with a status and an empty body, and the session is closed.
///
/// A payload that cannot be read has a [status](super::payload::PayloadError::status) of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// A second `GET` while one is waiting. The first is answered with [`CLOSE`](super::EncodedPacket::CLOSE).
    PollOverlap,
    /// A second `POST` while one is being read.
    PostOverlap,
    /// A method that is neither `GET` nor `POST`.
    Method,
}

impl Abort {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::PollOverlap | Self::PostOverlap => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PollOverlap => "second poll at a time",
            Self::PostOverlap => "second post at a time",
            Self::Method => "neither GET nor POST",
        })
    }
}

impl std::error::Error for Abort {}
