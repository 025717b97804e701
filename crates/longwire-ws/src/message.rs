//! What comes out of a connection.

use crate::close::CloseFrame;

/// Text or binary: the two kinds of messages (RFC 6455, 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What the peer said. It borrows the input or the connection: take what is needed before asking for the next one.
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole message, its fragments joined and inflated; a text is valid UTF-8.
    Message(Message<'a>),
    /// Answer it with [`Sender::pong`](crate::Sender::pong) (RFC 6455, 5.5.2).
    Ping(&'a [u8]),
    /// The answer to a ping, or one that nobody asked for (RFC 6455, 5.5.3).
    Pong(&'a [u8]),
    /// The peer closes, with a code and a reason or without. Nothing comes after it. Answer with
    /// [`Sender::close_reply`](crate::Sender::close_reply) (RFC 6455, 5.5.1).
    Close(Option<CloseFrame>),
}

/// A whole message. A text is valid UTF-8.
#[derive(Debug)]
pub struct Message<'a> {
    kind: MessageKind,
    payload: Payload<'a>,
}

#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// A piece of the input: it arrived whole.
    Input(&'a [u8]),
    /// Put together of pieces, or inflated.
    Assembled(Vec<u8>),
}

impl<'a> Message<'a> {
    /// A text that came in another way than as a frame.
    pub const fn text(text: &'a str) -> Self {
        Self { kind: MessageKind::Text, payload: Payload::Input(text.as_bytes()) }
    }

    /// Bytes that came in another way than as a frame.
    pub const fn binary(bytes: &'a [u8]) -> Self {
        Self { kind: MessageKind::Binary, payload: Payload::Input(bytes) }
    }

    /// `payload` has been validated if `kind` is text.
    pub(crate) fn validated(kind: MessageKind, payload: Payload<'a>) -> Self {
        debug_assert!(kind == MessageKind::Binary || std::str::from_utf8(payload.bytes()).is_ok());
        Self { kind, payload }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The payload.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.payload.bytes()
    }

    /// The text, unless the message is binary.
    #[inline]
    #[expect(unsafe_code, reason = "a second validation of every text would cost a pass over it")]
    pub fn as_str(&self) -> Option<&str> {
        match self.kind {
            // SAFETY: `validated` is only reached with a text payload that the UTF-8 validation has passed as a whole, and the
            // payload is not changed afterwards.
            MessageKind::Text => Some(unsafe { std::str::from_utf8_unchecked(self.payload.bytes()) }),
            MessageKind::Binary => None,
        }
    }

    /// The payload as a buffer of its own: moved if the connection has put the message together, copied if it lies in the input.
    pub fn into_vec(self) -> Vec<u8> {
        match self.payload {
            Payload::Input(bytes) => bytes.to_vec(),
            Payload::Assembled(buffer) => buffer,
        }
    }
}

impl Payload<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Payload::Input(bytes) => bytes,
            Payload::Assembled(buffer) => buffer,
        }
    }
}
