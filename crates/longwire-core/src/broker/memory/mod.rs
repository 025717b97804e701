//! The memory broker: the channels whose home is one shard, in that shard's memory.
//!
//! With a store beside it, it also says what must be written down, as [`Record`]s; see [`MemoryBroker::take_records`].

mod channel;
mod kept;
mod log;
mod once;
mod presence;
mod record;
mod stream;
#[cfg(test)]
mod tests;
mod unborn;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use longwire_protocol::{Epoch, ErrorCode, SessionId};

pub(crate) use log::size;
pub use record::Record;

use super::{Answer, Ask, Broker, Event, Failure, Now, Request, Ticket};
use crate::budget::Budget;
use crate::names::ByName;
use crate::options::{ChannelOptions, Namespaces};
use crate::random::Random;
use channel::Channel;
use kept::Kept;
use unborn::Unborn;

/// What all channels of a broker may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Channels of which something is kept, or that somebody follows. Past it those go of which nothing but the numbering is left, from
    /// the one that was idle for longest. Default: 1,000,000.
    pub channels: usize,
    /// Milliseconds for which a channel's numbering is kept when there is nothing else to keep of it. Default: a day.
    pub keep: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { channels: 1_000_000, keep: 24 * 3600 * 1000 }
    }
}

/// So many channels of which only the numbering is left make room for one thing that is to be kept.
const RECLAIMED: usize = 64;

/// Keeps channels in memory.
pub struct MemoryBroker {
    namespaces: Arc<Namespaces>,
    limits: Limits,
    random: Random,
    /// Boxed, so that the map has little to move when it grows.
    channels: ByName<Box<Channel>>,
    /// The numbering that channels have of which nothing is kept.
    unborn: Unborn,
    /// Of these only the numbering is kept, since when.
    idle: BTreeSet<(u64, Arc<str>)>,
    /// When which channel is to be looked at.
    due: BTreeSet<(u64, Arc<str>)>,
    out: Out,
}

/// What comes of a request, beside what changes in the channel.
pub(crate) struct Out {
    pub(crate) now: Now,
    pub(crate) events: VecDeque<Event>,
    pub(crate) records: Vec<Record>,
    /// Whether there is a store to write records to.
    pub(crate) durable: bool,
    /// The steady time from which on what has happened is known, if no store knows more.
    pub(crate) started: u64,
    /// What all channels keep.
    pub(crate) kept: Kept,
    /// The newest offset in any of the channels that have one order: they are numbered together.
    pub(crate) newest: u64,
}

impl Out {
    pub(crate) fn record(&mut self, record: impl FnOnce() -> Record) {
        if self.durable {
            self.records.push(record());
        }
    }
}

impl MemoryBroker {
    /// Without a channel yet.
    pub fn new(namespaces: Arc<Namespaces>, limits: Limits, mut random: Random) -> Self {
        let unborn = Unborn::new(random.number());
        Self {
            namespaces,
            limits,
            random,
            channels: ByName::new(),
            unborn,
            idle: BTreeSet::new(),
            due: BTreeSet::new(),
            out: Out {
                now: Now::default(),
                events: VecDeque::new(),
                records: Vec::new(),
                durable: false,
                started: 0,
                kept: Kept::new(Budget::new(usize::MAX >> 1), 1),
                newest: 0,
            },
        }
    }

    /// From now on what is kept counts against a budget, together with what so many brokers of a node keep in all. To be called before
    /// anything is.
    pub fn count_in(&mut self, budget: Arc<Budget>, brokers: usize) {
        self.out.kept = Kept::new(budget, brokers);
    }

    /// When it begins, if that is not when steady time does.
    pub fn starts(&mut self, now: Now) {
        self.out.started = now.steady;
    }

    /// From now on what changes is said in records, too.
    pub fn make_durable(&mut self) {
        self.out.durable = true;
    }

