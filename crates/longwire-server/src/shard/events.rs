//! Event streams: Server-Sent Events (WHATWG HTML, 9.2), and JSON a line, over the body of an HTTP response that does not end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use longwire_core::broker::{Delivery, What};
use longwire_protocol::{Epoch, Form, Message, Position, Push, Reply, SessionId, Subscribed};
use longwire_ws::CloseCode;

use crate::codes;
use crate::come_again;
use crate::cursor::{self, Cursor, Place, Seal};

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) format: EventFormat,
    /// In the chunks of HTTP/1.1 (RFC 9112, 7.1); what comes from elsewhere is framed there.
    pub(crate) chunked: bool,
    /// The line, if the ids of its events are its own: it follows more than one channel, or they say who it is.
    pub(crate) many: Option<u32>,
}

/// What an event looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFormat {
    /// `text/event-stream`
    Sse,
    /// `application/x-ndjson`
    Lines,
}

/// The channels that the event streams of a shard follow, in the order of their requests, and how far they are.
#[derive(Clone, Default)]
pub(crate) struct Followed(Rc<RefCell<All>>);

#[derive(Default)]
struct All {
    lines: HashMap<u32, Follower>,
    seal: Seal,
}

/// What is known of one line.
struct Follower {
    places: Box<[Place]>,
    /// Who it is, as its cursor says, if it is to say that; empty until it is known.
    reader: Option<Box<[u8]>>,
}

impl Follower {
    fn write(&self, out: &mut Vec<u8>) {
        cursor::write(&self.places, out);
        out.extend_from_slice(self.reader.as_deref().unwrap_or_default());
    }
}

impl Followed {
    pub(crate) fn new(seal: Seal) -> Self {
        Self(Rc::new(RefCell::new(All { lines: HashMap::new(), seal })))
    }

    /// A line follows these channels, from where its client was in them; if `is_named`, its cursor says who it is.
    pub(crate) fn begin(&self, line: u32, channels: Vec<(Arc<str>, Option<Cursor>)>, is_named: bool) {
        let places = channels.into_iter().map(|(channel, cursor)| Place::new(channel, cursor)).collect();
        self.0.borrow_mut().lines.insert(line, Follower { places, reader: is_named.then(Box::default) });
    }

    /// A line speaks for this session.
    fn named(&self, line: u32, session: SessionId) {
        let All { lines, seal } = &mut *self.0.borrow_mut();
        if let Some(reader) = lines.get_mut(&line).and_then(|follower| follower.reader.as_mut()) {
            let mut text = Vec::new();
            seal.reader(session).write(&mut text);
            *reader = text.into();
        }
    }

    pub(crate) fn has(&self, line: u32) -> bool {
        self.0.borrow().lines.contains_key(&line)
    }

    pub(crate) fn end(&self, line: u32) {
        self.0.borrow_mut().lines.remove(&line);
    }

    /// How far a line is, if its client can continue from there in all channels.
    pub(crate) fn cursor(&self, line: u32) -> Option<Vec<u8>> {
        let all = self.0.borrow();
        let follower = all.lines.get(&line).filter(|follower| follower.places.iter().all(Place::is_known))?;
        let mut out = Vec::new();
        follower.write(&mut out);
        Some(out)
    }

    /// A line was not given what it is noted to have: it is only this far.
    pub(crate) fn rewind(&self, line: u32, channel: &str, to: Position) {
        self.note(line, channel, &mut Vec::new(), |place| place.reached(Some(to.epoch), to.offset));
    }

    /// Notes how far a line is in a channel; writes how far it is in all.
    fn note(&self, line: u32, channel: &str, out: &mut Vec<u8>, note: impl FnOnce(&mut Place)) {
        let mut all = self.0.borrow_mut();
        let Some(follower) = all.lines.get_mut(&line) else { return };
        if let Some(place) = follower.places.iter_mut().find(|place| *place.channel == *channel) {
            note(place);
        }
        follower.write(out);
    }

    fn reached(&self, line: u32, channel: &str, epoch: Option<Epoch>, offset: u64, out: &mut Vec<u8>) {
        self.note(line, channel, out, |place| place.reached(epoch, offset));
    }

