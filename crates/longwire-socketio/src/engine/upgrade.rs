//! From polling to WebSocket, without a message lost or out of order.
//!
//! The client opens a WebSocket with the session's id, a *candidate*, and sends `2probe` on it. The server answers `3probe` there,
//! and from now on lets no poll wait, so that the client, which stops polling after the answer, gets to an end with it. When the
//! last poll is answered, the client sends `5` on the candidate, which is the session's transport from then on.
//!
//! Until that `5` messages go out by polls only, and after it by the WebSocket only: the client has read the last poll's
//! answer before it sent the `5`, so the order is kept.

use std::fmt;

use super::{Packet, PacketKind};

/// Where a session is on its way from polling to WebSocket. A session that began with a WebSocket is at the end:
/// [`Upgrade::done`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgrade(State);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Only polls.
    #[default]
    Polling,
    /// A candidate is there, and has not probed.
    Candidate,
    /// The candidate's probe is answered.
    Probed,
    /// The WebSocket is the transport.
    Done,
}

/// What to do after a packet on the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send [`PROBE_ANSWER`](super::EncodedPacket::PROBE_ANSWER) on the candidate, and end a poll that waits, with
    /// [`NOOP`](super::EncodedPacket::NOOP).
    AnswerProbe,
    /// The candidate is the transport now: end a poll that still waits with a noop, and send what waits on the candidate.
    Switch,
    /// Close the candidate. The session goes on polling.
    CloseCandidate,
}

/// What to do with a poll for which no message waits. One for which there are messages is answered with them, in every
/// state but `Refuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Let it wait for a message.
    Wait,
    /// Answer with a noop at once.
    Noop,
    /// Refuse it with [`Refusal::BadRequest`](super::Refusal::BadRequest): the session has left polling.
    Refuse,
}

impl Upgrade {
    /// A session that has a WebSocket as its transport.
    pub const fn done() -> Self {
        Self(State::Done)
    }

    /// Whether the WebSocket is the session's transport.
    pub const fn is_done(self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Whether there is a candidate that has not become the transport yet.
    pub const fn has_candidate(self) -> bool {
        matches!(self.0, State::Candidate | State::Probed)
    }

    /// A WebSocket was opened with the session's id.
    ///
    /// # Errors
    /// If there is one already: close the new one, the old one goes on.
    pub fn candidate_opened(&mut self) -> Result<(), AlreadyUpgrading> {
        if self.0 != State::Polling {
            return Err(AlreadyUpgrading);
        }
        self.0 = State::Candidate;
        Ok(())
    }

    /// A packet came on the candidate. Call it only while [there is one](Self::has_candidate): packets of the transport itself
    /// are the session's.
    ///
    /// Anything but the probe and then the upgrade closes the candidate; an upgrade without a probe too, while the reference
    /// takes it.
    pub fn candidate_packet(&mut self, packet: &Packet<'_>) -> Step {
        match self.0 {
            State::Candidate | State::Probed if packet.is(PacketKind::Ping, "probe") => {
                self.0 = State::Probed;
                Step::AnswerProbe
            }
            State::Probed if packet.kind() == PacketKind::Upgrade => {
                self.0 = State::Done;
                Step::Switch
            }
            _ => {
                self.candidate_closed();
                Step::CloseCandidate
            }
        }
    }

    /// The candidate was closed, failed, sent what is no packet, or took too long (10 s in the reference). Another may come.
    pub fn candidate_closed(&mut self) {
        if self.has_candidate() {
            self.0 = State::Polling;
        }
    }

    /// What to do with a poll for which no message waits.
    pub const fn poll(self) -> Poll {
        match self.0 {
            State::Polling | State::Candidate => Poll::Wait,
            State::Probed => Poll::Noop,
            State::Done => Poll::Refuse,
        }
    }
}

/// The session has a WebSocket, or a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyUpgrading;

impl fmt::Display for AlreadyUpgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session has a WebSocket already")
    }
}

impl std::error::Error for AlreadyUpgrading {}
