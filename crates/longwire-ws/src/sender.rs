//! What goes to the peer (RFC 6455, 5 to 7).

use std::fmt;

use crate::close::{CloseCode, CloseFrame};
use crate::connection::Role;
use crate::deflate::{self, Compression, Compressor};
use crate::frame::{self, Opcode};
use crate::handshake::deflate::DeflateParams;
use crate::message::MessageKind;

/// The connection has begun to close, no message can follow a close frame (RFC 6455, 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyClosing;

impl fmt::Display for AlreadyClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closing")
    }
}

impl std::error::Error for AlreadyClosing {}

/// The sending half: 16 bytes, and with context takeover a compressor of some 300 KiB from the first message on.
#[derive(Debug)]
pub struct Sender {
    role: Role,
    /// A close frame has been sent.
    close_sent: bool,
    /// How this end compresses, if permessage-deflate was agreed on.
    compression: Option<Compression>,
    /// With context takeover, the compressor that has seen the messages so far.
    compressor: Option<Box<Compressor>>,
}

impl Sender {
    /// The sending half of the end `role`.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let compression = deflate.map(|params| Compression::of(role, params));
        Self { role, close_sent: false, compression, compressor: None }
    }

    /// Appends a message as one frame, compressed if that was agreed on and helps. `mask` is a fresh random key; a server does
    /// not use it (RFC 6455, 5.3 and 10.3).
    ///
    /// The payload of a text must be UTF-8; this is the caller's word, since most have a `&str` in hand.
    ///
    /// # Errors
    /// [`AlreadyClosing`] once a close frame was sent.
    #[inline]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        if self.close_sent {
            return Err(AlreadyClosing);
        }
        let mask = self.mask(mask);
        match self.compression {
            None => frame::encode(kind.into(), payload, mask, out),
            Some(Compression { context_takeover: false, window_bits }) => {
                deflate::encode_alone(window_bits, kind, payload, mask, out);
            }
            Some(Compression { context_takeover: true, window_bits }) => {
                let compressor = self.compressor.get_or_insert_with(|| Box::new(Compressor::new(window_bits)));
                deflate::encode_compressed(kind, &compressor.compress(payload), mask, out);
            }
        }
        Ok(())
    }

    /// Appends a ping with at most 125 bytes; the rest is cut off (RFC 6455, 5.5.2).
    ///
    /// # Errors
    /// [`AlreadyClosing`] once a close frame was sent.
    pub fn ping(&mut self, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        self.send_control(Opcode::Ping, payload, mask, out)
    }

    /// Appends a pong with at most 125 bytes: the payload of the ping that it answers (RFC 6455, 5.5.3).
    ///
    /// # Errors
    /// [`AlreadyClosing`] once a close frame was sent.
    pub fn pong(&mut self, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        self.send_control(Opcode::Pong, payload, mask, out)
    }

    /// Appends a close frame; `None` sends an empty one (RFC 6455, 5.5.1).
    ///
    /// # Errors
    /// [`AlreadyClosing`] if one was sent before; nothing is appended.
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
        self.compression.filter(|compression| !compression.context_takeover).map(|compression| compression.window_bits)
    }

    /// Whether a close frame has been sent.
    pub fn close_sent(&self) -> bool {
        self.close_sent
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), AlreadyClosing> {
        if self.close_sent {
            return Err(AlreadyClosing);
        }
        frame::encode(opcode, &payload[..payload.len().min(frame::MAX_CONTROL_BYTES)], self.mask(mask), out);
        Ok(())
    }

    fn mask(&self, key: [u8; 4]) -> Option<[u8; 4]> {
        (self.role == Role::Client).then_some(key)
    }
}
