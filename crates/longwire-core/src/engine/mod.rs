//! The sessions of one shard: what their clients ask, and how they come to follow channels.
//!
//! | module | what it does |
//! |---|---|
//! | `commands` | the gate: what a client asks becomes questions to channels, and their answers become replies, in order |
//! | `dealing` | what has happened in channels reaches their live subscribers |
//! | `entering` | how a subscription catches up until it is live, and how it falls behind |
//! | `together` | the same in several channels that have one order |
//! | `sessions` | how sessions begin, are parked without a line, are taken up again, and end |
//!
//! The engine is plain state. What it wants done it says to [`Lines`]; channels it only knows through [`Request`]s and their
//! answers.

mod commands;
mod dealing;
mod entering;
mod sessions;
mod together;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use longwire_protocol::{CloseCode, ErrorCode, Message, Push, SessionId};

use crate::broker::{Answer, Ask, Delivery, Failure, Now, Request, Ticket, What};
use crate::hub::{Encoder, Hub};
use crate::options::{ChannelOptions, Namespaces};
use crate::random::Random;
use commands::Slot;
use entering::{Entering, Waiting};
use sessions::{Connecting, Place, Session, Timer};
pub use sessions::{Luggage, Peer, Reader};

/// What may be sent to a line in answers and old publications before it is asked for room again, in bytes, about.
const CREDIT: isize = 256 * 1024;

/// Marks the ticket of a question that was asked for a subscription, beside the index of its line.
const FOR_SUBSCRIPTION: u32 = 1 << 31;

/// What an engine has done for it.
pub trait Lines<E: Encoder> {
    /// Sends a message to a line.
    fn send(&mut self, line: u32, encoding: E::Encoding, message: &Message);

    /// Sends a line bytes that it shares with others; `alone` if the line is in no other channel. False if it has no room.
    fn deal(&mut self, line: u32, bytes: &Bytes, alone: bool) -> bool;

    /// A line has no room for bytes that so many lines share, in a channel whose slow subscribers are closed. False if it is to be;
    /// true if it gets them, because it is not known to be slow yet.
    fn deal_late(&mut self, line: u32, bytes: &Bytes, lines: u32) -> bool {
        let _ = (line, bytes, lines);
        false
    }

    /// As [`deal`](Self::deal), of what is not meant for those who do not take it at once.
    fn deal_volatile(&mut self, line: u32, bytes: &Bytes, alone: bool) {
        self.deal(line, bytes, alone);
    }

    /// Whether something is meant only for those who take it at once.
    fn is_volatile(&self, delivery: &Delivery) -> bool {
        let _ = delivery;
        false
    }

    /// Whether there is such a shard. A client may name any.
    fn has_shard(&self, shard: u16) -> bool;

    /// Has [`Engine::room`] called once little waits to be sent to a line: soon, perhaps at once, but not within this call.
    fn want_room(&mut self, line: u32);

    /// Closes a line, after this call.
    fn close(&mut self, line: u32, code: CloseCode);

    /// Asks a channel; the answer comes to [`Engine::answer`], after this call.
    fn ask(&mut self, request: Request);

    /// Tells another shard's engine something: [`Engine::told`].
    fn tell(&mut self, shard: u16, peer: Peer);

    /// What is to be kept with the session of a line that is lost, and goes where the session goes: see [`Engine::unpack`].
    fn luggage(&mut self, line: u32) -> Option<Luggage> {
        let _ = line;
        None
    }

    /// A subscription is answered, and the channel's keys are sent before anything else of it.
    fn keys_follow(&mut self, line: u32, encoding: E::Encoding, channel: &Arc<str>) {
        let _ = (line, encoding, channel);
    }

    /// A subscription is answered: whether what comes of its channel waits for [`Engine::release`].
    fn holds(&mut self, line: u32) -> bool {
        let _ = line;
        false
    }

    /// A line is in the present of all its channels.
    fn caught_up(&mut self, line: u32) {
        let _ = line;
    }

    /// A session that had luggage is over.
    fn forgotten(&mut self, session: SessionId) {
        let _ = session;
    }

    /// If what has happened in a channel is meant for just one subscriber: its line, if it is here.
    fn only(&self, delivery: &Delivery) -> Option<Option<u32>> {
        let _ = delivery;
        None
    }

    /// Whether all of a channel's subscribers are told of what has happened there.
    fn is_for_all(&self, delivery: &Delivery) -> bool {
        let _ = delivery;
        true
    }

    /// If not all are: whether this one is.
    fn is_for(&self, line: u32, delivery: &Delivery) -> bool {
        let _ = (line, delivery);
        true
    }
}

/// Who a token says one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; `None` for an anonymous session.
    pub user: Option<Arc<str>>,
    /// Seconds for which that is known.
    pub expires: Option<u32>,
}

