//! How lines end: the closing handshake, lines that are cut, time-outs, and the drain at a shutdown.

use longwire_ws::CloseCode;

use super::Shard;
use super::heartbeat::{Due, Waiting};
use super::line::{Pauses, Phase};
use super::slab::Key;
use super::wire::{Inward, Outward};
use crate::codes;
use crate::handler::{ClosingReply, End, EndedBy};

/// The reason of the 1001 at a shutdown.
pub(super) const SHUTTING_DOWN: &str = "the server is shutting down";
/// How a line ended whose client has just gone.
pub(super) const NO_CLOSE_FRAME: &str = "connection closed without a close frame";

/// Has the log say why a client is refused something, or closed; not each time, since clients decide how often that happens.
pub(super) fn complain(what: &str, reason: &str) {
    sparsely!(INFO, reason, "{what}");
}

impl Shard {
    /// Closes a line from our side. What waits for it still goes out first, unless it waits because the client does not read.
    pub(crate) fn close(&mut self, key: Key, code: CloseCode, reason: &str) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Outward::Through(connection) = line.out.outward {
            return self.close(connection, code, reason);
        }
        if code == codes::SLOW_READER {
            line.out.outbox.clear_unwritten();
        }
        match line.phase {
            Phase::Open => self.end(key, Some(code), reason.to_owned(), EndedBy::Server, Some((code, reason.to_owned()))),
            // The client was first; its own code is the answer.
            Phase::Ending => self.finish_ending(key),
            Phase::Closing | Phase::Lingering => {}
        }
    }

    /// Ends a line: it leaves its channels, its handler is told, and the close frame `reply` goes out, at once or when the
    /// handler has worked off what came before.
    pub(super) fn end(
        &mut self,
        key: Key,
        code: Option<CloseCode>,
        reason: String,
        by: EndedBy,
        reply: Option<(CloseCode, String)>,
    ) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.phase != Phase::Open {
            // Our close frame has gone, and this is the client's: all is said.
            return self.after_flush(key);
        }
        if by == EndedBy::Server && code.is_some_and(|code| code != CloseCode::NORMAL && code != CloseCode::GOING_AWAY) {
            complain("a client is closed", &reason);
        }
        line.phase = Phase::Ending;
        line.waiting = Waiting::Close(self.core.now);
        line.out.rare().reply = reply;
        let timing = &self.core.paces[usize::from(line.pace)].timing;
        self.core.wheel.schedule(key.index, timing.close_by(self.core.now));
        let reply = self.leave(key, &End { code, reason, by });
        if reply == ClosingReply::Now || by == EndedBy::Server && self.receiver_open(key) {
            self.finish_ending(key);
        }
    }

    /// Sends the close frame of a line that has ended, since everything before it is done.
    pub(crate) fn finish_ending(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.phase != Phase::Ending {
            return;
        }
        line.phase = Phase::Closing;
        let reply = line.out.rare().reply.take();
        line.out.append(key, &mut self.core, |outward, buffer| {
            outward.close(reply.as_ref().map(|(code, reason)| (*code, reason.as_str())), buffer);
        });
        // What the client still sends is not for the handler, but its close frame is waited for.
        self.resume(key, Pauses::ALL);
        self.wake_driver();
    }

    /// Once all of a line's close is written: drops it, or waits for the client's part.
    pub(super) fn after_flush(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.phase != Phase::Closing || !line.out.outbox.is_empty() || !line.inward.is_done() {
            return;
        }
        if let Some(fd) = &line.fd
            && line.inward.must_linger()
        {
            // There may be more from the client than we have read, and closing over unread bytes would reset the connection
            // before our close frame is read: shut our direction and wait for theirs.
            line.phase = Phase::Lingering;
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
        } else {
            // RFC 6455, 7.1.1: the server closes the TCP connection first.
            self.remove(key);
        }
    }

    /// The connection is gone: no close frame can be sent.
    pub(super) fn cut(&mut self, key: Key, reason: &str) {
        self.leave(key, &End { code: None, reason: reason.to_owned(), by: EndedBy::Cut });
        self.remove(key);
    }

    /// The client has gone, and nothing is read from the line at the moment, so that its end is not seen. What came before it has as
    /// long as the end of a line may take.
    pub(super) fn ends_unread(&mut self, key: Key, broken: bool) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if !line.is_held() || line.phase != Phase::Open {
            return;
        }
        if broken {
            return self.cut(key, "connection lost");
        }
        line.waiting = Waiting::Close(self.core.now);
        let timing = &self.core.paces[usize::from(line.pace)].timing;
        self.core.wheel.schedule(key.index, timing.close_by(self.core.now));
    }

    /// Looks at the lines that are due for something.
    pub(super) fn look_at_clock(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.core.wheel.advance(self.core.now, &mut due);
        for index in due.drain(..) {
            if let Some(key) = self.lines.key_at(index) {
                self.look_at(key);
            }
        }
        self.due = due;
        self.drain_some();
    }

    fn look_at(&mut self, key: Key) {
        let unconfirmed_until = self.unconfirmed_until(key);
        let Some(line) = self.lines.get_mut(key) else { return };
        let now = self.core.now;
        // While the shard does not look, nobody can be heard.
        let timing = self.core.paces[usize::from(line.pace)].timing;
        let (due, mut next) = timing.check(now, &line.times(now, !self.unlooked));
        let until = line.out.requests().and_then(|requests| requests.until());
        let poll_is_over = until.is_some_and(|until| until.wrapping_sub(now) as i32 <= 0);
        if let Some(until) = until.filter(|until| !poll_is_over && (until.wrapping_sub(next) as i32) < 0) {
            next = until;
        }
        if let Some(until) = unconfirmed_until {
            if until.wrapping_sub(now) as i32 <= 0 {
                return self.cut(key, "never used");
            }
            if (until.wrapping_sub(next) as i32) < 0 {
                next = until;
            }
        }
        self.core.wheel.schedule(key.index, next);
        if poll_is_over {
            self.poll_is_over(key);
            return self.look_at(key);
        }
        match due {
            Due::Nothing => {}
            Due::Ping => {
                // A client that cannot answer is believed to be there as long as its system takes what it is sent.
                match (&line.inward, &line.fd) {
                    (Inward::Requests, Some(_)) => line.heard = now,
                    _ => line.waiting = Waiting::Pong(now),
                }
                if line.fd.is_none() && matches!(line.out.outward, Outward::WebSocket(_)) {
                    // It is to poll again, and nothing would be a sign of life to it.
                    return;
                }
                line.out.append(key, &mut self.core, |outward, buffer| outward.ping(b"", buffer));
            }
            Due::PingTimeout => self.give_up(key, codes::PING_TIMEOUT),
            Due::IdleTimeout => self.close(key, codes::IDLE_TIMEOUT, codes::reason(codes::IDLE_TIMEOUT)),
            Due::WriteTimeout => self.give_up(key, codes::WRITE_TIMEOUT),
            Due::CloseTimeout if line.phase == Phase::Ending => self.finish_ending_at_last(key),
            Due::CloseTimeout if line.phase == Phase::Open && line.is_held() => self.cut(key, NO_CLOSE_FRAME),
            Due::CloseTimeout => self.remove(key),
        }
    }

    /// The handler did not work off what came before the end in time: the close frame goes without it.
    fn finish_ending_at_last(&mut self, key: Key) {
        self.finish_ending(key);
        if let Some(line) = self.lines.get_mut(key) {
            line.waiting = Waiting::Close(self.core.now);
            let timing = &self.core.paces[usize::from(line.pace)].timing;
            self.core.wheel.schedule(key.index, timing.close_by(self.core.now));
        }
    }

    /// A peer that is not there will not shake hands: one try to tell it, then the line is dropped.
    fn give_up(&mut self, key: Key, code: CloseCode) {
        let reason = codes::reason(code);
        if code != codes::PING_TIMEOUT {
            complain("a client is closed", reason);
        }
        self.leave(key, &End { code: Some(code), reason: reason.to_owned(), by: EndedBy::Server });
        if let Some(line) = self.lines.get_mut(key)
            && line.out.outbox.is_empty()
            && let Some(fd) = &line.fd
        {
            let mut frame = Vec::new();
            line.out.outward.close(Some((code, reason)), &mut frame);
            let _ = rustix::io::write(fd, &frame);
        }
        self.remove(key);
    }

    /// Takes the line out of its channels and tells its handler, once.
    fn leave(&mut self, key: Key, end: &End) -> ClosingReply {
        let Some(line) = self.lines.get_mut(key) else { return ClosingReply::Now };
        let Some(mut handler) = line.handler.take() else { return ClosingReply::Now };
        let (is_forgotten, is_confirmed) =
            line.out.requests().map_or((false, true), |requests| (requests.is_forgotten(), requests.confirmed));
        self.connection_ends(key, end);
        // Nobody can come back to a session that nobody was told of.
        self.engine(|engine, ways| match (is_forgotten, is_confirmed) {
            (true, _) => engine.ended(key.index, ways),
            (false, true) => engine.closed(key.index, ways),
            (false, false) => engine.given_up(key.index, ways),
        });
        self.core.channels.followed.end(key.index);
        // The handler is dropped in there, too: that is also its user's code.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || handler.closed(end)));
        self.core.handlers_woken = true;
        told.unwrap_or(ClosingReply::Now)
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.leave(key, &End { code: None, reason: "dropped".into(), by: EndedBy::Server });
        self.answer_nothing_more(key);
        if let Some(line) = self.lines.remove(key) {
            self.core.wheel.cancel(key.index);
            self.core.behind.forget(key.index);
            if line.out.has_rare() {
                self.forget_requests(line);
            }
        }
    }

    fn receiver_open(&mut self, key: Key) -> bool {
        self.lines.get_mut(key).is_some_and(|line| !line.inward.is_done())
    }

    /// At a shutdown: closes as many of the lines as the time of the drain that is over, and all of them when it is.
    fn drain_some(&mut self) {
        while let Some(drain) = &mut self.drain {
            let passed = self.core.now.wrapping_sub(drain.since);
            let share = (drain.lines as u64 * u64::from(passed)).div_ceil(u64::from(drain.over.max(1)));
            let is_over = passed >= drain.over;
            if drain.next as usize >= self.lines.capacity() || !is_over && drain.closed as u64 >= share {
                return;
            }
            let index = drain.next;
            drain.next += 1;
            if let Some(key) = self.lines.key_at(index) {
                drain.closed += 1;
                self.close(key, CloseCode::GOING_AWAY, SHUTTING_DOWN);
            }
        }
    }
}
