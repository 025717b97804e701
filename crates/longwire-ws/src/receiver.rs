//! What comes from the peer (RFC 6455, 5 to 8).

use std::ops::Range;

use crate::assembly::{Assembly, Progress};
use crate::close::CloseFrame;
use crate::connection::{Limits, Role};
use crate::deflate::{self, Compression, History};
use crate::error::ProtocolError;
use crate::frame::{self, Header, Opcode};
use crate::handshake::deflate::DeflateParams;
use crate::mask;
use crate::message::{Event, Message, MessageKind, Payload};

/// Bytes as they came from the peer. Payloads are unmasked in place, and an event of a message that arrived whole is a slice of
/// them.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl<'b> Input<'b> {
    /// All that was read.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes no event has been made of yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Those bytes, as they came.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.at;
        self.at += len;
        start..self.at
    }
}

/// The receiving half: 24 bytes, and no more while nothing is under way. (With context takeover it also keeps what the peer has
/// compressed last, as much as its window holds.)
#[derive(Debug)]
pub struct Receiver {
    role: Role,
    /// A close frame has come, or the peer broke a rule: nothing more is read.
    done: bool,
    /// The peer broke a rule.
    failed: bool,
    /// How the peer compresses, if permessage-deflate was agreed on.
    compression: Option<Compression>,
    /// What is incomplete: part of a header, of a frame, of a message.
    assembly: Option<Box<Assembly>>,
    /// With context takeover, what the next compressed message may refer to.
    history: Option<Box<History>>,
}

/// What [`Receiver::advance`] found, by place: the borrow that an event is can be made only at the end.
enum Found {
    /// A message that lies in the input.
    Message(MessageKind, Range<usize>),
    /// A message that was put together of pieces, or inflated.
    Assembled(MessageKind, Vec<u8>),
    Ping(Place),
    Pong(Place),
    Close(Option<CloseFrame>),
}

/// Where the payload of a control frame is.
enum Place {
    Input(Range<usize>),
    /// It was cut by the end of an input.
    Assembly,
}

