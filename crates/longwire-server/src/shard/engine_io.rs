//! Lines of Engine.IO: what their packets mean, and how a line that polls gets a WebSocket.

use longwire_socketio::engine::{Data, EncodedPacket, Packet, PacketKind, Revision, Step};
use longwire_ws::{CloseCode, Message as Received, OwnedMessage as Message};

use super::Shard;
use super::heartbeat::Waiting;
use super::line::{LineState, Phase};
use super::slab::Key;
use super::wire::Inward;
use crate::handler::EndedBy;

/// What a client has said in a message of a WebSocket.
pub(super) enum Heard<'a> {
    Message(Received<'a>),
    /// Of a client that writes bytes as base64.
    Bytes(Vec<u8>),
    Packet(PacketKind),
    /// No packet, or one that a client does not send.
    Wrong(&'static str),
}

impl<'a> Heard<'a> {
    pub(super) fn of(revision: Revision, message: &'a Received<'_>) -> Self {
        let bytes = message.as_bytes();
        let packet = match message.as_str() {
            Some(text) => Packet::decode_text(revision, text),
            // In revision 4 the bytes are the message.
            None if revision == Revision::V4 => return Self::Message(Received::binary(bytes)),
            None => match bytes.split_first() {
                Some((number, rest)) if *number == PacketKind::Message.number() => {
                    return Self::Message(Received::binary(rest));
                }
                _ => return Self::Wrong("a binary message that is no packet"),
            },
        };
        match packet {
            Err(_) => Self::Wrong("a message that is no packet"),
            Ok(packet) if packet.kind().is_wrong_heartbeat_of_client(revision) => {
                Self::Wrong("a heartbeat in the wrong direction")
            }
            Ok(packet) => match (packet.kind(), packet.data()) {
                (PacketKind::Message, Data::Text(_)) => {
                    Self::Message(Received::text(&message.as_str().unwrap_or_default()[1..]))
                }
                (kind, Data::Text(_)) => Self::Packet(kind),
                (_, Data::Binary(bytes)) => Self::Bytes(bytes.to_vec()),
            },
        }
    }
}

impl Shard {
    /// A client has said something, by a request.
    pub(super) fn heard(&mut self, key: Key, kind: PacketKind, message: &Message) {
        if kind != PacketKind::Message {
            return self.engine_packet(key, kind);
        }
        let Some(line) = self.lines.get_mut(key) else { return };
        line.message_at = self.core.now;
        if line.phase == Phase::Open && !line.out.close_asked() {
            self.call_handler(key, |handler, line| handler.message(line, message.borrowed()));
        }
    }

    /// A packet that is no message.
    pub(super) fn engine_packet(&mut self, key: Key, kind: PacketKind) {
        let Some(line) = self.lines.get_mut(key) else { return };
        match kind {
            // Of a client of revision 3.
            PacketKind::Ping => {
                line.out.append(key, &mut self.core, |outward, buffer| outward.packet(&EncodedPacket::PONG, buffer));
            }
            PacketKind::Close => {
                let polls = line.fd.is_none();
                self.end(key, None, "closed by the client".into(), EndedBy::Client, None);
                if polls {
                    self.remove(key);
                }
            }
            _ => {}
        }
    }

    /// A WebSocket wants to be the transport of the line that polls.
    pub(super) fn candidate_opened(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        line.waiting = Waiting::Close(self.core.now);
        self.core.wheel.schedule(key.index, self.core.paces[0].timing.close_by(self.core.now));
        let target = line.out.rare().becomes.and_then(|id| self.addresses.get(id));
        let taken =
            target.and_then(|target| self.lines.get_mut(target)).and_then(|line| line.out.requests()).is_some_and(|requests| {
                let is_first = requests.upgrade.candidate_opened().is_ok();
                if is_first {
                    requests.candidate = Some(key);
                }
                is_first
            });
        if !taken && let Some(line) = self.lines.get_mut(key) {
            line.out.rare().becomes = None;
            self.close(key, CloseCode::NORMAL, "the session has a WebSocket, or is over");
        }
    }

    /// A packet came on a WebSocket that is no transport yet. True if it is one now: then what follows is for that line.
    pub(super) fn candidate_said(&mut self, key: Key, revision: Revision, text: &str) -> Option<Key> {
        let target = self.target_of(key)?;
        let requests = self.lines.get_mut(target)?.out.requests()?;
        let step = match Packet::decode_text(revision, text) {
            Ok(packet) if requests.is_heard() => requests.upgrade.candidate_packet(&packet),
            _ => Step::CloseCandidate,
        };
        match step {
            Step::AnswerProbe => {
                let may_end = self.lines.get_mut(target).is_some_and(|line| line.out.outbox.is_empty());
                if may_end {
                    self.end_polls(target);
                }
                let line = self.lines.get_mut(key)?;
                line.out.append(key, &mut self.core, |outward, buffer| {
                    outward.packet(&EncodedPacket::PROBE_ANSWER, buffer);
                });
                None
            }
            Step::Switch => {
                self.switch(key, target);
                Some(target)
            }
            Step::CloseCandidate => {
                self.remove(key);
                None
            }
        }
    }

    fn target_of(&mut self, candidate: Key) -> Option<Key> {
        let id = self.lines.get_mut(candidate)?.out.rare().becomes?;
        self.addresses.get(id)
    }

    /// The candidate's WebSocket becomes the transport of a line: what waits for the client goes out there from now on.
    fn switch(&mut self, candidate: Key, target: Key) {
        self.end_polls(target);
        let mut unwritten = self.take_unwritten(candidate);
        let Some(LineState { fd: Some(fd), inward: Inward::Candidate(receiver, revision), _permit: permit, .. }) =
            self.lines.remove(candidate)
        else {
            return;
        };
        self.core.wheel.cancel(candidate.index);
        unwritten.append(&mut self.take_unwritten(target));
        self.confirm(target);
        let Some(line) = self.lines.get_mut(target) else { return };
        if let Err(error) = self.poller.watch_as(&fd, target) {
            return self.cut(target, &format!("cannot watch the new transport: {error}"));
        }
        // It keeps its address: who still polls is told that it does not.
        line.out.rare().requests = None;
        line.fd = Some(fd);
        line.inward = Inward::Engine(receiver, revision);
        line.heard = self.core.now;
        line._permit = permit;
        if !unwritten.is_empty() {
            line.out.append(target, &mut self.core, |_, buffer| buffer.extend_from_slice(&unwritten));
        }
        // What came before it was watched under its new name is not told again.
        self.read_later(target);
    }

    /// A line that polls is gone, or a WebSocket that wanted to be its transport.
    pub(super) fn forget_requests(&mut self, mut line: LineState) {
        if let Some(id) = line.out.rare().becomes
            && let Some(target) = self.addresses.get(id)
            && let Some(requests) = self.lines.get_mut(target).and_then(|line| line.out.requests())
        {
            requests.candidate = None;
            requests.upgrade.candidate_closed();
        }
        if let Some(requests) = line.out.rare().requests.take() {
            self.addresses.remove(requests.id);
            if requests.begun.is_some() && !requests.confirmed {
                self.unconfirmed.one_less();
            }
            if let Some(candidate) = requests.candidate {
                self.remove(candidate);
            }
        }
    }
}

/// What a client may not send more of than the handshake has told it.
pub(super) fn is_too_long(message: &Received<'_>, max: usize) -> bool {
    message.as_bytes().len() > max
}

/// The end of a line whose client has said what is no packet.
pub(super) const WRONG: CloseCode = CloseCode::PROTOCOL_ERROR;
