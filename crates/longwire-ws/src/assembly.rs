//! What is incomplete: part of a header, of a frame, of a message. A connection has one only while it is in the middle of
//! something.

use crate::Limits;
use crate::deflate::Inflation;
use crate::error::ProtocolError;
use crate::frame::{self, Header, Opcode};
use crate::mask;
use crate::message::MessageKind;
use crate::utf8::Validator;

/// The first reservation for a frame that is announced but has not come: a peer gets memory for what it sends, not for what it
/// says that it will send.
const FIRST_RESERVE_BYTES: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// A header of which not all bytes have come.
    header: [u8; Header::MAX_BYTES],
    header_len: u8,
    frame: Option<FrameInProgress>,
    /// The payload of a control frame, which may come between the fragments of a message (RFC 6455, 5.4).
    pub(crate) control: Vec<u8>,
    /// `control` was handed out.
    pub(crate) control_delivered: bool,
    pub(crate) message: MessageInProgress,
}

#[derive(Debug)]
struct FrameInProgress {
    header: Header,
    received: u64,
}

#[derive(Debug, Default)]
pub(crate) struct MessageInProgress {
    kind: Option<MessageKind>,
    compressed: bool,
    fragments: usize,
    /// Payload bytes announced so far, as they are on the wire.
    wire_bytes: u64,
    /// The message has been handed out and may be let go.
    delivered: bool,
    pub(crate) data: Vec<u8>,
    utf8: Validator,
}

/// A header could not be read from what there is.
pub(crate) struct HeaderMissing {
    /// How many bytes of the input were kept.
    pub(crate) consumed: usize,
    /// Why it never will be.
    pub(crate) error: Option<ProtocolError>,
}

impl Assembly {
    /// Lets go of what was handed out before; true if nothing is left.
    pub(crate) fn release_delivered(&mut self) -> bool {
        if self.control_delivered {
            self.control = Vec::new();
            self.control_delivered = false;
        }
        if self.message.delivered {
            self.message = MessageInProgress::default();
        }
        self.header_len == 0 && self.frame.is_none() && self.message.kind.is_none()
    }

    pub(crate) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// How many bytes the frame lacks.
    pub(crate) fn wants(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| usize::try_from(frame.header.payload_len - frame.received).unwrap_or(usize::MAX))
    }

    /// The header at the start of `input`, or across the bytes kept from before and `input`, and how many bytes of `input` it
    /// takes. `None` if there is no input.
    pub(crate) fn read_header(&mut self, input: &[u8]) -> Option<Result<(Header, usize), HeaderMissing>> {
        if input.is_empty() {
            return None;
        }
        let kept = usize::from(self.header_len);
        let more = input.len().min(Header::MAX_BYTES - kept);
        self.header[kept..kept + more].copy_from_slice(&input[..more]);
        Some(match Header::decode(&self.header[..kept + more]) {
            Ok(Some((header, used))) => {
                self.header_len = 0;
                Ok((header, used - kept))
            }
            Ok(None) => {
                self.header_len += more as u8;
                Err(HeaderMissing { consumed: more, error: None })
            }
            Err(error) => Err(HeaderMissing { consumed: more, error: Some(error) }),
        })
    }

    /// Begins a frame whose header has been checked against role and extensions.
    pub(crate) fn begin_frame(
        &mut self,
        header: &Header,
        limits: &Limits,
        inflation: Option<&mut Inflation>,
    ) -> Result<(), ProtocolError> {
        if !header.opcode.is_control() {
            self.message.begin_fragment(header, limits, inflation)?;
        }
        self.frame = Some(FrameInProgress { header: *header, received: 0 });
        Ok(())
    }

    /// Takes the next piece of the frame's payload, unmasking it in place. When that completes a control frame, its opcode;
    /// when it completes a message, the opcode of its kind.
    pub(crate) fn push(
        &mut self,
        piece: &mut [u8],
        limits: &Limits,
        mut inflation: Option<&mut Inflation>,
    ) -> Result<Option<Opcode>, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        if let Some(key) = frame.header.mask {
            mask::apply(piece, key, (frame.received & 3) as usize);
        }
        frame.received += piece.len() as u64;
        let header = frame.header;
        let complete = frame.received == header.payload_len;
        if complete {
            self.frame = None;
        }
        if header.opcode.is_control() {
            self.control.extend_from_slice(piece);
            return Ok(complete.then_some(header.opcode));
        }
        self.message.push(piece, header.payload_len, limits, inflation.as_deref_mut())?;
        if complete && header.fin { self.message.finish(limits, inflation).map(Some) } else { Ok(None) }
    }
}

impl MessageInProgress {
    /// RFC 6455, 5.4: a message is one frame that begins it and any number that continue it.
    fn begin_fragment(
        &mut self,
        header: &Header,
        limits: &Limits,
        inflation: Option<&mut Inflation>,
    ) -> Result<(), ProtocolError> {
        match (header.opcode, self.kind) {
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (Opcode::Text, None) => self.kind = Some(MessageKind::Text),
            (Opcode::Binary, None) => self.kind = Some(MessageKind::Binary),
            _ => {}
        }
        if header.payload_len > limits.max_frame_bytes as u64 {
            return Err(ProtocolError::FrameTooBig { limit: limits.max_frame_bytes });
        }
        self.wire_bytes += header.payload_len;
        if self.wire_bytes > limits.max_message_bytes as u64 {
            return Err(ProtocolError::MessageTooBig { limit: limits.max_message_bytes });
        }
        self.fragments += 1;
        if self.fragments > limits.max_fragments {
            return Err(ProtocolError::TooManyFragments { limit: limits.max_fragments });
        }
        // RFC 7692, 6: the bit on the first frame says it for the whole message.
        if header.rsv & frame::RSV1 != 0
            && let Some(inflation) = inflation
        {
            self.compressed = true;
            inflation.begin();
        }
        Ok(())
    }

    fn push(
        &mut self,
        piece: &[u8],
        frame_len: u64,
        limits: &Limits,
        inflation: Option<&mut Inflation>,
    ) -> Result<(), ProtocolError> {
        let start = self.data.len();
        match inflation {
            Some(inflation) if self.compressed => {
                inflation.inflate(piece, &mut self.data, limits.max_message_bytes)?;
            }
            _ => {
                if start == 0 {
                    self.data.reserve_exact((frame_len as usize).min(FIRST_RESERVE_BYTES).max(piece.len()));
                }
                self.data.extend_from_slice(piece);
            }
        }
        self.validate_from(start)
    }

    /// RFC 6455, 5.6 and 8.1: the whole text must be UTF-8, its fragments need not be.
    fn finish(&mut self, limits: &Limits, inflation: Option<&mut Inflation>) -> Result<Opcode, ProtocolError> {
        if self.compressed
            && let Some(inflation) = inflation
        {
            let start = self.data.len();
            inflation.finish(&mut self.data, limits.max_message_bytes)?;
            self.validate_from(start)?;
        }
        let kind = self.kind.unwrap_or(MessageKind::Binary);
        if kind == MessageKind::Text {
            self.utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.delivered = true;
        Ok(kind.into())
    }

    fn validate_from(&mut self, start: usize) -> Result<(), ProtocolError> {
        if self.kind == Some(MessageKind::Text) {
            self.utf8.push(&self.data[start..]).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        Ok(())
    }
}
