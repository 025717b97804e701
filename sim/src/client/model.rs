//! A small client of the simulation's own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use longwire_core::Namespaces;
use longwire_protocol::{
    Action, Append, Command, Connect, Connected, Data, ErrorCode, Form, History, Message, Position, Publication, Publish, Push,
    Reply, SessionId, StreamEnd, Subscribe,
};

use super::Client;
use crate::chance::Chance;
use crate::truth::{Entry, Truth, text_of};
use crate::watcher::{Verdict, Watcher};

/// A small client that keeps to the protocol, and counts everything.
pub struct Model {
    number: usize,
    form: Form,
    namespaces: Arc<Namespaces>,
    channels: Arc<[Arc<str>]>,
    line: Line,
    identity: Option<(SessionId, String)>,
    /// All sessions that it ever had.
    own: BTreeSet<SessionId>,
    subscriptions: BTreeMap<Arc<str>, Subscription>,
    /// Commands to be sent, with what is expected for them.
    to_send: VecDeque<(Command, Expected)>,
    /// Sent, and not answered.
    expected: VecDeque<(Option<u32>, Expected)>,
    next_id: u32,
    said: u64,
    /// Publications with an idempotency key that are not answered, from the oldest.
    unanswered: VecDeque<Publish>,
    streams: Vec<Stream>,
    /// What its large publications have, in bytes.
    large: usize,
    always_large: bool,
    gone: bool,
}

enum Line {
    None { since: u64, wait: u64 },
    Connecting,
    Connected,
}

struct Subscription {
    watcher: Watcher,
    wanted: bool,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Idle,
    Asked,
    Live,
    /// `unsubscribe` was said.
    Leaving,
}

/// A stream that it produces.
struct Stream {
    channel: Arc<str>,
    began: u64,
    text: String,
    /// So much of it the server has.
    known: u64,
    end: Option<StreamEnd>,
}

#[derive(Clone, Debug)]
enum Expected {
    Connected,
    Subscribed { since: Option<Position>, state: bool, channel: Arc<str> },
    Unsubscribed(Arc<str>),
    Published { publish: Box<Publish> },
    Appended { channel: Arc<str>, began: u64 },
    History(Arc<str>),
    Error,
    Other,
}

impl Model {
    /// Its number tells it from others.
    pub fn new(number: usize, namespaces: Arc<Namespaces>, channels: Arc<[Arc<str>]>, chance: &mut Chance) -> Self {
        Self {
            number,
            form: *chance.pick(&Form::ALL),
            namespaces,
            channels,
            line: Line::None { since: 0, wait: 0 },
            identity: None,
            own: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            to_send: VecDeque::new(),
            expected: VecDeque::new(),
            next_id: 0,
            said: 0,
            unanswered: VecDeque::new(),
            streams: Vec::new(),
            large: *chance.pick(&[100, 3000, 12_000, 40_000]),
            always_large: chance.one_in(4),
            gone: false,
        }
    }

    fn say(&mut self, action: Action, expected: Expected) {
        self.next_id += 1;
        self.to_send.push_back((Command { id: Some(self.next_id), action }, expected));
    }

    fn say_silently(&mut self, action: Action, expected: Expected) {
        self.to_send.push_back((Command { id: None, action }, expected));
    }

    fn options(&self, channel: &str) -> Arc<longwire_core::ChannelOptions> {
        self.namespaces.of(channel).expect("a namespace of the simulation").clone()
    }

    fn subscribe(&mut self, channel: &Arc<str>, chance: &mut Chance, last: Option<u32>) {
        let options = self.options(channel);
        let is_leaving = self.leaving(channel);
        let Some(subscription) = self.subscriptions.get_mut(channel) else { return };
        let knows_keys = !options.has_state() || subscription.watcher.has_keys();
        // What comes before `unsubscribed` would move the position on.
        let since = subscription.watcher.position().filter(|_| knows_keys && !is_leaving);
        (subscription.phase, subscription.wanted) = (Phase::Asked, true);
        let state = options.has_state();
        let members = options.presence && !chance.one_in(8);
        let subscribe = Subscribe { channel: channel.clone(), since, last: last.filter(|_| since.is_none()), state, members };
        self.say(Action::Subscribe(subscribe), Expected::Subscribed { since, state, channel: channel.clone() });
    }

    fn unsubscribe(&mut self, channel: &Arc<str>) {
        let Some(subscription) = self.subscriptions.get_mut(channel) else { return };
        subscription.phase = Phase::Leaving;
        subscription.wanted = false;
        self.say(Action::Unsubscribe { channel: channel.clone() }, Expected::Unsubscribed(channel.clone()));
    }

