//! Lines that HTTP requests reach: some bring what the client says, others fetch what waits for it.
//!
//! Such a line has an address, which names its shard, so that a request may arrive anywhere. What is sent to the client stands in
//! the line's outbox as frames of a WebSocket, whoever will take it: a poll makes an HTTP body of them, and a WebSocket that takes
//! the line over (Engine.IO's upgrade) writes them as they are.

use std::collections::VecDeque;

use bytes::Bytes;
use longwire_protocol::SessionId;
use longwire_socketio::engine::payload::{self, Content};
use longwire_socketio::engine::{self, EncodedPacket, Form, PacketKind, Revision, Upgrade};
use longwire_ws::{CloseCode, Opcode, OwnedMessage as Message, frame};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::Shard;
use super::closing::complain;
use super::heartbeat::ticks;
use super::line::Phase;
use super::once::Once;
use super::slab::Key;
use super::wire::Outward;
use crate::handler::EndedBy;
use crate::node::Arrival;

/// What is kept of a line that requests reach.
pub(crate) struct Requests {
    pub(crate) id: SessionId,
    speaks: Spoken,
    /// The request that waits for something to be said.
    pub(super) poll: Option<Poll>,
    /// How many polls and posts there were.
    polls: u64,
    posts: u64,
    /// Whether anybody has asked for the line but who began it.
    pub(super) confirmed: bool,
    /// The tick at which it was begun, if it is to be confirmed.
    pub(super) begun: Option<u32>,
    /// What was posted and not heard yet, and the request that waits until it is.
    unheard: VecDeque<Said>,
    post: Option<Post>,
    /// Of a line that gives one answer, what that will be.
    pub(super) once: Option<Box<Once>>,
    pub(super) upgrade: Upgrade,
    /// The WebSocket that may become the transport.
    pub(super) candidate: Option<Key>,
}

/// What the bodies of requests hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// The native protocol, in JSON: one message a line.
    Native,
    /// One answer, with what has happened in channels.
    Once,
    /// Payloads of Engine.IO; with base64 for bytes, if the client wants that.
    Engine { revision: Revision, base64: bool },
}

/// A request that waits.
pub(super) struct Poll {
    arrival: Arrival,
    answer: oneshot::Sender<Polled>,
    /// The tick at which it is answered in any case.
    pub(super) until: Option<u32>,
}

/// A request whose messages are being heard.
struct Post {
    arrival: Arrival,
    answer: oneshot::Sender<Posted>,
}

/// What a poll is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// This.
    Body(Content, Bytes),
    /// These messages, each on a line, and how far the client is with them in its channels: nothing if one has refused it.
    Once { lines: Vec<u8>, cursor: Vec<u8> },
    /// That there was nothing in time.
    Nothing,
    /// That there is no such line.
    Unknown,
    /// That another poll waits: the line is lost.
    Overlap,
    /// That the line does not poll, or speaks something else.
    Mistaken,
}

/// What a post is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// All was taken.
    Taken,
    Unknown,
    /// Another one is still being read: the line is lost.
    Overlap,
    /// What was said breaks a rule: the line is lost.
    Wrong,
    /// The line speaks something else.
    Mistaken,
}

/// The line that a request is for, the revision of Engine.IO that it speaks, if it does, and when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) id: SessionId,
    pub(crate) revision: Option<Revision>,
    /// How many requests of its kind there were before, if the client says so: browsers repeat requests by themselves.
    pub(crate) number: Option<u64>,
    pub(crate) arrival: Arrival,
}

/// One thing that a client has said.
pub(crate) struct Said {
    pub(crate) kind: PacketKind,
    pub(crate) message: Message,
}

impl Requests {
    pub(crate) fn new(id: SessionId, speaks: Spoken) -> Box<Self> {
        Box::new(Self {
            id,
            speaks,
            poll: None,
            polls: 0,
            posts: 0,
            confirmed: false,
            begun: None,
            unheard: VecDeque::new(),
            post: None,
            once: None,
            upgrade: Upgrade::default(),
            candidate: None,
        })
    }

    /// Of a line that gives one answer.
    pub(crate) fn once(id: SessionId, once: Once) -> Box<Self> {
        Box::new(Self { once: Some(Box::new(once)), confirmed: true, ..*Self::new(id, Spoken::Once) })
    }

