//! One end of a connection that has been opened (RFC 6455, 5 to 8).

use std::fmt;
use std::ops::Range;

use crate::assembly::Assembly;
use crate::close::{CloseCode, CloseFrame};
use crate::deflate::{Deflation, Inflation};
use crate::error::ProtocolError;
use crate::frame::{self, Header, Opcode};
use crate::handshake::deflate::DeflateParams;
use crate::mask;
use crate::message::{Event, Message, MessageKind, Payload};

/// Which end this is: a client masks what it sends, a server does not (RFC 6455, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that asked for the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// How much a peer may make us keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest payload of one frame, in bytes; judged by the header, before any of it is kept.
    pub max_frame_bytes: usize,
    /// The longest message, in bytes, as it is on the wire and again after inflating.
    pub max_message_bytes: usize,
    /// The most frames of one message.
    pub max_fragments: usize,
}

impl Default for Limits {
    /// 1 MiB a message, in 1,024 fragments at most.
    fn default() -> Self {
        Self { max_frame_bytes: 1 << 20, max_message_bytes: 1 << 20, max_fragments: 1024 }
    }
}

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

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.at;
        self.at += len;
        start..self.at
    }
}

/// The connection has begun to close, no message can follow a close frame (RFC 6455, 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyClosing;

impl fmt::Display for AlreadyClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closing")
    }
}

impl std::error::Error for AlreadyClosing {}

/// One end of a connection: what is received and what is sent.
///
/// Feed it what was read with [`receive`](Self::receive); it consumes everything and keeps what is incomplete, within
/// [`Limits`]. The methods that send append frames to a buffer of the caller's. Its two halves can be used apart: a message that
/// borrows the receiver can be answered through the sender.
#[derive(Debug)]
pub struct Connection {
    /// What comes from the peer.
    pub receiver: Receiver,
    /// What goes to the peer.
    pub sender: Sender,
}

impl Connection {
    /// A connection whose opening handshake is done, with the parameters of permessage-deflate if they were agreed on.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        Self { receiver: Receiver::new(role, deflate), sender: Sender::new(role, deflate) }
    }

    /// See [`Receiver::receive`].
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut Input<'_>, limits: &Limits) -> Result<Option<Event<'a>>, ProtocolError> {
        self.receiver.receive(input, limits)
    }

    /// See [`Sender::send`].
    #[inline]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        self.sender.send(kind, payload, mask, out)
    }

    /// Whether both close frames have gone: the server should now close the TCP connection (RFC 6455, 7.1.1).
    pub fn is_closed(&self) -> bool {
        self.sender.close_sent() && self.receiver.is_done()
    }
}

/// The receiving half: 24 bytes while nothing is under way.
#[derive(Debug)]
pub struct Receiver {
    role: Role,
    /// A close frame has come, or the peer broke a rule: nothing more is read.
    done: bool,
    /// The peer broke a rule.
    failed: bool,
    /// What is incomplete: part of a header, of a frame, of a message.
    assembly: Option<Box<Assembly>>,
    /// Present if permessage-deflate was agreed on.
    inflation: Option<Box<Inflation>>,
}

/// What [`Receiver::advance`] found, by place, so that the borrow of it can be made at the end.
enum Step {
    NeedInput,
    Whole(MessageKind, Range<usize>),
    Assembled(MessageKind),
    Control(Opcode, Range<usize>),
    ControlAssembled(Opcode),
}