/// Knows what tokens are good for.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Who the bearer of a token is, or of none. It must not block.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`], or [`ErrorCode::TokenExpired`].
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, ErrorCode>;
}

/// Lets everyone in, as nobody in particular; a token is an error, so that nobody believes it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, ErrorCode> {
        if token.is_some() { Err(ErrorCode::Unauthorized) } else { Ok(Identity::default()) }
    }
}

/// What an engine is told about its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Milliseconds for which a session is kept without a line. Default: 30 s.
    pub keep: u64,
    /// Sessions of a shard that are kept without a line, at most. Default: 65,536.
    pub parked: usize,
    /// Milliseconds for which a line may be without `connect`. Default: 10 s.
    pub connect_timeout: u64,
    /// Channels that a session may be subscribed to. Default: 1,000.
    pub subscriptions: usize,
    /// Told to clients: seconds of silence before the server pings.
    pub ping: u32,
    /// Told to clients: the longest message from them, in bytes.
    pub message_bytes: u32,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { keep: 30_000, parked: 65_536, connect_timeout: 10_000, subscriptions: 1000, ping: 25, message_bytes: 1 << 20 }
    }
}

/// The sessions and subscriptions of one shard.
pub struct Engine<E: Encoder> {
    shard: u16,
    namespaces: Arc<Namespaces>,
    options: SessionOptions,
    authenticator: Arc<dyn Authenticator>,
    random: Random,
    now: Now,
    hub: Hub<E>,
    /// Lines that speak for a session, or are to, by their index.
    lines: Vec<Option<Box<Line<E::Encoding>>>>,
    sessions: HashMap<SessionId, Place>,
    /// Of lines that only read, what they do. Those that stay for long are not here once they have connected.
    readers: HashMap<u32, Reader>,
    /// How many of them have no line.
    parked: usize,
    /// Channels that some subscription is about to enter.
    waiting: HashMap<Arc<str>, Waiting>,
    timers: BTreeSet<(u64, Timer)>,
    sequence: u32,
    /// The channel of the last delivery, if it is one of several with one order.
    newest: Option<Arc<str>>,
}

/// A line that speaks for a session.
struct Line<T> {
    encoding: T,
    /// Tells it from an earlier line with the same index.
    number: u32,
    session: Option<Box<Session>>,
    /// Its session is being fetched from another shard.
    connecting: Option<Box<Connecting>>,
    /// Commands that are not answered yet.
    slots: VecDeque<Slot>,
    /// Subscriptions that are not live.
    entering: Vec<Entering>,
    /// What was asked for subscriptions and is not answered yet, whether they are still wanted or not.
    asked: u16,
    /// The server itself acts here, and may do what clients may not.
    trusted: bool,
    /// Subscriptions are answered, and what comes then waits.
    held: bool,
    credit: isize,
    /// How many messages in a row were no commands.
    rejected: u8,
    /// The steady time at which it was opened.
    opened: u64,
    /// The steady time by which it must have a session.
    connect_by: u64,
}

impl<E: Encoder> Engine<E> {
    /// Without a line yet.
    pub fn new(
        shard: u16,
        namespaces: Arc<Namespaces>,
        options: SessionOptions,
        authenticator: Arc<dyn Authenticator>,
        random: Random,
        encoder: E,
    ) -> Self {
        Self {
            shard,
            namespaces,
            options,
            authenticator,
            random,
            now: Now::default(),
            hub: Hub::new(encoder),
            lines: Vec::new(),
            sessions: HashMap::new(),
            readers: HashMap::new(),
            parked: 0,
            waiting: HashMap::new(),
            timers: BTreeSet::new(),
            sequence: 0,
            newest: None,
        }
    }

    /// The time has come this far.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// A line has opened that is to speak for a session.
    pub fn opened(&mut self, line: u32, encoding: E::Encoding) {
        self.opened_for(line, encoding, self.options.connect_timeout);
    }

    /// As [`opened`](Self::opened), with another time, in milliseconds, for which it may be without a session.
    pub fn opened_for(&mut self, line: u32, encoding: E::Encoding, connect_timeout: u64) {
        if self.lines.len() <= line as usize {
            self.lines.resize_with(line as usize + 1, || None);
        }
        let number = self.next_number();
        let opened = self.now.steady;
        let connect_by = opened.saturating_add(connect_timeout);
        self.lines[line as usize] = Some(Box::new(Line {
            encoding,
            number,
            session: None,
            connecting: None,
            slots: VecDeque::new(),
            entering: Vec::new(),
            asked: 0,
            trusted: false,
            held: false,
            credit: CREDIT,
            rejected: 0,
            opened,
            connect_by,
        }));
        self.timers.insert((connect_by, Timer::Connect { line, number }));
    }

