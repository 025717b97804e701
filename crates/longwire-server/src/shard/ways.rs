//! What the engine wants done to the lines of its shard, and whom it reaches (stations 4 and 5).

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use longwire_core::broker::{Delivery, Request, What};
use longwire_core::engine::{Lines, Luggage, Peer};
use longwire_protocol::{CloseCode, Message, Publication, Push, Reply, SessionId};

use super::behind::Behind;
use super::channels::{Answered, Joined, Letter};
use super::events::Followed;
use super::frames::{Content, Encoding, Frames, kind_of};
use super::line::{LineState, Outgoing};
use super::outbox::QueuePool;
use super::slab::{Key, Slab};
use super::socketio::{EXCEPT, Names, ONLY, Places, Says, TO, VOLATILE, is_own};
use super::wire::Outward;
use super::writing::send;
use crate::node::Node;

/// Messages to one line are joined into one WebSocket message up to this many bytes.
const JOIN_BYTES: usize = 16 * 1024;

/// What the engine may do to the shard's lines, and whom it reaches.
pub(super) struct Ways<'a> {
    pub(super) lines: &'a mut Slab<LineState>,
    pub(super) followed: &'a Followed,
    pub(super) queues: &'a mut QueuePool,
    pub(super) dirty: &'a mut Vec<Key>,
    pub(super) outbox_bytes: usize,
    pub(super) behind: &'a mut Behind,
    /// The tick of the wheel.
    pub(super) now: u32,
    pub(super) node: &'a Node,
    pub(super) index: usize,
    pub(super) inbox: &'a mut VecDeque<Letter>,
    pub(super) outgoing: &'a mut [Vec<Letter>],
    /// Lines that are to end, and why; without a code, so that their clients ask again.
    pub(super) closes: &'a mut Vec<(u32, Option<CloseCode>)>,
    pub(super) answers: &'a mut Vec<(u32, Answered)>,
    pub(super) joined: &'a mut Joined,
    pub(super) names: &'a Names,
    pub(super) places: &'a Places,
}

impl Ways<'_> {
    /// Whether the engine has asked for the end of a line during this call.
    pub(super) fn is_closing(&self, line: u32) -> bool {
        self.closes.iter().any(|(closing, _)| *closing == line)
    }

    /// Whether it is an event stream whose client asks for its channels only when it comes back.
    fn cannot_ask_again(&mut self, line: u32) -> bool {
        let is_poll = |at: &mut LineState| at.out.requests().is_some_and(|requests| requests.is_once());
        self.followed.has(line) && !self.lines.at_mut(line).is_some_and(is_poll)
    }

    /// Puts the messages that were joined into the outbox of their line.
    pub(super) fn flush_joined(&mut self) {
        let Some((line, encoding)) = self.joined.line.take() else { return };
        let line = self.through(line);
        if let Some(at) = self.lines.at_mut(line)
            && !at.out.outward.close_sent()
        {
            let payload = &self.joined.bytes;
            at.out.outbox.append(self.queues, |buffer| match encoding.content {
                Content::Plain => {}
                Content::Native(form) => at.out.outward.send(kind_of(form), payload, buffer),
                Content::Events(events) => events.chunk(buffer, |buffer| buffer.extend_from_slice(payload)),
                Content::Socket(_) => buffer.extend_from_slice(payload),
            });
            self.mark_dirty(line);
        }
        self.joined.bytes.clear();
    }

    /// The line that all goes to which is for this one.
    fn through(&mut self, line: u32) -> u32 {
        match self.lines.at_mut(line) {
            Some(LineState { out: Outgoing { outward: Outward::Through(connection), .. }, .. }) => connection.index,
            _ => line,
        }
    }

    fn mark_dirty(&mut self, line: u32) {
        let Some(key) = self.lines.key_at(line) else { return };
        if let Some(at) = self.lines.at_mut(line)
            && !at.out.dirty
        {
            at.out.dirty = true;
            self.dirty.push(key);
        }
    }
}