    /// Whether `unsubscribe` was said, or is about to be.
    fn leaving(&self, channel: &Arc<str>) -> bool {
        let all = self.expected.iter().map(|(_, expected)| expected).chain(self.to_send.iter().map(|(_, expected)| expected));
        all.into_iter().any(|expected| matches!(expected, Expected::Unsubscribed(of) if of == channel))
    }

    fn publish(&mut self, chance: &mut Chance) {
        let channel = chance.pick(&self.channels).clone();
        let options = self.options(&channel);
        self.said += 1;
        let name = format!("{}.{}", self.number, self.said);
        let padding = "x".repeat(match chance.below(20) {
            0..2 => self.large,
            2..5 => 400,
            5..16 if self.always_large => self.large,
            _ => 0,
        });
        let mut publish = Publish::new(channel.clone(), Data::from(""));
        let ephemeral = chance.one_in(6);
        let kind = if ephemeral {
            publish.ephemeral = true;
            publish.echo = !chance.one_in(3);
            if publish.echo { "now" } else { "no echo" }
        } else if options.has_state() && !chance.one_in(4) {
            publish.key = Some(format!("k{}", chance.below(8)).into());
            publish.once = (!chance.one_in(3)).then(|| name.clone().into());
            publish.remove = chance.one_in(4);
            if publish.once.is_some() { "once" } else { "key" }
        } else if options.streams && chance.one_in(3) {
            publish.stream = true;
            "stream"
        } else if !chance.one_in(4) {
            publish.once = Some(name.clone().into());
            "once"
        } else {
            publish.echo = !chance.one_in(3);
            if publish.echo { "plain" } else { "no echo" }
        };
        publish.data = (!publish.remove).then(|| Data::from(format!("{kind} {name} {padding}")));
        if publish.once.is_some() {
            self.unanswered.push_back(publish.clone());
        } else if !matches!(self.line, Line::Connected) {
            return;
        }
        if matches!(self.line, Line::Connected) {
            self.send_publish(publish, chance);
        }
    }

    fn send_publish(&mut self, publish: Publish, chance: &mut Chance) {
        let expected = Expected::Published { publish: Box::new(publish.clone()) };
        if publish.once.is_none() && !publish.stream && chance.one_in(3) {
            self.say_silently(Action::Publish(publish), expected);
        } else {
            self.say(Action::Publish(publish), expected);
        }
    }

    fn append(&mut self, chance: &mut Chance) {
        if self.streams.is_empty() {
            return;
        }
        let at = chance.below(self.streams.len());
        let stream = &mut self.streams[at];
        if stream.end.is_none() && !chance.one_in(10) {
            let text = if chance.one_in(10) { "long ".repeat(100) } else { format!("{} ", chance.below(1000)) };
            stream.text.push_str(&text);
        } else if stream.end.is_none() {
            stream.end = Some(*chance.pick(&[StreamEnd::Finished, StreamEnd::Failed, StreamEnd::Cancelled]));
        }
        let known = stream.known as usize;
        let append = Append {
            channel: stream.channel.clone(),
            stream: stream.began,
            data: Some(stream.text[known..].into()),
            at: Some(stream.known),
            end: stream.end,
            reason: None,
        };
        let expected = Expected::Appended { channel: append.channel.clone(), began: append.stream };
        self.say(Action::Append(append), expected);
    }

    fn read(&mut self, chance: &mut Chance) {
        let channel = chance.pick(&self.channels).clone();
        let options = self.options(&channel);
        let refused = |has: bool| if has { Expected::Other } else { Expected::Error };
        match chance.below(6) {
            0 if options.has_history() => {
                let (mut after, mut before) = (None, None);
                match chance.below(3) {
                    0 => after = Some(chance.below(30) as u64),
                    1 => before = Some(chance.below(60) as u64),
                    _ => {}
                }
                let limit = chance.one_in(2).then(|| chance.below(20) as u32);
                let history = History { channel: channel.clone(), after, epoch: None, before, limit };
                self.say(Action::History(history), Expected::History(channel));
            }
            1 => self.say(Action::Presence { channel, limit: None, after: None }, refused(options.presence)),
            2 => self.say(Action::State { channel, limit: Some(3), after: None }, refused(options.has_state())),
            3 => self.say(Action::Refresh { token: "none".to_owned() }, Expected::Error),
            4 => self.say(Action::Unsubscribe { channel: "log:nobody".into() }, Expected::Error),
            _ => self.say(Action::Ping, Expected::Other),
        }
    }

