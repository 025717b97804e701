//! How what happens in a channel becomes frames.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use longwire_core::Encoder;
use longwire_core::broker::{Delivery, What};
use longwire_protocol::{Data, Form, Message, Position, Push};
use longwire_ws::deflate::SharedDeflater;
use longwire_ws::{MessageKind, frame};

use super::events::{Events, Followed};
use super::socketio::{Body, Names, Places, Says, SocketForm};

/// How a line reads what happens in its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) content: Content,
    /// The window for which frames are compressed, each on its own; `None` for frames as they are.
    pub(crate) window: Option<u8>,
}

/// What a line is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The data of publications, and nothing else.
    Plain,
    /// Messages of the native protocol.
    Native(Form),
    /// The same as events.
    Events(Events),
    /// Events of Socket.IO.
    Socket(SocketForm),
}

/// Encodes for lines, each frame once for all that read it in the same way.
#[derive(Default)]
pub(crate) struct Frames {
    followed: Followed,
    deflaters: HashMap<u8, SharedDeflater>,
    scratch: Vec<u8>,
    /// What lines that share no encoding are told in the same words.
    written: Written,
    names: Names,
    places: Places,
    /// The same for sockets.
    bodies: HashMap<(Says, Identity), (Delivery, Option<Body>)>,
}

/// Deliveries as JSON, while they are dealt out one line after another.
#[derive(Default)]
struct Written(HashMap<Identity, (Delivery, Vec<u8>)>);

/// By which a delivery is known as long as it is kept: its kind, and where its channel and its content are in memory.
type Identity = (Discriminant<What>, usize, usize);

impl Encoder for Frames {
    type Encoding = Encoding;

    #[inline]
    fn encode(&mut self, encoding: Encoding, delivery: &Delivery, out: &mut Vec<u8>) {
        match encoding.content {
            Content::Plain => {
                let What::Publication(publication) = &delivery.what else { return };
                let Some(data) = &publication.data else { return };
                let kind = if matches!(data, Data::Bytes(_)) { MessageKind::Binary } else { MessageKind::Text };
                self.frame(encoding.window, kind, data.as_bytes(), out);
            }
            Content::Events(events) if events.many.is_some() => {
                events.push_delivery(delivery, self.written.json(delivery), &self.followed, out);
            }
            Content::Socket(socket) if socket.alone.is_some() => {
                let known = self.bodies.entry((socket.says, identity(delivery)));
                let (_, body) = known.or_insert_with(|| (delivery.clone(), Body::of(socket.says, delivery)));
                if let Some(body) = body {
                    socket.note(delivery, &self.places);
                    socket.push_event(body, &self.names, &self.places, out);
                }
            }
            Content::Socket(socket) => {
                if let Some(body) = Body::of(socket.says, delivery) {
                    socket.push_event(&body, &self.names, &self.places, out);
                }
            }
            Content::Events(events) => {
                self.scratch.clear();
                push_delivery(Form::Json, delivery, &mut self.scratch);
                events.push_delivery(delivery, &self.scratch, &self.followed, out);
            }
            Content::Native(form) => {
                let mut payload = std::mem::take(&mut self.scratch);
                payload.clear();
                push_delivery(form, delivery, &mut payload);
                self.frame(encoding.window, kind_of(form), &payload, out);
                self.scratch = payload;
            }
        }
    }

    fn is_shared(encoding: Encoding) -> bool {
        !matches!(
            encoding.content,
            Content::Events(Events { many: Some(_), .. }) | Content::Socket(SocketForm { alone: Some(_), .. })
        )
    }

    fn refused(&mut self, encoding: Encoding, channel: &str, since: Option<Position>) {
        let Some(since) = since else { return };
        match encoding.content {
            Content::Events(Events { many: Some(line), .. }) => self.followed.rewind(line, channel, since),
            Content::Socket(SocketForm { alone: Some(line), .. }) => {
                self.places.note(line, channel, Some(since.epoch), since.offset);
            }
            _ => {}
        }
    }

    fn dealt(&mut self) {
        self.written.forget();
        self.bodies.clear();
        self.bodies.shrink_to(16);
    }
}

