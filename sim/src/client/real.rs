//! The session of the Rust client, as its users have it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use longwire_client::session::{Config, Event, Failure, Output, Request, RequestId, Session, State, SubscriptionId};
use longwire_core::Namespaces;
use longwire_protocol::{Append, Data, ErrorCode, Form, Publish, Reply, SessionId, StreamEnd, Subscribe};

use super::Client;
use crate::chance::Chance;
use crate::truth::{Entry, Truth, text_of};
use crate::watcher::{Verdict, Watcher};

/// A user of the Rust client.
pub struct Real {
    number: usize,
    form: Form,
    namespaces: Arc<Namespaces>,
    channels: Arc<[Arc<str>]>,
    session: Session,
    now: Duration,
    /// What came out, and is to be looked at.
    events: VecDeque<Output>,
    wants_line: bool,
    gives_up: bool,
    id: Option<SessionId>,
    own: BTreeSet<SessionId>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    published: BTreeMap<RequestId, Publish>,
    said: u64,
    stream: Option<Stream>,
    gone: bool,
}

struct Subscription {
    channel: Arc<str>,
    watcher: Watcher,
    state: bool,
    live: bool,
}

struct Stream {
    channel: Arc<str>,
    began: u64,
    length: u64,
}

impl Real {
    /// Its number tells it from others.
    pub fn new(number: usize, namespaces: Arc<Namespaces>, channels: Arc<[Arc<str>]>, chance: &mut Chance) -> Self {
        // As long as the server remembers what was published.
        let config = Config { replay_within: Duration::from_secs(36_000), ..Config::default() };
        let mut session = Session::new(config, chance.number());
        session.start(Duration::ZERO);
        let mut client = Self {
            number,
            form: *chance.pick(&Form::ALL),
            namespaces,
            channels,
            session,
            now: Duration::ZERO,
            events: VecDeque::new(),
            wants_line: false,
            gives_up: false,
            id: None,
            own: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            published: BTreeMap::new(),
            said: 0,
            stream: None,
            gone: false,
        };
        client.collect();
        client
    }

    /// Takes what has come out; what is about the line is done at once.
    fn collect(&mut self) {
        self.session.check();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open => self.wants_line = true,
                Output::Close(_) => {
                    self.gives_up = true;
                    self.wants_line = false;
                }
                output => self.events.push_back(output),
            }
        }
    }

    fn look(&mut self, truth: &Truth) -> Verdict {
        while let Some(output) = self.events.pop_front() {
            self.one(output, truth).map_err(|what| format!("real client {}: {what}", self.number))?;
        }
        Ok(())
    }

    fn one(&mut self, output: Output, truth: &Truth) -> Verdict {
        match output {
            Output::State(State::Connected { session, .. }) => {
                self.id = Some(session);
                self.own.insert(session);
            }
            Output::State(State::Waiting { .. }) => {
                for subscription in self.subscriptions.values_mut() {
                    subscription.watcher.stopped();
                    subscription.live = false;
                }
            }
            Output::State(State::Stopped(why)) if !self.gone => return Err(format!("stopped: {why:?}")),
            Output::Event(id, event) => self.event(id, event, truth)?,
            Output::Answer(id, answer) => self.answer(id, answer, truth)?,
            Output::Cancel { .. } | Output::State(_) | Output::Token | Output::Open | Output::Close(_) => {}
        }
        Ok(())
    }

    fn event(&mut self, id: SubscriptionId, event: Event, truth: &Truth) -> Verdict {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return Err(format!("an event of a subscription that has ended: {event:?}").chars().take(200).collect());
        };
        let Subscription { watcher, state, live, channel } = subscription;
        match event {
            Event::Subscribed(reply) => {
                *live = true;
                watcher.begun(None, *state, &reply, truth)
            }
            Event::Recovered(reply) | Event::Missed(_, reply) => {
                *live = true;
                watcher.begun(watcher.place(), *state, &reply, truth)
            }
            Event::Publication(publication) => watcher.publication(&publication, &self.own, truth),
            Event::Append(piece) => watcher.piece(&piece, &self.own, truth),
            Event::Join(member) => watcher.join(&member),
            Event::Leave(member) => watcher.leave(&member),
            Event::State { entries, first, done } => {
                if first {
                    watcher.forget_keys();
                }
                watcher.state(&entries, done)
            }
            Event::Gap(offset) => watcher.gap(offset, truth),
            Event::Ended(why) => Err(format!("{channel} was ended: {why}")),
        }
    }

    fn answer(&mut self, id: RequestId, answer: Result<Reply, Failure>, truth: &Truth) -> Verdict {
        let Some(publish) = self.published.remove(&id) else { return Ok(()) };
        match answer {
            Ok(Reply::Published { channel, position: Some(position), .. }) => {
                let entry = truth.numbering(&channel, position.epoch).and_then(|at| at.entries.get(&position.offset));
                let text = publish.data.as_ref().map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned());
                let is_true = match entry {
                    Some(Entry::Publication(kept)) => text_of(kept) == text.clone().unwrap_or_default(),
                    Some(Entry::Removal) => publish.remove,
                    Some(Entry::Passed) => true,
                    _ => false,
                };
                if !is_true {
                    return Err(format!("published at {position:?} in {channel}, and there is something else"));
                }
                if publish.stream {
                    let length = text.map_or(0, |text| text.len() as u64);
                    self.stream = Some(Stream { channel, began: position.offset, length });
                }
                Ok(())
            }
            Ok(Reply::Published { .. }) => Ok(()),
            Err(Failure::Refused(error)) => match error.code {
                ErrorCode::StateFull | ErrorCode::Overloaded | ErrorCode::TooLarge => Ok(()),
                _ => Err(format!("not published: {error}")),
            },
            // What is only for now is not said twice; a session that has ended says nothing.
            Err(Failure::Unknown | Failure::Offline) if publish.ephemeral => Ok(()),
            Err(Failure::Stopped) if self.gone => Ok(()),
            other => Err(format!("not published: {other:?}").chars().take(200).collect()),
        }
    }

    fn publish(&mut self, chance: &mut Chance) {
        let channel = chance.pick(&self.channels).clone();
        let Some(options) = self.namespaces.of(&channel).cloned() else { return };
        self.said += 1;
        let name = format!("real{}.{}", self.number, self.said);
        let mut publish = Publish::new(channel, Data::from(""));
        let kind = if chance.one_in(6) {
            publish.ephemeral = true;
            "now"
        } else if options.has_state() && chance.one_in(2) {
            publish.key = Some(format!("k{}", chance.below(8)).into());
            publish.remove = chance.one_in(4);
            "once"
        } else if options.streams && self.stream.is_none() && chance.one_in(3) {
            publish.stream = true;
            "stream"
        } else {
            "once"
        };
        publish.data = (!publish.remove).then(|| Data::from(format!("{kind} {name} {}", "y".repeat(chance.below(600)))));
        if let Ok(id) = self.session.request(Request::Publish(publish.clone())) {
            self.published.insert(id, publish);
        }
    }

    fn append(&mut self, chance: &mut Chance) {
        let Some(stream) = &mut self.stream else { return };
        let data = format!("{} ", chance.below(100));
        let end = chance.one_in(8).then_some(StreamEnd::Finished);
        let append = Append {
            channel: stream.channel.clone(),
            stream: stream.began,
            at: Some(stream.length),
            data: Some(data.clone().into()),
            end,
            reason: None,
        };
        stream.length += data.len() as u64;
        let _ = self.session.request(Request::Append(append));
        if end.is_some() {
            self.stream = None;
        }
    }

    fn subscribe(&mut self, chance: &mut Chance) {
        let channel = chance.pick(&self.channels).clone();
        let Some(options) = self.namespaces.of(&channel).cloned() else { return };
        // A gap that moves nothing on is not told to users: who is there is not known after it.
        let members = options.joins && options.slow == longwire_core::Slow::Close;
        let state = options.has_state();
        let last = chance.one_in(2).then(|| chance.below(20) as u32);
        let wants = Subscribe { channel: channel.clone(), last, state, members, ..Subscribe::default() };
        if let Ok(id) = self.session.subscribe(wants) {
            let watcher = Watcher::new(channel.clone(), options).hiding_gaps();
            self.subscriptions.insert(id, Subscription { channel, watcher, state, live: false });
        }
    }
}

