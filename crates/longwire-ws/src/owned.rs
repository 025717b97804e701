//! Messages that own their bytes.

use std::fmt;
use std::ops::Deref;

use crate::message::{Message, MessageKind};
use bytes::Bytes;

/// A text or binary message. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(Text),
    /// Any bytes.
    Binary(Bytes),
}

/// Shared UTF-8 text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Bytes);

impl OwnedMessage {
    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The text, unless the message is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(Text(bytes)) | Self::Binary(bytes) => bytes,
        }
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::text(text),
            Self::Binary(bytes) => Message::binary(bytes),
        }
    }
}

impl Deref for Text {
    type Target = str;

    #[expect(unsafe_code, reason = "a second validation of every text would cost a pass over it")]
    fn deref(&self) -> &str {
        // SAFETY: a `Text` is made of a `str`, or of a text message that the protocol has validated; it never changes.
        unsafe { str::from_utf8_unchecked(&self.0) }
    }
}

impl From<Message<'_>> for OwnedMessage {
    /// Copies, or takes over what the connection has put together; see [`Message::into_vec`].
    fn from(message: Message<'_>) -> Self {
        match message.kind() {
            MessageKind::Text => Self::Text(Text(message.into_vec().into())),
            MessageKind::Binary => Self::Binary(message.into_vec().into()),
        }
    }
}

impl From<&str> for OwnedMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for OwnedMessage {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for OwnedMessage {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.debug_tuple("Text").field(&&**text).finish(),
            Self::Binary(bytes) => f.debug_tuple("Binary").field(bytes).finish(),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
