//! The line of a session: opened, watched, lost and opened again.

use std::time::Duration;

use longwire_protocol::{CloseCode, Connected, ErrorCode, ErrorReply, Form};

use super::output::{Lost, Output, State, Stopped};
use super::{Config, Session};
use crate::transport::Transport;

/// RFC 6455, 7.4.1: done.
const NORMAL: u16 = 1000;
/// RFC 6455, 7.4.1: the other side breaks the protocol.
pub(super) const PROTOCOL_ERROR: u16 = 1002;
/// The session was taken up by another line.
const REPLACED: u16 = 3500;
/// A line that was cut before it stood for so long tells against its transport, as one that could not be opened.
const BRIEF: Duration = Duration::from_secs(2);
/// For so long a `connect` that was given up may be on its way to the server.
pub(super) const ASTRAY: Duration = Duration::from_secs(60);

/// Where the line is.
#[derive(Debug)]
pub(super) enum Line {
    /// Not started.
    Idle,
    /// A token is being got.
    Token,
    /// It is to be opened then.
    Waiting { until: Duration },
    /// It is being opened, and given up then.
    Opening { since: Duration, until: Duration },
    /// `connect` is to be said, or was, and is answered until then.
    Connecting { until: Duration, form: Form, said: bool },
    /// The session is on it.
    Connected(Box<Open>),
    /// It is gone, because the session was taken up by the second line, whose answer is on its way.
    Handover,
    /// There will be none.
    Stopped,
}

/// A line with a session.
#[derive(Debug)]
pub(super) struct Open {
    form: Form,
    since: Duration,
    /// When something came last.
    heard: Duration,
    ping_interval: Duration,
    ping: Ping,
    /// The longest message to send, in bytes.
    max_message: usize,
    /// When to ask for another token.
    renew_at: Option<Duration>,
    /// There is a new token to tell the server.
    refresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    Quiet,
    /// Silent for too long: to be sent.
    Due,
    /// Something has to come within the time-out.
    Sent,
}

impl Line {
    pub(super) fn form(&self) -> Option<Form> {
        match self {
            Self::Connecting { form, .. } => Some(*form),
            Self::Connected(open) => Some(open.form),
            _ => None,
        }
    }

    pub(super) fn max_message(&self) -> usize {
        match self {
            Self::Connected(open) => open.max_message,
            _ => usize::MAX,
        }
    }

    pub(super) fn ping_interval(&self) -> Option<Duration> {
        match self {
            Self::Connected(open) => Some(open.ping_interval),
            _ => None,
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Idle | Self::Token | Self::Handover | Self::Stopped => None,
            Self::Waiting { until } | Self::Opening { until, .. } | Self::Connecting { until, .. } => Some(*until),
            Self::Connected(open) => Some(open.ping_at().min(open.renew_at.unwrap_or(Duration::MAX))),
        }
    }

    /// Whether `connect` is to be said now.
    pub(super) fn take_connect(&mut self) -> bool {
        match self {
            Self::Connecting { said, .. } => !std::mem::replace(said, true),
            _ => false,
        }
    }

    /// Whether `ping` is to be said now.
    pub(super) fn take_ping(&mut self) -> bool {
        match self {
            Self::Connected(open) if open.ping == Ping::Due => {
                open.ping = Ping::Sent;
                true
            }
            _ => false,
        }
    }

    /// Whether `refresh` is to be said now.
    pub(super) fn take_refresh(&mut self) -> bool {
        match self {
            Self::Connected(open) => std::mem::take(&mut open.refresh),
            _ => false,
        }
    }

    /// Something came, or nothing could come because nobody was listening.
    pub(super) fn heard(&mut self, now: Duration) {
        if let Self::Connected(open) = self {
            open.heard = now;
            open.ping = Ping::Quiet;
        }
    }

    /// The token is good for so long.
    pub(super) fn expires(&mut self, now: Duration, seconds: Option<u32>, config: &Config) {
        if let Self::Connected(open) = self {
            open.renew_at = seconds.filter(|_| config.renews_token).map(|seconds| {
                // Early enough for a slow source of tokens.
                now + Duration::from_secs(seconds.into()) * 4 / 5
            });
        }
    }
}

impl Open {
    fn new(now: Duration, form: Form, connected: &Connected, config: &Config) -> Self {
        // The server pings a silent client: a little before, so that it need not.
        let by_server = Duration::from_secs(connected.ping.into()) * 4 / 5;
        let ping_interval = if by_server.is_zero() { config.ping_interval } else { config.ping_interval.min(by_server) };
        Self {
            form,
            since: now,
            heard: now,
            ping_interval,
            ping: Ping::Quiet,
            max_message: connected.max as usize,
            renew_at: None,
            refresh: false,
        }
    }

