//! Compressing (RFC 7692, 7.2.1).

use std::cell::RefCell;
use std::fmt;

use zlib_rs::{Deflate, DeflateFlush};

use super::{CHUNK_BYTES, MAX_WINDOW_BITS, TAIL};

/// The fastest level: a server compresses to save traffic, not to archive.
const LEVEL: i32 = 1;
/// RFC 7692, 7.2.3.6: a message with nothing in it, compressed.
const EMPTY: [u8; 1] = [0x00];
/// The smallest window that deflate works with, see [`Compressor::new`].
const MIN_BITS: u8 = 9;
const WINDOW_SIZES: usize = (MAX_WINDOW_BITS - MIN_BITS + 1) as usize;

/// A deflate stream, made into messages.
pub(crate) struct Compressor {
    deflate: Deflate,
    chunk: Box<[u8; CHUNK_BYTES]>,
}

impl Compressor {
    /// With a window of 2^`window_bits` bytes.
    ///
    /// A window of 256 bytes (8 bits) is made by one of 512: deflate keeps 262 bytes of it for looking ahead, so that it never
    /// refers back more than 250 bytes.
    pub(crate) fn new(window_bits: u8) -> Self {
        let window_bits = window_bits.clamp(MIN_BITS, MAX_WINDOW_BITS);
        Self { deflate: Deflate::new(LEVEL, false, window_bits), chunk: Box::new([0; CHUNK_BYTES]) }
    }

    /// Compresses a message that refers to none before it (RFC 7692, 7.1.1).
    pub(crate) fn compress_alone(&mut self, payload: &[u8]) -> Vec<u8> {
        self.deflate.reset();
        self.compress(payload)
    }

    /// Compresses a message that may refer to those before it. RFC 7692, 7.2.1: compress, flush to a byte's edge, leave out the
    /// last four bytes.
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Vec<u8> {
        if payload.is_empty() {
            return EMPTY.to_vec();
        }
        let mut compressed = Vec::new();
        let mut rest = payload;
        loop {
            let (in_before, out_before) = (self.deflate.total_in(), self.deflate.total_out());
            self.deflate
                .compress(rest, &mut self.chunk[..], DeflateFlush::SyncFlush)
                .expect("deflate fails only in a state that it is never brought into");
            let produced = (self.deflate.total_out() - out_before) as usize;
            rest = &rest[(self.deflate.total_in() - in_before) as usize..];
            compressed.extend_from_slice(&self.chunk[..produced]);
            // A full chunk says that there may be more.
            if rest.is_empty() && produced < CHUNK_BYTES {
                break;
            }
        }
        debug_assert!(compressed.ends_with(&TAIL));
        compressed.truncate(compressed.len() - TAIL.len());
        compressed
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// As [`Compressor::compress_alone`], with a compressor of this thread's: connections without context takeover need one only
/// for the length of a message, and making one costs more than most messages.
pub(super) fn compress_alone(window_bits: u8, payload: &[u8]) -> Vec<u8> {
    thread_local!(static COMPRESSORS: RefCell<[Option<Compressor>; WINDOW_SIZES]> = RefCell::default());
    let bits = window_bits.clamp(MIN_BITS, MAX_WINDOW_BITS);
    COMPRESSORS.with_borrow_mut(|compressors| {
        compressors[usize::from(bits - MIN_BITS)].get_or_insert_with(|| Compressor::new(bits)).compress_alone(payload)
    })
}