impl Receiver {
    /// The receiving half of the end `role`.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let inflation = deflate.map(|params| Box::new(Inflation::new(role, params)));
        Self { role, done: false, failed: false, assembly: None, inflation }
    }

    /// The next event of `input`; `None` when all of it is consumed.
    ///
    /// Call it until it says `None`, then with the next input.
    ///
    /// # Errors
    /// The peer broke a rule; the connection has failed (RFC 6455, 7.1.7) and what else it sends is ignored.
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut Input<'_>, limits: &Limits) -> Result<Option<Event<'a>>, ProtocolError> {
        let step = match self.advance(input, limits) {
            Ok(step) => step,
            Err(error) => return Err(self.fail(error)),
        };
        Ok(Some(match step {
            Step::NeedInput => return Ok(None),
            Step::Whole(kind, range) => Event::Message(Message::validated(kind, Payload::Input(&input.bytes[range]))),
            Step::Assembled(kind) => Event::Message(Message::validated(kind, Payload::Assembled(self.assembled_message()))),
            Step::Control(opcode, range) => return self.control(opcode, &input.bytes[range]).map(Some),
            Step::ControlAssembled(opcode) => {
                let payload = self.assembly.as_mut().map(|a| std::mem::take(&mut a.control)).unwrap_or_default();
                if opcode == Opcode::Close {
                    return self.control(opcode, &payload).map(|event| match event {
                        Event::Close(frame) => Some(Event::Close(frame)),
                        _ => None,
                    });
                }
                let assembly = self.assembly.get_or_insert_default();
                assembly.control = payload;
                assembly.control_delivered = true;
                if opcode == Opcode::Ping { Event::Ping(&assembly.control) } else { Event::Pong(&assembly.control) }
            }
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
        self.assembly.is_some()
    }

    fn advance(&mut self, input: &mut Input<'_>, limits: &Limits) -> Result<Step, ProtocolError> {
        if let Some(assembly) = &mut self.assembly
            && assembly.release_delivered()
        {
            self.assembly = None;
        }
        while !self.done {
            let assembly = match &mut self.assembly {
                None => match Header::decode(input.rest())? {
                    // The common case: a whole frame, nothing under way.
                    Some((header, used)) => {
                        self.check(&header)?;
                        input.take(used);
                        if let Some(step) = whole(&header, input, limits)? {
                            return Ok(step);
                        }
                        let assembly = self.assembly.get_or_insert_default();
                        assembly.begin_frame(&header, limits, self.inflation.as_deref_mut())?;
                        assembly
                    }
                    None if input.remaining() == 0 => return Ok(Step::NeedInput),
                    None => self.assembly.get_or_insert_default(),
                },
                Some(assembly) => assembly,
            };
            if !assembly.in_frame() {
                let Some(header) = assembly.read_header(input.rest()) else {
                    return Ok(Step::NeedInput);
                };
                let (header, used) = match header {
                    Ok(found) => found,
                    Err(used) => {
                        input.take(used.consumed);
                        match used.error {
                            Some(error) => return Err(error),
                            None => return Ok(Step::NeedInput),
                        }
                    }
                };
                input.take(used);
                self.check(&header)?;
                let Some(assembly) = &mut self.assembly else { continue };
                assembly.begin_frame(&header, limits, self.inflation.as_deref_mut())?;
                continue;
            }
            let range = input.take(assembly.wants().min(input.remaining()));
            let done = assembly.push(&mut input.bytes[range], limits, self.inflation.as_deref_mut())?;
            match done {
                Some(opcode) if opcode.is_control() => return Ok(Step::ControlAssembled(opcode)),
                Some(Opcode::Text) => return Ok(Step::Assembled(MessageKind::Text)),
                Some(Opcode::Binary) => return Ok(Step::Assembled(MessageKind::Binary)),
                _ if input.remaining() == 0 => return Ok(Step::NeedInput),
                _ => {}
            }
        }
        input.at = input.bytes.len();
        Ok(Step::NeedInput)
    }

    /// The rules that need to know the role and the extensions.
    #[inline]
    fn check(&self, header: &Header) -> Result<(), ProtocolError> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(ProtocolError::UnmaskedFrame), // RFC 6455, 5.1
            (Role::Client, Some(_)) => return Err(ProtocolError::MaskedFrame), // RFC 6455, 5.1
            _ => {}
        }
        if header.rsv != 0 {
            // RFC 7692, 6 and 6.1: RSV1 stands on the first frame of a message, and nowhere else.
            let starts_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
            if header.rsv != frame::RSV1 || !starts_message || self.inflation.is_none() {
                return Err(ProtocolError::ReservedBits);
            }
        }
        Ok(())
    }

    fn control<'a>(&mut self, opcode: Opcode, payload: &'a [u8]) -> Result<Event<'a>, ProtocolError> {
        Ok(match opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => {
                // RFC 6455, 5.5.1 and 7.1.5: it is the last frame.
                self.done = true;
                self.assembly = None;
                Event::Close(CloseFrame::decode(payload).map_err(|error| self.fail(error))?)
            }
        })
    }

    fn assembled_message(&mut self) -> &mut Vec<u8> {
        &mut self.assembly.get_or_insert_default().message.data
    }

    /// RFC 6455, 7.1.7: nothing more is read, what is incomplete is let go.
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.done = true;
        self.failed = true;
        self.assembly = None;
        error
    }
}