    fn speaks(&self, at: Address) -> bool {
        at.revision
            == match self.speaks {
                Spoken::Native | Spoken::Once => None,
                Spoken::Engine { revision, .. } => Some(revision),
            }
    }

    /// Whether all that was posted is heard.
    pub(super) fn is_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    /// Whether a request waits for something to be said.
    pub(super) fn polls(&self) -> bool {
        self.poll.is_some()
    }

    /// Whether the line gives one answer.
    pub(super) fn is_once(&self) -> bool {
        self.speaks == Spoken::Once
    }

    /// Whether nobody comes back to the session of the line.
    pub(super) fn is_forgotten(&self) -> bool {
        self.once.as_ref().is_some_and(|once| !once.stays)
    }

    /// The tick at which the waiting poll is answered in any case.
    pub(super) fn until(&self) -> Option<u32> {
        self.poll.as_ref().and_then(|poll| poll.until)
    }
}

impl Shard {
    /// The line with an address, if it is here.
    fn addressed(&mut self, id: SessionId) -> Option<(Key, &mut Requests)> {
        let key = self.addresses.get(id)?;
        let requests = self.lines.get_mut(key)?.out.requests()?;
        Some((key, requests))
    }

    /// Whether there is a line with this address that requests do not reach: it has a WebSocket.
    fn is_websocket(&self, id: SessionId) -> bool {
        self.addresses.get(id).is_some_and(|key| self.lines.contains(key))
    }

    /// The revision of Engine.IO that is spoken on the line with this address, if it is here.
    pub(crate) fn revision_of(&mut self, id: SessionId) -> Option<Revision> {
        let key = self.addresses.get(id)?;
        match self.lines.get_mut(key)?.out.outward {
            Outward::Engine(_, form) => Some(form.revision),
            _ => None,
        }
    }

    /// A client wants what waits for it, or what comes within so many seconds.
    pub(crate) fn poll(&mut self, at: Address, wait: Option<u32>, mut answer: oneshot::Sender<Polled>) {
        let until = wait.map(|seconds| self.core.now.wrapping_add(ticks(std::time::Duration::from_secs(seconds.into()))));
        let Some((key, requests)) = self.addressed(at.id) else {
            let polled = if self.is_websocket(at.id) {
                Polled::Mistaken
            } else if self.addresses.met_nobody(at.id, at.arrival)
                && let Some(revision) = at.revision
            {
                engine_body(revision, EncodedPacket::NOOP)
            } else {
                Polled::Unknown
            };
            return say(answer, polled);
        };
        let speaks = requests.speaks(at);
        // What a stream says goes out by itself.
        let is_polled = self.lines.get_mut(key).is_some_and(|line| line.fd.is_none());
        if !speaks || !is_polled {
            return say(answer, Polled::Mistaken);
        }
        let Some((_, requests)) = self.addressed(at.id) else { return };
        // The first poll of Engine.IO is the request that begins the line.
        if requests.polls > 0 || at.revision.is_none() {
            self.confirm(key);
        }
        let Some((_, requests)) = self.addressed(at.id) else { return };
        // What the answer to one that comes again had is lost.
        if requests.poll.is_some() || at.number.is_some_and(|number| number != requests.polls) {
            // The one that was sent first may have come by another way, and be the second here.
            if let Some(waits) = &mut requests.poll
                && at.arrival < waits.arrival
            {
                std::mem::swap(&mut waits.answer, &mut answer);
            }
            let _ = answer.send(Polled::Overlap);
            return self.refuse(key, "two polls at a time");
        }
        if requests.upgrade.poll() == engine::Poll::Refuse {
            return say(answer, Polled::Mistaken);
        }
        requests.polls += 1;
        requests.poll = Some(Poll { arrival: at.arrival, answer, until });
        let probed = requests.upgrade.poll() == engine::Poll::Noop;
        let Some(line) = self.lines.get_mut(key) else { return };
        // For those who only listen a poll is the sign of life, and for those who are not listened to.
        if matches!(line.out.outward, Outward::WebSocket(_)) || line.is_held() {
            line.heard = self.core.now;
        }
        if let Some(until) = until {
            self.core.wheel.schedule_earlier(key.index, until);
        }
        if !line.out.outbox.is_empty() || line.out.requests().is_some_and(|requests| requests.is_once()) {
            line.out.mark_dirty(key, &mut self.core);
        } else if probed {
            self.answer_poll_with_noop(key);
        } else if wait == Some(0) {
            self.answer_poll(key, Polled::Nothing);
        }
    }