    /// On this line the server itself acts, and may do what clients may not; how many subscriptions it has it knows itself.
    pub fn trust(&mut self, line: u32) {
        if let Some(line) = self.line(line) {
            line.trusted = true;
        }
    }

    /// From now on subscriptions of a line are answered, but what comes after the answers waits for [`Engine::release`].
    pub fn hold(&mut self, line: u32) {
        if let Some(line) = self.line(line) {
            line.held = true;
        }
    }

    /// Ends a [`hold`](Self::hold).
    pub fn release(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let Some(at) = self.line(line) else { return };
        at.held = false;
        self.flush_slots(line, lines);
        self.advance_entering(line, lines);
    }

    /// A line without a session subscribes. It is live at once, and false says that it was before. `ask` is for a question to the
    /// channel.
    pub fn subscribe_plain(&mut self, line: u32, encoding: E::Encoding, channel: &str, ask: impl FnOnce(Request)) -> bool {
        if !self.hub.is_subscribed(line, channel) && !self.is_followed(channel) {
            ask(self.silently(channel.into(), Ask::Follow));
        }
        self.hub.subscribe(line, encoding, channel)
    }

    /// Whether a line is subscribed to a channel, and live.
    pub fn is_subscribed(&self, line: u32, channel: &str) -> bool {
        self.hub.is_subscribed(line, channel)
    }

    /// A line without a session ends a subscription.
    pub fn unsubscribe_plain(&mut self, line: u32, channel: &str, ask: impl FnOnce(Request)) {
        if self.hub.unsubscribe(line, channel) && !self.is_followed(channel) {
            ask(self.silently(channel.into(), Ask::Unfollow));
        }
    }

    /// A line has ended, and with it its session.
    pub fn ended(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let (session, channels) = self.detach(line, lines);
        if let Some(mut session) = session {
            self.note_presence(&mut session, channels, lines);
            self.end(*session, lines);
        }
    }

    /// A line has ended whose client was told nothing. Its session ends with it, unless it is one that the client has come back with.
    pub fn given_up(&mut self, line: u32, lines: &mut impl Lines<E>) {
        match self.line(line).and_then(|line| line.session.as_ref()) {
            Some(session) if session.was_resumed() => self.closed(line, lines),
            _ => self.ended(line, lines),
        }
    }

    /// A line has ended. Its session, if it has one, is parked.
    pub fn closed(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let (session, channels) = self.detach(line, lines);
        if let Some(session) = session {
            self.park(session, channels, lines);
        }
    }

    /// Takes a line out of everything: its session, and the channels that it was in, or about to enter.
    fn detach(&mut self, line: u32, lines: &mut impl Lines<E>) -> (Option<Box<Session>>, Vec<Arc<str>>) {
        self.readers.remove(&line);
        let ended = self.lines.get_mut(line as usize).and_then(Option::take);
        let mut channels = Vec::new();
        self.hub.leave(line, |name| channels.push(name.clone()));
        for channel in &channels {
            self.unfollow(channel, lines);
        }
        let Some(mut ended) = ended else { return (None, channels) };
        if let Some(session) = &mut ended.session {
            session.luggage = lines.luggage(line);
        }
        let number = ended.number;
        self.timers.remove(&(ended.connect_by, Timer::Connect { line, number }));
        if let Some(expires) = ended.session.as_ref().and_then(|session| session.expires) {
            self.timers.remove(&(expires, Timer::Token { line, number }));
        }
        for entering in std::mem::take(&mut ended.entering) {
            self.stop_waiting(line, &entering.channel, lines);
            channels.push(entering.channel);
        }
        (ended.session, channels)
    }

    /// Little waits to be sent to a line.
    pub fn room(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let Some(at) = self.line(line) else { return };
        at.credit = CREDIT;
        self.flush_slots(line, lines);
        self.advance_entering(line, lines);
    }

    /// Whether a line has been answered all that it has asked, and is in the present of its channels.
    pub fn is_settled(&self, line: u32) -> bool {
        let line = self.lines.get(line as usize).and_then(Option::as_ref);
        line.is_none_or(|line| line.connecting.is_none() && line.slots.is_empty() && line.entering.is_empty())
    }

    /// Whether a line's further commands should wait until those before are answered.
    pub fn is_busy(&self, line: u32) -> bool {
        let Some(Some(line)) = self.lines.get(line as usize) else { return false };
        // Who asks and takes it back has asked all the same: its channels have the work.
        let asked = usize::from(line.asked) * commands::READ_COST;
        line.connecting.is_some()
            || line.credit <= 0
            || asked.max(line.slots.iter().map(Slot::cost).sum()) >= commands::MAX_COST
    }

