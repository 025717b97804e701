//! What a peer can do wrong.

use std::fmt;

use crate::close::CloseCode;

/// A rule that the peer broke. The connection has failed (RFC 6455, 7.1.7): send a close frame with [`code`](Self::code), stop
/// reading, and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that no negotiated extension gives a meaning (RFC 6455, 5.2; RFC 7692, 6 and 6.1).
    ReservedBits,
    /// An opcode that is not defined (RFC 6455, 5.2).
    ReservedOpcode(u8),
    /// A client must mask every frame (RFC 6455, 5.1).
    UnmaskedFrame,
    /// A server must not mask (RFC 6455, 5.1).
    MaskedFrame,
    /// A length that is not written in the fewest bytes (RFC 6455, 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (RFC 6455, 5.2).
    LengthTooLarge,
    /// A control frame with more than 125 bytes (RFC 6455, 5.5).
    ControlTooLong,
    /// A control frame in fragments (RFC 6455, 5.5).
    FragmentedControl,
    /// A continuation frame with nothing to continue (RFC 6455, 5.4).
    UnexpectedContinuation,
    /// A new message before the last fragment of the one before (RFC 6455, 5.4).
    ExpectedContinuation,
    /// A text that is not UTF-8 (RFC 6455, 8.1).
    InvalidUtf8,
    /// A close frame with one byte (RFC 6455, 5.5.1).
    CloseTooShort,
    /// A close code that must not be in a frame (RFC 6455, 7.4).
    InvalidCloseCode(u16),
    /// A close reason that is not UTF-8 (RFC 6455, 5.5.1).
    InvalidCloseReason,
    /// A frame announced with more bytes than [`Limits::max_frame_bytes`](crate::Limits::max_frame_bytes).
    FrameTooBig {
        /// What the limit is, in bytes.
        limit: usize,
    },
    /// A message that goes past [`Limits::max_message_bytes`](crate::Limits::max_message_bytes), before or after inflating.
    MessageTooBig {
        /// What the limit is, in bytes.
        limit: usize,
    },
    /// A message in more pieces than [`Limits::max_fragments`](crate::Limits::max_fragments).
    TooManyFragments {
        /// What the limit is.
        limit: usize,
    },
    /// A compressed message that does not inflate (RFC 7692, 7.2.2).
    InvalidDeflate,
}

impl ProtocolError {
    /// The close code that tells the peer (RFC 6455, 7.4.1).
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidCloseReason | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } | Self::TooManyFragments { .. } => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("reserved bits set without an extension that uses them"),
            Self::ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode:#x}"),
            Self::UnmaskedFrame => f.write_str("client frame not masked"),
            Self::MaskedFrame => f.write_str("server frame masked"),
            Self::LengthNotMinimal => f.write_str("length not in its shortest form"),
            Self::LengthTooLarge => f.write_str("length above 2^63"),
            Self::ControlTooLong => f.write_str("control frame longer than 125 bytes"),
            Self::FragmentedControl => f.write_str("control frame in fragments"),
            Self::UnexpectedContinuation => f.write_str("continuation of no message"),
            Self::ExpectedContinuation => f.write_str("new message inside a fragmented one"),
            Self::InvalidUtf8 => f.write_str("text is not UTF-8"),
            Self::CloseTooShort => f.write_str("close frame with one byte"),
            Self::InvalidCloseCode(code) => write!(f, "close code {code} is not allowed in a frame"),
            Self::InvalidCloseReason => f.write_str("close reason is not UTF-8"),
            Self::FrameTooBig { limit } => write!(f, "frame larger than {limit} bytes"),
            Self::MessageTooBig { limit } => write!(f, "message larger than {limit} bytes"),
            Self::TooManyFragments { limit } => write!(f, "message in more than {limit} fragments"),
            Self::InvalidDeflate => f.write_str("compressed message does not inflate"),
        }
    }
}

impl std::error::Error for ProtocolError {}
