//! Why bytes are no message.

use std::fmt;

use crate::codes::ErrorCode;
use crate::message::{ErrorReply, Message, Reply};

/// A command that cannot be carried out, whatever the state of the server. It is answered: `Message::from`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The command's id, if it could be read.
    pub id: Option<u32>,
    /// What to answer.
    pub error: ErrorReply,
}

impl From<Rejected> for Message {
    fn from(rejected: Rejected) -> Self {
        Self::Reply(rejected.id, Reply::Error(rejected.error))
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Rejected {}

/// What came from a server, and is no message of this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub Box<str>);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<ErrorReply> for Malformed {
    fn from(error: ErrorReply) -> Self {
        Self(error.message)
    }
}

impl ErrorReply {
    /// With more to say than the table has.
    pub fn new(code: ErrorCode, message: impl Into<Box<str>>) -> Self {
        Self { code, message: message.into(), channel: None }
    }
}

impl From<ErrorCode> for ErrorReply {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.text())
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for ErrorReply {}

/// What the decoders fail with on their way.
pub(crate) type Result<T> = std::result::Result<T, ErrorReply>;

pub(crate) fn bad_message(message: impl Into<Box<str>>) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadMessage, message)
}

pub(crate) fn bad_value(message: impl Into<Box<str>>) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadValue, message)
}

/// The code of an error from a server that may be newer than this crate: of a number that it does not know, only whether to try
/// again is known.
pub(crate) fn code_of(number: u64, retry: bool) -> ErrorCode {
    let known = u16::try_from(number).ok().and_then(ErrorCode::from_number);
    known.unwrap_or(if retry { ErrorCode::Internal } else { ErrorCode::BadMessage })
}
