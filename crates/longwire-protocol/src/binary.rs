//! The messages in the encoding of Protocol Buffers, after `docs/longwire.proto`, written and read by hand.
//!
//! On a line each message is preceded by its length as a varint: [`delimited`] writes it, [`commands`] and [`messages`] read it.
//! The other functions know nothing of that length.

mod command;
mod message;
mod wire;

pub use command::{decode_command, encode_command};
pub use message::{decode_message, encode_message, encode_piece, encode_publication};
pub use wire::delimited;

use crate::error::{Malformed, Rejected};
use crate::message::{Command, Message};

/// The commands of a binary message. After a wrong length there are no more.
pub fn commands(message: &[u8]) -> impl Iterator<Item = Result<Command, Rejected>> {
    wire::split(message).map(|part| match part {
        Ok(part) => decode_command(part),
        Err(error) => Err(Rejected { id: None, error }),
    })
}

/// Takes the next command; `None` once nothing is left. After a wrong length nothing is.
pub fn next_command(rest: &mut &[u8]) -> Option<Result<Command, Rejected>> {
    wire::take_part(rest).map(|part| match part {
        Ok(part) => decode_command(part),
        Err(error) => Err(Rejected { id: None, error }),
    })
}

/// The messages of a binary message. Those of an unknown type are left out; after a wrong length there are no more.
pub fn messages(message: &[u8]) -> impl Iterator<Item = Result<Message, Malformed>> {
    wire::split(message).filter_map(|part| match part {
        Ok(part) => decode_message(part).transpose(),
        Err(error) => Some(Err(error.into())),
    })
}
