//! The gate: what clients ask, and what they are answered, in the order in which they asked.

use std::collections::VecDeque;
use std::sync::Arc;

use longwire_protocol::{
    Action, CloseCode, Command, Data, ErrorCode, ErrorReply, Message, Publish, Rejected, Reply, StreamEnd, Subscribe,
};

use super::entering::Entering;
use super::{Engine, Lines};
use crate::broker::{Answer, Ask, Failure, Request, Ticket};
use crate::hub::Encoder;
use crate::options::{ChannelOptions, Who};

/// What a client's unanswered commands may cost together.
pub(super) const MAX_COST: usize = 128;
/// What one costs whose answer may be long.
pub(super) const READ_COST: usize = 16;
/// A client that says so many things in a row that mean nothing is not a client.
const MAX_REJECTED: u8 = 100;

/// A command that is not answered yet.
pub(super) struct Slot {
    pub(super) number: u32,
    id: Option<u32>,
    pub(super) state: State,
}

pub(super) enum State {
    /// A question is on its way.
    Waiting(Purpose),
    /// Nothing is known yet. If it subscribes, the line's list of subscriptions to come has more under the same number.
    Begun,
    /// Its turn has not come.
    Ready(Option<Box<Reply>>),
}

/// What a question was asked for.
pub(super) enum Purpose {
    Connect,
    Publish { channel: Arc<str> },
    Append { channel: Arc<str>, stream: u64 },
    Cancel { channel: Arc<str>, stream: u64 },
    Read { channel: Arc<str> },
}

impl Slot {
    pub(super) fn cost(&self) -> usize {
        match self.state {
            State::Waiting(Purpose::Read { .. }) | State::Begun | State::Ready(_) => READ_COST,
            State::Waiting(_) => 1,
        }
    }
}

impl<E: Encoder> Engine<E> {
    /// A client asks for something.
    pub fn command(&mut self, line: u32, command: Command, lines: &mut impl Lines<E>) {
        let Command { id, action } = command;
        let Some(at) = self.line(line) else { return };
        let (is_connected, is_connecting) = (at.session.is_some(), at.connecting.is_some());
        at.rejected = 0;
        let number = self.begin(line, id);
        match action {
            Action::Connect(_) if is_connected || is_connecting => {
                self.fail(line, number, ErrorCode::AlreadyConnected, None, lines);
            }
            Action::Connect(connect) => self.connect(line, number, connect, lines),
            _ if !is_connected => self.fail(line, number, ErrorCode::NotConnected, None, lines),
            Action::Subscribe(subscribe) => self.subscribe(line, number, subscribe, lines),
            Action::Unsubscribe { channel } => self.unsubscribe(line, number, channel, lines),
            Action::Publish(publish) => self.publish(line, number, publish, lines),
            Action::Append(append) => {
                let (channel, stream) = (append.channel.clone(), append.stream);
                if append.end == Some(StreamEnd::Lost) {
                    let failure = Failure::new(ErrorCode::BadValue, "a producer cannot say that it is lost");
                    return self.fail(line, number, failure, Some(channel), lines);
                }
                let producer = self.session_of(line);
                let ask = Ask::Append { append: Box::new(append), producer };
                self.ask(line, number, channel.clone(), Purpose::Append { channel, stream }, ask, lines);
            }
            Action::Cancel { channel, stream } => {
                if let Err(failure) = self.may(line, &channel, |options| options.subscribe) {
                    return self.fail(line, number, failure, Some(channel), lines);
                }
                self.ask(line, number, channel.clone(), Purpose::Cancel { channel, stream }, Ask::Cancel { stream }, lines);
            }
            Action::History(history) => {
                let channel = history.channel.clone();
                self.read(line, number, channel, Ask::History(Box::new(history)), lines);
            }
            Action::Presence { channel, limit, after } => {
                self.read(
                    line,
                    number,
                    channel,
                    Ask::Presence { limit: limit.map_or(usize::MAX, |limit| limit as usize), after },
                    lines,
                );
            }
            Action::State { channel, limit, after } => {
                self.read(
                    line,
                    number,
                    channel,
                    Ask::State { limit: limit.map_or(usize::MAX, |limit| limit as usize), after },
                    lines,
                );
            }
            Action::Refresh { token } => self.refresh(line, number, &token, lines),
            Action::Ping => self.reply(line, number, Some(Reply::Pong), lines),
        }
    }

