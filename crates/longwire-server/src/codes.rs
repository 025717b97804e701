//! The close codes that the server itself sends to any line, beside those of RFC 6455.
//!
//! 3000 to 3499 ask the client to come back, 3500 to 3999 ask it not to; 4000 to 4999 belong to the application. All of them, those
//! of the native protocol included, are in [`longwire_protocol::CloseCode`].

use longwire_protocol::CloseCode as Ours;
use longwire_ws::CloseCode;

/// No sign of life within the ping time-out.
pub const PING_TIMEOUT: CloseCode = of(Ours::PingTimeout);
/// No message within the idle time-out.
pub const IDLE_TIMEOUT: CloseCode = of(Ours::IdleTimeout);
/// The client reads more slowly than it is sent to: its outbox is full.
pub const SLOW_READER: CloseCode = of(Ours::SlowReader);
/// Nothing could be written for the length of the write time-out.
pub const WRITE_TIMEOUT: CloseCode = of(Ours::WriteTimeout);

/// The code as a WebSocket has it.
pub(crate) const fn of(code: Ours) -> CloseCode {
    CloseCode::new(code as u16).unwrap()
}

/// The reason that goes with a code of the server's own.
pub(crate) fn reason(code: CloseCode) -> &'static str {
    Ours::ALL.iter().find(|ours| ours.number() == code.value()).map_or("", |ours| ours.text())
}

/// Whether a client that is closed with this code is not to come back by itself.
pub(crate) fn is_final(code: CloseCode) -> bool {
    code.value() >= Ours::Replaced as u16
}