    /// When the heartbeat has something to do. Both times count from the last sign of life.
    fn ping_at(&self) -> Duration {
        match self.ping {
            Ping::Quiet => self.heard + self.ping_interval,
            Ping::Due | Ping::Sent => self.heard,
        }
    }
}

impl Session {
    /// Begins: a line is wanted from now on.
    pub fn start(&mut self, now: Duration) {
        if matches!(self.line, Line::Idle) {
            self.open(now);
        }
    }

    /// Ends: all requests that are not answered fail with [`Failure::Stopped`](super::Failure::Stopped).
    pub fn close(&mut self) {
        self.stop(Stopped::ByUser);
    }

    /// A token that was asked for ([`Output::Token`]), or just a newer one; `None` if none could be had for now.
    pub fn token(&mut self, now: Duration, token: Option<String>) {
        match token {
            Some(token) => {
                self.config.token = Some(token);
                self.token_stale = false;
                self.token_new = true;
                // It has said the old one.
                if self.climb.is_asked() {
                    self.climber_fell(now);
                }
                match &mut self.line {
                    Line::Token => self.open(now),
                    Line::Connected(open) => open.refresh = true,
                    _ => {}
                }
            }
            None if matches!(self.line, Line::Token) => self.lose(now, Lost::NoToken),
            None => {
                let later = now + self.config.max_backoff;
                if let Line::Connected(open) = &mut self.line {
                    open.renew_at = Some(later);
                }
            }
        }
    }

    /// The line that was asked for ([`Output::Open`]) is open, and the subprotocol chose this form.
    pub fn line_opened(&mut self, now: Duration, form: Form) {
        if let Line::Opening { since, .. } = self.line {
            let Config { connect_timeout, open_timeout, .. } = self.config;
            let until = if self.choice.more() { since + connect_timeout.min(open_timeout) } else { now + connect_timeout };
            self.line = Line::Connecting { until, form, said: false };
        }
    }

    /// The line could not be opened, or has ended; with the server's close code if it gave one.
    pub fn line_lost(&mut self, now: Duration, code: Option<u16>) {
        if !matches!(self.line, Line::Opening { .. } | Line::Connecting { .. } | Line::Connected(_)) {
            return;
        }
        match code {
            Some(REPLACED) if self.climb.is_asked() => self.hand_over(),
            // It was ourselves.
            Some(REPLACED) if now < self.astray => self.lose(now, Lost::Closed(REPLACED)),
            Some(code) if code >= 3500 => {
                // There is nothing left to close.
                self.line = Line::Idle;
                self.stop(Stopped::Closed(code));
            }
            Some(code) => {
                self.token_stale |= code == CloseCode::TokenExpired.number();
                self.lose(now, Lost::Closed(code));
            }
            None => self.lose(now, Lost::Cut),
        }
    }

    /// The line gave a sign of life that is no message: an empty line of a stream, or the answer to a poll for which there was nothing.
    pub fn line_heard(&mut self, now: Duration) {
        self.line.heard(now);
    }

    /// The line was not read because there was no room for what it brings: its silence means nothing.
    pub fn line_held(&mut self, now: Duration) {
        self.line.heard(now);
    }

    /// Time has passed.
    pub fn time(&mut self, now: Duration) {
        if self.line.timeout().is_some_and(|at| at <= now) {
            self.line_time(now);
        }
        self.climb_time(now);
        if self.is_connected() {
            self.subscriptions.time(now);
        }
    }

    fn line_time(&mut self, now: Duration) {
        let ping_timeout = self.config.ping_timeout;
        match &mut self.line {
            Line::Idle | Line::Token | Line::Handover | Line::Stopped => {}
            Line::Waiting { .. } => self.open(now),
            Line::Opening { .. } | Line::Connecting { .. } => self.give_up(now, Lost::Timeout, NORMAL),
            Line::Connected(open) => {
                if open.renew_at.is_some_and(|at| at <= now) {
                    open.renew_at = None;
                    self.outputs.push_back(Output::Token);
                }
                if open.ping_at() > now {
                    return;
                }
                if open.ping == Ping::Quiet {
                    open.ping = Ping::Due;
                    // From now on this is the time to answer by.
                    open.heard = now + ping_timeout;
                } else {
                    self.give_up(now, Lost::Timeout, CloseCode::PingTimeout.number());
                }
            }
        }
    }

    /// The server has answered `connect`.
    pub(super) fn connected(&mut self, now: Duration, connected: Connected) {
        let Line::Connecting { form, .. } = self.line else { return };
        self.line = Line::Connected(Box::new(Open::new(now, form, &connected, &self.config)));
        self.line.expires(now, connected.expires, &self.config);
        self.token_new = false;
        let Connected { session, key, resumed, user, .. } = connected;
        self.identity = Some((session, key));
        self.choice.worked();
        self.plan_climb(now);
        let transport = self.choice.current();
        self.outputs.push_back(Output::State(State::Connected { session, resumed, user, transport }));
        self.requests.line_opened(now, self.config.replay_within, &mut self.outputs);
    }