    /// The client has given a poll up, and with it what is, or might have been, in its answer.
    pub(crate) fn poll_aborted(&mut self, id: SessionId) {
        if let Some((key, requests)) = self.addressed(id) {
            requests.poll = None;
            self.cut(key, "a poll was given up");
        }
    }

    /// What a client says with the request that begins its line. That is answered at once: what it asks for may be more than it is told
    /// before it polls.
    pub(crate) fn begin(&mut self, id: SessionId, said: Vec<Said>) {
        let Some((key, requests)) = self.addressed(id) else { return };
        requests.unheard = said.into();
        self.hear_posted(key);
    }

    /// A client says something.
    pub(crate) fn post(&mut self, at: Address, said: Vec<Said>, answer: oneshot::Sender<Posted>) {
        let Some((key, requests)) = self.addressed(at.id) else {
            let posted = if self.is_websocket(at.id) { Posted::Mistaken } else { Posted::Unknown };
            return say(answer, posted);
        };
        if !requests.speaks(at) {
            return say(answer, Posted::Mistaken);
        }
        self.confirm(key);
        let Some((_, requests)) = self.addressed(at.id) else { return };
        if at.number.is_some_and(|number| number + 1 == requests.posts) {
            // It came before, and its answer did not arrive.
            match &mut requests.post {
                Some(post) => post.answer = answer,
                None => say(answer, Posted::Taken),
            }
            return;
        }
        if requests.post.is_some() || at.number.is_some_and(|number| number != requests.posts) {
            let _ = answer.send(Posted::Overlap);
            return self.refuse(key, "two posts at a time");
        }
        requests.posts += u64::from(at.number.is_some());
        requests.unheard.extend(said);
        requests.post = Some(Post { arrival: at.arrival, answer });
        let Some(line) = self.lines.get_mut(key) else { return };
        line.heard = self.core.now;
        self.hear_posted(key);
    }

    /// A request brings what the client says, slowly.
    pub(crate) fn post_arrives(&mut self, id: SessionId) {
        let Some((key, _)) = self.addressed(id) else { return };
        self.confirm(key);
        if let Some(line) = self.lines.get_mut(key) {
            line.heard = self.core.now;
        }
    }

    /// A client has said what cannot be read.
    pub(crate) fn post_failed(&mut self, id: SessionId, reason: &str) {
        if let Some((key, _)) = self.addressed(id) {
            self.refuse(key, reason);
        }
    }

    /// A request breaks its line.
    fn refuse(&mut self, key: Key, reason: &str) {
        complain("a client is closed", reason);
        self.cut(key, reason);
    }

    /// A client ends its line.
    pub(crate) fn delete(&mut self, id: SessionId, answer: oneshot::Sender<Posted>) {
        let Some((key, _)) = self.addressed(id) else { return say(answer, Posted::Unknown) };
        let _ = answer.send(Posted::Taken);
        self.end(key, Some(CloseCode::NORMAL), String::new(), EndedBy::Client, Some((CloseCode::NORMAL, String::new())));
    }

    /// Gives a line what was posted for it, as far as it listens.
    pub(super) fn hear_posted(&mut self, key: Key) {
        loop {
            let Some(line) = self.lines.get_mut(key) else { return };
            line.out.choked |= line.out.outbox.bytes() >= self.core.outbox_bytes;
            if line.is_held() {
                return;
            }
            let Some(requests) = line.out.requests() else { return };
            let Some(Said { kind, message }) = requests.unheard.pop_front() else {
                if let Some(post) = requests.post.take() {
                    let _ = post.answer.send(Posted::Taken);
                }
                return;
            };
            let revision = match requests.speaks {
                Spoken::Native | Spoken::Once => None,
                Spoken::Engine { revision, .. } => Some(revision),
            };
            let wrong = match revision {
                Some(revision) => kind.is_wrong_heartbeat_of_client(revision),
                None => false,
            };
            if wrong {
                if let Some(post) = requests.post.take() {
                    let _ = post.answer.send(Posted::Wrong);
                }
                return self.refuse(key, "a heartbeat in the wrong direction");
            }
            if kind == PacketKind::Close
                && let Some(post) = requests.post.take()
            {
                let _ = post.answer.send(Posted::Taken);
                if requests.poll.is_none() {
                    self.addresses.close_met_no_poll(requests.id, post.arrival);
                }
                self.answer_poll_with_noop(key);
            }
            self.heard(key, kind, &message);
        }
    }

