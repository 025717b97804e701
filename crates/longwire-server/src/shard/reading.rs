//! What comes from the lines: bytes become events, events reach handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use longwire_ws::{CloseCode, Connection, Event, Input, Message as Received, Receiver, Role, Sender};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::closing::NO_CLOSE_FRAME;
use super::engine_io::{self, Heard};
use super::heartbeat::Timing;
use super::later::Later;
use super::line::{Deferred, Line, LineState, Outgoing, Pauses, Phase};
use super::poller::MAX_EVENTS;
use super::slab::Key;
use super::wire::{EventsEnd, Inward, Outward};
use super::{Adoption, EngineForm, Shard, Speaks};
use crate::handler::EndedBy;

impl Shard {
    /// Takes over a connection that has become a line.
    pub(super) fn adopt(&mut self, adoption: Adoption) {
        let Adoption { fd, read, speaks, requests, handler, permit } = adoption;
        // What clients of Engine.IO send may be compressed. What they are sent is not, since a poll may take it as well.
        let engine = |deflate| (Receiver::new(Role::Server, deflate), Sender::new(Role::Server, None));
        let (mut pace, mut open, mut becomes) = (0, None, None);
        let (mut inward, outward) = match speaks {
            Speaks::WebSocket(deflate) => {
                let Connection { receiver, sender } = Connection::new(Role::Server, deflate);
                (Inward::WebSocket(receiver), Outward::WebSocket(sender))
            }
            Speaks::Events(events) => (Inward::Requests, Outward::Events(events, EventsEnd::Open)),
            Speaks::Engine { form, pace: kept, open: packet, id, deflate } => {
                let (receiver, sender) = engine(deflate);
                (pace, open) = (kept, Some((packet, id)));
                (Inward::Engine(receiver, form.revision), Outward::Engine(sender, form))
            }
            Speaks::Candidate { revision, of, deflate } => {
                let (receiver, sender) = engine(deflate);
                becomes = Some(of);
                (Inward::Candidate(receiver, revision), Outward::Engine(sender, EngineForm { revision, base64: false }))
            }
        };
        if fd.is_none() {
            inward = Inward::Requests;
        }
        let now = self.core.now;
        let key = self.lines.insert(LineState {
            fd,
            pace,
            turn: self.turn.wrapping_sub(1),
            unread: false,
            phase: Phase::Open,
            waiting: Timing::at_first(now, outward.counts_pings()),
            heard: now,
            message_at: now,
            inward,
            handler: None,
            out: Outgoing::new(outward),
            _permit: permit,
        });
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Some(fd) = &line.fd
            && let Err(error) = self.poller.watch(fd, key)
        {
            sparsely!(WARN, %error, "cannot watch a new line");
            self.lines.remove(key);
            return;
        }
        if let Some(requests) = requests {
            self.addresses.insert(requests.id, key, &self.lines);
            let Some(line) = self.lines.get_mut(key) else { return };
            line.out.rare().requests = Some(requests);
        } else if let Some((_, id)) = &open {
            self.addresses.insert(*id, key, &self.lines);
        }
        let Some(line) = self.lines.get_mut(key) else { return };
        if becomes.is_some() {
            line.out.rare().becomes = becomes;
            self.candidate_opened(key);
            return self.received(key, &mut Vec::from(read));
        }
        if let Some((open, _)) = open {
            line.out.append(key, &mut self.core, |outward, buffer| outward.packet(&open, buffer));
        }
        self.core.wheel.schedule(key.index, self.core.paces[usize::from(pace)].timing.first_check(now));
        match catch_unwind(AssertUnwindSafe(handler)) {
            Ok(handler) => line.handler = Some(handler),
            Err(_) => self.handler_panicked(key),
        }
        self.call_handler(key, |handler, line| handler.opened(line));
        if !read.is_empty() {
            self.received(key, &mut Vec::from(read));
        }
        self.begun(key);
        if self.drain.is_some() {
            self.close(key, CloseCode::GOING_AWAY, super::closing::SHUTTING_DOWN);
        }
    }

