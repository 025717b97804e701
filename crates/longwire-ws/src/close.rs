//! Close codes and the payload of a close frame (RFC 6455, 5.5.1 and 7.4).

use std::fmt;

use crate::error::ProtocolError;

/// Why a connection is closed (RFC 6455, 7.4.1, and the registry it opens).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away, as a server that shuts down or a page that is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a type of data that the endpoint cannot take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data inconsistent with its type, as a text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that violates the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: a client misses an extension that the server did not agree to.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition at the endpoint itself.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overloaded, try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code for `value`, if a close frame may carry it.
    ///
    /// RFC 6455, 7.4.2: 0 to 999 are not used; 1004, 1005, 1006 and 1015 must not be sent; 1000 to 2999 belong to the protocol,
    /// of which the registry has given out up to 1014; 3000 to 3999 are for libraries and 4000 to 4999 for applications.
    pub const fn new(value: u16) -> Option<Self> {
        match value {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(value)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn value(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// What a close frame says: a code, and a reason of at most 123 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why.
    pub code: CloseCode,
    /// For a person who debugs; need not be readable by an end user (RFC 6455, 7.1.6).
    pub reason: String,
}

impl CloseFrame {
    /// The longest reason in bytes: a control frame has 125, the code takes two (RFC 6455, 5.5).
    pub const MAX_REASON_BYTES: usize = 123;

    /// Reads the payload of a close frame; an empty one says nothing (RFC 6455, 5.5.1).
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        match payload {
            [] => Ok(None),
            // RFC 6455, 5.5.1: if there is a body, its first two bytes are the code.
            [_] => Err(ProtocolError::CloseTooShort),
            [high, low, reason @ ..] => {
                let value = u16::from_be_bytes([*high, *low]);
                let code = CloseCode::new(value).ok_or(ProtocolError::InvalidCloseCode(value))?;
                let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
                Ok(Some(Self { code, reason: reason.to_owned() }))
            }
        }
    }

    /// Appends the payload to `out`. A reason that is too long is cut at a character's edge.
    pub fn encode(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&code.value().to_be_bytes());
        out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(Self::MAX_REASON_BYTES)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, 7.4.1 and 7.4.2.
    #[test]
    fn only_codes_that_may_stand_in_a_frame_are_codes() {
        let allowed = |value| CloseCode::new(value).is_some();
        for value in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert!(allowed(value), "{value}");
        }
        for value in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!allowed(value), "{value}");
        }
    }

    /// RFC 6455, 5.5.1.
    #[test]
    fn close_payloads_are_read_strictly() {
        assert_eq!(CloseFrame::decode(b""), Ok(None));
        assert_eq!(CloseFrame::decode(b"\x03"), Err(ProtocolError::CloseTooShort));
        assert_eq!(CloseFrame::decode(b"\x03\xed"), Err(ProtocolError::InvalidCloseCode(1005)));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xff"), Err(ProtocolError::InvalidCloseReason));
        let frame = CloseFrame::decode("\x03\u{0}".as_bytes());
        assert_eq!(frame, Err(ProtocolError::InvalidCloseCode(768)));
        assert_eq!(CloseFrame::decode(b"\x03\xe8bye"), Ok(Some(CloseFrame { code: CloseCode::NORMAL, reason: "bye".into() })));
    }

    /// RFC 6455, 5.5: a control frame carries 125 bytes at most.
    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        CloseFrame::encode(CloseCode::NORMAL, &"线".repeat(100), &mut out);
        assert_eq!(out.len(), 2 + 123);
        assert!(CloseFrame::decode(&out).is_ok());
    }
}