    /// A client says what is no command.
    pub fn rejected(&mut self, line: u32, rejected: Rejected, lines: &mut impl Lines<E>) {
        let Rejected { id, error: ErrorReply { code, message, channel } } = rejected;
        let Some(at) = self.line(line) else { return };
        at.rejected += 1;
        if at.rejected >= MAX_REJECTED {
            return lines.close(line, CloseCode::BadProtocol);
        }
        let number = self.begin(line, id);
        self.fail(line, number, Failure::new(code, message), channel, lines);
    }

    /// The number of a new command, whose reply is not known yet.
    fn begin(&mut self, line: u32, id: Option<u32>) -> u32 {
        let number = self.next_number();
        if let Some(line) = self.line(line) {
            line.slots.push_back(Slot { number, id, state: State::Begun });
        }
        number
    }

    fn publish(&mut self, line: u32, number: u32, mut publish: Publish, lines: &mut impl Lines<E>) {
        let channel = publish.channel.clone();
        if let Err(failure) = self.may(line, &channel, |options| options.publish) {
            return self.fail(line, number, failure, Some(channel), lines);
        }
        if publish.stream
            && let Some(Data::Json(json)) = &publish.data
        {
            let failure = Failure::new(
                ErrorCode::BadValue,
                format!("a stream begins with a text, not with {} bytes of JSON", json.len()),
            );
            return self.fail(line, number, failure, Some(channel), lines);
        }
        publish.channel = channel.clone();
        let from = self.line(line).and_then(|line| line.session.as_deref()).map(|session| session.member.clone());
        let ask = Ask::Publish { publish: Box::new(publish), from };
        self.ask(line, number, channel.clone(), Purpose::Publish { channel }, ask, lines);
    }

    fn read(&mut self, line: u32, number: u32, channel: Arc<str>, ask: Ask, lines: &mut impl Lines<E>) {
        // Who may follow a channel may look at it.
        if let Err(failure) = self.may(line, &channel, |options| options.subscribe) {
            return self.fail(line, number, failure, Some(channel), lines);
        }
        self.ask(line, number, channel.clone(), Purpose::Read { channel }, ask, lines);
    }

    fn subscribe(&mut self, line: u32, number: u32, subscribe: Subscribe, lines: &mut impl Lines<E>) {
        let channel = subscribe.channel.clone();
        let failure = match self.may(line, &channel, |options| options.subscribe) {
            Err(failure) => Some(failure),
            Ok(()) => self.cannot_enter(line, &channel).map(Failure::from),
        };
        if let Some(failure) = failure {
            return self.fail(line, number, failure, Some(channel), lines);
        }
        self.start_waiting(line, &channel);
        let entering = Entering::new(subscribe, number);
        if let Some(at) = self.line(line) {
            at.entering.push(entering);
        }
        self.ask_to_enter(line, number, lines);
    }

    fn cannot_enter(&mut self, line: u32, channel: &str) -> Option<ErrorCode> {
        let most = self.options.subscriptions;
        let live = self.hub.subscriptions(line);
        let is_live = self.hub.is_subscribed(line, channel);
        let at = self.line(line)?;
        if is_live || at.entering.iter().any(|entering| &*entering.channel == channel) {
            Some(ErrorCode::AlreadySubscribed)
        } else if !at.trusted && live + at.entering.len() >= most {
            Some(ErrorCode::TooManySubscriptions)
        } else {
            None
        }
    }

