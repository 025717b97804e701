//! What goes to the lines: publications, what handlers send, flushes.

use std::io::IoSlice;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::line::{Line, Phase};
use super::outbox::{MAX_SLICES, Outbox};
use super::slab::Key;
use super::{Command, Shard};
use crate::codes;
use crate::handler::Closed;
use longwire_ws::OwnedMessage as Message;

impl Shard {
    /// Stations 3 to 5: what was put in order here goes to every shard, this one included, and from there to the outboxes.
    pub(super) fn fan_out(&mut self) {
        if !self.core.ordered.is_empty() {
            let ordered = std::mem::take(&mut self.core.ordered);
            for shard in (0..self.core.node.shards()).filter(|shard| *shard != self.core.index) {
                self.core.node.mailbox(shard).push(Command::Deliver(ordered.clone()));
            }
            self.core.arrived.extend(ordered.iter().cloned());
            self.core.ordered = ordered;
            self.core.ordered.clear();
        }
        if self.core.arrived.is_empty() {
            return;
        }
        let mut arrived = std::mem::take(&mut self.core.arrived);
        for publication in arrived.drain(..) {
            if self.core.hub.append(&publication) {
                self.deal();
            }
        }
        self.core.arrived = arrived;
        self.deal();
    }

    /// Moves the encoded frames of the hub into the outboxes.
    fn deal(&mut self) {
        let Self { lines, core, .. } = self;
        let super::Core { hub, outboxes, dirty, outbox_bytes, .. } = core;
        let mut slow = Vec::new();
        hub.deal(|index, frames| {
            let Some(line) = lines.at_mut(index) else { return };
            let out = &mut line.out;
            if out.sender.close_sent() {
                return;
            }
            let outbox = out.outbox.get_or_insert_with(|| outboxes.take());
            if outbox.bytes() > 0 && outbox.bytes() + frames.len() > *outbox_bytes {
                slow.push(index);
                return;
            }
            outbox.append_shared(frames.clone());
            if !out.dirty {
                out.dirty = true;
                dirty.extend(lines.key_at(index));
            }
        });
        for key in slow.into_iter().filter_map(|index| self.lines.key_at(index)).collect::<Vec<_>>() {
            self.close(key, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
    }

    /// Writes what waits, one write a line.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.core.dirty);
        for key in dirty.drain(..) {
            self.flush_line(key);
        }
        // What ended while flushing may have left something to flush.
        if self.core.dirty.is_empty() {
            self.core.dirty = dirty;
        }
    }

    fn flush_line(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        line.out.dirty = false;
        if let Some(outbox) = &mut line.out.outbox {
            match write(&line.fd, outbox) {
                Ok(true) => {
                    if let Some(outbox) = line.out.outbox.take() {
                        self.core.outboxes.give(outbox);
                    }
                }
                Ok(false) => {
                    if outbox.stalled_since.replace(self.core.now).is_none() && line.phase == Phase::Open {
                        let by = self.core.timing.write_by(self.core.now);
                        let due = self
                            .core
                            .wheel
                            .due(key.index)
                            .map_or(by, |due| if (due.wrapping_sub(by) as i32) < 0 { due } else { by });
                        self.core.wheel.schedule(key.index, due);
                    }
                }
                Err(error) => {
                    self.cut(key, &format!("connection lost: {error}"));
                    return;
                }
            }
        }
        if line.out.wants_room && line.out.waiting_bytes() < self.core.outbox_bytes / 2 {
            line.out.wants_room = false;
            self.call_handler(key, |handler, line| handler.drained(line));
        }
        self.after_flush(key);
    }

    /// Puts a message into a line's outbox for a handler's task; false if there is no room yet.
    pub(crate) fn send(&mut self, key: Key, message: &Message) -> Result<bool, Closed> {
        self.with_line(key, |line| line.send(message.kind(), message.as_bytes()))
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
        if line.out.sender.close_sent() {
            return Err(Closed);
        }
        let done = act(&mut Line { key, out: &mut line.out, core: &mut self.core });
        self.settle(key);
        self.wake_driver();
        Ok(done)
    }
}

/// Writes until nothing is left (true) or the socket takes no more (false).
fn write(fd: &std::os::fd::OwnedFd, outbox: &mut Outbox) -> Result<bool, Errno> {
    while outbox.bytes() > 0 {
        let written = match outbox.single() {
            Some(bytes) => rustix::net::send(fd, bytes, SendFlags::NOSIGNAL),
            None => {
                // The process ignores SIGPIPE, as every Rust program does.
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let count = outbox.slices(&mut slices);
                rustix::io::writev(fd, &slices[..count])
            }
        };
        match written {
            Ok(count) => {
                outbox.stalled_since = None;
                outbox.advance(count);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
