//! What can go wrong, and how lines end.

use std::fmt;
use std::io;

use longwire_ws::handshake::client::ClientError;
use longwire_ws::{CloseFrame, ProtocolError};

/// Why a line could not be opened or used.
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(reason) => f.write_str(reason),
            Self::Io(error) => write!(f, "cannot reach the server: {error}"),
            Self::Timeout => f.write_str("the server did not open the line in time"),
            Self::Handshake(error) => error.fmt(f),
            Self::Closed => f.write_str("the line is closed"),
        }
    }
}

impl std::error::Error for Error {}

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