    /// Answers the poll that waits for a line with what waits for its client, if both are there.
    pub(super) fn flush_to_poll(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let is_empty = line.out.outbox.is_empty();
        let Some(requests) = line.out.requests() else { return };
        if requests.poll.is_none() {
            return;
        }
        if requests.is_once() {
            return self.gather(key);
        }
        if is_empty {
            return;
        }
        let speaks = requests.speaks;
        let mut frames = self.take_unwritten(key);
        if let Spoken::Engine { .. } = speaks {
            // Clients forget what came in one body with the end: it goes in the next.
            let end = end_behind_others(&frames).map(|at| frames.split_off(at));
            if let Some(line) = self.lines.get_mut(key)
                && let Some(end) = end
            {
                line.out.outbox.append(&mut self.core.queues, |buffer| buffer.extend_from_slice(&end));
            }
        }
        let (content, body) = body(&frames, speaks);
        self.answer_poll(key, Polled::Body(content, body));
    }

    /// A poll has waited long enough.
    pub(super) fn poll_is_over(&mut self, key: Key) {
        let Some(requests) = self.lines.get_mut(key).and_then(|line| line.out.requests()) else { return };
        match requests.is_once() {
            true => self.answer_once(key),
            false => self.answer_poll(key, Polled::Nothing),
        }
    }

    /// All that waits to be sent on a line.
    pub(super) fn take_unwritten(&mut self, key: Key) -> Vec<u8> {
        let mut frames = Vec::new();
        if let Some(line) = self.lines.get_mut(key) {
            let _ = line.out.outbox.write(&mut self.core.queues, self.core.now, |slices| {
                slices.iter().for_each(|slice| frames.extend_from_slice(slice));
                Ok::<_, Errno>(Some(slices.iter().map(|slice| slice.len()).sum()))
            });
        }
        frames
    }

    fn answer_poll_with_noop(&mut self, key: Key) {
        self.answer_poll_with(key, EncodedPacket::NOOP);
    }

    /// Answers the poll of a client of Engine.IO with just this.
    fn answer_poll_with(&mut self, key: Key, packet: EncodedPacket) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let Some(Requests { speaks: Spoken::Engine { revision, .. }, .. }) = line.out.requests() else { return };
        let body = engine_body(*revision, packet);
        self.answer_poll(key, body);
    }

    /// The poll that waits, if one does, hears that the line is over.
    pub(super) fn answer_nothing_more(&mut self, key: Key) {
        self.answer_poll_with(key, EncodedPacket::CLOSE);
    }

    pub(super) fn answer_poll(&mut self, key: Key, answer: Polled) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let held = line.is_held();
        if let Some(poll) = line.out.requests().and_then(|requests| requests.poll.take()) {
            if matches!(line.out.outward, Outward::WebSocket(_)) || held {
                line.heard = self.core.now;
            }
            if poll.answer.send(answer).is_err() && line.phase == Phase::Open {
                // The client has just gone, and with it what it was to be told.
                self.cut(key, "a poll was given up");
            }
        }
    }

    /// Before a line becomes a WebSocket: a poll that still waits has nothing to wait for.
    pub(super) fn end_polls(&mut self, key: Key) {
        self.answer_poll_with_noop(key);
    }
}

/// To somebody who may not wait any more.
fn say<T>(to: oneshot::Sender<T>, answer: T) {
    let _ = to.send(answer);
}

/// An answer to a client of Engine.IO, of one packet.
fn engine_body(revision: Revision, packet: EncodedPacket) -> Polled {
    let body = payload::encode(revision, &[packet]);
    Polled::Body(body.content, body.bytes)
}

