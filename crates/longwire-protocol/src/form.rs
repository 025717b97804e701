//! The two forms of the same messages.

use crate::error::{Malformed, Rejected};
use crate::message::{Command, Message, Piece, Publication, Push};
use crate::{binary, json};

/// How messages are written on a line, as its WebSocket subprotocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// JSON, in text messages, joined by newlines.
    Json,
    /// Protocol Buffers, in binary messages, each preceded by its length.
    Binary,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Binary];

    /// The form that goes with the subprotocol that was agreed on; `None` for a subprotocol that is not ours.
    pub fn from_subprotocol(name: Option<&str>) -> Option<Self> {
        let Some(name) = name else { return Some(Self::Json) };
        Self::ALL.into_iter().find(|form| form.subprotocol() == name)
    }

    /// Its subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "longwire.v1.json",
            Self::Binary => "longwire.v1.binary",
        }
    }

    /// The commands in a message from a client, in order. After an error the next one may be read all the same, except in the
    /// binary form when a length is wrong: then there is no next.
    pub fn commands(self, message: &[u8]) -> impl Iterator<Item = Result<Command, Rejected>> {
        let (json, binary) = match self {
            Self::Json => (Some(json::commands(message)), None),
            Self::Binary => (None, Some(binary::commands(message))),
        };
        json.into_iter().flatten().chain(binary.into_iter().flatten())
    }

    /// Takes the next command from the front of `rest`; `None` once nothing is left.
    pub fn next_command(self, rest: &mut &[u8]) -> Option<Result<Command, Rejected>> {
        match self {
            Self::Json => json::next_command(rest),
            Self::Binary => binary::next_command(rest),
        }
    }

    /// What a message from a server says, in order. Pushes of a type that this version does not know are left out.
    pub fn messages(self, message: &[u8]) -> impl Iterator<Item = Result<Message, Malformed>> {
        let (json, binary) = match self {
            Self::Json => (Some(json::messages(message)), None),
            Self::Binary => (None, Some(binary::messages(message))),
        };
        json.into_iter().flatten().chain(binary.into_iter().flatten())
    }

    /// Appends a command to what `out` has, joined as the form demands.
    pub fn push_command(self, command: &Command, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_command(command, join(out)),
            Self::Binary => binary::delimited(out, |out| binary::encode_command(command, out)),
        }
    }

    /// Appends a message to what `out` has, joined as the form demands.
    pub fn push_message(self, message: &Message, out: &mut Vec<u8>) {
        match (self, message) {
            (_, Message::Push(Push::Publication(publication))) => self.push_publication(publication, out),
            (_, Message::Push(Push::Append(piece))) => self.push_piece(piece, out),
            (Self::Json, _) => json::encode_message(message, join(out)),
            (Self::Binary, _) => binary::delimited(out, |out| binary::encode_message(message, out)),
        }
    }

    /// Appends the push of a publication, without allocating anything but room in `out`.
    pub fn push_publication(self, publication: &Publication, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_publication(publication, join(out)),
            Self::Binary => binary::delimited(out, |out| binary::encode_publication(publication, out)),
        }
    }

    /// Appends the push of a piece of a stream, without allocating anything but room in `out`.
    pub fn push_piece(self, piece: &Piece, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_piece(piece, join(out)),
            Self::Binary => binary::delimited(out, |out| binary::encode_piece(piece, out)),
        }
    }
}

/// JSON messages stand on lines of their own.
fn join(out: &mut Vec<u8>) -> &mut Vec<u8> {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out
}
