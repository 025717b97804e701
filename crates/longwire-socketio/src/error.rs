//! What can be wrong with packets and with what they carry.

use std::fmt;

use serde::{de, ser};

/// The rule that a packet breaks. The connection has failed: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A text without a single character.
    Empty,
    /// The first character is not one of `0` to `6`.
    UnknownKind,
    /// In a binary packet the number of attachments is missing, 0, not decimal digits, or not followed by `-`.
    AttachmentCount,
    /// More attachments announced than [`Limits::max_attachments`](crate::Limits::max_attachments).
    TooManyAttachments {
        /// What the limit is.
        limit: usize,
    },
    /// The attachments go past [`Limits::max_attachments_bytes`](crate::Limits::max_attachments_bytes).
    AttachmentsTooBig {
        /// What the limit is, in bytes.
        limit: usize,
    },
    /// A control character in a namespace, or in the query behind it.
    InvalidNamespace,
    /// A namespace longer than [`Limits::max_namespace_bytes`](crate::Limits::max_namespace_bytes).
    NamespaceTooLong {
        /// What the limit is, in bytes.
        limit: usize,
    },
    /// A query longer than [`Limits::max_query_bytes`](crate::Limits::max_query_bytes).
    QueryTooLong {
        /// What the limit is, in bytes.
        limit: usize,
    },
    /// An ack id above 2^53 - 1, the largest integer that every client can count to.
    AckIdTooLarge,
    /// An ack without an id.
    MissingAckId,
    /// An id in a packet that nobody acknowledges.
    UnexpectedAckId,
    /// An event or a connection error without data.
    MissingPayload,
    /// A disconnection with data.
    UnexpectedPayload,
    /// The data is not JSON.
    NotJson,
    /// The data nests deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    TooDeep {
        /// What the limit is.
        limit: usize,
    },
    /// The data of a CONNECT is not an object.
    NotAnObject,
    /// The data of an event or ack is not an array.
    NotAnArray,
    /// The data of a connection error is neither a text nor an object.
    NotAnError,
    /// The array of an event does not begin with a text or a number.
    NoEventName,
    /// The event has a name that is the library's own: [`RESERVED_EVENTS`](crate::RESERVED_EVENTS).
    ReservedEvent,
    /// A placeholder refers to no attachment of its packet.
    Placeholder,
    /// A text where the next attachment has to come.
    TextForAttachment,
    /// Bytes that no packet has announced.
    UnexpectedAttachment,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("packet is empty"),
            Self::UnknownKind => f.write_str("packet of an unknown kind"),
            Self::AttachmentCount => f.write_str("number of attachments is missing or wrong"),
            Self::TooManyAttachments { limit } => write!(f, "more than {limit} attachments"),
            Self::AttachmentsTooBig { limit } => write!(f, "attachments of more than {limit} bytes"),
            Self::InvalidNamespace => f.write_str("control character in a namespace"),
            Self::NamespaceTooLong { limit } => write!(f, "namespace longer than {limit} bytes"),
            Self::QueryTooLong { limit } => write!(f, "query of a namespace longer than {limit} bytes"),
            Self::AckIdTooLarge => f.write_str("ack id above 2^53 - 1"),
            Self::MissingAckId => f.write_str("ack without an id"),
            Self::UnexpectedAckId => f.write_str("id in a packet that nobody acknowledges"),
            Self::MissingPayload => f.write_str("packet without data"),
            Self::UnexpectedPayload => f.write_str("disconnection with data"),
            Self::NotJson => f.write_str("data is not JSON"),
            Self::TooDeep { limit } => write!(f, "data nests deeper than {limit}"),
            Self::NotAnObject => f.write_str("data of a connection is not an object"),
            Self::NotAnArray => f.write_str("data of an event or ack is not an array"),
            Self::NotAnError => f.write_str("data of a connection error is neither a text nor an object"),
            Self::NoEventName => f.write_str("event has no name"),
            Self::ReservedEvent => f.write_str("event has a reserved name"),
            Self::Placeholder => f.write_str("placeholder of no attachment"),
            Self::TextForAttachment => f.write_str("text where an attachment has to come"),
            Self::UnexpectedAttachment => f.write_str("attachment of no packet"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A value cannot be written as, or read from, what a packet carries; and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError(pub Box<str>);

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DataError {}

impl From<serde_json::Error> for DataError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string().into())
    }
}

impl de::Error for DataError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

impl ser::Error for DataError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}