    /// Reads every line that has something, once, however often it is shown to have something; a line that fills the buffer gets its
    /// next turn in the next tick. So one that floods delays the others by one read.
    pub(super) fn read_lines(&mut self) -> std::io::Result<()> {
        self.unlooked = true;
        if self.core.node.is_congested() {
            return Ok(());
        }
        let unread = std::mem::take(&mut self.unread);
        self.turn = self.turn.wrapping_add(1);
        // So many looks show every line that is ready now. What becomes ready meanwhile has its turn in the next tick.
        for _ in 0..=self.lines.len() / MAX_EVENTS {
            self.unlooked = self.poller.look()?;
            self.read_ready_lines();
            if !self.unlooked {
                break;
            }
        }
        for key in unread {
            if let Some(line) = self.lines.get_mut(key) {
                line.unread = false;
                // The event that said that the client has closed may have come while the line was not read.
                self.read_in_turn(key, true);
            }
        }
        Ok(())
    }

    /// Reads a line, in the next tick if it was read in this one.
    fn read_in_turn(&mut self, key: Key, to_end: bool) {
        let turn = self.turn;
        match self.lines.get_mut(key) {
            Some(line) if line.turn == turn => self.read_later(key),
            Some(line) => {
                line.turn = turn;
                self.read(key, to_end);
            }
            None => {}
        }
    }

    /// Has a line read in the next tick.
    pub(super) fn read_later(&mut self, key: Key) {
        if let Some(line) = self.lines.get_mut(key)
            && !std::mem::replace(&mut line.unread, true)
        {
            self.unread.push(key);
        }
    }

    /// Reads the lines that the last look has shown.
    fn read_ready_lines(&mut self) {
        let mut readiness = std::mem::take(&mut self.readiness);
        readiness.extend(self.poller.readiness());
        for ready in readiness.drain(..) {
            if ready.closed {
                self.later.push_back((ready.key, Later::Read { broken: ready.broken }));
            } else if ready.readable {
                self.read_in_turn(ready.key, false);
            }
            if ready.writable
                && let Some(line) = self.lines.get_mut(ready.key)
                && !line.out.outbox.is_empty()
            {
                line.out.mark_dirty(ready.key, &mut self.core);
            }
        }
        self.readiness = readiness;
    }