/// The body of an answer, of the frames that wait for a line.
fn body(frames: &[u8], speaks: Spoken) -> (Content, Bytes) {
    match speaks {
        // What it says stands in lines, and goes another way.
        Spoken::Once => (Content::Text, Bytes::new()),
        Spoken::Native => {
            let mut out = Vec::with_capacity(frames.len());
            for (opcode, payload) in each(frames) {
                match opcode {
                    Opcode::Text => out.extend_from_slice(payload),
                    Opcode::Close => push_close(payload, &mut out),
                    _ => continue,
                }
                out.push(b'\n');
            }
            (Content::Text, out.into())
        }
        Spoken::Engine { revision, base64 } => {
            let form = Form::new(revision, engine::Transport::Polling, base64);
            let packets: Vec<_> = each(frames)
                .filter_map(|(opcode, payload)| match opcode {
                    Opcode::Text => Some(EncodedPacket::Text(Bytes::copy_from_slice(payload))),
                    Opcode::Binary => Some(match revision {
                        Revision::V4 => EncodedPacket::binary(&Bytes::copy_from_slice(payload), form),
                        // The kind stands before the bytes.
                        Revision::V3 if form.base64 => {
                            EncodedPacket::binary(&Bytes::copy_from_slice(payload.get(1..).unwrap_or_default()), form)
                        }
                        Revision::V3 => EncodedPacket::Binary(Bytes::copy_from_slice(payload)),
                    }),
                    Opcode::Close => Some(EncodedPacket::CLOSE),
                    _ => None,
                })
                .collect();
            let body = payload::encode(revision, &packets);
            (body.content, body.bytes)
        }
    }
}

/// Of a close frame's payload (RFC 6455, 5.5.1), the last message that a client is told.
fn push_close(payload: &[u8], out: &mut Vec<u8>) {
    let (code, reason) = match payload.split_first_chunk::<2>() {
        Some((code, reason)) => (u16::from_be_bytes(*code), String::from_utf8_lossy(reason)),
        None => (CloseCode::NORMAL.value(), "".into()),
    };
    let close = serde_json::json!({"type": "close", "code": code, "reason": reason});
    out.extend_from_slice(close.to_string().as_bytes());
}

/// Where the frame stands that ends the line, if there are others before it.
fn end_behind_others(frames: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Ok(Some((header, length))) = frame::Header::decode(&frames[at..]) {
        if header.opcode == Opcode::Close {
            return (at > 0).then_some(at);
        }
        at += length + usize::try_from(header.payload_len).ok()?;
    }
    None
}

/// The frames of the server's own making, which are whole and not masked.
fn each(mut frames: &[u8]) -> impl Iterator<Item = (Opcode, &[u8])> {
    std::iter::from_fn(move || {
        let (header, length) = frame::Header::decode(frames).ok()??;
        let end = length + usize::try_from(header.payload_len).ok()?;
        let payload = frames.get(length..end)?;
        frames = &frames[end..];
        Some((header.opcode, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<u8> {
        let mut frames = Vec::new();
        frame::encode(Opcode::Text, b"4hello", None, &mut frames);
        frame::encode(Opcode::Binary, &[4, 1, 2], None, &mut frames);
        frame::encode(Opcode::Text, &[b'4'; 70_000], None, &mut frames);
        frames
    }

    #[test]
    fn the_body_of_a_poll_has_every_packet() {
        let engine = |revision, base64| body(&frames(), Spoken::Engine { revision, base64 });
        let (content, bytes) = engine(Revision::V4, false);
        let text = std::str::from_utf8(&bytes).expect("a text");
        let packets: Vec<_> = text.split('\u{1e}').collect();
        assert_eq!((content, packets[0], packets[1], packets[2].len()), (Content::Text, "4hello", "bBAEC", 70_000));
        assert_eq!(engine(Revision::V3, false).0, Content::Binary);
        let (content, bytes) = engine(Revision::V3, true);
        assert_eq!(content, Content::Text);
        assert!(bytes.starts_with(b"6:4hello6:b4AQI="), "{bytes:?}");
    }

    #[test]
    fn the_last_line_of_a_native_body_says_why() {
        let mut frames = Vec::new();
        frame::encode(Opcode::Text, b"{\"a\":1}\n{\"b\":2}", None, &mut frames);
        frame::encode(Opcode::Close, b"\x0d\xacreplaced", None, &mut frames);
        let (_, bytes) = body(&frames, Spoken::Native);
        let lines: Vec<_> = std::str::from_utf8(&bytes).expect("a text").lines().collect();
        assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}", r#"{"type":"close","code":3500,"reason":"replaced"}"#]);
    }
}