    fn entered(&self, line: u32, subscribed: &Subscribed, out: &mut Vec<u8>) {
        let is_recovered = subscribed.recovered == Some(Ok(()));
        self.note(line, &subscribed.channel, out, |place| {
            // They are always asked for.
            let keys = subscribed.options.state && (!is_recovered || place.wants_keys());
            place.entered(subscribed.position, keys, is_recovered);
        });
    }
}

impl Events {
    /// Appends what has happened in a channel, which is `json` as a message, for all who follow just that, or for the line that
    /// follows many.
    pub(crate) fn push_delivery(self, delivery: &Delivery, json: &[u8], followed: &Followed, out: &mut Vec<u8>) {
        let name = match &delivery.what {
            What::Publication(_) => None,
            What::Piece(_) => Some("append"),
            What::Join(_) => Some("join"),
            What::Leave(_) => Some("leave"),
        };
        let mut id = Vec::new();
        match (delivery.position, self.many) {
            (Some(position), None) => cursor::write_position(position, &mut id),
            (Some(Position { epoch, offset }), Some(line)) => {
                followed.reached(line, &delivery.channel, Some(epoch), offset, &mut id);
            }
            (None, _) => {}
        }
        self.chunk(out, |out| self.push_event(name, &id, json, out));
    }

    /// Appends what a line alone is told; to be put into a chunk.
    pub(crate) fn push_message(self, line: u32, message: &Message, followed: &Followed, out: &mut Vec<u8>) {
        let mut id = Vec::new();
        let name = match message {
            Message::Push(push) => match push {
                Push::Publication(publication) => {
                    if publication.offset > 0 {
                        followed.reached(line, &publication.channel, None, publication.offset, &mut id);
                    }
                    None
                }
                Push::Append(piece) => {
                    followed.reached(line, &piece.channel, None, piece.offset, &mut id);
                    Some("append")
                }
                Push::Gap { channel, offset } => {
                    followed.reached(line, channel, None, *offset, &mut id);
                    Some("gap")
                }
                Push::Join { .. } => Some("join"),
                Push::Leave { .. } => Some("leave"),
                Push::State { channel, entries, done } => {
                    let last = entries.last().and_then(|entry| entry.rare.as_ref()?.key.as_deref());
                    followed.note(line, channel, &mut id, |place| place.keys(last, *done));
                    Some("state")
                }
                Push::Unsubscribed { .. } => Some("unsubscribed"),
                Push::Cancel { .. } => Some("cancel"),
            },
            Message::Reply(_, reply) => match reply {
                Reply::Subscribed(subscribed) => {
                    followed.entered(line, subscribed, &mut id);
                    Some(if matches!(subscribed.recovered, Some(Err(_))) { "missed" } else { "subscribed" })
                }
                Reply::Connected(connected) => {
                    followed.named(line, connected.session);
                    Some("connected")
                }
                // `error` is what an `EventSource` calls the loss of its line.
                Reply::Error(_) => Some("refused"),
                _ => Some("reply"),
            },
        };
        let mut json = Vec::new();
        Form::Json.push_message(message, &mut json);
        self.push_event(name, &id, &json, out);
    }