/// The sending half: 16 bytes, and a compressor from the first compressed message on if the context is kept.
#[derive(Debug)]
pub struct Sender {
    role: Role,
    /// A close frame has been sent.
    close_sent: bool,
    /// Present if permessage-deflate was agreed on.
    deflation: Option<Box<Deflation>>,
}

impl Sender {
    /// The sending half of the end `role`.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let deflation = deflate.map(|params| Box::new(Deflation::new(role, params)));
        Self { role, close_sent: false, deflation }
    }

    /// Appends a message as one frame, compressed if that was agreed on and helps. `mask` is a fresh random key; a server does
    /// not use it (RFC 6455, 5.3 and 10.3).
    ///
    /// # Errors
    /// [`AlreadyClosing`] once a close frame was sent.
    ///
    /// The payload of a text must be UTF-8; this is the caller's word, since most have a `&str` in hand.
    #[inline]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        if self.close_sent {
            return Err(AlreadyClosing);
        }
        let mask = self.mask(mask);
        match &mut self.deflation {
            Some(deflation) => deflation.send(kind, payload, mask, out),
            None => frame::encode(kind.into(), payload, mask, out),
        }
        Ok(())
    }

    /// Appends a ping with at most 125 bytes; the rest is cut off (RFC 6455, 5.5.2).
    pub fn ping(&mut self, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        self.send_control(Opcode::Ping, payload, mask, out)
    }

    /// Appends a pong with at most 125 bytes: the payload of the ping that it answers (RFC 6455, 5.5.3).
    pub fn pong(&mut self, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        self.send_control(Opcode::Pong, payload, mask, out)
    }

    /// Appends a close frame, unless one was sent already. `None` sends an empty one.
    pub fn close(&mut self, frame: Option<(CloseCode, &str)>, mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        let mut payload = Vec::new();
        if let Some((code, reason)) = frame {
            CloseFrame::encode(code, reason, &mut payload);
        }
        self.send_control(Opcode::Close, &payload, mask, out)?;
        self.close_sent = true;
        Ok(())
    }

    /// Appends the answer to the peer's close frame: its code again (RFC 6455, 5.5.1), nothing if we have sent ours already.
    pub fn close_reply(&mut self, received: Option<&CloseFrame>, mask: [u8; 4], out: &mut Vec<u8>) {
        let _ = self.close(received.map(|frame| (frame.code, "")), mask, out);
    }

    /// The window bits of frames that may go to this peer and to others as they are (see
    /// [`SharedDeflater`](crate::deflate::SharedDeflater)): if compression without context takeover was agreed on.
    pub fn shared_window_bits(&self) -> Option<u8> {
        self.deflation.as_ref().and_then(|deflation| deflation.shared_window_bits())
    }

    /// Whether a close frame has been sent.
    pub fn close_sent(&self) -> bool {
        self.close_sent
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        if self.close_sent {
            return Err(AlreadyClosing);
        }
        frame::encode(opcode, &payload[..payload.len().min(125)], self.mask(mask), out);
        Ok(())
    }

    fn mask(&self, key: [u8; 4]) -> Option<[u8; 4]> {
        (self.role == Role::Client).then_some(key)
    }
}

/// A frame that is all there and needs nothing to be kept: unmasked and validated in place.
#[inline]
fn whole(header: &Header, input: &mut Input<'_>, limits: &Limits) -> Result<Option<Step>, ProtocolError> {
    let kind = match header.opcode {
        Opcode::Text => Some(MessageKind::Text),
        Opcode::Binary => Some(MessageKind::Binary),
        Opcode::Continuation => return Ok(None),
        _ => None,
    };
    if input.remaining() as u64 >= header.payload_len && header.fin && header.rsv == 0 {
        let len = header.payload_len as usize;
        if len > limits.max_frame_bytes && kind.is_some() {
            return Err(ProtocolError::FrameTooBig { limit: limits.max_frame_bytes });
        }
        if len > limits.max_message_bytes && kind.is_some() {
            return Err(ProtocolError::MessageTooBig { limit: limits.max_message_bytes });
        }
        let range = input.take(len);
        let payload = &mut input.bytes[range.clone()];
        if let Some(key) = header.mask {
            mask::apply(payload, key, 0);
        }
        return Ok(Some(match kind {
            Some(kind) => {
                if kind == MessageKind::Text && simdutf8::basic::from_utf8(payload).is_err() {
                    return Err(ProtocolError::InvalidUtf8); // RFC 6455, 8.1
                }
                Step::Whole(kind, range)
            }
            None => Step::Control(header.opcode, range),
        }));
    }
    Ok(None)
}
