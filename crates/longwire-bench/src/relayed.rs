//! Messages that arrive in other words than they were published in: by Socket.IO, or as Server-Sent Events.

use crate::events;
use crate::message::{Stamp, Template};
use crate::wording::{Heard, Wording};

/// What begins the packet of the event that delivers a message.
const DELIVERY: &str = "42[\"m\",\"";

/// Socket.IO: the event `pub` with a room and a text goes out, and every line in the room gets the event `m` with the text.
///
/// A server that lets its clients recover appends an offset to the event, which is left alone.
#[derive(Debug)]
pub(crate) struct SocketIo {
    /// One for each room.
    say: Vec<Template>,
    /// A delivery up to the end of the text.
    hear: Template,
}

impl SocketIo {
    /// Texts of `size` bytes to these rooms, in the order of the load's channels.
    pub(crate) fn new(rooms: impl IntoIterator<Item = String>, size: usize) -> SocketIo {
        let publish = |room: String| Template::within(&format!("42[\"pub\",{},\"", serde_json::json!(room)), size, "\"]");
        SocketIo { say: rooms.into_iter().map(publish).collect(), hear: Template::within(DELIVERY, size, "\"") }
    }

    /// Bytes of a delivery's frame.
    pub(crate) fn frame_len(&self) -> usize {
        self.hear.frame_len() + 1
    }
}

impl Wording for SocketIo {
    fn say(&mut self, channel: usize, stamp: Stamp, _now: u64, out: &mut Vec<u8>) {
        self.say[channel].append(out, stamp);
    }

    #[inline]
    fn expect(&mut self, stamp: Stamp, binary: bool, rest: &mut &[u8]) -> bool {
        let is_it = self.hear.take(stamp, binary, rest).is_some_and(is_end);
        if is_it {
            *rest = &[];
        }
        is_it
    }

    fn next(&mut self, binary: bool, rest: &mut &[u8]) -> Heard {
        let packet = std::mem::take(rest);
        if binary || !packet.starts_with(DELIVERY.as_bytes()) {
            // Other events, and what else Socket.IO says.
            return Heard::Nothing;
        }
        let (text, end) = packet.split_at(packet.len().min(self.hear.payload_len()));
        match self.hear.stamp(false, text).filter(|_| is_end(end)) {
            Some(stamp) => Heard::Message(stamp),
            None => Heard::Damaged,
        }
    }

    fn answered(&mut self, _now: u64, _binary: bool, _payload: &[u8]) {}

    fn unanswered(&self) -> u64 {
        0
    }

    fn refused(&self) -> u64 {
        0
    }
}

/// What may stand behind the text of a delivery: the end of the packet, or an offset before it.
fn is_end(end: &[u8]) -> bool {
    match end.strip_prefix(b",\"") {
        Some(offset) => offset.strip_suffix(b"\"]").is_some_and(|offset| !offset.contains(&b'"')),
        None => end == b"]",
    }
}

/// Server-Sent Events: a plain message goes out on a WebSocket, and every stream gets an event with it as its data.
#[derive(Debug)]
pub(crate) struct Events {
    template: Template,
}

impl Events {
    /// Messages of `size` bytes.
    pub(crate) fn new(size: usize) -> Events {
        Events { template: Template::new(size, false) }
    }

    /// Bytes of an event, but for what differs from server to server.
    pub(crate) fn frame_len(&self) -> usize {
        self.template.payload_len() + b"data: \n\n".len()
    }
}

impl Wording for Events {
    fn say(&mut self, _channel: usize, stamp: Stamp, _now: u64, out: &mut Vec<u8>) {
        self.template.append(out, stamp);
    }

    #[inline]
    fn expect(&mut self, stamp: Stamp, binary: bool, rest: &mut &[u8]) -> bool {
        let data = events::data_at(rest).and_then(|at| self.template.take(stamp, binary, &rest[at..]));
        // What stands behind the data in the same event is read by `next`.
        let behind = data.and_then(|behind| behind.strip_prefix(b"\n\n").or_else(|| behind.strip_prefix(b"\r\n\r\n")));
        behind.map(|behind| *rest = behind).is_some()
    }

    fn next(&mut self, binary: bool, rest: &mut &[u8]) -> Heard {
        let Some(event) = events::next(rest) else { return Heard::Nothing };
        match event.data {
            // A stream may greet.
            None | Some([]) => Heard::Nothing,
            Some(data) => self.template.stamp(binary, data).map_or(Heard::Damaged, Heard::Message),
        }
    }

