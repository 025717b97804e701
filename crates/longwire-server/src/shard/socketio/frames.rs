//! How what happens in a channel becomes events of Socket.IO.
//!
//! A publication of a room is the event that it says it is (its `event`, or else `message`), with its data for arguments: those of a
//! list in JSON one after the other, anything else as the only one. Clients that follow channels by themselves get what clients of
//! the native protocol get, under the name of its type.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use longwire_core::broker::{Delivery, What};
use longwire_protocol::{Data, Form, Message, Publication, Push, Reply};
use longwire_socketio::engine::{EncodedPacket, Form as EngineForm};
use longwire_socketio::{Arguments, RESERVED_EVENTS};
use longwire_ws::{MessageKind, Opcode, frame};

use super::places::Places;
use crate::shard::wire::engine_message;

/// How a socket is told what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketForm {
    pub(crate) form: EngineForm,
    /// Its number among [`Names`].
    pub(crate) namespace: u32,
    pub(crate) says: Says,
    /// The socket, if each of its events ends in how far it is.
    pub(crate) alone: Option<u32>,
}

/// What events are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Says {
    /// Publications, each of them an event.
    Events,
    /// All that a client of the native protocol is told.
    Pushes,
}

/// The namespaces of a shard's sockets, by numbers that are given again.
#[derive(Clone, Default)]
pub(crate) struct Names(Rc<RefCell<AllNames>>);

#[derive(Default)]
struct AllNames {
    used: Vec<Used>,
    numbers: HashMap<Rc<str>, u32>,
    vacant: Vec<u32>,
}

/// A name, and how many sockets have it.
type Used = (Rc<str>, usize);

impl Names {
    /// The number of a namespace, which one more socket has.
    pub(crate) fn take(&self, name: &str) -> u32 {
        let AllNames { used, numbers, vacant } = &mut *self.0.borrow_mut();
        if let Some(number) = numbers.get(name) {
            used[*number as usize].1 += 1;
            return *number;
        }
        let name: Rc<str> = name.into();
        // There are no more than sockets, which have numbers of 32 bits, too.
        let number = vacant.pop().unwrap_or(used.len() as u32);
        numbers.insert(name.clone(), number);
        match used.get_mut(number as usize) {
            Some(at) => *at = (name, 1),
            None => used.push((name, 1)),
        }
        number
    }

    pub(crate) fn give(&self, number: u32) {
        let AllNames { used, numbers, vacant } = &mut *self.0.borrow_mut();
        let Some((name, uses)) = used.get_mut(number as usize) else { return };
        *uses -= 1;
        if *uses == 0 {
            numbers.remove(&**name);
            *name = Rc::default();
            vacant.push(number);
        }
    }

    /// Appends a namespace as it stands in packets: nothing for the root.
    fn push(&self, number: u32, out: &mut Vec<u8>) {
        if let Some((name, _)) = self.0.borrow().used.get(number as usize)
            && **name != *"/"
        {
            out.extend_from_slice(name.as_bytes());
            out.push(b',');
        }
    }
}

/// The arguments of an event, its name first, without the brackets; and the binary parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) inner: Vec<u8>,
    pub(crate) parts: Vec<Bytes>,
}

/// In the tags of a publication whose data is JSON with binary parts behind it: see [`pack`].
pub(crate) const PACKED: &str = "socketio.packed";

/// JSON and binary parts as one: the length of the JSON in four bytes, the JSON, and each part in the same way.
pub(crate) fn pack(json: &[u8], parts: &[Bytes]) -> Bytes {
    let all = std::iter::once(json).chain(parts.iter().map(|part| &part[..]));
    let mut packed = Vec::with_capacity(all.clone().map(|part| part.len() + 4).sum());
    for part in all {
        packed.extend_from_slice(&(part.len() as u32).to_be_bytes());
        packed.extend_from_slice(part);
    }
    packed.into()
}

fn unpack(mut packed: Bytes) -> Option<(Bytes, Vec<Bytes>)> {
    let mut next = || {
        let length = u32::from_be_bytes(*packed.first_chunk::<4>()?) as usize;
        let part = (packed.len() >= 4 + length).then(|| packed.slice(4..4 + length))?;
        packed = packed.slice(4 + length..);
        Some(part)
    };
    let json = next()?;
    Some((json, std::iter::from_fn(next).collect()))
}

impl Body {
    /// Of what has happened, for those who are told that; `None` if they are not.
    pub(crate) fn of(says: Says, delivery: &Delivery) -> Option<Self> {
        match (says, &delivery.what) {
            (Says::Events, What::Publication(publication)) => Some(Self::of_publication(publication)),
            (Says::Events, _) => None,
            (Says::Pushes, what) => {
                let name = match what {
                    What::Publication(_) => "publication",
                    What::Piece(_) => "append",
                    What::Join(_) => "join",
                    What::Leave(_) => "leave",
                };
                Some(Self::of_push(name, |out| crate::shard::frames::push_delivery(Form::Json, delivery, out)))
            }
        }
    }

