//! The channels that have their home on a shard: its broker, and, if there is a store, what waits until it is written down.
//!
//! With a store, nothing that a channel says leaves before the store has it: neither the answer to the publisher nor the delivery, nor
//! an answer that already knows of it. Channels do not wait for each other, except for the disk.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use longwire_core::Namespaces;
use longwire_core::broker::memory::{MemoryBroker, Record};
use longwire_core::broker::{Answer, Ask, Broker as _, Event, Failure, Now, Request, Ticket, What};
use longwire_protocol::ErrorCode;
use longwire_store::{Done, Kept, Refused, Writer, must_wait};
use tokio::sync::oneshot;

use super::Act;
use super::loading::{Loaded, Loading, Waiting};
use super::socketio::KEPT;
use super::socketio::order::PUBLISHED;
use crate::node::{Flight, order_of};

/// No shard has this number: the one who asked is outside.
const OUTSIDE: u16 = u16::MAX;

/// Milliseconds after which a batch that the store did not take is tried again.
const AGAIN: u64 = 50;
/// And after which the store is asked again what it has, if it could not say.
const AGAIN_LOST: u64 = 1000;

/// The channels of a shard.
pub(crate) struct Home {
    broker: MemoryBroker,
    namespaces: Arc<Namespaces>,
    durable: Option<Durable>,
    /// While its channels are being read.
    loading: Option<Loading>,
    /// Channels that the store cannot read.
    unreadable: HashSet<Arc<str>>,
    /// What may go.
    ready: VecDeque<Said>,
    /// Those who asked and are no shard.
    outside: HashMap<u64, oneshot::Sender<Result<Answer, Failure>>>,
    next_outside: u64,
}

/// What shards are to be told.
pub(super) struct Said {
    pub(super) what: Told,
    /// Counts what it weighs until it is done with.
    pub(super) flight: Option<Arc<Flight>>,
}

pub(super) enum Told {
    /// What a channel says.
    Event(Event),
    /// What each shard is to do, in its place among the events.
    Act(Act),
}

/// What waits for the store.
struct Durable {
    writer: Writer,
    /// The newest batch.
    token: u64,
    /// For the next batch.
    records: Vec<Record>,
    /// What was said, and the batch it waits for.
    held: VecDeque<(u64, Said)>,
    /// The steady time of the last tick.
    now: u64,
    /// And of the last try to read what the store has.
    read: u64,
    /// The newest batch with something of a channel, or of the channels that have one order.
    waiting: HashMap<Arc<str>, u64>,
    /// The store could not be read after it had failed.
    is_lost: bool,
}

impl Home {
    /// With a writer it keeps its channels, and with `loading` it gets those that were kept.
    pub(crate) fn new(
        mut broker: MemoryBroker,
        namespaces: Arc<Namespaces>,
        writer: Option<Writer>,
        loading: Option<Loading>,
    ) -> Self {
        if writer.is_some() {
            broker.make_durable();
        }
        let durable = writer.map(|writer| Durable {
            writer,
            token: 0,
            records: Vec::new(),
            held: VecDeque::new(),
            now: 0,
            read: 0,
            waiting: HashMap::new(),
            is_lost: false,
        });
        let (unreadable, ready, outside) = Default::default();
        Self { broker, namespaces, durable, loading, unreadable, ready, outside, next_outside: 0 }
    }

    /// Puts a question to its channel.
    pub(super) fn submit(&mut self, now: Now, request: Request, flight: Option<&Arc<Flight>>) {
        let channel = request.channel.clone();
        let is_told = !matches!(request.ask, Ask::Follow | Ask::Unfollow | Ask::Leave { .. });
        if let Some(loading) = self.loading.as_mut().filter(|loading| loading.has_room() || !is_told) {
            return loading.wait(Waiting::Request(request, flight.cloned()));
        }
        if self.unreadable.contains(&channel) && !is_told {
            return;
        }
        if let Some(refusal) = self.refusal(&request) {
            // Whoever has more to do behind it counts on the order; the others are told at once.
            let in_order = request.ticket.shard & (PUBLISHED | KEPT) != 0;
            self.say(Event::Answer(request.ticket, Err(refusal)), in_order.then_some(&channel), None);
            return;
        }
        self.broker.submit(now, request);
        self.sort(Some(&channel), flight);
    }