impl Receiver {
    /// The receiving half of the end `role`.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let peer = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let compression = deflate.map(|params| Compression::of(peer, params));
        Self { role, done: false, failed: false, compression, assembly: None, history: None }
    }

    /// The next event of `input`; `None` when all of it is consumed.
    ///
    /// Call it until it says `None`, then with the next input.
    ///
    /// # Errors
    /// The peer broke a rule; the connection has failed (RFC 6455, 7.1.7) and what else it sends is ignored. The rule that is
    /// reported does not depend on how the peer's bytes were divided into inputs.
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut Input<'_>, limits: &Limits) -> Result<Option<Event<'a>>, ProtocolError> {
        let found = match self.advance(input, limits) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.fail();
                return Err(error);
            }
        };
        Ok(Some(match found {
            Found::Message(kind, range) => Event::Message(Message::validated(kind, Payload::Input(&input.bytes[range]))),
            Found::Assembled(kind, buffer) => Event::Message(Message::validated(kind, Payload::Assembled(buffer))),
            Found::Ping(place) => Event::Ping(self.control_payload(place, input)),
            Found::Pong(place) => Event::Pong(self.control_payload(place, input)),
            Found::Close(frame) => Event::Close(frame),
        }))
    }

    /// Whether reading is over: a close frame has come, or the peer broke a rule.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it ended because the peer broke a rule.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Whether the peer is in the middle of a frame or message.
    pub fn is_receiving(&self) -> bool {
        self.assembly.as_ref().is_some_and(|assembly| !assembly.is_idle())
    }

    /// Consumes input up to the next thing to report.
    fn advance(&mut self, input: &mut Input<'_>, limits: &Limits) -> Result<Option<Found>, ProtocolError> {
        if self.done {
            input.take(input.remaining());
            return Ok(None);
        }
        if !self.is_receiving() {
            self.assembly = None;
        }
        loop {
            if !self.assembly.as_ref().is_some_and(|assembly| assembly.in_frame()) {
                let Some(header) = self.header(input)? else { return Ok(None) };
                self.check_size(&header, limits)?;
                if is_whole_message_or_control(&header) && input.remaining() as u64 >= header.payload_len {
                    return self.whole(&header, input, limits).map(Some);
                }
                self.assembly.get_or_insert_default().begin(header, limits)?;
            }
            let assembly = self.assembly.get_or_insert_default();
            let piece = input.take(assembly.lacks().min(input.remaining()));
            match assembly.fill(&mut input.bytes[piece], limits)? {
                Progress::Part => return Ok(None),
                Progress::Fragment => {}
                Progress::Control(opcode) => return self.control(opcode, Place::Assembly, input).map(Some),
                Progress::Message { kind, compressed, mut payload } => {
                    if compressed {
                        payload = self.inflate(kind, &payload, limits)?;
                    }
                    return Ok(Some(Found::Assembled(kind, payload)));
                }
            }
        }
    }

    /// The next header. If not all of it is there, what there is of it is kept.
    #[inline]
    fn header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, ProtocolError> {
        let in_message = self.assembly.as_ref().is_some_and(|assembly| assembly.in_message());
        let (role, deflate) = (self.role, self.compression.is_some());
        let decode = |bytes: &[u8]| {
            Header::decode_judged(bytes, |opcode, rsv, masked| judge(opcode, rsv, masked, role, deflate, in_message))
        };
        if !self.assembly.as_ref().is_some_and(|assembly| assembly.in_header()) {
            if let Some((header, len)) = decode(input.rest())? {
                input.take(len);
                return Ok(Some(header));
            }
            if input.remaining() == 0 {
                return Ok(None);
            }
        }
        let (header, used) = self.assembly.get_or_insert_default().complete_header(input.rest(), decode)?;
        input.take(used);
        Ok(header)
    }

    /// RFC 6455, 10.4: a frame and the message to which it belongs are judged by the header, before any of it is kept.
    #[inline]
    fn check_size(&self, header: &Header, limits: &Limits) -> Result<(), ProtocolError> {
        if header.opcode.is_control() {
            return Ok(());
        }
        if header.payload_len > limits.max_frame_bytes as u64 {
            return Err(ProtocolError::FrameTooBig { limit: limits.max_frame_bytes });
        }
        let so_far = self.assembly.as_ref().map_or(0, |assembly| assembly.message_bytes());
        // Both are below 2^63.
        if so_far as u64 + header.payload_len > limits.max_message_bytes as u64 {
            return Err(ProtocolError::MessageTooBig { limit: limits.max_message_bytes });
        }
        Ok(())
    }

    /// A frame that is all there and needs nothing to be kept: unmasked and validated in place.
    #[inline]
    fn whole(&mut self, header: &Header, input: &mut Input<'_>, limits: &Limits) -> Result<Found, ProtocolError> {
        let range = input.take(header.payload_len as usize);
        let payload = &mut input.bytes[range.clone()];
        if let Some(key) = header.mask {
            mask::apply(payload, key, 0);
        }
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            Opcode::Binary => MessageKind::Binary,
            opcode => return self.control(opcode, Place::Input(range), input),
        };
        if header.rsv & frame::RSV1 != 0 {
            return Ok(Found::Assembled(kind, self.inflate(kind, payload, limits)?));
        }
        check_utf8(kind, payload)?;
        Ok(Found::Message(kind, range))
    }

    /// RFC 7692, 7.2.2: the payload of a compressed message, all of which is there.
    fn inflate(&mut self, kind: MessageKind, compressed: &[u8], limits: &Limits) -> Result<Vec<u8>, ProtocolError> {
        let Some(compression) = self.compression else { return Err(ProtocolError::ReservedBits) };
        let history = self.history.as_ref().map_or(&[][..], |history| history.as_bytes());
        let message = deflate::decompress(compressed, history, limits.max_message_bytes)?;
        check_utf8(kind, &message)?;
        if compression.context_takeover {
            self.history.get_or_insert_default().push(&message, compression.window_bits);
        }
        Ok(message)
    }

    fn control(&mut self, opcode: Opcode, place: Place, input: &Input<'_>) -> Result<Found, ProtocolError> {
        match opcode {
            Opcode::Ping => Ok(Found::Ping(place)),
            Opcode::Pong => Ok(Found::Pong(place)),
            _ => {
                let frame = CloseFrame::decode(self.control_payload(place, input))?;
                // RFC 6455, 5.5.1 and 7.1.5: it is the last frame.
                self.end();
                Ok(Found::Close(frame))
            }
        }
    }

    fn control_payload<'a>(&'a self, place: Place, input: &'a Input<'_>) -> &'a [u8] {
        match place {
            Place::Input(range) => &input.bytes[range],
            Place::Assembly => self.assembly.as_ref().map_or(&[], |assembly| assembly.control()),
        }
    }

    /// RFC 6455, 7.1.7: the connection has failed.
    fn fail(&mut self) {
        self.failed = true;
        self.end();
    }

    /// Nothing more is read, and what was kept is let go.
    fn end(&mut self) {
        self.done = true;
        self.assembly = None;
        self.history = None;
    }
}

/// The rules on the first two bytes of a frame that depend on the role, on the extensions, and on what came before.
#[inline]
fn judge(
    opcode: Opcode,
    rsv: u8,
    masked: Option<bool>,
    role: Role,
    deflate: bool,
    in_message: bool,
) -> Result<(), ProtocolError> {
    let starts_message = matches!(opcode, Opcode::Text | Opcode::Binary);
    // RFC 6455, 5.2: reserved bits must be 0 unless an extension defines them. RFC 7692, 6 and 6.1: RSV1 stands on the first
    // frame of a message, and nowhere else.
    if rsv != 0 && !(rsv == frame::RSV1 && deflate && starts_message) {
        return Err(ProtocolError::ReservedBits);
    }
    // RFC 6455, 5.4: a message is one frame that begins it and any number that continue it; messages do not interleave.
    if starts_message && in_message {
        return Err(ProtocolError::ExpectedContinuation);
    }
    if opcode == Opcode::Continuation && !in_message {
        return Err(ProtocolError::UnexpectedContinuation);
    }
    // RFC 6455, 5.1: a client masks every frame, a server masks none.
    match (role, masked) {
        (Role::Server, Some(false)) => Err(ProtocolError::UnmaskedFrame),
        (Role::Client, Some(true)) => Err(ProtocolError::MaskedFrame),
        _ => Ok(()),
    }
}

fn is_whole_message_or_control(header: &Header) -> bool {
    header.fin && header.opcode != Opcode::Continuation
}

/// RFC 6455, 5.6 and 8.1: a text is UTF-8.
#[inline]
fn check_utf8(kind: MessageKind, payload: &[u8]) -> Result<(), ProtocolError> {
    if kind == MessageKind::Text && simdutf8::basic::from_utf8(payload).is_err() {
        return Err(ProtocolError::InvalidUtf8);
    }
    Ok(())
}