    fn of_push(name: &str, push: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut json = Vec::new();
        push(&mut json);
        let inner = [b"\"", name.as_bytes(), b"\",", &json].concat();
        Self { inner, parts: Vec::new() }
    }

    /// Of an event that is emitted.
    pub(crate) fn of_event(name: &str, arguments: &Arguments) -> Self {
        let mut body = Self { inner: Vec::new(), parts: arguments.attachments().to_vec() };
        push_text(name, &mut body.inner);
        body.push_arguments(arguments.json().as_bytes());
        body
    }

    pub(crate) fn of_publication(publication: &Publication) -> Self {
        let rare = publication.rare.as_deref();
        let mut body = Self::default();
        // A stock client that gets an event with a name of its library's own closes the connection.
        match rare.and_then(|rare| rare.event.as_deref()).filter(|event| !RESERVED_EVENTS.contains(event)) {
            Some(event) => push_text(event, &mut body.inner),
            None => body.inner.extend_from_slice(b"\"message\""),
        }
        match &publication.data {
            None => {}
            Some(Data::Text(text)) => {
                body.inner.push(b',');
                push_text(std::str::from_utf8(text).unwrap_or_default(), &mut body.inner);
            }
            Some(Data::Json(json)) => body.push_arguments(json),
            Some(Data::Bytes(bytes)) if rare.is_some_and(|rare| rare.tags.contains_key(PACKED)) => {
                if let Some((json, parts)) = unpack(bytes.clone()) {
                    body.push_arguments(&json);
                    body.parts = parts;
                }
            }
            Some(Data::Bytes(bytes)) => {
                body.inner.extend_from_slice(br#",{"_placeholder":true,"num":0}"#);
                body.parts.push(bytes.clone());
            }
        }
        body
    }

    /// Those of a list one after the other, anything else as the only one.
    fn push_arguments(&mut self, json: &[u8]) {
        let json = json.trim_ascii();
        let arguments = json.strip_prefix(b"[").and_then(|json| json.strip_suffix(b"]")).map_or(json, <[u8]>::trim_ascii);
        if !arguments.is_empty() {
            self.inner.push(b',');
            self.inner.extend_from_slice(arguments);
        }
    }
}

impl SocketForm {
    /// Appends an event as frames; with how far its socket is, if it is for one that is told.
    pub(crate) fn push_event(self, body: &Body, names: &Names, places: &Places, out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(64);
        let mut tail = Vec::with_capacity(32);
        if let Some(line) = self.alone {
            tail.extend_from_slice(b",\"");
            places.push_offset(line, &mut tail);
            tail.push(b'"');
        }
        tail.push(b']');
        if body.parts.is_empty() {
            head.push(b'2');
        } else {
            head.extend_from_slice(format!("5{}-", body.parts.len()).as_bytes());
        }
        names.push(self.namespace, &mut head);
        head.push(b'[');
        // The digit of an Engine.IO message, then the packet.
        frame::Header::new(Opcode::Text, 1 + head.len() + body.inner.len() + tail.len()).encode(out);
        out.push(b'4');
        out.extend_from_slice(&head);
        out.extend_from_slice(&body.inner);
        out.extend_from_slice(&tail);
        for part in &body.parts {
            engine_message(self.form, MessageKind::Binary, part, out);
        }
    }

    /// Notes that a socket is told of a delivery.
    pub(crate) fn note(self, delivery: &Delivery, places: &Places) {
        if let (Some(line), Some(position)) = (self.alone, delivery.position) {
            places.note(line, &delivery.channel, Some(position.epoch), position.offset);
        }
    }

    /// Appends what a socket alone is told by the engine.
    pub(crate) fn push_message(self, line: u32, message: &Message, names: &Names, places: &Places, out: &mut Vec<u8>) {
        let body = match message {
            Message::Push(push) => {
                if let (Says::Events, Push::Publication(publication)) = (self.says, push) {
                    places.note(line, &publication.channel, None, publication.offset);
                    Body::of_publication(publication)
                } else if self.says == Says::Events {
                    return;
                } else {
                    let name = match push {
                        Push::Publication(publication) => {
                            places.note(line, &publication.channel, None, publication.offset);
                            "publication"
                        }
                        Push::Append(piece) => {
                            places.note(line, &piece.channel, None, piece.offset);
                            "append"
                        }
                        Push::Gap { channel, offset } => {
                            places.note(line, channel, None, *offset);
                            "gap"
                        }
                        Push::Join { .. } => "join",
                        Push::Leave { .. } => "leave",
                        Push::State { channel, done, .. } => {
                            if *done {
                                places.has_keys(line, channel);
                            }
                            "state"
                        }
                        Push::Unsubscribed { channel, .. } => {
                            places.left(line, channel);
                            "unsubscribed"
                        }
                        Push::Cancel { .. } => "cancel",
                    };
                    Body::of_push(name, |out| Form::Json.push_message(message, out))
                }
            }
            Message::Reply(Some(id), reply) => {
                let mut json = Vec::new();
                Form::Json.push_message(&Message::Reply(None, reply.clone()), &mut json);
                let mut packet = Vec::with_capacity(json.len() + 32);
                packet.push(b'3');
                names.push(self.namespace, &mut packet);
                // Ids of commands begin at 1, those of acks at 0.
                packet.extend_from_slice((id - 1).to_string().as_bytes());
                packet.push(b'[');
                packet.extend_from_slice(&json);
                packet.push(b']');
                return engine_message(self.form, MessageKind::Text, &packet, out);
            }
            Message::Reply(None, Reply::Error(_)) => Body::of_push("refused", |out| Form::Json.push_message(message, out)),
            Message::Reply(None, _) => return,
        };
        self.push_event(&body, names, places, out);
    }

