//! What goes to the lines: publications, what handlers send, flushes.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::Shard;
use super::later::Later;
use super::line::{Line, Phase};
use super::slab::Key;
use crate::codes;
use crate::handler::Closed;
use longwire_ws::OwnedMessage as Message;

impl Shard {
    /// Writes what waits, one write a line.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.core.dirty);
        for key in dirty.drain(..) {
            self.flush_line(key);
        }
        if !self.core.behind.is_empty() {
            self.close_slow();
        }
        // What ended while flushing may have left something to flush.
        if self.core.dirty.is_empty() {
            self.core.dirty = dirty;
        }
    }

    /// Closes the lines whose clients are behind and take too little.
    fn close_slow(&mut self) {
        for line in self.core.behind.slow(self.core.now) {
            self.core.behind.forget(line);
            if let Some(key) = self.lines.key_at(line) {
                self.close(key, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
            }
        }
    }

    /// Whether so many bytes more may wait for a line, for nobody else: if there is too little room, what its socket takes goes first.
    pub(super) fn has_room_for(&mut self, key: Key, bytes: usize) -> bool {
        let Some(line) = self.lines.get_mut(key) else { return true };
        let waiting = line.out.outbox.bytes();
        if waiting == 0 || waiting.saturating_add(bytes) <= self.core.outbox_bytes {
            return true;
        }
        if let Some(fd) = &line.fd {
            // An error is met again, and dealt with, by the flush.
            let _ = line.out.outbox.write(&mut self.core.queues, self.core.now, |slices| send(fd, slices));
        }
        let left = line.out.outbox.bytes();
        self.core.behind.taken(key.index, waiting - left, left);
        // Whoever waits for room is told by a flush.
        line.out.mark_dirty(key, &mut self.core);
        self.core.behind.admits(key.index, left, bytes, 1, self.core.now)
    }

    fn flush_line(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        line.out.dirty = false;
        let (stalled, waiting) = (line.out.outbox.stalled_since(), line.out.outbox.bytes());
        let pace = usize::from(line.pace);
        let Some(fd) = &line.fd else {
            self.flush_to_poll(key);
            return self.flushed(key, waiting);
        };
        match line.out.outbox.write(&mut self.core.queues, self.core.now, |slices| send(fd, slices)) {
            Ok(true) => {}
            Ok(false) => {
                if stalled.is_none() && line.phase == Phase::Open {
                    self.core.wheel.schedule_earlier(key.index, self.core.paces[pace].timing.write_by(self.core.now));
                }
            }
            Err(error) => {
                self.cut(key, &format!("connection lost: {error}"));
                return;
            }
        }
        self.flushed(key, waiting);
    }

    /// The client has been given what it took of so many bytes.
    fn flushed(&mut self, key: Key, waiting: usize) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if !self.core.behind.is_empty() {
            let left = line.out.outbox.bytes();
            self.core.behind.taken(key.index, waiting.saturating_sub(left), left);
        }
        if (line.out.wants_room || line.out.choked) && line.out.outbox.bytes() <= self.core.outbox_bytes / 2 {
            self.has_room(key);
        }
        self.after_flush(key);
    }

    /// The client has taken what it was behind with: its handler may send, and it is read again.
    fn has_room(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if std::mem::take(&mut line.out.choked) && !line.out.paused.any() {
            self.read_later(key);
        }
        let Some(line) = self.lines.get_mut(key) else { return };
        if std::mem::take(&mut line.out.wants_room) {
            if line.out.has_rare() {
                for socket in std::mem::take(&mut line.out.rare().want_room) {
                    self.later.push_back((socket, Later::Room));
                }
            }
            self.call_handler(key, |handler, line| handler.drained(line));
        }
    }

    /// Puts a message into a line's outbox for a handler's task; false if there is no room yet.
    pub(crate) fn send(&mut self, key: Key, message: &Message) -> Result<bool, Closed> {
        self.with_line(key, |line| line.try_send(message.kind(), message.as_bytes()))
    }

    /// Puts a ping into a line's outbox for a handler's task.
    pub(crate) fn ping(&mut self, key: Key, payload: &[u8]) -> Result<(), Closed> {
        self.with_line(key, |line| line.ping(payload))
    }

    /// Subscribes a line for a handler's task; false if it was subscribed already.
    pub(crate) fn subscribe(&mut self, key: Key, channel: &str) -> Result<bool, Closed> {
        self.with_line(key, |line| line.subscribe(channel))
    }

    /// Ends a subscription for a handler's task.
    pub(crate) fn unsubscribe_from(&mut self, key: Key, channel: &str) -> Result<(), Closed> {
        self.with_line(key, |line| line.unsubscribe(channel))
    }

    /// What a handler's task may do with its line: the same as a [`LineHandler`](crate::LineHandler) during a call.
    fn with_line<T>(&mut self, key: Key, act: impl FnOnce(&mut Line<'_>) -> T) -> Result<T, Closed> {
        let line = self.lines.get_mut(key).ok_or(Closed)?;
        if line.out.outward.close_sent() {
            return Err(Closed);
        }
        let done = act(&mut Line { key, out: &mut line.out, core: &mut self.core });
        self.settle(key);
        self.wake_driver();
        Ok(done)
    }
}

/// How many bytes the socket took; `None` if it takes none now.
#[inline]
pub(super) fn send(fd: &OwnedFd, slices: &[IoSlice<'_>]) -> Result<Option<usize>, Errno> {
    loop {
        let sent = match slices {
            [slice] => rustix::net::send(fd, slice, SendFlags::NOSIGNAL),
            // The process ignores SIGPIPE, as every Rust program does.
            slices => rustix::io::writev(fd, slices),
        };
        match sent {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
