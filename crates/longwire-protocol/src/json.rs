//! The messages as JSON (RFC 8259), one object on one line.

mod command;
mod members;
mod message;
mod write;

pub use command::{decode_command, encode_command};
pub use message::{decode_message, encode_message, encode_piece, encode_publication};

use crate::error::{Malformed, Rejected};
use crate::message::{Command, Message};

/// The commands of a text message, one on each line. Lines without anything say nothing.
pub fn commands(message: &[u8]) -> impl Iterator<Item = Result<Command, Rejected>> {
    lines(message).map(decode_command)
}

/// Takes the command of the next line that says something; `None` once nothing is left.
pub fn next_command(rest: &mut &[u8]) -> Option<Result<Command, Rejected>> {
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = end.map_or((*rest, &[][..]), |end| (&rest[..end], &rest[end + 1..]));
        *rest = after;
        let line = line.trim_ascii();
        if !line.is_empty() {
            return Some(decode_command(line));
        }
    }
    None
}

/// The messages of a text message, one on each line. Those of an unknown type are left out.
pub fn messages(message: &[u8]) -> impl Iterator<Item = Result<Message, Malformed>> {
    lines(message).filter_map(|line| decode_message(line).transpose())
}

fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}
