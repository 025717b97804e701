//! A small client of the simulation's own.

mod hearing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use longwire_core::Namespaces;
use longwire_protocol::{
    Action, Append, Command, Connect, Data, Form, History, Message, Position, Publish, SessionId, StreamEnd, Subscribe,
};

use super::Client;
use crate::chance::Chance;
use crate::truth::Truth;
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
        let last = last.filter(|_| since.is_none());
        let subscribe = Subscribe { channel: channel.clone(), since, last, state, after: None, members };
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