    fn connected(&mut self, connected: &Connected, chance_seed: u64) -> Verdict {
        if connected.resumed != (self.identity.as_ref().map(|(session, _)| *session) == Some(connected.session)) {
            return Err(format!("client {}: resumed is {} for another session", self.number, connected.resumed));
        }
        if !connected.resumed {
            // Only the session that began a stream may go on with it.
            self.streams.clear();
        }
        self.identity = Some((connected.session, connected.key.clone()));
        self.own.insert(connected.session);
        self.line = Line::Connected;
        let mut chance = Chance::new(chance_seed);
        let wanted: Vec<_> =
            self.subscriptions.iter().filter(|(_, at)| at.wanted).map(|(channel, _)| channel.clone()).collect();
        for channel in wanted {
            self.subscribe(&channel, &mut chance, None);
        }
        for publish in self.unanswered.clone() {
            self.send_publish(publish, &mut chance);
        }
        Ok(())
    }

    fn reply(&mut self, id: Option<u32>, reply: Reply, truth: &Truth) -> Verdict {
        // What was said without an id and went well is not answered.
        let expected = loop {
            let Some((next, expected)) = self.expected.pop_front() else {
                let shown = format!("{reply:?}").chars().take(200).collect::<String>();
                return Err(format!("client {}: {shown} for nothing", self.number));
            };
            if next == id {
                break expected;
            }
            if next.is_some() {
                return Err(format!("client {}: the answer to {next:?} is missing, {id:?} came", self.number));
            }
        };
        let shown = format!("{reply:?} for {expected:?}").chars().take(300).collect::<String>();
        let wrong = Err(format!("client {}: {shown}", self.number));
        match (expected, reply) {
            (Expected::Connected, Reply::Connected(reply)) => self.connected(&reply, u64::from(reply.session.0[11]))?,
            (Expected::Subscribed { since, state, channel }, Reply::Subscribed(reply)) => {
                let leaving = self.leaving(&channel);
                let Some(subscription) = self.subscriptions.get_mut(&channel) else { return wrong };
                if reply.channel != channel {
                    return wrong;
                }
                subscription.watcher.begun(since, state, &reply, truth)?;
                // Unless it has been left since, and entered anew perhaps.
                if subscription.phase == Phase::Asked && !leaving {
                    subscription.phase = Phase::Live;
                }
            }
            // It was unsubscribed from before it was answered.
            (Expected::Subscribed { channel, .. }, Reply::Error(error)) => {
                let leaving = self.leaving(&channel);
                if error.code != ErrorCode::NotSubscribed || !leaving {
                    return wrong;
                }
            }
            (Expected::Unsubscribed(channel), Reply::Unsubscribed { .. }) => {
                let leaving = self.leaving(&channel);
                let Some(subscription) = self.subscriptions.get_mut(&channel) else { return wrong };
                subscription.watcher.stopped();
                if subscription.phase == Phase::Leaving && !leaving {
                    subscription.phase = Phase::Idle;
                }
            }
            (Expected::Published { publish }, reply) => self.published(&publish, &reply, truth)?,
            (Expected::Appended { channel, began }, reply) => self.appended(&channel, began, &reply),
            (Expected::History(channel), Reply::History { publications, head, .. }) => {
                for publication in &publications {
                    self.is_true(&channel, head, publication, truth)?;
                }
                if !publications.is_sorted_by_key(|publication| publication.offset) {
                    return Err(format!("{channel}: a history out of order"));
                }
            }
            (Expected::Error, Reply::Error(_)) => {}
            (
                Expected::Other,
                Reply::Presence { .. } | Reply::State { .. } | Reply::Cancelled { .. } | Reply::Pong | Reply::Error(_),
            ) => {}
            _ => return wrong,
        }
        Ok(())
    }

    fn is_true(&self, channel: &Arc<str>, head: Position, publication: &Publication, truth: &Truth) -> Verdict {
        let Some(numbering) = truth.numbering(channel, head.epoch) else {
            return Err(format!("{channel}: history of no epoch"));
        };
        let stream = publication.rare.as_ref().and_then(|rare| rare.stream.as_ref());
        let text = match (stream, numbering.entries.get(&publication.offset)) {
            (Some(stream), _) => numbering.stream(stream.began, publication.offset).map(|(text, _)| text),
            (None, Some(Entry::Publication(truth))) => Some(text_of(truth)),
            _ => None,
        };
        if text != Some(text_of(publication)) || publication.offset > head.offset {
            return Err(format!("{channel}: the history has another publication at {}", publication.offset));
        }
        Ok(())
    }