    /// Appends a packet that was made for this socket.
    pub(crate) fn push_packet(self, packet: &longwire_socketio::Packet, out: &mut Vec<u8>) {
        for packet in packet.encode().packets(self.form) {
            let opcode = if packet.is_binary() { Opcode::Binary } else { Opcode::Text };
            let bytes = match &packet {
                EncodedPacket::Text(bytes) | EncodedPacket::Binary(bytes) => bytes,
            };
            frame::encode(opcode, bytes, None, out);
        }
    }
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use longwire_protocol::Rare;
    use longwire_socketio::engine::Revision;

    fn publication(event: Option<&str>, data: Data) -> Publication {
        let rare = event.map(|event| Box::new(Rare { event: Some(event.into()), ..Rare::default() }));
        Publication { channel: "io:/#a".into(), offset: 1, time: 1, data: Some(data), from: None, rare }
    }

    fn inner(event: Option<&str>, data: Data) -> String {
        String::from_utf8(Body::of_publication(&publication(event, data)).inner).expect("a text")
    }

    #[test]
    fn a_publication_is_an_event() {
        assert_eq!(inner(Some("m"), Data::json("[1, \"a\"]").expect("JSON")), "\"m\",1, \"a\"");
        assert_eq!(inner(Some("m"), Data::json("[]").expect("JSON")), "\"m\"");
        assert_eq!(inner(None, Data::json("{\"a\":[1]}").expect("JSON")), "\"message\",{\"a\":[1]}");
        assert_eq!(inner(Some("q\"x"), Data::from("he said \"hi\"")), r#""q\"x","he said \"hi\"""#);
        let body = Body::of_publication(&publication(Some("b"), Data::Bytes(Bytes::from_static(b"\x01"))));
        assert_eq!((body.inner, body.parts.len()), (br#""b",{"_placeholder":true,"num":0}"#.to_vec(), 1));
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let parts = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        assert_eq!(unpack(pack(b"[1]", &parts)), Some((Bytes::from_static(b"[1]"), parts.to_vec())));
        assert_eq!(unpack(Bytes::from_static(b"\0\0\0\x09ab")), None);
    }

    #[test]
    fn frames_of_a_namespace_with_binary_parts() {
        let (names, places) = (Names::default(), Places::default());
        let form = EngineForm { revision: Revision::V4, base64: false };
        let socket = SocketForm { form, namespace: names.take("/chat"), says: Says::Events, alone: None };
        let body = Body::of_publication(&publication(Some("b"), Data::Bytes(Bytes::from_static(b"\x01\x02"))));
        let mut out = Vec::new();
        socket.push_event(&body, &names, &places, &mut out);
        let text = br#"451-/chat,["b",{"_placeholder":true,"num":0}]"#;
        assert_eq!(out[..2], [0x81, text.len() as u8]);
        assert_eq!(&out[2..2 + text.len()], text);
        assert_eq!(out[2 + text.len()..], [0x82, 2, 1, 2]);
    }

    #[test]
    fn numbers_of_namespaces_are_given_again() {
        let names = Names::default();
        let (a, b) = (names.take("/a"), names.take("/b"));
        assert_eq!((names.take("/a"), a != b), (a, true));
        names.give(b);
        assert_eq!(names.take("/c"), b);
        names.give(a);
        assert_eq!(names.take("/a"), a, "the other one still has it");
    }

    #[test]
    fn there_may_be_more_namespaces_than_sixteen_bits_count() {
        let names = Names::default();
        let mut numbers: Vec<u32> = (0..70_000).map(|n| names.take(&format!("/n{n}"))).collect();
        for at in [0, 65_535, 65_536, 69_999] {
            let mut out = Vec::new();
            names.push(numbers[at], &mut out);
            assert_eq!(out, format!("/n{at},").into_bytes());
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 70_000);
        // A line has it once for each of its channels.
        assert_eq!(size_of::<SocketForm>(), 16);
    }
}