    /// Has all shards do something, behind all that this channel, and those with which it has its order in common, have said.
    pub(super) fn relay(&mut self, channel: &Arc<str>, act: Act) {
        match &mut self.loading {
            Some(loading) => loading.wait(Waiting::Act(channel.clone(), act)),
            None => self.put(Said { what: Told::Act(act), flight: None }, Some(channel)),
        }
    }

    /// As [`submit`](Self::submit), for someone who is no shard.
    pub(super) fn submit_from_outside(
        &mut self,
        now: Now,
        mut request: Request,
        flight: Option<&Arc<Flight>>,
        asker: oneshot::Sender<Result<Answer, Failure>>,
    ) {
        self.next_outside += 1;
        request.ticket = Ticket { shard: OUTSIDE, id: self.next_outside };
        self.outside.insert(self.next_outside, asker);
        self.submit(now, request, flight);
    }

    pub(super) fn look_at_clock(&mut self, now: Now) {
        // What is due is to be written down, too.
        let can_write = self.durable.as_ref().is_none_or(|durable| !durable.is_lost && durable.writer.is_ready());
        if can_write && self.broker.due().is_some_and(|due| due <= now.steady) {
            self.broker.look_at_clock(now);
            self.sort(None, None);
        }
    }

    pub(super) fn due(&self) -> Option<u64> {
        match &self.durable {
            Some(durable) if durable.is_lost || !durable.writer.is_ready() => Some(durable.now + AGAIN),
            _ => self.broker.due(),
        }
    }

    /// The next thing that a shard is to be told.
    pub(super) fn next(&mut self) -> Option<Said> {
        while let Some(said) = self.ready.pop_front() {
            match said.what {
                Told::Event(Event::Answer(Ticket { shard: OUTSIDE, id }, answer)) => {
                    if let Some(asker) = self.outside.remove(&id) {
                        let _ = asker.send(answer);
                    }
                }
                // Nobody waits for it.
                Told::Event(Event::Answer(Ticket { id: 0, .. }, _)) => {}
                _ => return Some(said),
            }
        }
        None
    }

    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether nothing waits to be written down.
    pub(super) fn is_settled(&self) -> bool {
        self.durable.as_ref().is_none_or(|durable| durable.held.is_empty() && durable.records.is_empty())
    }

