//! A client's session without sockets, clock or chance of its own: what the user wants and what the server says go in, what is
//! to be done comes out.
//!
//! The owner of a [`Session`] tells it what happens ([`line_opened`](Session::line_opened),
//! [`line_message`](Session::line_message), [`line_lost`](Session::line_lost), [`time`](Session::time), and what the user wants),
//! and after each such call:
//!
//! 1. takes all of [`poll`](Session::poll) and does it,
//! 2. takes [`transmit`](Session::transmit), as often as the line has room, and sends each as one message,
//! 3. calls [`time`](Session::time) when [`timeout`](Session::timeout) says so.
//!
//! A session whose line is carried by a lesser transport tries better ones, each with a second line of its own beside the first. An
//! owner that offers more than one transport ([`Config::transports`]) also takes all of [`poll_climber`](Session::poll_climber) each
//! time, and does it; any other need not.
//!
//! Time is what has passed since some start of the owner's choice. The same inputs with the same seed give the same outputs.
//!
//! What a session keeps is bounded: by [`Config`], and by what the user has subscribed to. One call adds to the outputs no more than
//! what one message says, or one answer for each request.
//!
//! ```
//! use std::time::Duration;
//! use longwire_client::session::{Config, Output, Session};
//!
//! let mut session = Session::new(Config::default(), 7);
//! session.start(Duration::ZERO);
//! assert!(std::iter::from_fn(|| session.poll()).any(|output| output == Output::Open));
//! ```

mod choice;
mod climb;
mod config;
mod line;
mod output;
mod random;
mod receive;
mod requests;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Action, Command, Connect, Data, ErrorCode, ErrorReply, Form, Position, SessionId, Subscribe};

use self::choice::Choice;
use self::climb::Climb;
pub use self::config::Config;
use self::line::Line;
pub use self::output::{Climber, Event, Failure, Lost, Output, RequestId, State, Stopped, SubscriptionId};
use self::random::Random;
pub use self::requests::Request;
use self::requests::Requests;
use self::subscriptions::{Asking, Subscriptions};
use crate::transport::Transport;

/// Commands are joined up to about so many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// A client's session; see the [module](self).
#[derive(Debug)]
pub struct Session {
    config: Config,
    random: Random,
    /// Idempotency keys begin with this.
    once: u64,
    published: u64,
    outputs: VecDeque<Output>,
    line: Line,
    /// Lines lost in a row, none of which stood for long.
    losses: u32,
    choice: Choice,
    climb: Climb,
    /// Until when a `connect` that was given up may still reach the server, and take the session away from the line.
    astray: Duration,
    /// The server's session, and the secret to take it up again.
    identity: Option<(SessionId, String)>,
    /// The server no longer takes the token.
    token_stale: bool,
    /// The token has not been refused yet.
    token_new: bool,
    subscriptions: Subscriptions,
    requests: Requests,
    /// Commands on the line that are not answered, and how many were before them.
    sent: VecDeque<Sent>,
    answered: u64,
}

/// What an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Connect,
    Refresh,
    Ping,
    Subscribe(Asking),
    Unsubscribe,
    /// The oldest request.
    Request,
}