    fn unsubscribe(&mut self, line: u32, number: u32, channel: Arc<str>, lines: &mut impl Lines<E>) {
        if !self.end_subscription(line, &channel, lines) {
            return self.fail(line, number, ErrorCode::NotSubscribed, Some(channel), lines);
        }
        let has_id = self.has_id(line, number);
        self.reply(line, number, has_id.then_some(Reply::Unsubscribed { channel }), lines);
    }

    /// Ends a subscription, live or not; false if there is none.
    pub(super) fn end_subscription(&mut self, line: u32, channel: &Arc<str>, lines: &mut impl Lines<E>) -> bool {
        let entering = self.line(line).and_then(|line| {
            let at = line.entering.iter().position(|entering| entering.channel == *channel)?;
            Some(line.entering.swap_remove(at))
        });
        let was_entering = entering.is_some();
        if let Some(entering) = entering {
            self.stop_waiting(line, channel, lines);
            if let Some(number) = entering.is_unanswered() {
                let failure = Failure::new(ErrorCode::NotSubscribed, "unsubscribed before the subscription began");
                self.fail(line, number, failure, Some(channel.clone()), lines);
            }
        } else if self.hub.unsubscribe(line, channel) {
            self.unfollow(channel, lines);
        } else {
            return was_entering;
        }
        if self.options_of(channel).is_some_and(|options| options.presence)
            && let Some(session) = self.session_of(line)
        {
            self.ask_silently(channel.clone(), Ask::Leave { session }, lines);
        }
        true
    }

    /// Whether a session may do something in a channel.
    fn may(&mut self, line: u32, channel: &str, who: impl FnOnce(&ChannelOptions) -> Who) -> Result<(), Failure> {
        let Some(options) = self.options_of(channel) else { return Err(ErrorCode::UnknownNamespace.into()) };
        let is_user =
            || self.lines.get(line as usize).and_then(|line| line.as_ref()?.session.as_ref()?.member.user.as_ref()).is_some();
        let trusted = self.lines.get(line as usize).and_then(Option::as_ref).is_some_and(|line| line.trusted);
        let allowed = match who(options) {
            _ if trusted => true,
            Who::Anyone => true,
            Who::Users => is_user(),
            Who::Nobody => false,
        };
        if allowed { Ok(()) } else { Err(ErrorCode::PermissionDenied.into()) }
    }

    fn ask(&mut self, line: u32, number: u32, channel: Arc<str>, purpose: Purpose, ask: Ask, lines: &mut impl Lines<E>) {
        if let Some(slot) = self.slot(line, number) {
            slot.state = State::Waiting(purpose);
        }
        let ticket = self.ticket(line, number);
        lines.ask(Request { channel, ticket, ask });
    }

    pub(super) fn ticket(&self, line: u32, number: u32) -> Ticket {
        Ticket { shard: self.shard, id: u64::from(number) << 32 | u64::from(line) }
    }

    pub(super) fn wait(&mut self, line: u32, number: u32, purpose: Purpose) {
        if let Some(slot) = self.slot(line, number) {
            slot.state = State::Waiting(purpose);
        }
    }

