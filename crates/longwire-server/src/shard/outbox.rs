//! What waits to be written to one line.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// The most pieces of one vectored write.
pub(crate) const MAX_SLICES: usize = 64;
/// A buffer that grew past this is not kept for the next use.
const KEEP_BYTES: usize = 16 * 1024;
/// Emptied outboxes that a shard keeps.
const POOL_SIZE: usize = 256;

/// Frames in the order in which they go out. A line has one only while something waits.
#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    bytes: usize,
    /// A buffer from an earlier use.
    spare: Vec<u8>,
    /// The wheel tick of the last progress, while the socket takes no more.
    pub(crate) stalled_since: Option<u32>,
}

enum Piece {
    /// Frames for this line alone, one after the other.
    Own(Vec<u8>),
    /// Frames that many lines send.
    Shared(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Outbox {
    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets `encode` append frames for this line.
    #[inline]
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.pieces.back(), Some(Piece::Own(_))) {
            self.pieces.push_back(Piece::Own(std::mem::take(&mut self.spare)));
        }
        if let Some(Piece::Own(buffer)) = self.pieces.back_mut() {
            let before = buffer.len();
            encode(buffer);
            self.bytes += buffer.len() - before;
        }
    }

    /// Appends frames that are shared with others.
    #[inline]
    pub(crate) fn append_shared(&mut self, frames: Bytes) {
        self.bytes += frames.len();
        self.pieces.push_back(Piece::Shared(frames));
    }

    /// Forgets what has not begun to be written. The rest of a frame that has must still go: a peer reads frames, not bytes.
    pub(crate) fn clear_unwritten(&mut self) {
        // Where the frame that is being written ends is not known: all of its piece stays.
        let keep = usize::from(self.written > 0);
        self.pieces.truncate(keep);
        self.bytes = self.pieces.front().map_or(0, |piece| piece.bytes().len() - self.written);
    }

    /// The next pieces to write.
    #[inline]
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        for piece in self.pieces.iter().take(MAX_SLICES) {
            let skip = if count == 0 { self.written } else { 0 };
            slices[count] = IoSlice::new(&piece.bytes()[skip..]);
            count += 1;
        }
        count
    }

    /// The whole of what waits, if it is one piece.
    #[inline]
    pub(crate) fn single(&self) -> Option<&[u8]> {
        match self.pieces.len() {
            1 => self.pieces.front().map(|piece| &piece.bytes()[self.written..]),
            _ => None,
        }
    }

    /// Takes note that `count` bytes are written.
    #[inline]
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(front) = self.pieces.front_mut() {
            let left = front.bytes().len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            if let Some(Piece::Own(mut buffer)) = self.pieces.pop_front()
                && buffer.capacity() <= KEEP_BYTES
            {
                buffer.clear();
                self.spare = buffer;
            }
        }
    }
}

/// Outboxes without content, for the next line that needs one.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes go into lines, which have 8 bytes for one")]
pub(crate) struct OutboxPool(Vec<Box<Outbox>>);

impl OutboxPool {
    #[inline]
    pub(crate) fn take(&mut self) -> Box<Outbox> {
        self.0.pop().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn give(&mut self, mut outbox: Box<Outbox>) {
        debug_assert_eq!(outbox.bytes, 0);
        if self.0.len() < POOL_SIZE && outbox.pieces.capacity() <= 64 {
            outbox.stalled_since = None;
            self.0.push(outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while outbox.bytes() > 0 {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbox.slices(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            let take = step.min(all.len());
            out.extend_from_slice(&all[..take]);
            outbox.advance(take);
        }
        out
    }

    #[test]
    fn bytes_go_out_in_order_whatever_the_socket_takes() {
        for step in 1..12 {
            let mut outbox = Outbox::default();
            outbox.append(|out| out.extend_from_slice(b"own "));
            outbox.append(|out| out.extend_from_slice(b"joined "));
            outbox.append_shared(Bytes::from_static(b"shared "));
            outbox.append_shared(Bytes::from_static(b"again "));
            outbox.append(|out| out.extend_from_slice(b"end"));
            assert_eq!(outbox.bytes(), 27);
            assert_eq!(drain(&mut outbox, step), b"own joined shared again end");
        }
    }

    #[test]
    fn a_frame_that_has_begun_is_finished() {
        let mut outbox = Outbox::default();
        outbox.append_shared(Bytes::from_static(b"begun"));
        outbox.append_shared(Bytes::from_static(b"not begun"));
        outbox.advance(2);
        outbox.clear_unwritten();
        outbox.append(|out| out.extend_from_slice(b"!"));
        assert_eq!(drain(&mut outbox, 3), b"gun!");
    }
}
