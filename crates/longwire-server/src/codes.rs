//! The close codes that the server itself sends, beside those of RFC 6455.
//!
//! 3000 to 3499 ask the client to come back, 3500 to 3999 ask it not to; 4000 to 4999 belong to the application.

use longwire_ws::CloseCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $reason:literal;)*) => {
        $($(#[$doc])* pub const $name: CloseCode = CloseCode::new($value).unwrap();)*

        /// The reason that goes with a code of the server's own.
        pub(crate) fn reason(code: CloseCode) -> &'static str {
            match code.value() {
                $($value => $reason,)*
                _ => "",
            }
        }
    };
}

codes! {
    /// No sign of life within the ping time-out.
    PING_TIMEOUT = 3000, "no answer to a ping";
    /// No message within the idle time-out.
    IDLE_TIMEOUT = 3001, "no message for too long";
    /// The client reads more slowly than it is sent to: its outbox is full.
    SLOW_READER = 3002, "reads too slowly: outbox full";
    /// Nothing could be written for the length of the write time-out.
    WRITE_TIMEOUT = 3003, "writing timed out";
}