    /// A channel has answered.
    pub fn answer(&mut self, ticket: Ticket, answer: Result<Answer, Failure>, lines: &mut impl Lines<E>) {
        let (line, number) = (ticket.id as u32 & !FOR_SUBSCRIPTION, (ticket.id >> 32) as u32);
        if number == 0 {
            // Nobody waits for that.
            return;
        }
        if ticket.id as u32 & FOR_SUBSCRIPTION != 0
            && let Some(at) = self.line(line)
            // And not to an earlier line with the same index.
            && number.wrapping_sub(at.number) < 1 << 31
        {
            at.asked = at.asked.saturating_sub(1);
        }
        if let Some(entering) =
            self.line(line).and_then(|line| line.entering.iter().position(|entering| entering.asked == number))
        {
            self.paged(line, entering, answer, lines);
        } else {
            self.answered(line, number, answer, lines);
        }
    }

    /// Someone wants a session's stream to stop.
    pub fn cancel(&mut self, producer: SessionId, channel: Arc<str>, stream: u64, lines: &mut impl Lines<E>) {
        match self.sessions.get(&producer) {
            Some(Place::Line(line)) => {
                let line = *line;
                self.push(line, Push::Cancel { channel, stream }, lines);
            }
            Some(Place::Shard(shard, _)) => lines.tell(*shard, Peer::cancel(producer, channel, stream)),
            _ => {}
        }
    }

    /// Does what is due.
    pub fn look_at_clock(&mut self, lines: &mut impl Lines<E>) {
        while let Some((at, _)) = self.timers.first()
            && *at <= self.now.steady
            && let Some((_, timer)) = self.timers.pop_first()
        {
            self.due_now(timer, lines);
        }
    }

    /// The steady time at which something will be due, if anything will.
    pub fn due(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many sessions there are here, with a line and without.
    pub fn sessions(&self) -> usize {
        self.sessions.values().filter(|place| !matches!(place, Place::Shard(..))).count()
    }

    /// For tests and simulations: what there still is of lines, sessions and subscriptions, if there is anything.
    pub fn leftovers(&self) -> Option<String> {
        let lines = self.lines.iter().flatten().count();
        let (sessions, waiting, timers) = (self.sessions.len(), self.waiting.len(), self.timers.len());
        let any = lines + sessions + self.parked + waiting + timers + self.hub.channels() > 0;
        any.then(|| {
            let (parked, channels) = (self.parked, self.hub.channels());
            format!(
                "{lines} lines, {sessions} sessions, {parked} parked, {channels} channels, {waiting} entered, {timers} timers"
            )
        })
    }

    fn line(&mut self, line: u32) -> Option<&mut Line<E::Encoding>> {
        self.lines.get_mut(line as usize)?.as_deref_mut()
    }

    /// What a line was sent, beside what it shares with others, is taken off its credit.
    fn charge(&mut self, line: u32, bytes: usize, lines: &mut impl Lines<E>) {
        if let Some(at) = self.line(line) {
            at.credit -= bytes as isize;
            if at.credit <= 0 {
                lines.want_room(line);
            }
        }
    }

    fn push(&mut self, line: u32, push: Push, lines: &mut impl Lines<E>) {
        if let Some(at) = self.line(line) {
            let encoding = at.encoding;
            lines.send(line, encoding, &Message::Push(push));
        }
    }

    /// Sends a line something that has happened in a channel, by itself.
    fn send_delivery(&mut self, line: u32, delivery: &Delivery, lines: &mut impl Lines<E>) {
        let channel = delivery.channel.clone();
        let push = match &delivery.what {
            What::Publication(publication) => Push::Publication(publication.clone()),
            What::Piece(piece) => Push::Append(piece.clone()),
            What::Join(member) => Push::Join { channel, member: member.clone() },
            What::Leave(member) => Push::Leave { channel, member: member.clone() },
        };
        self.push(line, push, lines);
        self.charge(line, entering::weight(delivery), lines);
    }

    /// After a subscription has ended.
    fn unfollow(&mut self, channel: &Arc<str>, lines: &mut impl Lines<E>) {
        if !self.is_followed(channel) {
            self.ask_silently(channel.clone(), Ask::Unfollow, lines);
        }
    }

    fn is_followed(&self, channel: &str) -> bool {
        self.hub.has_subscribers(channel) || self.waiting.contains_key(channel)
    }

    fn ask_silently(&mut self, channel: Arc<str>, ask: Ask, lines: &mut impl Lines<E>) {
        lines.ask(self.silently(channel, ask));
    }

    fn silently(&self, channel: Arc<str>, ask: Ask) -> Request {
        Request { channel, ticket: Ticket { shard: self.shard, id: 0 }, ask }
    }

    fn next_number(&mut self) -> u32 {
        // 0 is no number.
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    fn options_of(&self, channel: &str) -> Option<&Arc<ChannelOptions>> {
        self.namespaces.of(channel)
    }
}

impl<E: Encoder> fmt::Debug for Engine<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shard", &self.shard).field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}
