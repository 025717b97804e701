//! A scripted peer, and what the crate makes of it.

pub(crate) mod deflate_reader;
pub(crate) mod heap;
pub(crate) mod peer;

use longwire_ws::handshake::deflate::DeflateParams;
use longwire_ws::{Event, Input, Limits, MessageKind, ProtocolError, Receiver, Role};

pub(crate) use peer::{Compressing, Frame};

pub(crate) const BOTH_ROLES: [Role; 2] = [Role::Server, Role::Client];

/// An event, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => match message.kind() {
                MessageKind::Text => Self::Text(message.as_str().expect("a text is one").to_owned()),
                MessageKind::Binary => Self::Binary(message.into_vec()),
            },
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(frame) => Self::Close(frame.map(|frame| (frame.code.value(), frame.reason))),
        }
    }
}

pub(crate) fn text(text: &str) -> Heard {
    Heard::Text(text.to_owned())
}

pub(crate) fn binary(bytes: impl Into<Vec<u8>>) -> Heard {
    Heard::Binary(bytes.into())
}

/// All that was heard, and how it went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Heard>,
    pub(crate) error: Option<ProtocolError>,
}

/// The end under test.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) role: Role,
    pub(crate) deflate: Option<DeflateParams>,
    pub(crate) limits: Limits,
}

impl End {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, deflate: None, limits: Limits::default() }
    }

    pub(crate) fn deflating(role: Role, deflate: DeflateParams) -> Self {
        Self { deflate: Some(deflate), ..Self::new(role) }
    }

    pub(crate) fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What this end hears when `wire` arrives in these pieces.
    pub(crate) fn hear_pieces<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut receiver = Receiver::new(self.role, self.deflate);
        let mut outcome = Outcome { events: Vec::new(), error: None };
        for piece in pieces {
            if let Err(error) = hear_one(&mut receiver, piece, &self.limits, &mut outcome.events) {
                assert_eq!(outcome.error.replace(error), None, "a connection fails once");
                assert!(receiver.failed() && receiver.is_done() && !receiver.is_receiving());
            }
        }
        outcome
    }

    /// What this end hears, whole or in any division into two inputs, or byte by byte.
    pub(crate) fn hear(&self, wire: &[u8]) -> Outcome {
        let outcome = self.hear_pieces([wire]);
        assert_eq!(self.hear_pieces(wire.chunks(1)), outcome, "byte by byte");
        // Of a long stream, the ends and some places in between.
        let step = if wire.len() < 600 { 1 } else { 1 + wire.len() / 50 };
        for cut in (0..wire.len()).filter(|cut| cut % step == 0 || *cut < 40 || wire.len() - cut < 40) {
            let (head, tail) = wire.split_at(cut);
            assert_eq!(self.hear_pieces([head, tail]), outcome, "cut at {cut}");
        }
        outcome
    }
}

/// Gives one input to a receiver.
pub(crate) fn hear_one(
    receiver: &mut Receiver,
    piece: &[u8],
    limits: &Limits,
    events: &mut Vec<Heard>,
) -> Result<(), ProtocolError> {
    let mut bytes = piece.to_vec();
    let mut input = Input::new(&mut bytes);
    while let Some(event) = receiver.receive(&mut input, limits)? {
        events.push(event.into());
    }
    assert_eq!(input.remaining(), 0, "all input is consumed");
    Ok(())
}

/// What `role` hears of these frames of its peer.
pub(crate) fn hear<'a>(role: Role, frames: impl IntoIterator<Item = &'a Frame>) -> Outcome {
    End::new(role).hear(&wire(role, frames))
}

/// The frames as the peer of `role` sends them: masked if that is the client.
pub(crate) fn wire<'a>(role: Role, frames: impl IntoIterator<Item = &'a Frame>) -> Vec<u8> {
    frames.into_iter().flat_map(|frame| frame.clone().sent_to(role).bytes()).collect()
}

/// In either role, these frames are heard as these events.
#[track_caller]
pub(crate) fn assert_heard(frames: &[Frame], events: &[Heard]) {
    for role in BOTH_ROLES {
        assert_eq!(hear(role, frames), Outcome { events: events.to_vec(), error: None }, "{role:?}");
    }
}

/// In either role, these frames are heard as these events and then this error.
#[track_caller]
pub(crate) fn assert_refused(frames: &[Frame], events: &[Heard], error: ProtocolError) {
    for role in BOTH_ROLES {
        assert_eq!(hear(role, frames), Outcome { events: events.to_vec(), error: Some(error) }, "{role:?}");
    }
}
