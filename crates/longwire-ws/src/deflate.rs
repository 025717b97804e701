//! Compressed messages (RFC 7692, 7.2). What is agreed on them is in [`handshake::deflate`](crate::handshake::deflate).
//!
//! Without context takeover a connection owns no compressor or inflater. A thread that works with such connections has one
//! inflater (some 60 KiB) and one compressor for each size of window in use (up to 300 KiB).

mod compress;
mod decompress;

use std::fmt;

use crate::connection::Role;
use crate::frame::{self, Header};
use crate::handshake::deflate::DeflateParams;
use crate::message::MessageKind;

pub(crate) use compress::Compressor;
pub(crate) use decompress::{History, decompress};

/// RFC 7692, 7.2.1: the end of every flushed block, which is left out on the wire.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// RFC 7692, 7.1.2: the windows that can be agreed on.
const MIN_WINDOW_BITS: u8 = 8;
const MAX_WINDOW_BITS: u8 = 15;
/// A message below this that stands alone is not compressed: it hardly shrinks, and an empty window costs more than a microsecond.
const MIN_ALONE_BYTES: usize = 64;
/// Compressing and inflating go on by pieces of this size.
const CHUNK_BYTES: usize = 16 * 1024;

/// Compresses messages that stand alone (no context takeover), so that one frame serves every connection that can read its
/// window.
///
/// ```
/// use longwire_ws::{MessageKind, deflate::SharedDeflater};
/// let mut deflater = SharedDeflater::new(15);
/// let mut frame = Vec::new();
/// deflater.encode(MessageKind::Text, "wire ".repeat(100).as_bytes(), &mut frame);
/// assert!(frame.len() < 40);
/// ```
pub struct SharedDeflater {
    compressor: Compressor,
    window_bits: u8,
}

impl SharedDeflater {
    /// For connections whose server window is `window_bits` (8 to 15) or more.
    pub fn new(window_bits: u8) -> Self {
        Self { compressor: Compressor::new(window_bits), window_bits }
    }

    /// Appends the message as one server frame: compressed if that makes it smaller, as it is if not.
    pub fn encode(&mut self, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        if payload.len() < MIN_ALONE_BYTES {
            frame::encode(kind.into(), payload, None, out);
        } else {
            encode_smaller(kind, payload, &self.compressor.compress_alone(payload), None, out);
        }
    }
}

impl fmt::Debug for SharedDeflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDeflater").field("window_bits", &self.window_bits).finish_non_exhaustive()
    }
}

/// How one of the two ends compresses what it sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compression {
    /// RFC 7692, 7.1.1: a message may refer to those before it.
    pub(crate) context_takeover: bool,
    /// RFC 7692, 7.1.2: it refers back no more than 2^bits bytes, 8 to 15.
    pub(crate) window_bits: u8,
}

impl Compression {
    /// What was agreed for the end `sender`.
    pub(crate) fn of(sender: Role, params: DeflateParams) -> Self {
        let (no_context_takeover, window_bits) = match sender {
            Role::Server => (params.server_no_context_takeover, params.server_max_window_bits),
            Role::Client => (params.client_no_context_takeover, params.client_max_window_bits),
        };
        Self { context_takeover: !no_context_takeover, window_bits: window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS) }
    }
}

/// Appends a message that refers to none before it. It may then also go uncompressed (RFC 7692, 6): it does where that is no
/// longer, or not worth the time.
pub(crate) fn encode_alone(window_bits: u8, kind: MessageKind, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    if payload.len() < MIN_ALONE_BYTES {
        return frame::encode(kind.into(), payload, mask, out);
    }
    let compressed = compress::compress_alone(window_bits, payload);
    encode_smaller(kind, payload, &compressed, mask, out);
}

fn encode_smaller(kind: MessageKind, payload: &[u8], compressed: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    if compressed.len() < payload.len() {
        encode_compressed(kind, compressed, mask, out);
    } else {
        frame::encode(kind.into(), payload, mask, out);
    }
}

/// RFC 7692, 7.2.1: a message that is compressed says so by RSV1.
pub(crate) fn encode_compressed(kind: MessageKind, compressed: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let header = Header { rsv: frame::RSV1, mask, ..Header::new(kind.into(), compressed.len()) };
    frame::encode_with(header, compressed, out);
}