    /// What must be written down before the events that come with it may be acted on.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.out.records)
    }

    /// Channels of which something is kept.
    pub fn channels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.channels.names()
    }

    /// The shards that follow a channel: a bit for each.
    pub fn followers(&self, channel: &str) -> u64 {
        self.channels.get(channel).map_or(0, |channel| channel.followers())
    }

    /// Bytes that all channels take, about.
    pub fn kept_bytes(&self) -> usize {
        self.out.kept.bytes()
    }

    /// Takes in what a store has kept. All records of a channel come at once, in the order in which they were made.
    pub fn restore(&mut self, now: Now, records: impl IntoIterator<Item = Record>) {
        self.out.now = now;
        let mut touched = BTreeSet::new();
        for record in records {
            let name = record.channel().clone();
            let Some(options) = self.namespaces.of(&name) else { continue };
            if let Record::Gone { .. } = record {
                self.forget_now(&name);
                continue;
            }
            if !self.channels.contains(&name) {
                let mut channel = Channel::new(name.clone(), options.clone(), Epoch::NONE);
                channel.make(None, &mut self.out);
                self.channels.insert(name.clone(), Box::new(channel));
            }
            if let Some(channel) = self.channels.get_mut(&name) {
                channel.restore(record, &mut self.out);
                touched.insert(name);
            }
        }
        // What is too old by now, or too much, goes as it does at any other time.
        for name in touched {
            let epoch = self.new_epoch();
            if let Some(channel) = self.channels.get_mut(&name) {
                channel.reconcile(epoch, &mut self.out);
                channel.expire(&mut self.out);
                self.settle(&name);
            }
        }
    }

    /// Forgets a channel, as if it had not been touched: what the store has of it is restored next.
    pub fn forget(&mut self, channel: &str) {
        if let Some(before) = self.forget_now(channel)
            && let Some(options) = self.namespaces.of(channel)
        {
            let name = before.name().clone();
            let mut fresh = Channel::new(name.clone(), options.clone(), self.new_epoch());
            fresh.make(None, &mut self.out);
            fresh.adopt(*before, &mut self.out);
            self.channels.insert(name.clone(), Box::new(fresh));
            self.settle(&name);
        }
    }

    /// Removes a channel, and does not tell the store: what it has is right.
    fn forget_now(&mut self, name: &str) -> Option<Box<Channel>> {
        let durable = std::mem::replace(&mut self.out.durable, false);
        let removed = self.remove(name);
        self.out.durable = durable;
        removed
    }

    fn answer(&mut self, request: Request) -> Option<Result<Answer, Failure>> {
        let Request { channel: name, ticket, ask } = request;
        let Some(options) = self.namespaces.of(&name) else { return Some(Err(ErrorCode::UnknownNamespace.into())) };
        if !self.channels.contains(&name) {
            let options = options.clone();
            return self.answer_unborn(&name, options, ticket, ask);
        }
        let (bytes, by) = self.channels.get(&name)?.grows(&ask, true);
        if !self.has_room(by, bytes, Some(&name)) {
            return Some(Err(ErrorCode::MemoryFull.into()));
        }
        let answer = self.channels.get_mut(&name)?.answer(ticket, ask, &mut self.out);
        self.settle(&name);
        answer
    }

    /// As [`answer`](Self::answer), if nothing is kept of the channel. Looking at it does not change that: only what is to be kept, or
    /// somebody who is to be told, makes a channel.
    fn answer_unborn(
        &mut self,
        name: &Arc<str>,
        options: Arc<ChannelOptions>,
        ticket: Ticket,
        ask: Ask,
    ) -> Option<Result<Answer, Failure>> {
        let mut channel = Channel::new(name.clone(), options, self.unborn.epoch(name));
        if channel.is_made_by(ticket, &ask) && !self.has_place() {
            return Some(Err(ErrorCode::TooManyChannels.into()));
        }
        let (bytes, by) = channel.grows(&ask, false);
        if !self.has_room(by, bytes, None) {
            return Some(Err(ErrorCode::MemoryFull.into()));
        }
        let answer = channel.answer(ticket, ask, &mut self.out);
        if !channel.is_needless() {
            channel.make(by, &mut self.out);
            self.channels.insert(name.clone(), Box::new(channel));
            self.settle(name);
        }
        answer
    }

    /// Whether so much more may be kept because of a session. Channels of which only the numbering is left make room for it, but `asked`.
    fn has_room(&mut self, by: Option<SessionId>, bytes: usize, asked: Option<&Arc<str>>) -> bool {
        if bytes == 0 || self.out.kept.has_room(by, bytes) {
            return true;
        }
        for _ in 0..RECLAIMED {
            let Some((_, longest)) = self.idle.iter().find(|(_, name)| Some(name) != asked).cloned() else { return false };
            self.remove(&longest);
            if self.out.kept.has_room(by, bytes) {
                return true;
            }
        }
        false
    }

    /// Whether there is a place for one more channel. One that is only remembered gives up its own.
    fn has_place(&mut self) -> bool {
        while self.channels.len() >= self.limits.channels {
            let Some((_, longest)) = self.idle.pop_first() else { return false };
            self.remove(&longest);
        }
        true
    }

    /// After a channel was touched: notes when to look at it next, and drops it if nothing is left.
    fn settle(&mut self, name: &Arc<str>) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        if channel.is_needless() {
            self.remove(name);
            return;
        }
        let idle = channel.is_idle().then(|| channel.touched());
        if idle != channel.idle {
            if let Some(before) = std::mem::replace(&mut channel.idle, idle) {
                self.idle.remove(&(before, name.clone()));
            }
            self.idle.extend(idle.map(|since| (since, name.clone())));
        }
        let due = channel.due(self.limits.keep, &self.out.now);
        if due.is_some_and(|due| channel.registered.is_none_or(|registered| due < registered)) {
            if let Some(registered) = channel.registered.take() {
                self.due.remove(&(registered, name.clone()));
            }
            channel.registered = due;
            self.due.extend(due.map(|due| (due, name.clone())));
        }
    }

    fn remove(&mut self, name: &str) -> Option<Box<Channel>> {
        let mut channel = self.channels.remove(name)?;
        if let Some(registered) = channel.registered {
            self.due.remove(&(registered, channel.name().clone()));
        }
        if let Some(idle) = channel.idle {
            self.idle.remove(&(idle, channel.name().clone()));
        }
        if channel.has_numbered() {
            self.unborn.renumber(name);
        }
        channel.unmake(&mut self.out);
        if channel.options().is_numbered() {
            self.out.record(|| Record::Gone { channel: channel.name().clone() });
        }
        Some(channel)
    }

    fn new_epoch(&mut self) -> Epoch {
        // 0 is the epoch of no channel.
        Epoch((self.random.number() as u32).max(1))
    }
}

