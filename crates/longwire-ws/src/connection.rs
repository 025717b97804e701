//! One end of a connection that has been opened (RFC 6455, 5 to 8).

use crate::error::ProtocolError;
use crate::handshake::deflate::DeflateParams;
use crate::message::{Event, MessageKind};
use crate::receiver::{Input, Receiver};
use crate::sender::{AlreadyClosing, Sender};

/// Which end this is: a client masks what it sends, a server does not (RFC 6455, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that asked for the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// How much a peer may make us keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest payload of one frame, in bytes; judged by the header, before any of it is kept.
    pub max_frame_bytes: usize,
    /// The longest message, in bytes, as it is on the wire and again after inflating. While a compressed message inflates, both
    /// are there.
    pub max_message_bytes: usize,
    /// The most frames of one message; a message in one frame is never too many.
    pub max_fragments: usize,
}

impl Default for Limits {
    /// 1 MiB a message, in 1,024 fragments at most.
    fn default() -> Self {
        Self { max_frame_bytes: 1 << 20, max_message_bytes: 1 << 20, max_fragments: 1024 }
    }
}

/// One end of a connection: what is received and what is sent.
///
/// Feed it what was read with [`receive`](Self::receive); it consumes everything and keeps what is incomplete, within
/// [`Limits`]. The methods that send append frames to a buffer of the caller's. Its two halves can be used apart: a message that
/// borrows the receiver can be answered through the sender.
#[derive(Debug)]
pub struct Connection {
    /// What comes from the peer.
    pub receiver: Receiver,
    /// What goes to the peer.
    pub sender: Sender,
}

impl Connection {
    /// A connection whose opening handshake is done, with the parameters of permessage-deflate if they were agreed on.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        Self { receiver: Receiver::new(role, deflate), sender: Sender::new(role, deflate) }
    }

    /// See [`Receiver::receive`].
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut Input<'_>, limits: &Limits) -> Result<Option<Event<'a>>, ProtocolError> {
        self.receiver.receive(input, limits)
    }

    /// See [`Sender::send`].
    #[inline]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        self.sender.send(kind, payload, mask, out)
    }

    /// Whether our close frame has gone and the peer has nothing more to say, since its own has come or since it broke a rule:
    /// the server should now close the TCP connection (RFC 6455, 7.1.1 and 7.1.7).
    pub fn is_closed(&self) -> bool {
        self.sender.close_sent() && self.receiver.is_done()
    }
}
