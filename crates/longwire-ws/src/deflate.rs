//! Compressed messages (RFC 7692, 7.2). What is agreed on them is in [`handshake::deflate`](crate::handshake::deflate).

use std::cell::RefCell;
use std::fmt;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::connection::Role;
use crate::error::ProtocolError;
use crate::frame::{self, Header};
use crate::handshake::deflate::DeflateParams;
use crate::message::MessageKind;

/// RFC 7692, 7.2.1: the end of every flushed block, which is left out on the wire.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// A message with nothing in it, compressed (RFC 7692, 7.2.3.6).
const EMPTY: [u8; 1] = [0x00];
const CHUNK_BYTES: usize = 8 * 1024;
/// A compressor's window is at least this: see [`Deflater::new`].
const MIN_DEFLATE_BITS: u8 = 9;
const MAX_BITS: u8 = 15;
/// Idle compressors and decompressors that a thread keeps for connections without context takeover.
const POOL_SIZE: usize = 4;
/// The fastest level: a server compresses to save traffic, not to archive.
const DEFAULT_LEVEL: u8 = 1;

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
#[derive(Debug)]
pub struct SharedDeflater(Deflater);

impl SharedDeflater {
    /// For connections whose server window is `window_bits` (8 to 15) or more.
    pub fn new(window_bits: u8) -> Self {
        Self(Deflater::new(window_bits, DEFAULT_LEVEL))
    }

    /// Appends the message as one server frame: compressed if that makes it smaller, as it is if not.
    pub fn encode(&mut self, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        self.0.reset();
        let mut compressed = Vec::new();
        self.0.compress(payload, &mut compressed);
        encode_smaller(kind, payload, &compressed, None, out);
    }
}

/// The sending direction of one connection.
pub(crate) struct Deflation {
    no_takeover: bool,
    window_bits: u8,
    /// Kept across messages with context takeover.
    deflater: Option<Deflater>,
}

impl Deflation {
    pub(crate) fn new(role: Role, params: DeflateParams) -> Self {
        let (no_takeover, window_bits) = match role {
            Role::Server => (params.server_no_context_takeover, params.server_max_window_bits),
            Role::Client => (params.client_no_context_takeover, params.client_max_window_bits),
        };
        Self { no_takeover, window_bits, deflater: None }
    }

    pub(crate) fn shared_window_bits(&self) -> Option<u8> {
        self.no_takeover.then_some(self.window_bits)
    }

    /// Appends a message as one frame.
    pub(crate) fn send(&mut self, kind: MessageKind, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
        let mut compressed = Vec::new();
        if self.no_takeover {
            // RFC 7692, 7.1.1.1 and 7.1.1.2: every message starts with an empty window, so it may also go uncompressed.
            let mut deflater = pool(|pool| pool.deflater(self.window_bits));
            deflater.compress(payload, &mut compressed);
            pool(|pool| pool.give_deflater(deflater));
            encode_smaller(kind, payload, &compressed, mask, out);
        } else {
            // The peer's window must see all that ours has seen.
            let deflater = self.deflater.get_or_insert_with(|| Deflater::new(self.window_bits, DEFAULT_LEVEL));
            deflater.compress(payload, &mut compressed);
            encode_compressed(kind, &compressed, mask, out);
        }
    }
}

/// The receiving direction of one connection.
pub(crate) struct Inflation {
    no_takeover: bool,
    window_bits: u8,
    /// Kept across messages with context takeover; else only during a message.
    inflater: Option<Inflater>,
}

impl Inflation {
    pub(crate) fn new(role: Role, params: DeflateParams) -> Self {
        let (no_takeover, window_bits) = match role {
            Role::Server => (params.client_no_context_takeover, params.client_max_window_bits),
            Role::Client => (params.server_no_context_takeover, params.server_max_window_bits),
        };
        Self { no_takeover, window_bits, inflater: None }
    }

    /// Begins a message.
    pub(crate) fn begin(&mut self) {
        let (no_takeover, bits) = (self.no_takeover, self.window_bits);
        self.inflater.get_or_insert_with(|| if no_takeover { pool(Pool::inflater) } else { Inflater::new(bits) });
    }

    /// Inflates a piece of a message; stops with an error as soon as `out` would pass `limit` bytes.
    pub(crate) fn inflate(&mut self, piece: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        match &mut self.inflater {
            Some(inflater) => inflater.inflate(piece, out, limit),
            None => Err(ProtocolError::InvalidDeflate),
        }
    }

    /// RFC 7692, 7.2.2: the end that was left out is put back, then the message is complete.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        self.inflate(&TAIL, out, limit)?;
        if self.no_takeover
            && let Some(inflater) = self.inflater.take()
        {
            pool(|pool| pool.give_inflater(inflater));
        }
        Ok(())
    }
}

impl fmt::Debug for Deflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflation").field("window_bits", &self.window_bits).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflation").field("window_bits", &self.window_bits).finish_non_exhaustive()
    }
}

