//! What is incomplete: part of a header, of a frame, of a message. A connection has one only while it is in the middle of
//! something.

use crate::buffer;
use crate::connection::Limits;
use crate::error::ProtocolError;
use crate::frame::{self, Header, Opcode};
use crate::mask;
use crate::message::MessageKind;
use crate::utf8::Validator;

#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// A header of which not all bytes have come.
    header: [u8; Header::MAX_BYTES],
    header_len: u8,
    frame: Option<FrameInProgress>,
    /// The payload of a control frame, which may come between the fragments of a message (RFC 6455, 5.4).
    control: Vec<u8>,
    message: Option<MessageInProgress>,
}

#[derive(Debug)]
struct FrameInProgress {
    header: Header,
    received: usize,
}

#[derive(Debug)]
struct MessageInProgress {
    kind: MessageKind,
    compressed: bool,
    fragments: usize,
    /// The payload so far, as it was before masking. A compressed one is inflated when all of it is there.
    payload: Vec<u8>,
    /// Of a text that is not compressed.
    utf8: Validator,
}

/// What a piece of a frame's payload has led to.
pub(crate) enum Progress {
    /// The frame is not complete.
    Part,
    /// The frame is, its message is not.
    Fragment,
    /// A ping, pong or close frame is: see [`Assembly::control`].
    Control(Opcode),
    /// A message is. A text has been validated, unless it is compressed.
    Message { kind: MessageKind, compressed: bool, payload: Vec<u8> },
}

impl Assembly {
    /// Whether nothing is incomplete.
    pub(crate) fn is_idle(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(crate) fn in_header(&self) -> bool {
        self.header_len > 0
    }

    pub(crate) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    pub(crate) fn in_message(&self) -> bool {
        self.message.is_some()
    }

    /// How many bytes there are of the message.
    pub(crate) fn message_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.len())
    }

    /// The payload of the control frame that [`fill`](Self::fill) has completed.
    pub(crate) fn control(&self) -> &[u8] {
        &self.control
    }

    /// Adds to the header what `input` has of it. The header if `decode` finds it complete, and how many bytes of `input` were
    /// used.
    pub(crate) fn complete_header(
        &mut self,
        input: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<Option<(Header, usize)>, ProtocolError>,
    ) -> Result<(Option<Header>, usize), ProtocolError> {
        let kept = usize::from(self.header_len);
        let more = input.len().min(Header::MAX_BYTES - kept);
        self.header[kept..kept + more].copy_from_slice(&input[..more]);
        Ok(match decode(&self.header[..kept + more])? {
            Some((header, len)) => {
                self.header_len = 0;
                (Some(header), len - kept)
            }
            None => {
                self.header_len += more as u8;
                (None, more)
            }
        })
    }

    /// Begins a frame that is within the limits of its own size and has come where it may: a continuation only in a message, a
    /// text or binary frame only outside of one (RFC 6455, 5.4).
    pub(crate) fn begin(&mut self, header: Header, limits: &Limits) -> Result<(), ProtocolError> {
        let new = |kind| MessageInProgress {
            kind,
            compressed: header.rsv & frame::RSV1 != 0, // RFC 7692, 6: it says so for the whole message.
            fragments: 1,
            payload: Vec::new(),
            utf8: Validator::default(),
        };
        match header.opcode {
            Opcode::Text => self.message = Some(new(MessageKind::Text)),
            Opcode::Binary => self.message = Some(new(MessageKind::Binary)),
            Opcode::Continuation => {
                if let Some(message) = &mut self.message {
                    message.fragments += 1;
                    if message.fragments > limits.max_fragments {
                        return Err(ProtocolError::TooManyFragments { limit: limits.max_fragments });
                    }
                }
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control.clear(),
        }
        self.frame = Some(FrameInProgress { header, received: 0 });
        Ok(())
    }

    /// How many bytes the frame lacks.
    pub(crate) fn lacks(&self) -> usize {
        // A frame that is begun is within limits that are a `usize`.
        self.frame.as_ref().map_or(0, |frame| frame.header.payload_len as usize - frame.received)
    }

    /// Takes the next piece of the frame's payload, of [`lacks`](Self::lacks) bytes at most, unmasking it in place.
    pub(crate) fn fill(&mut self, piece: &mut [u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        let lacks = self.lacks();
        let Some(frame) = &mut self.frame else { return Ok(Progress::Part) };
        if let Some(key) = frame.header.mask {
            mask::apply(piece, key, frame.received);
        }
        frame.received += piece.len();
        let header = frame.header;
        let complete = piece.len() == lacks;
        if complete {
            self.frame = None;
        }
        match &mut self.message {
            Some(message) if !header.opcode.is_control() => {
                let most = if header.fin { message.payload.len() + lacks } else { limits.max_message_bytes };
                message.push(piece, most)?;
            }
            _ => buffer::append(&mut self.control, piece, header.payload_len as usize),
        }
        Ok(match complete {
            false => Progress::Part,
            true if header.opcode.is_control() => Progress::Control(header.opcode),
            true if header.fin => self.finish_message()?,
            true => Progress::Fragment,
        })
    }

    /// RFC 6455, 5.4: the frame with the FIN bit is the last of its message.
    fn finish_message(&mut self) -> Result<Progress, ProtocolError> {
        let Some(MessageInProgress { kind, compressed, payload, utf8, .. }) = self.message.take() else {
            return Ok(Progress::Fragment);
        };
        // RFC 6455, 8.1: a character may be cut by the end of a fragment, but not by that of the text.
        utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(Progress::Message { kind, compressed, payload })
    }
}

impl MessageInProgress {
    fn push(&mut self, piece: &[u8], most: usize) -> Result<(), ProtocolError> {
        buffer::append(&mut self.payload, piece, most);
        if self.kind == MessageKind::Text && !self.compressed {
            self.utf8.push(piece).map_err(|_| ProtocolError::InvalidUtf8)?; // RFC 6455, 8.1
        }
        Ok(())
    }
}