impl Ways<'_> {
    fn is_for_line(&self, line: u32, publication: &Publication) -> bool {
        publication.rare.as_ref().is_none_or(|rare| rare.tags.is_empty() || self.places.is_for(line, &rare.tags))
    }
}

impl Lines<Frames> for Ways<'_> {
    fn send(&mut self, line: u32, encoding: Encoding, message: &Message) {
        if let Content::Socket(socket) = encoding.content {
            match message {
                Message::Reply(_, Reply::Subscribed(subscribed)) => {
                    let continues = subscribed.recovered == Some(Ok(()));
                    self.places.joined(line, &subscribed.channel, subscribed.position, continues);
                }
                Message::Reply(_, Reply::Unsubscribed { channel }) => self.places.left(line, channel),
                Message::Push(Push::Publication(publication)) if !self.is_for_line(line, publication) => return,
                _ => {}
            }
            if is_own(message) {
                if let Message::Reply(_, reply) = message {
                    self.answers.push((line, Answered::Reply(reply.clone())));
                }
                return;
            }
            if let (Says::Pushes, Message::Reply(Some(_), Reply::Subscribed(_) | Reply::Unsubscribed { .. })) =
                (socket.says, message)
                && self.places.is_kept(line)
            {
                let mut frames = Vec::new();
                socket.push_message(line, message, self.names, self.places, &mut frames);
                self.answers.push((line, Answered::WhenKept(frames)));
                return;
            }
        }
        if encoding.content == Content::Plain {
            return;
        }
        if self.joined.line != Some((line, encoding)) || self.joined.bytes.len() >= JOIN_BYTES {
            self.flush_joined();
            self.joined.line = Some((line, encoding));
        }
        match encoding.content {
            Content::Plain => {}
            Content::Native(form) => form.push_message(message, &mut self.joined.bytes),
            Content::Events(events) => {
                events.push_message(line, message, self.followed, &mut self.joined.bytes);
                if let Message::Reply(_, Reply::Error(error)) = message
                    && error.code.retry()
                    && self.cannot_ask_again(line)
                {
                    self.closes.push((line, None));
                }
            }
            Content::Socket(socket) => {
                socket.push_message(line, message, self.names, self.places, &mut self.joined.bytes);
            }
        }
    }

    fn deal(&mut self, line: u32, frames: &Bytes, alone: bool) -> bool {
        if self.joined.line.is_some_and(|(joined, _)| joined == line) {
            self.flush_joined();
        }
        let Some(at) = self.lines.at_mut(line) else { return true };
        if let Outward::Through(connection) = at.out.outward {
            // What waits for another socket of the connection comes first.
            self.flush_joined();
            return self.deal(connection.index, frames, false);
        }
        let out = &mut at.out;
        if out.outward.close_sent() {
            return true;
        }
        let mut wants_flush = false;
        let is_full = |bytes: usize| bytes > 0 && bytes + frames.len() > self.outbox_bytes;
        if is_full(out.outbox.bytes()) {
            // So much has come within one tick: whether its client is slow is known when the socket was asked.
            // An error is met again, and dealt with, by the flush.
            let waiting = out.outbox.bytes();
            let _ = at.fd.as_ref().map(|fd| out.outbox.write(self.queues, self.now, |slices| send(fd, slices)));
            self.behind.taken(line, waiting - out.outbox.bytes(), out.outbox.bytes());
            if is_full(out.outbox.bytes()) {
                return false;
            }
            // Whoever waited for this is told by a flush, and no other may come.
            wants_flush = out.wants_room || out.choked;
        }
        // A line for which nothing else can come in this tick, since nothing waits and it listens to one channel, is written to
        // at once, while it is in the cache. The others are flushed at the end of the tick, each once.
        let written = match &at.fd {
            Some(fd) if alone && out.outbox.is_empty() => {
                send(fd, &[std::io::IoSlice::new(frames)]).ok().flatten().unwrap_or(0)
            }
            _ => 0,
        };
        if written < frames.len() {
            out.outbox.append_rest(self.queues, frames, written);
            wants_flush = true;
        }
        if wants_flush {
            self.mark_dirty(line);
        }
        true
    }

    fn deal_late(&mut self, line: u32, frames: &Bytes, lines: u32) -> bool {
        let line = self.through(line);
        let Some(at) = self.lines.at_mut(line) else { return true };
        if !self.behind.admits(line, at.out.outbox.bytes(), frames.len(), lines, self.now) {
            return false;
        }
        at.out.outbox.append_shared(self.queues, frames.clone());
        self.mark_dirty(line);
        true
    }

    fn deal_volatile(&mut self, line: u32, frames: &Bytes, alone: bool) {
        let to = self.through(line);
        if self.lines.at_mut(to).is_some_and(|at| at.takes_at_once()) {
            self.deal(line, frames, alone);
        }
    }

    fn is_volatile(&self, delivery: &Delivery) -> bool {
        let What::Publication(publication) = &delivery.what else { return false };
        publication.rare.as_ref().is_some_and(|rare| !rare.tags.is_empty() && rare.tags.contains_key(VOLATILE))
    }

    fn has_shard(&self, shard: u16) -> bool {
        usize::from(shard) < self.outgoing.len()
    }

    fn want_room(&mut self, line: u32) {
        if let Some(key) = self.lines.key_at(line)
            && let Some(LineState { out: Outgoing { outward: Outward::Through(connection), .. }, .. }) = self.lines.at_mut(line)
        {
            let connection = *connection;
            if let Some(at) = self.lines.get_mut(connection) {
                at.out.rare().want_room.push(key);
            }
            return self.want_room(connection.index);
        }
        if let Some(at) = self.lines.at_mut(line) {
            at.out.wants_room = true;
            self.mark_dirty(line);
        }
    }

    fn close(&mut self, line: u32, code: CloseCode) {
        self.closes.push((line, Some(code)));
    }

    fn luggage(&mut self, line: u32) -> Option<Luggage> {
        self.places.luggage(line).map(|(joined, keep)| (Box::new(joined) as Box<dyn Any + Send>, keep))
    }

    fn keys_follow(&mut self, line: u32, encoding: Encoding, channel: &Arc<str>) {
        if let Content::Socket(_) = encoding.content {
            self.places.keys_follow(line, channel);
        }
    }

    fn holds(&mut self, line: u32) -> bool {
        matches!(self.answers.last(), Some((answered, Answered::WhenKept(_))) if *answered == line)
    }

    fn caught_up(&mut self, line: u32) {
        if self.lines.at_mut(line).and_then(|line| line.out.requests()).is_some_and(|requests| requests.is_once()) {
            // Its answer may wait for just that.
            self.mark_dirty(line);
        }
    }

    fn forgotten(&mut self, session: SessionId) {
        self.answers.push((0, Answered::Forgotten(session)));
    }

    fn only(&self, delivery: &Delivery) -> Option<Option<u32>> {
        let What::Publication(publication) = &delivery.what else { return None };
        let id = SessionId::parse(publication.rare.as_ref()?.tags.get(ONLY)?)?;
        // Not for itself, if it has said so.
        Some(self.places.line_of(id).filter(|line| self.is_for_line(*line, publication)))
    }

    fn is_for_all(&self, delivery: &Delivery) -> bool {
        let What::Publication(publication) = &delivery.what else { return true };
        let Some(rare) = &publication.rare else { return true };
        rare.tags.is_empty() || !(rare.tags.contains_key(TO) || rare.tags.contains_key(EXCEPT))
    }

    fn is_for(&self, line: u32, delivery: &Delivery) -> bool {
        let What::Publication(publication) = &delivery.what else { return true };
        self.is_for_line(line, publication)
    }

    fn ask(&mut self, request: Request) {
        self.node.post(self.index, self.inbox, request, None);
    }

    fn tell(&mut self, shard: u16, peer: Peer) {
        let shard = usize::from(shard);
        if shard == self.index {
            self.inbox.push_back(Letter::Peer(peer));
        } else if let Some(letters) = self.outgoing.get_mut(shard) {
            letters.push(Letter::Peer(peer));
        }
    }
}