fn encode_smaller(kind: MessageKind, payload: &[u8], compressed: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    if compressed.len() < payload.len() {
        encode_compressed(kind, compressed, mask, out);
    } else {
        frame::encode(kind.into(), payload, mask, out);
    }
}

fn encode_compressed(kind: MessageKind, compressed: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let header = Header { rsv: frame::RSV1, mask, ..Header::new(kind.into(), compressed.len()) };
    frame::encode_with(header, compressed, out);
}

struct Deflater {
    deflate: Deflate,
    bits: u8,
    /// Nothing was compressed since the start or the last reset.
    fresh: bool,
}

impl Deflater {
    /// A window of 256 bytes (8 bits) is made by one of 512: deflate keeps 262 bytes of it for looking ahead, so that it never
    /// refers back more than 250 bytes.
    fn new(bits: u8, level: u8) -> Self {
        Self { deflate: Deflate::new(i32::from(level), false, bits.clamp(MIN_DEFLATE_BITS, MAX_BITS)), bits, fresh: true }
    }

    fn reset(&mut self) {
        if !self.fresh {
            self.deflate.reset();
            self.fresh = true;
        }
    }

    /// RFC 7692, 7.2.1: compress, flush to a byte's edge, leave out the last four bytes.
    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if payload.is_empty() {
            out.extend_from_slice(&EMPTY);
            return;
        }
        self.fresh = false;
        let mut chunk = [0; CHUNK_BYTES];
        let mut rest = payload;
        loop {
            let (in_before, out_before) = (self.deflate.total_in(), self.deflate.total_out());
            // The only error is a stream in a state that cannot be reached from here.
            let status = self.deflate.compress(rest, &mut chunk, DeflateFlush::SyncFlush).expect("deflate state is sound");
            let produced = (self.deflate.total_out() - out_before) as usize;
            rest = &rest[(self.deflate.total_in() - in_before) as usize..];
            out.extend_from_slice(&chunk[..produced]);
            if rest.is_empty() && (produced < CHUNK_BYTES || status == Status::BufError) {
                break;
            }
        }
        debug_assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("bits", &self.bits).finish_non_exhaustive()
    }
}

struct Inflater {
    inflate: Inflate,
    bits: u8,
}

impl Inflater {
    fn new(bits: u8) -> Self {
        Self { inflate: Inflate::new(false, bits), bits }
    }

    fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        let mut chunk = [0; CHUNK_BYTES];
        let mut rest = input;
        loop {
            let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(rest, &mut chunk, InflateFlush::SyncFlush)
                .map_err(|_| ProtocolError::InvalidDeflate)?;
            let consumed = (self.inflate.total_in() - in_before) as usize;
            let produced = (self.inflate.total_out() - out_before) as usize;
            rest = &rest[consumed..];
            if out.len() + produced > limit {
                return Err(ProtocolError::MessageTooBig { limit });
            }
            out.extend_from_slice(&chunk[..produced]);
            if status == Status::StreamEnd {
                self.restart(out)?;
            } else if produced < CHUNK_BYTES && (rest.is_empty() || consumed == 0 && produced == 0) {
                return if rest.is_empty() { Ok(()) } else { Err(ProtocolError::InvalidDeflate) };
            }
            if status == Status::StreamEnd && rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// RFC 7692, 7.2.3.4: a block may say that it is the last, and more may follow in the same message.
    fn restart(&mut self, so_far: &[u8]) -> Result<(), ProtocolError> {
        self.inflate = Inflate::new(false, self.bits);
        let window = &so_far[so_far.len().saturating_sub(1 << self.bits)..];
        if !window.is_empty() {
            self.inflate.set_dictionary(window).map_err(|_| ProtocolError::InvalidDeflate)?;
        }
        Ok(())
    }
}

/// Connections without context takeover need a compressor only for the length of a message, and making one costs more than
/// most messages: each thread keeps a few.
#[derive(Default)]
struct Pool {
    inflaters: Vec<Inflater>,
    deflaters: Vec<Deflater>,
}

fn pool<T>(run: impl FnOnce(&mut Pool) -> T) -> T {
    thread_local!(static POOL: RefCell<Pool> = RefCell::default());
    POOL.with_borrow_mut(run)
}

impl Pool {
    fn inflater(&mut self) -> Inflater {
        self.inflaters.pop().unwrap_or_else(|| Inflater::new(MAX_BITS))
    }

    fn give_inflater(&mut self, mut inflater: Inflater) {
        if self.inflaters.len() < POOL_SIZE {
            // Always of the full window, which `reset` brings back.
            inflater.inflate.reset(false);
            self.inflaters.push(inflater);
        }
    }

    fn deflater(&mut self, bits: u8) -> Deflater {
        match self.deflaters.iter().position(|deflater| deflater.bits == bits) {
            Some(at) => {
                let mut deflater = self.deflaters.swap_remove(at);
                deflater.reset();
                deflater
            }
            None => Deflater::new(bits, DEFAULT_LEVEL),
        }
    }

    fn give_deflater(&mut self, deflater: Deflater) {
        if self.deflaters.len() < POOL_SIZE {
            self.deflaters.push(deflater);
        }
    }
}
