//! The native protocol (`docs/protocol.md`), as far as a load needs it.
//!
//! What is rare is read and written by [`longwire_protocol`]. Deliveries are not: the first of a publication is read and checked,
//! and every other subscriber's is compared with its bytes.

mod deliveries;
mod joining;
mod publisher;

use std::sync::Arc;

use longwire_protocol::{Command, Form, Message, Position};
use longwire_ws::{Opcode, frame};

use crate::events;
use crate::histogram::Histogram;
use crate::message::{self, HEADER, Stamp};
use crate::wording::{Heard, Wording};

pub(crate) use joining::{Joined, Joining, Plan};
pub(crate) use publisher::{Offsets, Publisher};

use deliveries::Deliveries;

/// The longest WebSocket message that is taken from a server: it may join as much as it keeps for a slow reader.
pub(crate) const MESSAGE_MAX: usize = 16 << 20;

/// One form of the protocol on our side of the lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speech {
    form: Form,
    mask: [u8; 4],
    /// As the data of Server-Sent Events, on which we say nothing.
    events: bool,
}

impl Speech {
    pub(crate) fn new(form: Form) -> Speech {
        Speech { form, mask: (message::random() as u32).to_be_bytes(), events: false }
    }

    /// JSON in WebSocket messages.
    pub(crate) fn json() -> Speech {
        Speech::new(Form::Json)
    }

    /// JSON as the data of Server-Sent Events.
    pub(crate) fn events() -> Speech {
        Speech { events: true, ..Speech::json() }
    }

    /// Appends the commands as one frame.
    pub(crate) fn say(self, commands: &[Command], out: &mut Vec<u8>) {
        let mut payload = Vec::new();
        for command in commands {
            self.form.push_command(command, &mut payload);
        }
        let opcode = if self.is_binary() { Opcode::Binary } else { Opcode::Text };
        frame::encode(opcode, &payload, Some(self.mask), out);
    }

    /// Takes the next of the messages that a WebSocket message joins off its front, in the binary form with its length; of events,
    /// the data of the next one that has any. Gives nothing at the end; what is left of a broken one is given as it is.
    pub(crate) fn split<'a>(self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        if self.events {
            return std::iter::from_fn(|| events::next(rest)).find_map(|event| event.data);
        }
        if self.is_binary() {
            let whole = delimited_len(rest).filter(|&whole| whole <= rest.len()).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(whole);
            *rest = after;
            return (!piece.is_empty()).then_some(piece);
        }
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n');
            let piece = &rest[..end.unwrap_or(rest.len())];
            *rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }

    /// Reads what [`split`](Self::split) gave; nothing if it is no message of the protocol.
    pub(crate) fn read(self, piece: &[u8]) -> Option<Message> {
        self.form.messages(piece).next()?.ok()
    }

    /// Whether the messages come as events.
    pub(crate) fn is_events(self) -> bool {
        self.events
    }

    pub(crate) fn is_binary(self) -> bool {
        self.form == Form::Binary
    }
}

/// Bytes of the message at the front and of the varint before it that says its length; none if that is not whole, or too long.
fn delimited_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (at, &byte) in bytes.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(at + 1 + len);
        }
    }
    None
}

/// The data of a publication: the letters of its [`Stamp`], then a fixed text that needs no escape in JSON.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    tail: String,
}

impl Text {
    /// Of `size` bytes, at least [`HEADER`].
    pub(crate) fn new(size: usize) -> Text {
        Text { tail: message::plain_tail(size) }
    }

    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        HEADER + self.tail.len()
    }

    pub(crate) fn of(&self, stamp: Stamp) -> String {
        let mut text = String::with_capacity(HEADER + self.tail.len());
        text.extend(stamp.letters().map(char::from));
        text.push_str(&self.tail);
        text
    }

    /// The stamp of a text; none if it is not one of ours.
    pub(crate) fn stamp(&self, text: &[u8]) -> Option<Stamp> {
        let (header, tail) = text.split_first_chunk::<HEADER>()?;
        (tail == self.tail.as_bytes()).then(|| Stamp::parse(header)).flatten()
    }
}