    fn published(&mut self, publish: &Publish, reply: &Reply, truth: &Truth) -> Verdict {
        if publish.once.is_some() {
            self.unanswered.retain(|unanswered| unanswered.once != publish.once);
        }
        let Reply::Published { channel, position, repeated } = reply else {
            let allowed = match reply {
                Reply::Error(error) => matches!(error.code, ErrorCode::StateFull | ErrorCode::Overloaded | ErrorCode::TooLarge),
                _ => false,
            };
            let shown = || format!("{reply:?} for {publish:?}").chars().take(300).collect::<String>();
            return if allowed { Ok(()) } else { Err(format!("client {}: {}", self.number, shown())) };
        };
        if *repeated && publish.once.is_none() {
            return Err(format!("client {}: repeated without an idempotency key", self.number));
        }
        let options = self.options(channel);
        let Some(position) = position else {
            let wrong = options.is_numbered() && !publish.ephemeral;
            return if wrong { Err(format!("{channel}: published without a position")) } else { Ok(()) };
        };
        let data = publish.data.as_ref().map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned()).unwrap_or_default();
        match truth.numbering(channel, position.epoch).and_then(|numbering| numbering.entries.get(&position.offset)) {
            Some(Entry::Publication(truth)) if text_of(truth) == data => {}
            Some(Entry::Removal) if publish.remove => {}
            Some(Entry::Passed) if !options.has_history() => {}
            other => {
                return Err(format!(
                    "{channel}: published at {position:?}, and there is {}",
                    format!("{other:?}").chars().take(200).collect::<String>()
                ));
            }
        }
        if publish.stream {
            let known = data.len() as u64;
            self.streams.push(Stream { channel: channel.clone(), began: position.offset, text: data, known, end: None });
            if self.streams.len() > 4 {
                self.streams.remove(0);
            }
        }
        Ok(())
    }

    fn appended(&mut self, channel: &Arc<str>, began: u64, reply: &Reply) {
        let Some(at) = self.streams.iter().position(|stream| stream.channel == *channel && stream.began == began) else {
            return;
        };
        match reply {
            Reply::Appended { length, .. } => {
                let stream = &mut self.streams[at];
                stream.known = stream.known.max((*length).min(stream.text.len() as u64));
                if stream.end.is_some() && stream.known == stream.text.len() as u64 {
                    self.streams.remove(at);
                }
            }
            _ => drop(self.streams.remove(at)),
        }
    }

    fn push(&mut self, push: Push, truth: &Truth) -> Verdict {
        let channel = match &push {
            Push::Publication(publication) => publication.channel.clone(),
            Push::Append(piece) => piece.channel.clone(),
            Push::Join { channel, .. }
            | Push::Leave { channel, .. }
            | Push::State { channel, .. }
            | Push::Gap { channel, .. }
            | Push::Unsubscribed { channel, .. }
            | Push::Cancel { channel, .. } => channel.clone(),
        };
        if let Push::Cancel { stream, .. } = push {
            let stream = self.streams.iter_mut().find(|at| at.channel == channel && at.began == stream);
            if let Some(stream) = stream {
                stream.end = stream.end.or(Some(StreamEnd::Cancelled));
            }
            return Ok(());
        }
        let Some(subscription) = self.subscriptions.get_mut(&channel) else {
            return Err(format!("client {}: a push of {channel} for nothing", self.number));
        };
        let (watcher, own) = (&mut subscription.watcher, &self.own);
        match push {
            Push::Publication(publication) => watcher.publication(&publication, own, truth),
            Push::Append(piece) => watcher.piece(&piece, own, truth),
            Push::Join { member, .. } => watcher.join(&member),
            Push::Leave { member, .. } => watcher.leave(&member),
            Push::State { entries, done, .. } => watcher.state(&entries, done),
            Push::Gap { offset, .. } => watcher.gap(offset, truth),
            Push::Unsubscribed { code, .. } => Err(format!("{channel}: unsubscribed by the server, {code:?}")),
            Push::Cancel { .. } => Ok(()),
        }
    }
}

impl Client for Model {
    fn form(&self) -> Form {
        self.form
    }

    fn wants_line(&self, now: u64) -> bool {
        !self.gone && matches!(self.line, Line::None { since, wait } if now >= since + wait)
    }

    fn due(&self) -> Option<u64> {
        match self.line {
            Line::None { since, wait } if !self.gone => Some(since + wait),
            _ => None,
        }
    }

    fn opened(&mut self, _now: u64) {
        self.line = Line::Connecting;
        self.next_id = 0;
        self.to_send.clear();
        let (session, key) = self.identity.clone().unzip();
        let info = Some(format!("{{\"client\":{}}}", self.number).into());
        self.say(Action::Connect(Connect { token: None, info, session, key }), Expected::Connected);
    }