    /// A question has been answered.
    pub(super) fn answered(&mut self, line: u32, number: u32, answer: Result<Answer, Failure>, lines: &mut impl Lines<E>) {
        let Some(slot) = self.slot(line, number) else { return };
        let has_id = slot.id.is_some();
        if !matches!(slot.state, State::Waiting(_)) {
            // It was answered without waiting for this, and may still wait for its turn.
            return;
        }
        let State::Waiting(purpose) = std::mem::replace(&mut slot.state, State::Ready(None)) else { return };
        let channel = match purpose {
            Purpose::Connect => return,
            Purpose::Publish { channel } | Purpose::Read { channel } => (channel, 0),
            Purpose::Append { channel, stream } | Purpose::Cancel { channel, stream } => (channel, stream),
        };
        let (channel, stream) = channel;
        let reply = match answer {
            Err(failure) => return self.fail(line, number, failure, Some(channel), lines),
            // A bare success, and nobody asked to hear of it.
            Ok(Answer::Published { .. } | Answer::Cancelled) if !has_id => None,
            Ok(Answer::Appended { cancel: false, .. }) if !has_id => None,
            Ok(Answer::Published { position, repeated, lease }) => {
                Some(Reply::Published { channel, position, repeated, lease })
            }
            Ok(Answer::Appended { length, cancel }) => Some(Reply::Appended { channel, stream, length, cancel }),
            Ok(Answer::Cancelled) => Some(Reply::Cancelled { channel, stream }),
            Ok(Answer::History { head, publications, more }) => Some(Reply::History { channel, head, publications, more }),
            Ok(Answer::Presence { members, sessions, users, more }) => {
                Some(Reply::Presence { channel, members, sessions, users, more })
            }
            Ok(Answer::State { head, entries, more }) => Some(Reply::State { channel, head, entries, more }),
            Ok(Answer::Entered(_) | Answer::Page(_)) => {
                return self.fail(line, number, ErrorCode::Internal, Some(channel), lines);
            }
        };
        self.reply(line, number, reply, lines);
    }

    /// Whether the client wants to hear of a bare success.
    pub(super) fn has_id(&mut self, line: u32, number: u32) -> bool {
        self.slot(line, number).is_some_and(|slot| slot.id.is_some())
    }

    pub(super) fn slot(&mut self, line: u32, number: u32) -> Option<&mut Slot> {
        self.line(line)?.slots.iter_mut().find(|slot| slot.number == number)
    }

    pub(super) fn fail(
        &mut self,
        line: u32,
        number: u32,
        failure: impl Into<Failure>,
        channel: Option<Arc<str>>,
        lines: &mut impl Lines<E>,
    ) {
        let Failure { code, message } = failure.into();
        let message = message.unwrap_or_else(|| code.text().into());
        self.reply(line, number, Some(Reply::Error(ErrorReply { code, message, channel })), lines);
    }

    /// The answer to a command, which goes out when all before it have; none for a bare success that nobody wants to hear of.
    pub(super) fn reply(&mut self, line: u32, number: u32, reply: Option<Reply>, lines: &mut impl Lines<E>) {
        if let Some(slot) = self.slot(line, number) {
            slot.state = State::Ready(reply.map(Box::new));
        }
        self.flush_slots(line, lines);
    }

    /// Sends the replies whose turn it is, as far as there is room.
    pub(super) fn flush_slots(&mut self, line: u32, lines: &mut impl Lines<E>) {
        while let Some(at) = self.line(line)
            && let Some(front) = at.slots.front_mut()
        {
            if at.credit <= 0 && !at.held {
                lines.want_room(line);
                return;
            }
            let (number, id) = (front.number, front.id);
            match &mut front.state {
                State::Waiting(_) => return,
                State::Begun => {
                    if !self.enter_if_ready(line, number, id, lines) {
                        return;
                    }
                }
                State::Ready(reply) => {
                    let reply = reply.take();
                    at.slots.pop_front();
                    if let Some(reply) = reply {
                        let (encoding, bytes) = (at.encoding, cost(&reply));
                        lines.send(line, encoding, &Message::Reply(id, *reply));
                        self.charge(line, bytes, lines);
                    }
                }
            }
        }
        // An idle line owns no buffer.
        if let Some(at) = self.line(line)
            && at.slots.is_empty()
        {
            at.slots = VecDeque::new();
        }
    }
}

/// What a reply takes of the room, in bytes, about.
fn cost(reply: &Reply) -> usize {
    match reply {
        Reply::History { publications, .. } | Reply::State { entries: publications, .. } => {
            publications.iter().map(|publication| crate::broker::size(publication)).sum()
        }
        Reply::Presence { members, .. } => {
            members.iter().map(|member| 64 + member.info.as_ref().map_or(0, bytes::Bytes::len)).sum()
        }
        _ => 64,
    }
}