impl Client for Real {
    fn form(&self) -> Form {
        self.form
    }

    fn wants_line(&self, _now: u64) -> bool {
        self.wants_line && !self.gone
    }

    fn due(&self) -> Option<u64> {
        let due = self.session.timeout().filter(|_| !self.gone)?;
        Some(due.as_micros().div_ceil(1000) as u64)
    }

    fn time(&mut self, now: u64) {
        self.now = Duration::from_millis(now);
        self.session.time(self.now);
        self.collect();
    }

    fn gives_up(&mut self) -> bool {
        std::mem::take(&mut self.gives_up)
    }

    fn opened(&mut self, now: u64) {
        self.wants_line = false;
        self.now = Duration::from_millis(now);
        self.session.line_opened(self.now, self.form);
        self.collect();
    }

    fn received(&mut self, now: u64, bytes: &[u8], truth: &Truth) -> Verdict {
        self.look(truth)?;
        self.now = Duration::from_millis(now);
        self.session.line_message(self.now, bytes);
        self.collect();
        self.look(truth)
    }

    fn lost(&mut self, now: u64, code: Option<u16>, _chance: &mut Chance) {
        self.now = Duration::from_millis(now);
        self.session.line_lost(self.now, code);
        self.collect();
    }

    fn transmit(&mut self, _chance: &mut Chance) -> Option<Vec<u8>> {
        self.session.transmit(self.now)
    }

    fn act(&mut self, chance: &mut Chance, truth: &Truth) -> Verdict {
        self.look(truth)?;
        match chance.below(12) {
            0..5 => self.publish(chance),
            5..7 => self.subscribe(chance),
            7 => {
                let all: Vec<_> = self.subscriptions.keys().copied().collect();
                if !all.is_empty() {
                    let id = *chance.pick(&all);
                    self.session.unsubscribe(id);
                    self.subscriptions.remove(&id);
                    self.events.retain(|output| !matches!(output, Output::Event(of, _) if *of == id));
                }
            }
            _ => self.append(chance),
        }
        self.collect();
        self.look(truth)
    }

    fn is_settled(&self) -> bool {
        let live = self.subscriptions.values().all(|subscription| subscription.live);
        self.gone || self.session.is_connected() && self.session.unanswered() == 0 && live && self.events.is_empty()
    }

    fn whereabouts(&self) -> (Option<SessionId>, Vec<Arc<str>>) {
        (self.id.filter(|_| !self.gone), self.subscriptions.values().map(|subscription| subscription.channel.clone()).collect())
    }

    fn settled(&mut self, there: &BTreeMap<Arc<str>, BTreeSet<SessionId>>, truth: &Truth) -> Verdict {
        self.look(truth)?;
        for subscription in self.subscriptions.values_mut().filter(|_| !self.gone) {
            let Subscription { channel, watcher, .. } = subscription;
            watcher
                .settled(&self.own, there.get(&*channel), truth)
                .map_err(|what| format!("real client {}: {what}", self.number))?;
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.gone = true;
        self.session.close();
        self.collect();
        self.gives_up = false;
    }
}
