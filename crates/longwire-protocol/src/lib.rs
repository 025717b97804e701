//! The native protocol of Longwire: the messages between clients and servers, as JSON and as Protocol Buffers.
//!
//! `docs/protocol.md` is its specification. This crate knows no socket and no clock. What a peer sends is read by [`Form`]'s
//! methods, or by those of [`json`] and [`binary`]: any bytes give a message or an error, never a panic.
//!
//! ```
//! use longwire_protocol::{Form, Message, Push, Rejected};
//!
//! let form = Form::from_subprotocol(None).unwrap();
//! let mut out = Vec::new();
//! for command in form.commands(br#"{"type":"ping","id":7}"#) {
//!     let reply = match command {
//!         Ok(command) => Message::Reply(command.id, longwire_protocol::Reply::Pong),
//!         Err(rejected) => rejected.into(),
//!     };
//!     form.push_message(&reply, &mut out);
//! }
//! assert_eq!(out, br#"{"type":"pong","id":7}"#);
//! ```

pub mod binary;
mod check;
mod codes;
mod data;
mod error;
mod form;
pub mod json;
mod message;
mod words;

pub use check::{CHANNEL_MAX, DEPTH_MAX, HISTORY_MAX, INFO_MAX, LIST_MAX, NAME_MAX, ONCE_MAX, OWN_TAGS, REASON_MAX, TAGS_MAX};
pub use codes::{CloseCode, ErrorCode};
pub use data::{Data, Epoch, NotJson, Position, SessionId};
pub use error::{Malformed, Rejected};
pub use form::Form;
pub use message::*;