impl Broker for MemoryBroker {
    fn submit(&mut self, now: Now, request: Request) {
        self.out.now = now;
        let ticket = request.ticket;
        let is_question = !matches!(request.ask, Ask::Follow | Ask::Unfollow | Ask::Leave { .. });
        if let Some(answer) = self.answer(request).filter(|_| is_question) {
            self.out.events.push_back(Event::Answer(ticket, answer));
        }
    }

    fn look_at_clock(&mut self, now: Now) {
        self.out.now = now;
        while let Some((at, _)) = self.due.first()
            && *at <= now.steady
        {
            let Some((_, name)) = self.due.pop_first() else { return };
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.registered = None;
            channel.look_at_clock(&mut self.out);
            if channel.is_forgotten(self.limits.keep, &now) {
                self.remove(&name);
            } else {
                self.settle(&name);
            }
        }
    }

    fn due(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    fn poll(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }
}

/// Whether a channel has this.
pub(crate) fn need(has: bool, what: &str) -> Result<(), Failure> {
    if has { Ok(()) } else { Err(Failure::new(ErrorCode::NotEnabled, format!("the channel's namespace has no {what}"))) }
}

/// The largest page, in publications.
pub(crate) const PAGE: usize = 100;
/// And in bytes: it ends with the publication that reaches this.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;
/// Members that a subscriber is given at once; of more it must ask for pages.
pub(crate) const MEMBERS: usize = 1000;
