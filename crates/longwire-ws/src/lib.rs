//! WebSocket without the sockets: RFC 6455 and RFC 7692 as plain functions of bytes.
//!
//! This crate reads no socket, looks at no clock and draws no random number. Bytes come in, [`Event`]s go out; what is to be
//! sent is appended to a buffer of the caller's. That makes it usable under any runtime, and a failure can be replayed from
//! the bytes alone.
//!
//! | module | what it does | where it is specified |
//! |---|---|---|
//! | [`handshake`] | the HTTP upgrade, both roles, and the negotiation of extensions | RFC 6455, 4 and 9; RFC 7692, 7.1 |
//! | [`frame`] | the frame header, and frames that go to many | RFC 6455, 5 |
//! | [`mask`] | masking | RFC 6455, 5.3 |
//! | [`Connection`] | messages, fragments, control frames, the closing handshake | RFC 6455, 5 to 8 |
//! | [`deflate`] | compressed messages | RFC 7692, 7.2 |
//! | [`close`] | close codes and reasons | RFC 6455, 7.4 |
//!
//! Every rule names its section, in the code and in its tests: search for the pattern `5.4` to find both (a test that is called
//! `..._rfc6455_5_4` matches it too).
//!
//! # A server in memory
//! ```
//! use longwire_ws::{Connection, Event, Input, Limits, MessageKind, Role};
//!
//! let limits = Limits::default();
//! let mut client = Connection::new(Role::Client, None);
//! let mut server = Connection::new(Role::Server, None);
//!
//! // The client masks with a key that the caller draws at random.
//! let mut wire = Vec::new();
//! client.send(MessageKind::Text, b"hello", [7, 1, 250, 33], &mut wire).unwrap();
//!
//! let mut input = Input::new(&mut wire);
//! while let Some(event) = server.receive(&mut input, &limits).unwrap() {
//!     match event {
//!         Event::Message(message) => assert_eq!(message.as_str(), Some("hello")),
//!         other => panic!("unexpected {other:?}"),
//!     }
//! }
//! ```

mod assembly;
mod buffer;
pub mod close;
mod connection;
pub mod deflate;
mod error;
pub mod frame;
pub mod handshake;
pub mod mask;
mod message;
mod owned;
mod receiver;
mod sender;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use connection::{Connection, Limits, Role};
pub use error::ProtocolError;
pub use frame::Opcode;
pub use message::{Event, Message, MessageKind};
pub use owned::{OwnedMessage, Text};
pub use receiver::{Input, Receiver};
pub use sender::{AlreadyClosing, Sender};