    /// Names of its channels.
    pub(super) fn channels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.broker.channels()
    }

    /// Why a question is not put: what is asked for could not be kept.
    fn refusal(&mut self, request: &Request) -> Option<Failure> {
        if self.loading.is_some() {
            return Some(Failure::new(
                ErrorCode::Overloaded,
                "the channels are being read from the disk: try again in a moment",
            ));
        }
        if self.unreadable.contains(&request.channel) {
            return Some(ErrorCode::StorageFailed.into());
        }
        let writes = match &request.ask {
            Ask::Publish { publish, .. } => !publish.ephemeral || publish.once.is_some(),
            Ask::Append { .. } => true,
            _ => false,
        };
        let durable = self.durable.as_mut().filter(|_| writes)?;
        if !durable.is_lost && durable.writer.is_ready() {
            return None;
        }
        // What exactly is wrong with the disk is for the log.
        Some(match durable.is_lost || durable.writer.trouble().is_some() {
            true => ErrorCode::StorageFailed.into(),
            false => Failure::new(ErrorCode::Overloaded, "too much waits to be written to the disk: try again in a moment"),
        })
    }

    /// Lets what the broker says go, or holds it until what it speaks of is written down. `asked` is the channel that was asked.
    fn sort(&mut self, asked: Option<&Arc<str>>, flight: Option<&Arc<Flight>>) {
        if let Some(durable) = &mut self.durable {
            durable.take(&self.namespaces, self.broker.take_records());
        }
        while let Some(event) = self.broker.poll() {
            self.say(event, asked, flight);
        }
    }

    fn say(&mut self, event: Event, asked: Option<&Arc<str>>, flight: Option<&Arc<Flight>>) {
        let channel = match &event {
            Event::Deliver { delivery, .. } => Some(&delivery.channel),
            Event::Cancel { channel, .. } => Some(channel),
            Event::Answer(..) => asked,
        };
        let channel = channel.cloned();
        self.put(Said { what: Told::Event(event), flight: flight.cloned() }, channel.as_deref());
    }

    fn put(&mut self, said: Said, channel: Option<&str>) {
        let order = channel.map(|channel| order_of(&self.namespaces, channel));
        match self.durable.as_mut().zip(order) {
            Some((durable, order)) if durable.waiting.contains_key(order) => durable.hold(order, said),
            _ => self.ready.push_back(said),
        }
    }

    /// Gives the store what has come together. To be called at the end of a tick.
    pub(super) fn commit(&mut self, now: Now) {
        let Some(durable) = &mut self.durable else { return };
        durable.now = now.steady;
        if durable.is_lost && now.steady >= durable.read + AGAIN_LOST {
            return self.fail(now);
        }
        if durable.is_lost || durable.records.is_empty() {
            return;
        }
        durable.token += 1;
        if let Err(Refused(records)) = durable.writer.commit(std::mem::take(&mut durable.records), durable.token) {
            // It waits for the next tick, with what comes until then.
            durable.token -= 1;
            durable.records = records;
        }
    }

    /// Takes in what has come of its channels. If that was all, what has waited for it, which is to be put to them next.
    pub(super) fn load(&mut self, now: Now) -> Option<Vec<Waiting>> {
        match self.loading.as_mut()?.next() {
            Loaded::Nothing => None,
            Loaded::Batch(batch) => {
                batch.into_iter().for_each(|kept| self.restore(now, kept));
                self.sort(None, None);
                None
            }
            Loaded::End(waiting) => {
                self.loading = None;
                Some(waiting)
            }
        }
    }

    /// Puts to the channels what has waited for them.
    pub(super) fn resume(&mut self, now: Now, waiting: Vec<Waiting>) {
        for waiting in waiting {
            match waiting {
                Waiting::Request(request, flight) => self.submit(now, request, flight.as_ref()),
                Waiting::Act(channel, act) => self.relay(&channel, act),
            }
        }
    }

    fn restore(&mut self, now: Now, Kept { channel, records }: Kept) {
        match records {
            Ok(records) => {
                self.unreadable.remove(&channel);
                self.broker.restore(now, records);
            }
            // The store has said why.
            Err(_) => drop(self.unreadable.insert(channel)),
        }
    }

    /// The store has got on, or has failed.
    pub(super) fn stored(&mut self, now: Now, done: &Done) {
        match done {
            Done::Committed { token } => {
                let Some(durable) = &mut self.durable else { return };
                while let Some((_, said)) = durable.held.pop_front_if(|(waits_for, _)| *waits_for <= *token) {
                    self.ready.push_back(said);
                }
                durable.waiting.retain(|_, waits_for| *waits_for > *token);
            }
            // The store has said why.
            Done::Failed { .. } => self.fail(now),
        }
    }

    /// Nothing of what waits is kept: those who asked are told, and the channels are as the store has them.
    fn fail(&mut self, now: Now) {
        let Some(durable) = &mut self.durable else { return };
        for (_, Said { what, flight }) in durable.held.drain(..) {
            match &what {
                Told::Event(Event::Answer(ticket, _)) => {
                    let failed = Event::Answer(*ticket, Err(ErrorCode::StorageFailed.into()));
                    self.ready.push_back(Said { what: Told::Event(failed), flight });
                }
                // Who is there is kept in memory only.
                Told::Event(Event::Deliver { delivery, .. }) if matches!(delivery.what, What::Join(_) | What::Leave(_)) => {
                    self.ready.push_back(Said { what, flight });
                }
                // This has not happened.
                Told::Event(Event::Deliver { .. } | Event::Cancel { .. }) => {}
                Told::Act(_) => self.ready.push_back(Said { what, flight }),
            }
        }
        durable.waiting.clear();
        self.recover(now);
    }

    /// Has the channels of which something was lost as the store has them.
    fn recover(&mut self, now: Now) {
        let Some(durable) = &mut self.durable else { return };
        durable.read = now.steady;
        let pending = std::mem::take(&mut durable.records);
        match durable.writer.recover(&pending) {
            Ok(recovered) => {
                durable.is_lost = false;
                for kept in recovered {
                    self.broker.forget(&kept.channel);
                    self.restore(now, kept);
                }
                // What they are now may not be what the store has: it may be too old by now.
                let records = self.broker.take_records();
                if let Some(durable) = &mut self.durable {
                    durable.take(&self.namespaces, records);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read: nothing is published until it can");
                (durable.is_lost, durable.records) = (true, pending);
            }
        }
    }
}