    /// The server will not have us.
    pub(super) fn refused(&mut self, now: Duration, error: ErrorReply) {
        let renew = match error.code {
            ErrorCode::TokenExpired => self.config.renews_token,
            // A token that has just been got will not become better.
            ErrorCode::Unauthorized => self.config.renews_token && !self.token_new,
            _ => false,
        };
        if renew {
            self.token_stale = true;
            self.token_new = false;
        }
        if renew || (error.code.retry() && error.code != ErrorCode::TokenExpired) {
            self.give_up(now, Lost::Refused(error), NORMAL);
        } else {
            self.stop(Stopped::Refused(error));
        }
    }

    /// The line is of no use any more.
    pub(super) fn give_up(&mut self, now: Duration, lost: Lost, code: u16) {
        self.outputs.push_back(Output::Close(code));
        self.lose(now, lost);
    }

    pub(super) fn open(&mut self, now: Duration) {
        if self.config.renews_token && (self.config.token.is_none() || self.token_stale) {
            self.line = Line::Token;
            self.outputs.push_back(Output::Token);
            return;
        }
        let Config { connect_timeout, open_timeout, .. } = self.config;
        let limit = match self.choice.current() {
            _ if !self.choice.more() => connect_timeout,
            // What holds answers back until they are complete shows by the first line that does not come.
            Transport::Stream => connect_timeout.min(open_timeout * 4 / 5),
            Transport::WebSocket | Transport::Poll => connect_timeout.min(open_timeout),
        };
        self.line = Line::Opening { since: now, until: now + limit };
        self.outputs.push_back(Output::State(State::Connecting));
        self.outputs.push_back(Output::Open);
    }

    /// Comes back after a while; or at once over another transport, if this one does not seem to work here.
    fn lose(&mut self, now: Duration, lost: Lost) {
        let another = self.learn(now, &lost);
        self.stop_climbing(now);
        self.went_astray(now, &lost);
        self.leave_line();
        if another {
            self.open(now);
            return;
        }
        let wait = self.backoff(self.losses);
        self.losses = self.losses.saturating_add(1);
        self.line = Line::Waiting { until: now + wait };
        self.outputs.push_back(Output::State(State::Waiting { lost, wait }));
    }

    /// What the end of the line says about its transport. Whether another is to be tried at once.
    fn learn(&mut self, now: Duration, lost: &Lost) -> bool {
        let stood = match &self.line {
            Line::Connected(open) => Some(now.saturating_sub(open.since)),
            _ => None,
        };
        if stood.is_some_and(|stood| stood >= self.config.stable_after) {
            self.losses = 0;
        }
        if stood.is_some_and(|stood| stood >= self.config.climb) && self.choice.better().is_empty() {
            self.climb.reset(self.config.climb);
        }
        let failed = match (lost, stood) {
            (Lost::Cut, Some(stood)) => stood < BRIEF,
            (_, Some(_)) | (Lost::Refused(_) | Lost::NoToken, None) => false,
            // Codes of our own come from the server, which was reached.
            (Lost::Closed(code), None) => *code < CloseCode::PingTimeout.number(),
            (Lost::Cut | Lost::Timeout | Lost::BadMessage, None) => true,
        };
        if failed { self.choice.failed() } else { self.choice.dropped() }
    }

    /// If `connect` was said and is not answered, it may still reach the server.
    fn went_astray(&mut self, now: Duration, lost: &Lost) {
        if matches!(self.line, Line::Connecting { said: true, .. }) && !matches!(lost, Lost::Refused(_)) {
            self.astray = now + ASTRAY;
        }
    }

    /// What was said on the line will not be answered there, and what was followed is to be followed on the next.
    pub(super) fn leave_line(&mut self) {
        self.off_line();
        self.requests.line_lost(&mut self.outputs);
        self.subscriptions.line_lost();
    }

    fn stop(&mut self, why: Stopped) {
        match self.line {
            Line::Stopped => return,
            Line::Opening { .. } | Line::Connecting { .. } | Line::Connected(_) => {
                self.outputs.push_back(Output::Close(NORMAL));
            }
            Line::Idle | Line::Token | Line::Waiting { .. } | Line::Handover => {}
        }
        self.line = Line::Stopped;
        self.climb.end();
        self.off_line();
        self.requests.stop(&mut self.outputs);
        self.subscriptions.stop();
        self.outputs.push_back(Output::State(State::Stopped(why)));
    }

    /// Nothing that was said on the line will be answered.
    fn off_line(&mut self) {
        self.sent.clear();
        self.answered = 0;
    }

    /// Exponential, with full jitter: anything up to twice as long each time.
    pub(super) fn backoff(&mut self, times: u32) -> Duration {
        let most = self.config.backoff.saturating_mul(1 << times.min(20)).min(self.config.max_backoff);
        self.random.up_to(most)
    }
}