    /// Reads a line, as much as the buffer holds; with `to_end`, until nothing is left, since no further event will come.
    pub(super) fn read(&mut self, key: Key, to_end: bool) {
        if let Some(line) = self.lines.get_mut(key)
            && !line.is_held()
        {
            let mut stash = line.out.take_stash();
            if line.out.requests().is_some() {
                self.hear_posted(key);
            }
            self.received(key, &mut stash);
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut left = buffer.len();
        while let Some(line) = self.lines.get_mut(key) {
            if line.is_held() {
                break;
            }
            let Some(fd) = &line.fd else { break };
            match rustix::net::recv(fd, &mut buffer[..left], RecvFlags::empty()).map(|(count, _)| count) {
                // A client that has said its last may end its direction; what it is to be answered still goes out.
                Ok(0) if matches!(line.phase, Phase::Ending | Phase::Closing) && line.inward.is_done() => break,
                Ok(0) => {
                    self.cut(key, NO_CLOSE_FRAME);
                    break;
                }
                Ok(count) => {
                    self.received(key, &mut buffer[..count]);
                    left -= count;
                    if left == 0 {
                        self.read_later(key);
                        break;
                    }
                    if !to_end {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.cut(key, &format!("connection lost: {error}"));
                    break;
                }
            }
        }
        self.read_buffer = buffer;
    }

    /// Makes events of what was read.
    fn received(&mut self, key: Key, bytes: &mut [u8]) {
        let now = self.core.now;
        let mut input = Input::new(bytes);
        let mut received;
        while let Some(line) = self.lines.get_mut(key) {
            line.heard = now;
            if line.phase == Phase::Lingering {
                return;
            }
            line.out.choked |= line.out.outbox.bytes() >= self.core.outbox_bytes;
            if line.is_held() {
                if input.remaining() > 0 {
                    line.out.rare().stash.extend_from_slice(input.rest());
                }
                return;
            }
            let LineState { inward, handler, out, phase, message_at, pace, .. } = line;
            let (receiver, revision, is_candidate) = match inward {
                Inward::WebSocket(receiver) => (receiver, None, false),
                Inward::Engine(receiver, revision) => (receiver, Some(*revision), false),
                Inward::Candidate(receiver, revision) => (receiver, Some(*revision), true),
                // Whatever it says there, nobody has asked.
                Inward::Requests => return,
            };
            match receiver.receive(&mut input, &self.core.limits) {
                Ok(None) => return,
                Ok(Some(Event::Message(message))) => {
                    *message_at = now;
                    let heard = match revision {
                        None => Heard::Message(message),
                        Some(_) if engine_io::is_too_long(&message, self.core.paces[usize::from(*pace)].message_bytes) => {
                            let code = CloseCode::TOO_BIG;
                            self.end(key, Some(code), "message too long".into(), EndedBy::Server, Some((code, String::new())));
                            return;
                        }
                        Some(revision) if is_candidate => {
                            let text = message.as_str().unwrap_or_default().to_owned();
                            if let Some(line) = self.candidate_said(key, revision, &text) {
                                let mut rest = input.rest().to_vec();
                                return self.received(line, &mut rest);
                            }
                            continue;
                        }
                        Some(revision) => {
                            received = message;
                            Heard::of(revision, &received)
                        }
                    };
                    let decoded;
                    let heard = match heard {
                        Heard::Bytes(bytes) => {
                            decoded = bytes;
                            Heard::Message(Received::binary(&decoded))
                        }
                        heard => heard,
                    };
                    match heard {
                        Heard::Bytes(_) => {}
                        Heard::Message(message) => {
                            if *phase == Phase::Open
                                && !out.close_asked()
                                && let Some(handler) = handler
                            {
                                let mut line = Line { key, out, core: &mut self.core };
                                // A panic in a handler must not take the other lines of the shard with it.
                                if catch_unwind(AssertUnwindSafe(|| handler.message(&mut line, message))).is_err() {
                                    self.handler_panicked(key);
                                }
                                self.settle(key);
                            }
                        }
                        Heard::Packet(kind) => self.engine_packet(key, kind),
                        Heard::Wrong(why) => {
                            let code = engine_io::WRONG;
                            self.end(key, Some(code), why.into(), EndedBy::Server, Some((code, why.into())));
                            return;
                        }
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    out.append(key, &mut self.core, |outward, buffer| outward.pong(payload, buffer));
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    let code = frame.as_ref().map(|frame| frame.code);
                    let reason = frame.map(|frame| frame.reason).unwrap_or_default();
                    self.end(key, code, reason, EndedBy::Client, code.map(|code| (code, String::new())));
                    return;
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.end(key, Some(error.code()), reason.clone(), EndedBy::Server, Some((error.code(), reason)));
                    return;
                }
            }
        }
    }

    /// Runs a call of the line's handler, and what it asked for.
    pub(super) fn call_handler(&mut self, key: Key, call: impl FnOnce(&mut Box<dyn crate::LineHandler>, &mut Line<'_>)) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Some(handler) = &mut line.handler {
            let mut line = Line { key, out: &mut line.out, core: &mut self.core };
            if catch_unwind(AssertUnwindSafe(|| call(handler, &mut line))).is_err() {
                self.handler_panicked(key);
            }
        }
        self.settle(key);
    }

    fn handler_panicked(&mut self, key: Key) {
        if let Some(line) = self.lines.get_mut(key) {
            line.out.rare().close = Some((CloseCode::INTERNAL_ERROR, "handler failed".into()));
            self.core.close_asked = true;
        }
    }

    /// Does what a handler could only ask for while its line was borrowed.
    #[inline]
    pub(super) fn settle(&mut self, key: Key) {
        if !self.core.deferred.is_empty() {
            self.do_deferred();
        }
        if std::mem::take(&mut self.core.close_asked)
            && let Some(line) = self.lines.get_mut(key)
            && let Some((code, reason)) = line.out.rare().close.take()
        {
            self.close(key, code, &reason);
        }
    }

    fn do_deferred(&mut self) {
        let mut deferred = std::mem::take(&mut self.core.deferred);
        for (key, deferred) in deferred.drain(..) {
            let Some(line) = self.lines.get_mut(key) else { continue };
            // A line that has ended has left its channels.
            let is_over = line.handler.is_none();
            match deferred {
                _ if is_over => {}
                Deferred::Opened(content) => self.native_opened(key, content),
                Deferred::Said(form, message) => self.native_said(key, form, message),
                Deferred::Room => self.later.push_back((key, Later::Room)),
                Deferred::Socket(heard) => self.socket_heard(key, heard),
            }
        }
        if self.core.deferred.is_empty() {
            self.core.deferred = deferred;
        }
    }

    /// What the reading of a line waited for is there: if there is nothing else, it is read again, from what has come meanwhile.
    pub(crate) fn resume(&mut self, key: Key, pause: Pauses) {
        if let Some(line) = self.lines.get_mut(key)
            && line.out.goes_on(pause)
        {
            self.read_later(key);
            self.wake_driver();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{ErrorKind, Write as _};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use longwire_ws::handshake::deflate::DeflateParams;

    use super::*;
    use crate::{LineHandler, Server};

    /// Counts the bytes of what it hears.
    struct Counts(Rc<Cell<usize>>);

    impl LineHandler for Counts {
        fn message(&mut self, _: &mut Line<'_>, message: Received<'_>) {
            self.0.set(self.0.get() + message.as_bytes().len());
        }
    }

    thread_local! {
        /// What the line of the test has heard.
        static HEARD: Rc<Cell<usize>> = Rc::default();
    }

    /// A message of so many bytes, with its head and a mask of zeros.
    const MESSAGE: usize = 16 * 1024;

    /// Writes messages until the socket takes no more; `written` bytes of the first one have been written already.
    fn flood(client: &mut UnixStream, written: &mut usize) {
        let payload = MESSAGE - 8;
        let mut message = vec![0x82, 0x80 | 126, (payload >> 8) as u8, payload as u8];
        message.resize(MESSAGE, 0);
        loop {
            match client.write(&message[*written..]) {
                Ok(more) => *written = (*written + more) % MESSAGE,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_line_that_floods_is_read_once_a_tick_however_often_it_is_shown_to_have_something() {
        let (_, running) = Server::builder().configure(|config| config.shards = 1).launch(&[]).unwrap();
        let node = running.node();
        let mut shard = Shard::new(node.clone(), 0, node.home_of(0).0).unwrap();
        let (line, mut client) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        line.set_nonblocking(true).unwrap();
        shard.adopt(Adoption {
            fd: Some(line.into()),
            read: bytes::Bytes::new(),
            speaks: Speaks::WebSocket(None::<DeflateParams>),
            requests: None,
            handler: Box::new(|| Box::new(Counts(HEARD.with(Rc::clone)))),
            permit: node.0.places.connection(None).unwrap(),
        });
        // And what has come of a message before.
        let once = shard.read_buffer.len() + MESSAGE;
        let (mut written, mut before) = (0, 0);
        for tick in 0..20 {
            // What is new is shown by the poller, beside what was left over in the last tick.
            flood(&mut client, &mut written);
            shard.read_lines().unwrap();
            let heard = HEARD.with(|heard| heard.get());
            assert!(heard > before, "in tick {tick} it is not read");
            assert!(heard - before < once, "in tick {tick} {} bytes are heard, of less than {once}", heard - before);
            before = heard;
        }
        assert!(!shard.unread.is_empty(), "there was always more than is read at once");
    }
}