    fn answered(&mut self, _now: u64, _binary: bool, _payload: &[u8]) {}

    fn unanswered(&self) -> u64 {
        0
    }

    fn refused(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{HEADER, plain_tail};

    const SIZE: usize = 20;
    const STAMP: Stamp = Stamp { tag: 7, sequence: 3 };

    fn heard(wording: &mut impl Wording, bytes: &[u8]) -> (bool, Heard, usize) {
        let mut rest = bytes;
        let expected = wording.expect(STAMP, false, &mut rest);
        assert_eq!(expected, rest.len() < bytes.len());
        let mut rest = bytes;
        let heard = wording.next(false, &mut rest);
        (expected, heard, rest.len())
    }

    #[test]
    fn socket_io_events_are_recognised_with_and_without_an_offset() {
        let mut wording = SocketIo::new(["a".to_owned()], SIZE);
        let text = format!("{}{}", String::from_utf8_lossy(&STAMP.letters()), plain_tail(SIZE));
        let message = Heard::Message(STAMP);
        for (packet, expected, found) in [
            (format!("42[\"m\",\"{text}\"]"), true, message),
            (format!("42[\"m\",\"{text}\",\"NQX4Z1K.0\"]"), true, Heard::Message(STAMP)),
            (format!("42[\"m\",\"{text}x\"]"), false, Heard::Damaged),
            (format!("42[\"m\",\"{text}\",\"a\",\"b\"]"), false, Heard::Damaged),
            (format!("42[\"m\",\"{text}\""), false, Heard::Damaged),
            ("42[\"m\",\"AAAA".to_owned(), false, Heard::Damaged),
            ("42[\"joined\",\"\"]".to_owned(), false, Heard::Nothing),
            ("40{\"sid\":\"x\"}".to_owned(), false, Heard::Nothing),
        ] {
            assert_eq!(heard(&mut wording, packet.as_bytes()), (expected, found, 0), "{packet}");
        }
    }

    #[test]
    fn socket_io_rooms_are_told_apart() {
        let mut wording = SocketIo::new(["a".to_owned(), "\"b\"".to_owned()], SIZE);
        for (channel, room) in ["\"a\"", "\"\\\"b\\\"\""].iter().enumerate() {
            let mut out = Vec::new();
            wording.say(channel, STAMP, 0, &mut out);
            let (header, at) = longwire_ws::frame::Header::decode(&out).unwrap().expect("a header");
            longwire_ws::mask::apply(&mut out[at..], header.mask.expect("a mask"), 0);
            let said: Vec<String> = serde_json::from_slice(&out[at + 2..]).expect("an event");
            assert_eq!((said[0].as_str(), serde_json::json!(said[1]).to_string().as_str()), ("pub", *room));
            assert_eq!((said[2].len(), &said[2].as_bytes()[..HEADER]), (SIZE, &STAMP.letters()[..]));
        }
    }

    #[test]
    fn events_are_recognised_whatever_stands_before_the_data() {
        let mut wording = Events::new(SIZE);
        let mut frame = Vec::new();
        wording.say(0, STAMP, 0, &mut frame);
        let (header, at) = longwire_ws::frame::Header::decode(&frame).unwrap().expect("a header");
        longwire_ws::mask::apply(&mut frame[at..], header.mask.expect("a mask"), 0);
        let text = String::from_utf8(frame[at..].to_vec()).expect("text");
        for (event, expected, found) in [
            (format!("data: {text}\n\n"), true, Heard::Message(STAMP)),
            (format!("id: 17:0\ndata: {text}\n\n"), true, Heard::Message(STAMP)),
            (format!("data: {text}\r\n\r\n"), true, Heard::Message(STAMP)),
            (format!("data: {text}\nid: 17:0\n\n"), false, Heard::Message(STAMP)),
            (format!("data: {text}x\n\n"), false, Heard::Damaged),
            (": hi\n\n".to_owned(), false, Heard::Nothing),
        ] {
            assert_eq!(heard(&mut wording, event.as_bytes()), (expected, found, 0), "{event}");
        }
        let two = format!("data: {text}\n\ndata: x\n\n");
        assert_eq!(heard(&mut wording, two.as_bytes()), (true, Heard::Message(STAMP), b"data: x\n\n".len()));
    }
}
