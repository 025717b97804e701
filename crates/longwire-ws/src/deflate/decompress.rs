//! Inflating (RFC 7692, 7.2.2).

use std::cell::RefCell;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{CHUNK_BYTES, MAX_WINDOW_BITS, TAIL};
use crate::buffer;
use crate::error::ProtocolError;

/// RFC 1951, 3.2.5: deflate refers back this far at most. A smaller window that was agreed on binds the compressor
/// (RFC 7692, 7.1.2); inflating every message with the full one costs nothing, since it is shared.
const WINDOW_BYTES: usize = 1 << MAX_WINDOW_BITS;
/// What is put behind a message: the end that was left out (RFC 7692, 7.2.2), and an empty last block, by which the inflater
/// tells that the message ended at the edge of a block and not in the middle of one.
const END: [u8; 9] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x01, 0x00, 0x00, 0xff, 0xff];
/// The most blocks of one message that say that they are the last (RFC 7692, 7.2.3.4). Going on after one means to load the
/// window again, and two bytes on the wire can ask for it.
const MAX_LAST_BLOCKS: usize = 256;

/// Inflates one message. `history` is what it may refer to; `limit` is how many bytes may come out, at which it stops.
///
/// All of the message must be there: an inflater is 40 KiB, which a connection then needs for the length of this call only, and
/// all connections of a thread share one.
pub(crate) fn decompress(compressed: &[u8], history: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
    thread_local!(static INFLATER: RefCell<Inflater> = RefCell::new(Inflater::new()));
    INFLATER.with_borrow_mut(|inflater| {
        let mut inflating = Inflating { inflater, history, limit, message: Vec::new(), at_end: true, starts: 0 };
        inflating.feed(compressed)?;
        // A message without a single bit, or right after a last block, lacks the beginning of the block that `END` completes.
        // Nothing is missing from it, so it is not refused.
        if !inflating.at_end {
            inflating.feed(&END)?;
        }
        if inflating.at_end { Ok(inflating.message) } else { Err(ProtocolError::InvalidDeflate) }
    })
}

/// The end of what a peer has compressed so far, with context takeover (RFC 7692, 7.1.1): as much of it as its window holds.
#[derive(Debug, Default)]
pub(crate) struct History(Vec<u8>);

impl History {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes in a message that was inflated.
    pub(crate) fn push(&mut self, message: &[u8], window_bits: u8) {
        let window = 1 << window_bits;
        let message = &message[message.len().saturating_sub(window)..];
        let surplus = (self.0.len() + message.len()).saturating_sub(window);
        self.0.drain(..surplus);
        buffer::append(&mut self.0, message, window);
    }
}

struct Inflater {
    inflate: Inflate,
    chunk: Box<[u8; CHUNK_BYTES]>,
}

impl Inflater {
    fn new() -> Self {
        Self { inflate: Inflate::new(false, MAX_WINDOW_BITS), chunk: Box::new([0; CHUNK_BYTES]) }
    }
}

/// A message on its way through the inflater.
struct Inflating<'a> {
    inflater: &'a mut Inflater,
    history: &'a [u8],
    limit: usize,
    message: Vec<u8>,
    /// A last block was the last thing that came, or nothing has come yet.
    at_end: bool,
    starts: usize,
}

impl Inflating<'_> {
    fn feed(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = input;
        let mut chunk_full = false;
        while chunk_full || !rest.is_empty() {
            if self.at_end {
                self.start()?;
            }
            let Inflater { inflate, chunk } = &mut *self.inflater;
            let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
            let status =
                inflate.decompress(rest, &mut chunk[..], InflateFlush::SyncFlush).map_err(|_| ProtocolError::InvalidDeflate)?;
            rest = &rest[(inflate.total_in() - in_before) as usize..];
            let produced = (inflate.total_out() - out_before) as usize;
            if produced > self.limit - self.message.len() {
                return Err(ProtocolError::MessageTooBig { limit: self.limit });
            }
            buffer::append(&mut self.message, &chunk[..produced], self.limit);

            self.at_end = status == Status::StreamEnd;
            chunk_full = !self.at_end && produced == CHUNK_BYTES;
            if !self.at_end && !chunk_full && !rest.is_empty() {
                // It has input and room, and does not go on.
                return Err(ProtocolError::InvalidDeflate);
            }
        }
        Ok(())
    }

    /// Begins the message, or goes on after a last block (RFC 7692, 7.2.3.4): what comes may refer to all before it.
    fn start(&mut self) -> Result<(), ProtocolError> {
        if self.starts > MAX_LAST_BLOCKS {
            return Err(ProtocolError::InvalidDeflate);
        }
        self.starts += 1;
        let message = &self.message[self.message.len().saturating_sub(WINDOW_BYTES)..];
        let history = &self.history[self.history.len().saturating_sub(WINDOW_BYTES - message.len())..];
        // This brings back the full window.
        self.inflater.inflate.reset(false);
        for window in [history, message] {
            if !window.is_empty() {
                self.inflater.inflate.set_dictionary(window).map_err(|_| ProtocolError::InvalidDeflate)?;
            }
        }
        Ok(())
    }
}
