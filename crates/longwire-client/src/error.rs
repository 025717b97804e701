//! What can go wrong, and how lines end.

use std::fmt;
use std::io;

use longwire_protocol::{ErrorCode, ErrorReply};
use longwire_ws::handshake::client::ClientError;
use longwire_ws::{CloseFrame, ProtocolError};

use crate::session::{Failure, Lost, Stopped};

/// Why a line could not be opened, or something that was asked for was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The address is not `ws://HOST[:PORT]/PATH`.
    Address(String),
    /// The server cannot be reached.
    Io(io::Error),
    /// The server did not open the line within the connect time-out.
    Timeout,
    /// The server answered something else than an open line.
    Handshake(ClientError),
    /// The line is closed.
    Closed,
    /// The server says no: see [`code`](Self::code).
    Refused(ErrorReply),
    /// An ephemeral publication, and there is no line at the moment.
    Offline,
    /// The line was lost before the answer came, and asking again could have done it twice, or was too late for the server to know: nobody
    /// knows whether it was done.
    Unknown,
    /// Longer than the server takes, which is so many bytes.
    TooLarge(usize),
    /// The client has stopped for good.
    Stopped(Stopped),
}

impl Error {
    pub(crate) fn from_failure(failure: Failure, stopped: impl FnOnce() -> Stopped) -> Self {
        match failure {
            Failure::Refused(error) if error.code == ErrorCode::MaybePublished => Self::Unknown,
            Failure::Refused(error) => Self::Refused(error),
            Failure::Offline => Self::Offline,
            Failure::Unknown => Self::Unknown,
            Failure::TooLarge(max) => Self::TooLarge(max),
            Failure::Full => Self::Refused(ErrorCode::Overloaded.into()),
            Failure::Stopped => Self::Stopped(stopped()),
        }
    }

    /// The protocol's code, if the server has said one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) | Self::Stopped(Stopped::Refused(error)) => Some(error.code),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(reason) => f.write_str(reason),
            Self::Io(error) => write!(f, "cannot reach the server: {error}"),
            Self::Timeout => f.write_str("the server did not open the line in time"),
            Self::Handshake(error) => error.fmt(f),
            Self::Closed => f.write_str("the line is closed"),
            Self::Refused(error) => error.fmt(f),
            Self::Offline => f.write_str("there is no line at the moment"),
            Self::Unknown => f.write_str("the line was lost before the answer came: it may have been done or not"),
            Self::TooLarge(max) => write!(f, "longer than the {max} bytes that the server takes"),
            Self::Stopped(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUser => f.write_str("the client is closed"),
            Self::Closed(code) => write!(f, "the server closed the line for good, with {code}{}", name_of_close(*code)),
            Self::Refused(error) => write!(f, "the server refused the session: {error}"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("the line was cut"),
            Self::Closed(code) => write!(f, "the server closed the line with {code}{}", name_of_close(*code)),
            Self::Timeout => f.write_str("the server was silent for too long"),
            Self::BadMessage => f.write_str("the server said something that is not of the protocol"),
            Self::Refused(error) => write!(f, "the server refused the session: {error}"),
            Self::NoToken => f.write_str("no token could be had"),
        }
    }
}

/// What the close code means, in brackets, if it is one of the protocol's.
fn name_of_close(code: u16) -> String {
    let known = longwire_protocol::CloseCode::ALL.iter().find(|known| known.number() == code);
    known.map(|known| format!(" ({})", known.text())).unwrap_or_default()
}

/// How a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The server closed it, with this code and reason if it gave one.
    Closed(Option<CloseFrame>),
    /// This side closed it.
    ByUs,
    /// The server broke a rule of the protocol.
    Protocol(ProtocolError),
    /// Nothing came from the server within the ping time-out.
    PingTimeout,
    /// The connection was cut.
    Cut(String),
}