    fn received(&mut self, _now: u64, bytes: &[u8], truth: &Truth) -> Verdict {
        for message in self.form.messages(bytes) {
            match message.map_err(|error| format!("client {}: {error}", self.number))? {
                Message::Reply(id, reply) => self.reply(id, reply, truth)?,
                Message::Push(push) => self.push(push, truth)?,
            }
        }
        Ok(())
    }

    fn lost(&mut self, now: u64, code: Option<u16>, chance: &mut Chance) {
        // One that is told not to come back has another line, or was refused: here it is always the first.
        let _ = code;
        let wait = match chance.below(6) {
            0 => 45_000,
            1 => 8_000,
            _ => 200,
        };
        self.line = Line::None { since: now, wait: chance.below(wait) as u64 };
        self.to_send.clear();
        self.expected.clear();
        for subscription in self.subscriptions.values_mut() {
            subscription.watcher.stopped();
            subscription.phase = Phase::Idle;
        }
    }

    fn transmit(&mut self, chance: &mut Chance) -> Option<Vec<u8>> {
        if matches!(self.line, Line::None { .. }) {
            return None;
        }
        let count = 1 + chance.below(6);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let Some((command, expected)) = self.to_send.pop_front() else { break };
            self.form.push_command(&command, &mut bytes);
            self.expected.push_back((command.id, expected));
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    fn act(&mut self, chance: &mut Chance, _truth: &Truth) -> Verdict {
        let connected = matches!(self.line, Line::Connected);
        match chance.below(12) {
            0..5 => self.publish(chance),
            5..7 => {
                let channel = chance.pick(&self.channels).clone();
                let options = self.options(&channel);
                let subscription = self.subscriptions.entry(channel.clone()).or_insert_with(|| Subscription {
                    watcher: Watcher::new(channel.clone(), options),
                    wanted: false,
                    phase: Phase::Idle,
                });
                let is_idle = subscription.phase == Phase::Idle;
                if !subscription.wanted && is_idle {
                    subscription.wanted = true;
                    let last = chance.one_in(2).then(|| chance.below(20) as u32);
                    if connected {
                        self.subscribe(&channel, chance, last);
                    }
                }
            }
            7 if connected => {
                let wanted: Vec<_> = self
                    .subscriptions
                    .iter()
                    .filter(|(_, at)| at.wanted && matches!(at.phase, Phase::Asked | Phase::Live))
                    .map(|(channel, _)| channel.clone())
                    .collect();
                if !wanted.is_empty() {
                    let channel = chance.pick(&wanted).clone();
                    self.unsubscribe(&channel);
                    if chance.one_in(3) {
                        // And comes back at once, without waiting.
                        self.subscribe(&channel, chance, None);
                    }
                }
            }
            8..10 if connected => self.append(chance),
            10 if connected => self.read(chance),
            11 if connected => {
                let known: Vec<_> = self
                    .subscriptions
                    .iter()
                    .flat_map(|(channel, at)| at.watcher.streams().map(|began| (channel.clone(), began)))
                    .collect();
                if !known.is_empty() && chance.one_in(4) {
                    let (channel, stream) = chance.pick(&known).clone();
                    self.say(Action::Cancel { channel, stream }, Expected::Other);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let phases = |at: &Subscription| at.phase == if at.wanted { Phase::Live } else { Phase::Idle };
        let is_silent = self.expected.iter().all(|(id, _)| id.is_none());
        let connected = matches!(self.line, Line::Connected);
        self.gone
            || connected
                && self.to_send.is_empty()
                && is_silent
                && self.unanswered.is_empty()
                && self.subscriptions.values().all(phases)
    }

    fn whereabouts(&self) -> (Option<SessionId>, Vec<Arc<str>>) {
        let session = self.identity.as_ref().map(|(session, _)| *session).filter(|_| !self.gone);
        (
            session,
            self.subscriptions.iter().filter(|(_, at)| at.phase == Phase::Live).map(|(channel, _)| channel.clone()).collect(),
        )
    }

    fn settled(&mut self, there: &BTreeMap<Arc<str>, BTreeSet<SessionId>>, truth: &Truth) -> Verdict {
        if self.gone {
            return Ok(());
        }
        for (channel, subscription) in self.subscriptions.iter_mut().filter(|(_, at)| at.phase == Phase::Live) {
            subscription
                .watcher
                .settled(&self.own, there.get(channel), truth)
                .map_err(|what| format!("client {}: {what}", self.number))?;
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.gone = true;
    }
}