impl Durable {
    /// Holds what waits behind something of its channel. What is held goes in the order in which it was said, so that it waits for
    /// whatever is before it, and what comes of its channel waits for it.
    fn hold(&mut self, order: &str, said: Said) {
        let Some(waits_for) = self.waiting.get_mut(order) else { return };
        *waits_for = self.held.back().map_or(*waits_for, |(before, _)| (*waits_for).max(*before));
        self.held.push_back((*waits_for, said));
    }

    fn take(&mut self, namespaces: &Namespaces, records: Vec<Record>) {
        if must_wait(&records) {
            for record in &records {
                let channel = record.channel();
                match order_of(namespaces, channel) {
                    order if order.len() < channel.len() => self.waiting.insert(order.into(), self.token + 1),
                    _ => self.waiting.insert(channel.clone(), self.token + 1),
                };
            }
        }
        self.records.extend(records);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use longwire_core::broker::memory::Limits;
    use longwire_core::broker::{Enter, What};
    use longwire_core::{ChannelOptions, Namespaces, Random};
    use longwire_protocol::{Data, Member, Publish, SessionId};
    use longwire_store::{Options, Store};

    use super::*;

    const NOW: Now = Now { steady: 1000, wall: 1_700_000_000_000 };

    fn enter(session: u8) -> Ask {
        let member = Member { session: SessionId::new(0, [session; 10]), user: None, info: None };
        Ask::Enter(Enter { member: Some(Arc::new(member)), ..Enter::default() })
    }

    fn publish(channel: &str) -> Ask {
        Ask::Publish { publish: Box::new(Publish::new(channel, Data::from("x"))), from: None }
    }

    fn ask(home: &mut Home, channel: &str, ask: Ask) {
        home.submit(NOW, Request { channel: channel.into(), ticket: Ticket { shard: 0, id: 1 }, ask }, None);
    }

    /// What a channel has told its followers, in order.
    fn told(home: &mut Home, channel: &str) -> Vec<&'static str> {
        let mut told = Vec::new();
        while let Some(Said { what, .. }) = home.next() {
            if let Told::Event(Event::Deliver { delivery, .. }) = what
                && &*delivery.channel == channel
            {
                told.push(match delivery.what {
                    What::Join(_) => "join",
                    What::Leave(_) => "leave",
                    _ => "other",
                });
            }
        }
        told
    }

    #[test]
    fn what_a_channel_says_stays_in_order_whatever_waits_for_the_disk() {
        let dir = std::env::temp_dir().join(format!("longwire-home-{}", std::process::id()));
        let store = Store::open(&dir, Options::default()).expect("a store");
        let (done, stored) = mpsc::channel();
        let writer = store.writer(move |told| drop(done.send(told)));
        let options = ChannelOptions { history_size: 10, presence: true, joins: true, ..ChannelOptions::default() };
        let namespaces = Namespaces::new([("default".to_owned(), options)]).expect("options");
        let namespaces = Arc::new(namespaces);
        let broker = MemoryBroker::new(namespaces.clone(), Limits::default(), Random::new(|bytes| bytes.fill(7)));
        let mut home = Home::new(broker, namespaces, Some(writer), None);
        for channel in ["a", "b"] {
            ask(&mut home, channel, Ask::Follow);
            ask(&mut home, channel, enter(1));
            ask(&mut home, channel, publish(channel));
        }
        home.commit(NOW);
        home.stored(NOW, &stored.recv().expect("a commit"));
        told(&mut home, "b");

        // Something of b waits for one batch, something of a for the next, and then someone enters b, which needs no record.
        let batch = |home: &mut Home, channel| {
            ask(home, channel, publish(channel));
            home.commit(NOW);
            stored.recv().expect("a commit")
        };
        let (first, second) = (batch(&mut home, "b"), batch(&mut home, "a"));
        ask(&mut home, "b", enter(2));
        home.stored(NOW, &first);
        let mut all = told(&mut home, "b");
        ask(&mut home, "b", Ask::Leave { session: SessionId::new(0, [2; 10]) });
        all.extend(told(&mut home, "b"));
        home.stored(NOW, &second);
        all.extend(told(&mut home, "b"));
        assert_eq!(all, ["other", "join", "leave"]);
        drop((home, store));
        let _ = std::fs::remove_dir_all(dir);
    }
}
