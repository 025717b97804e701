//! The opening handshake of RFC 6455, section 4, for both roles, and the negotiation of the
//! permessage-deflate extension (RFC 7692, section 7).
//!
//! Values in, values out: nothing here owns a socket, reads a clock or draws a random number.
//! A server hands the parts of a request to [`server::accept`] and gets the `101` response or
//! a [`server::Rejection`] that knows its own HTTP answer. A client encodes a
//! [`client::ClientRequest`] and gives what comes back to [`client::ClientHandshake::verify`].
//!
//! Every rule names its section, here and in the tests: search for the pattern `4.2.1` to see
//! both (a test that is called `..._rfc6455_4_2_1` matches it too).

pub mod client;
pub mod deflate;
pub mod grammar;
mod head;
mod rejection;
pub mod server;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use head::{Limits, ParseError};

/// The WebSocket version of RFC 6455, the only one spoken here (section 4.1, item 9).
const VERSION: &str = "13";

/// RFC 6455, 1.3: the fixed GUID that only a WebSocket server would append to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` value that answers a `Sec-WebSocket-Key`.
///
/// `key` is the header value as it was sent, without surrounding white space; it is not decoded.
///
/// ```
/// use longwire_ws::handshake::accept_key;
/// assert_eq!(accept_key(b"x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
/// ```
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    // RFC 6455, 4.2.2 (5.4): base64 of the SHA-1 of key and GUID, the key left in its base64 form.
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}
