//! What the fuzz targets share: how an input describes a connection, and what a connection hears.
//!
//! `cargo xtask fuzz TARGET SECONDS` runs a target. The seeds in `seeds/` are made by
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`, which writes them anew.

pub mod protocol;
pub mod socketio;

use longwire_ws::handshake::deflate::DeflateParams;
use longwire_ws::{CloseFrame, Event, Input, Limits, MessageKind, ProtocolError, Receiver, Role};

/// Reads an input from its front. Past the end there are zeros.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// The next `len` bytes, or what is left.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// The next bytes, a length in one byte before them.
    pub fn short(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.take(usize::from(len))
    }

    /// A masking key.
    pub fn key(&mut self) -> [u8; 4] {
        [self.byte(), self.byte(), self.byte(), self.byte()]
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The end that listens, and the pieces in which bytes reach it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Which end.
    pub role: Role,
    /// What was agreed on compression.
    pub deflate: Option<DeflateParams>,
    /// What it takes.
    pub limits: Limits,
    /// The sizes of the pieces, over and over; none means single bytes.
    pub pieces: Vec<usize>,
}

impl Listener {
    /// Two bytes, then the sizes with their number in front.
    ///
    /// The first: 1 client, 2 deflate, 4 no takeover by the server, 8 none by the client, 16 small limits. The second: both
    /// windows.
    pub fn read(input: &mut Reader<'_>) -> Self {
        let (flags, windows) = (input.byte(), input.byte());
        let deflate = DeflateParams {
            server_no_context_takeover: flags & 4 != 0,
            client_no_context_takeover: flags & 8 != 0,
            server_max_window_bits: 8 + (windows & 7),
            client_max_window_bits: 8 + (windows >> 4 & 7),
        };
        let count = input.byte() & 7;
        let pieces = (0..count).map(|_| 1 + usize::from(input.byte())).collect();
        Self {
            role: if flags & 1 != 0 { Role::Client } else { Role::Server },
            deflate: (flags & 2 != 0).then_some(deflate),
            limits: if flags & 16 != 0 {
                Limits { max_frame_bytes: 300, max_message_bytes: 500, max_fragments: 5 }
            } else {
                Limits { max_frame_bytes: 1 << 16, max_message_bytes: 1 << 16, max_fragments: 1000 }
            },
            pieces,
        }
    }

    /// What is heard of bytes that come whole.
    pub fn hear_whole(&self, wire: &[u8]) -> Outcome {
        self.hear([wire])
    }

    /// What is heard of bytes that come in the listener's pieces.
    pub fn hear_pieces(&self, wire: &[u8]) -> Outcome {
        let mut rest = wire;
        let sizes = if self.pieces.is_empty() { &[1][..] } else { &self.pieces };
        // After many small pieces, one with the rest: more of them take time and show nothing new.
        let mut sizes = sizes.iter().copied().cycle().take(1000).chain([usize::MAX]);
        self.hear(std::iter::from_fn(|| {
            let size = sizes.next()?.min(rest.len());
            let (piece, after) = rest.split_at(size);
            rest = after;
            (!piece.is_empty()).then_some(piece)
        }))
    }

    fn hear<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut receiver = Receiver::new(self.role, self.deflate);
        let mut outcome = Outcome::default();
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut input = Input::new(&mut bytes);
            loop {
                match receiver.receive(&mut input, &self.limits) {
                    Ok(Some(event)) => outcome.events.push(self.judged(event)),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(outcome.error.replace(error), None, "it fails once");
                        assert!(receiver.failed() && receiver.is_done());
                    }
                }
            }
            assert_eq!(input.remaining(), 0, "all is consumed");
        }
        outcome
    }

    /// The event, kept, if it is one that may be.
    fn judged(&self, event: Event<'_>) -> Heard {
        match event {
            Event::Message(message) => {
                assert!(message.as_bytes().len() <= self.limits.max_message_bytes);
                if message.kind() == MessageKind::Text {
                    assert!(std::str::from_utf8(message.as_bytes()).is_ok(), "a text is UTF-8");
                }
                Heard::Message(message.kind(), message.into_vec())
            }
            Event::Ping(payload) => {
                assert!(payload.len() <= 125);
                Heard::Ping(payload.to_vec())
            }
            Event::Pong(payload) => {
                assert!(payload.len() <= 125);
                Heard::Pong(payload.to_vec())
            }
            Event::Close(frame) => Heard::Close(frame),
        }
    }
}

/// An event, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(MessageKind, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame.
    Close(Option<CloseFrame>),
}

/// All that was heard, and how it went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was heard.
    pub events: Vec<Heard>,
    /// The rule that was broken.
    pub error: Option<ProtocolError>,
}