impl Session {
    /// A session that does nothing until it is [started](Self::start). The seed makes back-off times and idempotency keys, so that
    /// no two clients may have the same.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            once: random.next(),
            random,
            choice: Choice::new(&config.transports),
            climb: Climb::new(config.climb),
            astray: Duration::ZERO,
            config,
            published: 0,
            outputs: VecDeque::new(),
            line: Line::Idle,
            losses: 0,
            identity: None,
            token_stale: false,
            token_new: true,
            subscriptions: Subscriptions::default(),
            requests: Requests::default(),
            sent: VecDeque::new(),
            answered: 0,
        }
    }

    /// The next thing to do or to hand on.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`time`](Self::time), if nothing else happens before.
    pub fn timeout(&self) -> Option<Duration> {
        let retry = self.subscriptions.timeout().filter(|_| self.is_connected());
        [self.line.timeout(), self.climb.timeout(), retry].into_iter().flatten().min()
    }

    /// Whether the session is on a line.
    pub fn is_connected(&self) -> bool {
        matches!(self.line, Line::Connected(_))
    }

    /// What carries the line, or is to carry the one that is being opened.
    pub fn transport(&self) -> Transport {
        self.choice.current()
    }

    /// After how long a silence the session pings; `None` while it is not on a line.
    pub fn ping_interval(&self) -> Option<Duration> {
        self.line.ping_interval()
    }

    /// Whether there will be no other line.
    pub fn is_stopped(&self) -> bool {
        matches!(self.line, Line::Stopped)
    }

    // What the user wants.

    /// Subscribes to a channel, from a position (`since`) or with the last publications (`last`) if wanted. After a lost line it goes
    /// on by itself.
    ///
    /// # Errors
    /// `bad_channel`, `bad_value`, `already_subscribed`, or `too_many_subscriptions` if there are as many as
    /// [`Config::max_subscriptions`].
    pub fn subscribe(&mut self, wants: Subscribe) -> Result<SubscriptionId, ErrorReply> {
        Action::Subscribe(wants.clone()).check()?;
        let refused = if self.subscriptions.contains(&wants.channel) {
            ErrorCode::AlreadySubscribed
        } else if self.subscriptions.len() >= self.config.max_subscriptions {
            ErrorCode::TooManySubscriptions
        } else {
            return Ok(self.subscriptions.add(wants));
        };
        Err(output::refusal(refused, &wants.channel))
    }

    /// Ends a subscription at once: nothing more of it comes out.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(id);
        self.outputs.retain(|output| !matches!(output, Output::Event(of, _) if *of == id));
    }

    /// Has the server stop a subscription because there is no room for its events, until [`take_up`](Self::take_up) goes on from
    /// its position.
    pub fn set_aside(&mut self, id: SubscriptionId) {
        self.subscriptions.set_aside(id);
    }

    /// Goes on with a subscription that was set aside.
    pub fn take_up(&mut self, id: SubscriptionId) {
        self.subscriptions.take_up(id);
    }

    /// How far a subscription has come; `None` before it has begun, if it was not given a position, and once it has ended.
    pub fn position(&self, id: SubscriptionId) -> Option<Position> {
        self.subscriptions.position(id)
    }

    /// How far each channel has come, by name.
    pub fn positions(&self) -> impl Iterator<Item = (&Arc<str>, Position)> {
        self.subscriptions.positions()
    }

    /// Whether [`request`](Self::request) takes another.
    pub fn has_room(&self) -> bool {
        self.requests.len() < self.config.max_requests && self.requests.bytes() < self.config.max_request_bytes
    }

    /// Requests that are not answered.
    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// Whether the answer to a request or to a subscription is waited for.
    pub fn awaits_answers(&self) -> bool {
        let subscribing = || self.sent.iter().any(|sent| matches!(sent, Sent::Subscribe(_)));
        self.requests.len() > 0 || self.subscriptions.to_join().is_some() || subscribing()
    }

    /// Asks for something. There will be one [`Output::Answer`]. Requests are made in order and, after a lost line, again in this order.
    ///
    /// # Errors
    /// [`Failure::Full`], [`Failure::Offline`], [`Failure::Stopped`]; [`Failure::Refused`] if no server would take it.
    pub fn request(&mut self, mut request: Request) -> Result<RequestId, Failure> {
        if self.is_stopped() {
            return Err(Failure::Stopped);
        }
        if request.is_ephemeral() && !self.is_connected() {
            return Err(Failure::Offline);
        }
        if !self.has_room() {
            return Err(Failure::Full);
        }
        if let Request::Publish(publish) = &mut request {
            publish.data = publish.data.take().map(checked).transpose().map_err(Failure::Refused)?;
            if publish.once.is_none() && !publish.ephemeral {
                self.published += 1;
                publish.once = Some(format!("{:016x}{:x}", self.once, self.published).into());
            }
        }
        let cost = request.cost();
        let action = request.into_action();
        action.check().map_err(Failure::Refused)?;
        Ok(self.requests.push(action, cost))
    }

    // What is sent.

    /// The next message to send, if there is anything to say: as many commands as fit.
    pub fn transmit(&mut self, now: Duration) -> Option<Vec<u8>> {
        let mut batch = Batch { form: self.line.form()?, max: BATCH_BYTES.min(self.line.max_message()), bytes: Vec::new() };
        if self.line.take_connect() {
            let connect = self.connect_action();
            self.say(&mut batch, connect, Sent::Connect);
            return Some(batch.bytes);
        }
        // Whoever comes and goes faster than the server answers has to wait.
        if !self.is_connected() || self.sent.len() >= self.max_sent() {
            return None;
        }
        if self.line.take_ping() {
            self.say(&mut batch, Action::Ping, Sent::Ping);
        }
        if self.line.take_refresh()
            && let Some(token) = self.config.token.clone()
        {
            // The batch is all but empty: there is room.
            self.say(&mut batch, Action::Refresh { token }, Sent::Refresh);
        }
        while let Some(channel) = self.subscriptions.to_leave().cloned()
            && self.say(&mut batch, Action::Unsubscribe { channel }, Sent::Unsubscribe)
        {
            self.subscriptions.left();
        }
        // A channel is left before it is joined again.
        while self.subscriptions.to_leave().is_none()
            && let Some((id, action)) = self.subscriptions.to_join()
            && batch.push(&Command { id: Some(self.next_id()), action })
        {
            let asking = self.subscriptions.asked(id);
            self.sent.push_back(Sent::Subscribe(asking));
        }
        self.transmit_requests(&mut batch, now);
        (!batch.bytes.is_empty()).then_some(batch.bytes)
    }

    fn transmit_requests(&mut self, batch: &mut Batch, now: Duration) {
        loop {
            let id = self.next_id();
            let Some(command) = self.requests.next_to_send(now) else { break };
            command.id = Some(id);
            let first = batch.bytes.is_empty();
            if !batch.push(command) {
                break;
            }
            let max = self.line.max_message();
            if first && batch.bytes.len() > max {
                batch.bytes.clear();
                self.requests.unsendable(max, &mut self.outputs);
            } else {
                self.requests.sent(now);
                self.sent.push_back(Sent::Request);
            }
        }
    }

    /// Commands that may wait for answers before nothing more is said. One message goes beyond it by what it holds.
    fn max_sent(&self) -> usize {
        self.config.max_requests + 2 * self.config.max_subscriptions
    }

    fn connect_action(&self) -> Action {
        let (session, key) = self.identity.clone().unzip();
        Action::Connect(Connect { token: self.config.token.clone(), info: self.config.info.clone(), session, key })
    }

    /// Adds a command, if there is room for it.
    fn say(&mut self, batch: &mut Batch, action: Action, sent: Sent) -> bool {
        let said = batch.push(&Command { id: Some(self.next_id()), action });
        if said {
            self.sent.push_back(sent);
        }
        said
    }

    /// Commands are numbered from 1, anew on each line.
    fn next_id(&self) -> u32 {
        receive::id_of(self.answered + self.sent.len() as u64)
    }

    /// For tests and simulations: that the session's accounts are right and its bounds are kept.
    ///
    /// # Panics
    /// If not.
    pub fn check(&self) {
        let on_line = self.sent.iter().filter(|sent| **sent == Sent::Request).count();
        self.requests.check(on_line);
        self.subscriptions.check();
        assert!(self.requests.len() <= self.config.max_requests, "too many requests");
        assert!(self.subscriptions.len() <= self.config.max_subscriptions, "too many subscriptions");
        assert!(self.sent.len() < self.max_sent() + BATCH_BYTES / 8, "too many commands on the line");
        assert!(self.line.form().is_some() || self.sent.is_empty(), "commands without a line");
    }
}

/// Whoever says that something is JSON or a text may be wrong.
fn checked(data: Data) -> Result<Data, ErrorReply> {
    match data {
        Data::Json(json) => {
            Data::json(json).map_err(|why| ErrorReply::new(ErrorCode::BadValue, format!("the data is no JSON: {why}")))
        }
        Data::Text(text) if std::str::from_utf8(&text).is_err() => {
            Err(ErrorReply::new(ErrorCode::BadValue, "the text is not UTF-8"))
        }
        data => Ok(data),
    }
}

/// Commands that make up one message.
struct Batch {
    form: Form,
    max: usize,
    bytes: Vec<u8>,
}

impl Batch {
    /// Adds a command, if it is the first or there is room for it.
    fn push(&mut self, command: &Command) -> bool {
        let before = self.bytes.len();
        self.form.push_command(command, &mut self.bytes);
        let fits = before == 0 || self.bytes.len() <= self.max;
        if !fits {
            self.bytes.truncate(before);
        }
        fits
    }
}