    fn push_event(self, name: Option<&str>, id: &[u8], json: &[u8], out: &mut Vec<u8>) {
        if self.format == EventFormat::Lines {
            out.extend_from_slice(json);
            return out.push(b'\n');
        }
        if let Some(name) = name {
            let _ = writeln!(out, "event: {name}");
        }
        if !id.is_empty() {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id);
            out.push(b'\n');
        }
        // JSON of this protocol has no line break.
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(json);
        out.extend_from_slice(b"\n\n");
    }

    /// How soon the client is to come back, in milliseconds.
    pub(crate) fn greeting(self, retry: u64, out: &mut Vec<u8>) {
        if self.format == EventFormat::Sse {
            self.chunk(out, |out| drop(write!(out, "retry: {retry}\n\n")));
        }
    }

    /// Where the client says what it has to say.
    pub(crate) fn push_address(self, id: SessionId, out: &mut Vec<u8>) {
        let json = format!(r#"{{"type":"line","line":"{id}"}}"#);
        self.chunk(out, |out| self.push_event(Some("line"), b"", json.as_bytes(), out));
    }

    pub(crate) fn heartbeat(self, out: &mut Vec<u8>) {
        let nothing: &[u8] = match self.format {
            EventFormat::Sse => b":\n\n",
            EventFormat::Lines => b"\n",
        };
        self.chunk(out, |out| out.extend_from_slice(nothing));
    }

    /// The last event says why; then the response ends.
    pub(crate) fn end(self, why: Option<(CloseCode, &str)>, out: &mut Vec<u8>) {
        if let Some((code, reason)) = why {
            let json = serde_json::json!({"type": "close", "code": code.value(), "reason": reason}).to_string();
            // An `EventSource` comes back whatever it reads. By this it is known when it does.
            let id = if codes::is_final(code) { come_again::NEVER.as_bytes() } else { b"" };
            self.chunk(out, |out| self.push_event(Some("close"), id, json.as_bytes(), out));
        }
        if self.chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Appends what `write` appends, as a chunk if it must be one.
    pub(crate) fn chunk(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.chunked {
            return write(out);
        }
        /// Room for the length: eight digits, and the line break.
        const HEAD: usize = 10;
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        write(out);
        let length = out.len() - start - HEAD;
        let _ = write!(&mut out[start..start + HEAD], "{length:08x}\r\n");
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use longwire_protocol::{Data, Publication};

    use super::super::frames::push_delivery;
    use super::*;

    const SSE: Events = Events { format: EventFormat::Sse, chunked: false, many: None };

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("a text")
    }

    fn event(events: Events, delivery: &Delivery, followed: &Followed) -> String {
        let json = text(|out| push_delivery(Form::Json, delivery, out));
        text(|out| events.push_delivery(delivery, json.as_bytes(), followed, out))
    }

    fn delivery(channel: &str, offset: u64) -> Delivery {
        let data = Some(Data::Json("1".into()));
        let publication = Publication { channel: channel.into(), offset, time: 1, data, from: None, rare: None };
        let position = (offset > 0).then_some(Position { epoch: Epoch(10), offset });
        Delivery { channel: channel.into(), position, what: What::Publication(Arc::new(publication)), except: None }
    }

    #[test]
    fn a_publication_is_an_event_whose_id_is_its_position() {
        let followed = Followed::default();
        let one = event(SSE, &delivery("a", 7), &followed);
        assert!(one.starts_with("id: 0000000a:7\ndata: {\"type\":\"publication\""), "{one}");
        assert!(one.ends_with("}\n\n"), "{one}");
        let ephemeral = event(SSE, &delivery("a", 0), &followed);
        assert!(ephemeral.starts_with("data: "), "{ephemeral}");
        let lines = Events { format: EventFormat::Lines, ..SSE };
        let line = event(lines, &delivery("a", 7), &followed);
        assert!(line.starts_with('{') && line.ends_with("}\n") && line.lines().count() == 1, "{line}");
    }

    #[test]
    fn the_id_of_one_who_follows_many_has_all_positions() {
        let followed = Followed::default();
        followed.begin(3, vec![("a".into(), None), ("b".into(), None)], false);
        let events = Events { many: Some(3), ..SSE };
        let one = event(events, &delivery("b", 2), &followed);
        assert!(one.starts_with("id: ,0000000a:2\n"), "{one}");
        let two = event(events, &delivery("a", 9), &followed);
        assert!(two.starts_with("id: 0000000a:9,0000000a:2\n"), "{two}");
        followed.end(3);
        assert!(event(events, &delivery("a", 9), &followed).starts_with("data: "));
    }

    #[test]
    fn chunks_are_those_of_http() {
        let events = Events { chunked: true, ..SSE };
        assert_eq!(text(|out| events.heartbeat(out)), "00000003\r\n:\n\n\r\n");
        let end = text(|out| events.end(Some((CloseCode::GOING_AWAY, "bye")), out));
        assert!(end.contains("event: close\ndata: {\"type\":\"close\",\"code\":1001,\"reason\":\"bye\"}\n\n\r\n"), "{end}");
        assert!(end.ends_with("\r\n0\r\n\r\n"), "{end}");
    }

    #[test]
    fn who_is_not_to_come_back_is_told_by_the_id_of_the_last_event() {
        for (code, is_final) in [(1001, false), (3002, false), (3499, false), (3500, true), (3501, true), (4000, true)] {
            let end = text(|out| SSE.end(Some((CloseCode::new(code).unwrap(), "bye")), out));
            assert_eq!(end.starts_with("event: close\nid: never\ndata: {"), is_final, "{end}");
        }
    }
}