/// Publications of one session in one channel, and their deliveries to others.
#[derive(Debug)]
pub(crate) struct Native {
    publisher: Publisher,
    deliveries: Deliveries,
    /// From publishing to the acknowledgement.
    pub(crate) acks: Histogram,
}

impl Native {
    /// The only publisher in a channel that is at `base`. As many as `slots`, a power of two, may be on their way. Subscribers hear
    /// of them in `heard`.
    pub(crate) fn new(speech: Speech, heard: Speech, channel: Arc<str>, size: usize, base: Position, slots: usize) -> Native {
        let publisher = Publisher::new(speech, channel, size, Some(base), true, slots);
        Native { deliveries: Deliveries::new(&publisher, heard, base.offset, slots), publisher, acks: Histogram::new() }
    }

    /// What the server said when it first refused something.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.publisher.refusal()
    }
}

impl Wording for Native {
    fn say(&mut self, _channel: usize, stamp: Stamp, now: u64, out: &mut Vec<u8>) {
        self.deliveries.announce(stamp.sequence);
        self.publisher.say(stamp, now, out);
    }

    #[inline]
    fn expect(&mut self, stamp: Stamp, binary: bool, rest: &mut &[u8]) -> bool {
        self.deliveries.expect(stamp.sequence, binary, rest)
    }

    fn next(&mut self, binary: bool, rest: &mut &[u8]) -> Heard {
        self.deliveries.next(binary, rest)
    }

    fn answered(&mut self, now: u64, binary: bool, payload: &[u8]) {
        self.publisher.answered(now, binary, payload, &mut self.acks);
    }

    fn unanswered(&self) -> u64 {
        self.publisher.unanswered().into()
    }

    fn refused(&self) -> u64 {
        self.publisher.refused()
    }
}

#[cfg(test)]
mod tests {
    use longwire_protocol::{Action, Reply};

    use super::*;

    #[test]
    fn joined_messages_are_taken_apart_and_broken_ones_are_not_read() {
        for form in Form::ALL {
            let speech = Speech::new(form);
            let mut joined = Vec::new();
            for id in 1..=3 {
                form.push_message(&Message::Reply(Some(id), Reply::Pong), &mut joined);
            }
            let mut rest = &joined[..];
            for id in 1..=3 {
                let piece = speech.split(&mut rest).expect("a message");
                assert_eq!(speech.read(piece), Some(Message::Reply(Some(id), Reply::Pong)));
            }
            assert_eq!(speech.split(&mut rest), None);
            let mut broken: &[u8] = &[200, 200, 200];
            let piece = speech.split(&mut broken).expect("what is there");
            assert_eq!((speech.read(piece), broken.len()), (None, 0));
        }
        let (speech, mut lines) = (Speech::new(Form::Json), &b"\n\na\n\nb\n"[..]);
        assert_eq!(speech.split(&mut lines), Some(&b"a"[..]));
        assert_eq!(speech.split(&mut lines), Some(&b"b"[..]));
        assert_eq!((speech.split(&mut lines), lines.len()), (None, 0));
    }

    #[test]
    fn commands_go_out_as_one_masked_frame() {
        let ping = |id| Command { id: Some(id), action: Action::Ping };
        for form in Form::ALL {
            let mut out = Vec::new();
            Speech::new(form).say(&[ping(1), ping(2)], &mut out);
            let (header, at) = frame::Header::decode(&out).unwrap().expect("a header");
            longwire_ws::mask::apply(&mut out[at..], header.mask.expect("a mask"), 0);
            let commands: Vec<_> = form.commands(&out[at..]).map(Result::unwrap).collect();
            assert_eq!(commands, [ping(1), ping(2)]);
        }
    }

    #[test]
    fn texts_carry_their_stamp_and_nothing_that_json_escapes() {
        let text = Text::new(128);
        let stamp = Stamp { tag: 0xdead_beef, sequence: 77 };
        let said = text.of(stamp);
        assert_eq!((said.len(), serde_json::to_string(&said).unwrap().len()), (128, 130));
        assert_eq!(text.stamp(said.as_bytes()), Some(stamp));
        assert_eq!(text.stamp(&said.as_bytes()[..127]), None);
        assert_eq!(text.stamp(said.replace('z', "y").as_bytes()), None);
        assert_eq!(Text::new(HEADER).of(stamp).len(), HEADER);
    }
}
