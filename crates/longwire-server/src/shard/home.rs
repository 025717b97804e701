//! The channels that have their home on a shard: its broker, and, if there is a store, what waits until it is written down.
//!
//! With a store, nothing that a channel says leaves before the store has it: neither the answer to the publisher nor the delivery, nor
//! an answer that already knows of it. Channels do not wait for each other, except for the disk.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use longwire_core::broker::memory::{MemoryBroker, Record};
use longwire_core::broker::{Answer, Ask, Broker as _, Event, Failure, Now, Request, Ticket};
use longwire_protocol::ErrorCode;
use longwire_store::{Done, Refused, Writer, must_wait};
use tokio::sync::oneshot;

use crate::node::Flight;

/// No shard has this number: the one who asked is outside.
const OUTSIDE: u16 = u16::MAX;

/// Milliseconds after which a batch that the store did not take is tried again.
const AGAIN: u64 = 50;
/// And after which the store is asked again what it has, if it could not say.
const AGAIN_LOST: u64 = 1000;

/// The channels of a shard.
pub(crate) struct Home {
    broker: MemoryBroker,
    durable: Option<Durable>,
    /// What may go.
    ready: VecDeque<Said>,
    /// Those who asked and are no shard.
    outside: HashMap<u64, oneshot::Sender<Result<Answer, Failure>>>,
    next_outside: u64,
}

/// What a channel has said.
pub(super) struct Said {
    pub(super) event: Event,
    /// Counts what it weighs until it is done with.
    pub(super) flight: Option<Arc<Flight>>,
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
    /// The newest batch with something of a channel.
    waiting: HashMap<Arc<str>, u64>,
    /// The store could not be read after it had failed.
    is_lost: bool,
}

impl Home {
    pub(crate) fn new(mut broker: MemoryBroker, writer: Option<Writer>) -> Self {
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
        Self { broker, durable, ready: VecDeque::new(), outside: HashMap::new(), next_outside: 0 }
    }

    /// Puts a question to its channel.
    pub(super) fn submit(&mut self, now: Now, request: Request, flight: Option<&Arc<Flight>>) {
        let channel = request.channel.clone();
        if let Some(refusal) = self.refusal(&request.ask) {
            self.ready.push_back(Said { event: Event::Answer(request.ticket, Err(refusal)), flight: None });
            return;
        }
        self.broker.submit(now, request);
        self.sort(Some(&channel), flight);
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
            match said.event {
                Event::Answer(Ticket { shard: OUTSIDE, id }, answer) => {
                    if let Some(asker) = self.outside.remove(&id) {
                        let _ = asker.send(answer);
                    }
                }
                // Nobody waits for it.
                Event::Answer(Ticket { id: 0, .. }, _) => {}
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
    fn refusal(&mut self, ask: &Ask) -> Option<Failure> {
        let writes = match ask {
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
            durable.take(self.broker.take_records());
        }
        while let Some(event) = self.broker.poll() {
            let channel = match &event {
                Event::Deliver { delivery, .. } => Some(&delivery.channel),
                Event::Cancel { channel, .. } => Some(channel),
                Event::Answer(..) => asked,
            };
            let waits_for =
                self.durable.as_ref().zip(channel).and_then(|(durable, channel)| durable.waiting.get(channel).copied());
            let said = Said { flight: flight.cloned(), event };
            match (&mut self.durable, waits_for) {
                (Some(durable), Some(token)) => durable.held.push_back((token, said)),
                _ => self.ready.push_back(said),
            }
        }
    }

    /// Gives the store what has come together. To be called at the end of a tick.
    pub(super) fn commit(&mut self, now: Now) {
        let Some(durable) = &mut self.durable else { return };
        durable.now = now.steady;
        if durable.is_lost && now.steady >= durable.read + AGAIN_LOST {
            return self.recover(now);
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
        for (_, Said { event, flight }) in durable.held.drain(..) {
            // What was to be delivered has not happened.
            if let Event::Answer(ticket, _) = event {
                self.ready.push_back(Said { event: Event::Answer(ticket, Err(ErrorCode::StorageFailed.into())), flight });
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
                for channel in recovered {
                    self.broker.forget(&channel.channel);
                    self.broker.restore(now, channel.records);
                }
                // They say what the store has.
                self.broker.take_records();
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read: nothing is published until it can");
                (durable.is_lost, durable.records) = (true, pending);
            }
        }
    }
}

impl Durable {
    fn take(&mut self, records: Vec<Record>) {
        if must_wait(&records) {
            for record in &records {
                self.waiting.insert(record.channel().clone(), self.token + 1);
            }
        }
        self.records.extend(records);
    }
}
