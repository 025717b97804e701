//! From a lesser transport to a better one: a second line beside the first, which takes over when the server has answered on it.

use std::collections::VecDeque;
use std::time::Duration;

use longwire_protocol::{Command, Form, Message, Reply};

use super::line::{ASTRAY, Line};
use super::output::Climber;
use super::{Sent, Session};
use crate::transport::Transport;

/// The waits before better transports are tried grow to so many times the first.
const LONGEST: u32 = 10;

/// Where the second line is.
#[derive(Debug)]
pub(super) struct Climb {
    stage: Stage,
    /// Before the next climb.
    wait: Duration,
    /// Better transports that are tried when this one fails.
    left: VecDeque<Transport>,
    outputs: VecDeque<Climber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is none, and none to come.
    Off,
    Planned {
        at: Duration,
    },
    /// It is being opened, and given up then.
    Opening {
        transport: Transport,
        until: Duration,
    },
    /// `connect` was said on it, and is answered until then.
    Asked {
        transport: Transport,
        form: Form,
        until: Duration,
    },
}

impl Climb {
    pub(super) fn new(wait: Duration) -> Self {
        Self { stage: Stage::Off, wait, left: VecDeque::new(), outputs: VecDeque::new() }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        match self.stage {
            Stage::Off => None,
            Stage::Planned { at } => Some(at),
            Stage::Opening { until, .. } | Stage::Asked { until, .. } => Some(until),
        }
    }

    /// Whether the server may be about to give it the session.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.stage, Stage::Asked { .. })
    }

    /// The next wait is this one.
    pub(super) fn reset(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// There is no second line any more, and none to come.
    pub(super) fn end(&mut self) {
        if matches!(self.stage, Stage::Opening { .. } | Stage::Asked { .. }) {
            self.outputs.push_back(Climber::Close);
        }
        self.stage = Stage::Off;
    }
}

impl Session {
    /// The next thing to do with the second line.
    pub fn poll_climber(&mut self) -> Option<Climber> {
        self.climb.outputs.pop_front()
    }

    /// The second line that was asked for ([`Climber::Open`]) is open, in this form. What is to be said on it, as one message, if it is
    /// still wanted.
    pub fn climber_opened(&mut self, form: Form) -> Option<Vec<u8>> {
        let Stage::Opening { transport, until } = self.climb.stage else { return None };
        self.climb.stage = Stage::Asked { transport, form, until };
        let mut connect = Vec::new();
        form.push_command(&Command { id: Some(1), action: self.connect_action() }, &mut connect);
        Some(connect)
    }

    /// A message came on the second line. If it says so, that is the session's line from now on: the first one is to be let go, and
    /// nothing more of it is to be told to the session.
    pub fn climber_message(&mut self, now: Duration, bytes: &[u8]) -> bool {
        let Stage::Asked { transport, form, until } = self.climb.stage else { return false };
        let accepted = matches!(form.messages(bytes).next(), Some(Ok(Message::Reply(Some(1), Reply::Connected(_)))));
        if !accepted {
            self.climber_fell(now);
            return false;
        }
        self.climb.stage = Stage::Off;
        let before = self.choice.current();
        self.leave_line();
        self.choice.climbs(transport);
        self.line = Line::Connecting { until, form, said: true };
        self.sent.push_back(Sent::Connect);
        self.line_message(now, bytes);
        if self.is_connected() {
            self.choice.fall_back_to(before);
        }
        true
    }

    /// The second line could not be opened, or has ended.
    pub fn climber_lost(&mut self, now: Duration) {
        if matches!(self.climb.stage, Stage::Opening { .. } | Stage::Asked { .. }) {
            self.climber_fell(now);
        }
    }

    /// The line stands: better transports are tried later.
    pub(super) fn plan_climb(&mut self, now: Duration) {
        self.climb.stage = Stage::Off;
        if !self.config.climb.is_zero() && !self.choice.better().is_empty() {
            // Not all at the same time who fell at the same time.
            let wait = self.climb.wait * 3 / 4 + self.random.up_to(self.climb.wait / 2);
            self.climb.stage = Stage::Planned { at: now + wait };
        }
    }

    pub(super) fn climb_time(&mut self, now: Duration) {
        if self.climb.timeout().is_none_or(|at| at > now) {
            return;
        }
        if !matches!(self.climb.stage, Stage::Planned { .. }) {
            self.climber_fell(now);
            return;
        }
        self.climb.wait = (self.climb.wait * 2).min(self.config.climb * LONGEST);
        if self.token_stale {
            // The server would not have us.
            self.plan_climb(now);
        } else {
            self.climb.left = self.choice.better().iter().copied().collect();
            self.climb_on(now);
        }
    }

    /// The first line is gone, because the server has given the session to the second.
    pub(super) fn hand_over(&mut self) {
        self.line = Line::Handover;
        self.leave_line();
    }

    /// The first line is lost, and the second with it.
    pub(super) fn stop_climbing(&mut self, now: Duration) {
        if self.climb.is_asked() {
            self.astray = now + ASTRAY;
        }
        self.climb.end();
    }

    fn climb_on(&mut self, now: Duration) {
        let Some(transport) = self.climb.left.pop_front() else {
            self.plan_climb(now);
            return;
        };
        self.climb.stage = Stage::Opening { transport, until: now + self.config.open_timeout };
        self.climb.outputs.push_back(Climber::Open(transport));
    }

    pub(super) fn climber_fell(&mut self, now: Duration) {
        self.stop_climbing(now);
        if matches!(self.line, Line::Handover) {
            // The line was given up for one that did not come.
            self.choice.dropped();
            self.open(now);
        } else {
            self.climb_on(now);
        }
    }
}
