//! What waits to be written to one line.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// The most pieces of one vectored write.
const MAX_SLICES: usize = 64;
/// A buffer that grew past this is not kept for the next use.
const KEEP_BYTES: usize = 16 * 1024;
/// Emptied queues that a shard keeps.
const POOL_SIZE: usize = 256;

/// Frames in the order in which they go out: 32 bytes in every line, and no memory of its own for the common case, the frames of
/// a channel that all its lines share.
#[derive(Default)]
pub(crate) enum Outbox {
    #[default]
    Empty,
    /// Shared frames, none of them written.
    Shared(Bytes),
    /// Anything else.
    Queue(Box<Queue>),
}

#[derive(Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    bytes: usize,
    /// A buffer from an earlier use.
    spare: Vec<u8>,
    /// The wheel tick of the last progress, while the socket takes no more.
    stalled_since: Option<u32>,
}

enum Piece {
    /// Frames for this line alone, one after the other.
    Own(Vec<u8>),
    /// Frames that many lines send.
    Shared(Bytes),
}

/// Queues without content, for the next line that needs one.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes go into lines, which have 8 bytes for one")]
pub(crate) struct QueuePool(Vec<Box<Queue>>);

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Shared(frames) => frames.len(),
            Self::Queue(queue) => queue.bytes,
        }
    }

    /// The wheel tick of the last progress, while the socket takes no more.
    pub(crate) fn stalled_since(&self) -> Option<u32> {
        match self {
            Self::Queue(queue) => queue.stalled_since,
            _ => None,
        }
    }

    /// Lets `encode` append frames for this line.
    #[inline]
    pub(crate) fn append(&mut self, pool: &mut QueuePool, encode: impl FnOnce(&mut Vec<u8>)) {
        self.queue(pool).append(encode);
    }

    /// Appends frames that are shared with others.
    #[inline]
    pub(crate) fn append_shared(&mut self, pool: &mut QueuePool, frames: Bytes) {
        match self {
            Self::Empty => *self = Self::Shared(frames),
            _ => self.queue(pool).append_shared(frames),
        }
    }

    /// Appends shared frames of which `written` bytes are written already; what came before them must be, too.
    #[inline]
    pub(crate) fn append_rest(&mut self, pool: &mut QueuePool, frames: &Bytes, written: usize) {
        self.append_shared(pool, frames.clone());
        if written > 0 {
            self.queue(pool).advance(written);
        }
    }

    /// Writes with `send` until nothing is left (true) or it takes no more (false). `send` gets the slices to write and says how
    /// many bytes it took, or `None` if it would block; `now` is the wheel tick.
    ///
    /// # Errors
    /// Those of `send`.
    #[inline]
    pub(crate) fn write<E>(
        &mut self,
        pool: &mut QueuePool,
        now: u32,
        mut send: impl FnMut(&[IoSlice<'_>]) -> Result<Option<usize>, E>,
    ) -> Result<bool, E> {
        if let Self::Shared(frames) = self {
            let taken = send(&[IoSlice::new(frames)])?;
            if taken == Some(frames.len()) {
                *self = Self::Empty;
                return Ok(true);
            }
            self.queue(pool).advance(taken.unwrap_or(0));
        }
        let Self::Queue(queue) = self else { return Ok(true) };
        while queue.bytes > 0 {
            let taken = match queue.single() {
                Some(bytes) => send(&[IoSlice::new(bytes)])?,
                None => {
                    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                    let count = queue.slices(&mut slices);
                    send(&slices[..count])?
                }
            };
            match taken {
                Some(count) => {
                    queue.stalled_since = None;
                    queue.advance(count);
                }
                None => {
                    queue.stalled_since.get_or_insert(now);
                    return Ok(false);
                }
            }
        }
        if let Self::Queue(queue) = std::mem::take(self) {
            pool.give(queue);
        }
        Ok(true)
    }

    /// Forgets what has not begun to be written. The rest of a frame that has must still go: a peer reads frames, not bytes.
    pub(crate) fn clear_unwritten(&mut self) {
        match self {
            Self::Queue(queue) => queue.clear_unwritten(),
            _ => *self = Self::Empty,
        }
    }

    #[inline]
    fn queue(&mut self, pool: &mut QueuePool) -> &mut Queue {
        if !matches!(self, Self::Queue(_)) {
            let mut queue = pool.take();
            if let Self::Shared(frames) = std::mem::take(self) {
                queue.append_shared(frames);
            }
            *self = Self::Queue(queue);
        }
        match self {
            Self::Queue(queue) => queue,
            _ => unreachable!("made one just above"),
        }
    }
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Queue {
    #[inline]
    fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.pieces.back(), Some(Piece::Own(_))) {
            self.pieces.push_back(Piece::Own(std::mem::take(&mut self.spare)));
        }
        if let Some(Piece::Own(buffer)) = self.pieces.back_mut() {
            let before = buffer.len();
            encode(buffer);
            self.bytes += buffer.len() - before;
        }
    }

    #[inline]
    fn append_shared(&mut self, frames: Bytes) {
        self.bytes += frames.len();
        self.pieces.push_back(Piece::Shared(frames));
    }

    fn clear_unwritten(&mut self) {
        // Where the frame that is being written ends is not known: all of its piece stays.
        let keep = usize::from(self.written > 0);
        self.pieces.truncate(keep);
        self.bytes = self.pieces.front().map_or(0, |piece| piece.bytes().len() - self.written);
    }

    /// The whole of what waits, if it is one piece.
    #[inline]
    fn single(&self) -> Option<&[u8]> {
        match self.pieces.len() {
            1 => self.pieces.front().map(|piece| &piece.bytes()[self.written..]),
            _ => None,
        }
    }

    /// The next pieces to write.
    #[inline]
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        for piece in self.pieces.iter().take(MAX_SLICES) {
            let skip = if count == 0 { self.written } else { 0 };
            slices[count] = IoSlice::new(&piece.bytes()[skip..]);
            count += 1;
        }
        count
    }

    /// Takes note that `count` bytes are written.
    #[inline]
    fn advance(&mut self, mut count: usize) {
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

impl QueuePool {
    #[inline]
    fn take(&mut self) -> Box<Queue> {
        self.0.pop().unwrap_or_default()
    }

    #[inline]
    fn give(&mut self, mut queue: Box<Queue>) {
        debug_assert_eq!(queue.bytes, 0);
        if self.0.len() < POOL_SIZE && queue.pieces.capacity() <= MAX_SLICES {
            queue.stalled_since = None;
            self.0.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `step` bytes at a time, and blocks after each.
    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let (mut pool, mut out) = (QueuePool::default(), Vec::new());
        loop {
            let mut blocked = false;
            let done = outbox.write(&mut pool, 7, |slices| {
                if std::mem::replace(&mut blocked, true) {
                    return Ok::<_, ()>(None);
                }
                let before = out.len();
                out.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(step));
                Ok(Some(out.len() - before))
            });
            if done == Ok(true) {
                assert!(outbox.is_empty());
                return out;
            }
            assert_eq!(outbox.stalled_since(), Some(7));
        }
    }

    #[test]
    fn bytes_go_out_in_order_whatever_the_socket_takes() {
        for step in 1..40 {
            let (mut outbox, mut pool) = (Outbox::default(), QueuePool::default());
            outbox.append_shared(&mut pool, Bytes::from_static(b"first "));
            outbox.append(&mut pool, |out| out.extend_from_slice(b"own "));
            outbox.append(&mut pool, |out| out.extend_from_slice(b"joined "));
            outbox.append_shared(&mut pool, Bytes::from_static(b"shared "));
            outbox.append_shared(&mut pool, Bytes::from_static(b"again "));
            outbox.append(&mut pool, |out| out.extend_from_slice(b"end"));
            assert_eq!(outbox.bytes(), 33);
            assert_eq!(drain(&mut outbox, step), b"first own joined shared again end");
            outbox.append_shared(&mut pool, Bytes::from_static(b"alone"));
            assert_eq!(drain(&mut outbox, step), b"alone");
        }
    }

    #[test]
    fn the_rest_of_frames_goes_first() {
        let (mut outbox, mut pool) = (Outbox::default(), QueuePool::default());
        outbox.append_rest(&mut pool, &Bytes::from_static(b"begun"), 2);
        outbox.append_rest(&mut pool, &Bytes::from_static(b" more"), 0);
        assert_eq!(outbox.bytes(), 8);
        assert_eq!(drain(&mut outbox, 3), b"gun more");
    }

    #[test]
    fn a_frame_that_has_begun_is_finished() {
        let (mut outbox, mut pool) = (Outbox::default(), QueuePool::default());
        outbox.append_shared(&mut pool, Bytes::from_static(b"begun"));
        outbox.append_shared(&mut pool, Bytes::from_static(b"not begun"));
        let mut takes = [Some(2), None].into_iter();
        assert_eq!(outbox.write(&mut pool, 1, |_| Ok::<_, ()>(takes.next().flatten())), Ok(false));
        outbox.clear_unwritten();
        outbox.append(&mut pool, |out| out.extend_from_slice(b"!"));
        assert_eq!(drain(&mut outbox, 3), b"gun!");
    }
}