impl Written {
    /// The delivery as JSON, which is written when it is asked for the first time.
    fn json(&mut self, delivery: &Delivery) -> &[u8] {
        let (_, json) = self.0.entry(identity(delivery)).or_insert_with(|| {
            let mut json = Vec::new();
            push_delivery(Form::Json, delivery, &mut json);
            // The delivery stays, so that nothing else can come to its place in memory.
            (delivery.clone(), json)
        });
        json
    }

    fn forget(&mut self) {
        self.0.clear();
        self.0.shrink_to(16);
    }
}

fn identity(delivery: &Delivery) -> Identity {
    let content = match &delivery.what {
        What::Publication(publication) => Arc::as_ptr(publication).addr(),
        What::Piece(piece) => Arc::as_ptr(piece).addr(),
        What::Join(member) | What::Leave(member) => Arc::as_ptr(member).addr(),
    };
    (discriminant(&delivery.what), Arc::as_ptr(&delivery.channel).addr(), content)
}

/// Appends what has happened as a message of the native protocol.
pub(crate) fn push_delivery(form: Form, delivery: &Delivery, out: &mut Vec<u8>) {
    let channel = &delivery.channel;
    match &delivery.what {
        What::Publication(publication) => form.push_publication(publication, out),
        What::Piece(piece) => form.push_piece(piece, out),
        What::Join(member) => {
            let push = Push::Join { channel: channel.clone(), member: member.clone() };
            form.push_message(&Message::Push(push), out);
        }
        What::Leave(member) => {
            let push = Push::Leave { channel: channel.clone(), member: member.clone() };
            form.push_message(&Message::Push(push), out);
        }
    }
}

impl Frames {
    pub(crate) fn new(followed: Followed, names: Names, places: Places) -> Self {
        Self { followed, names, places, ..Self::default() }
    }

    fn frame(&mut self, window: Option<u8>, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        match window {
            Some(bits) => self.deflaters.entry(bits).or_insert_with(|| SharedDeflater::new(bits)).encode(kind, payload, out),
            None => frame::encode(kind.into(), payload, None, out),
        }
    }
}

/// The kind of WebSocket message that goes with a form.
pub(crate) fn kind_of(form: Form) -> MessageKind {
    match form {
        Form::Json => MessageKind::Text,
        Form::Binary => MessageKind::Binary,
    }
}

#[cfg(test)]
mod tests {
    use longwire_protocol::{Member, Publication, SessionId};

    use super::*;

    #[test]
    fn json_for_many_lines_is_written_once_and_not_mistaken_for_another() {
        let mut written = Written::default();
        let publication = |text: &str| {
            let data = Some(Data::from(text));
            let publication = Publication { channel: "a".into(), offset: 1, time: 1, data, from: None, rare: None };
            Delivery { channel: "a".into(), position: None, what: What::Publication(Arc::new(publication)), except: None }
        };
        let first = publication("one");
        let at = written.json(&first).as_ptr();
        assert_eq!(written.json(&first.clone()).as_ptr(), at);
        let mut json = |delivery| String::from_utf8(written.json(&delivery).to_vec()).expect("a text");
        // Each is dropped at once: its address would be another's if it were not kept.
        for number in 0..100 {
            let text = json(publication(&number.to_string()));
            assert!(text.contains(&format!("\"{number}\"")), "{text}");
        }
        // One member comes to two channels, and goes.
        let member = Arc::new(Member { session: SessionId([0; 12]), user: None, info: None });
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let tell = |channel: &Arc<str>, what| Delivery { channel: channel.clone(), position: None, what, except: None };
        assert!(json(tell(&a, What::Join(member.clone()))).contains("\"join\",\"channel\":\"a\""));
        assert!(json(tell(&b, What::Join(member.clone()))).contains("\"join\",\"channel\":\"b\""));
        assert!(json(tell(&b, What::Leave(member))).contains("\"leave\",\"channel\":\"b\""));
        written.forget();
        assert!(written.0.is_empty() && written.0.capacity() < 100);
    }
}
