//! How what happens in a channel becomes frames.

use std::collections::HashMap;

use longwire_core::Encoder;
use longwire_core::broker::{Delivery, What};
use longwire_protocol::{Data, Form, Message, Push};
use longwire_ws::deflate::SharedDeflater;
use longwire_ws::{MessageKind, frame};

use super::events::{Events, Followed};

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
}

/// Encodes for lines, each frame once for all that read it in the same way.
#[derive(Default)]
pub(crate) struct Frames {
    followed: Followed,
    deflaters: HashMap<u8, SharedDeflater>,
    scratch: Vec<u8>,
}

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
            Content::Events(events) => events.push_delivery(delivery, &self.followed, out),
            Content::Native(form) => {
                let mut payload = std::mem::take(&mut self.scratch);
                payload.clear();
                match &delivery.what {
                    What::Publication(publication) => form.push_publication(publication, &mut payload),
                    What::Piece(piece) => form.push_piece(piece, &mut payload),
                    What::Join(member) => {
                        let push = Push::Join { channel: delivery.channel.clone(), member: member.clone() };
                        form.push_message(&Message::Push(push), &mut payload);
                    }
                    What::Leave(member) => {
                        let push = Push::Leave { channel: delivery.channel.clone(), member: member.clone() };
                        form.push_message(&Message::Push(push), &mut payload);
                    }
                }
                self.frame(encoding.window, kind_of(form), &payload, out);
                self.scratch = payload;
            }
        }
    }
}

impl Frames {
    pub(crate) fn new(followed: Followed) -> Self {
        Self { followed, ..Self::default() }
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
