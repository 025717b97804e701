//! A node: shards with the real engine and the real broker, the letters between them, and a store that is slow to write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use longwire_core::broker::memory::{Limits, MemoryBroker, Record};
use longwire_core::broker::{Answer, Ask, Broker, Delivery, Event, Failure, Now, Request, Ticket, What};
use longwire_core::engine::{Anonymous, Engine, Lines, Peer, SessionOptions};
use longwire_core::{Encoder, Namespaces, Random};
use longwire_protocol::{CloseCode, Command, Form, Message, Push, Rejected, SessionId};

use crate::chance::Chance;
use crate::store::Store;
use crate::truth::Truth;
use crate::watcher::Verdict;

/// What waits for a line may be this much before a subscriber is too slow.
pub const OUTBOX_BYTES: usize = 24 * 1024;
/// What the network takes of a line before the server has to wait.
const WINDOW: usize = 4 * 1024;
/// The outbox, all that goes beside it, and the difference between bytes on the line and what the engine takes them for.
pub const OUTBOX_BOUND: usize = OUTBOX_BYTES + (256 + 256 + 128 + 64) * 1024 * 5 / 4;

/// Encodes deliveries as the server does, without frames.
pub struct Encode;

impl Encoder for Encode {
    type Encoding = Form;

    fn encode(&mut self, form: Form, delivery: &Delivery, out: &mut Vec<u8>) {
        let channel = delivery.channel.clone();
        match &delivery.what {
            What::Publication(publication) => form.push_publication(publication, out),
            What::Piece(piece) => form.push_piece(piece, out),
            What::Join(member) => form.push_message(&Message::Push(Push::Join { channel, member: member.clone() }), out),
            What::Leave(member) => form.push_message(&Message::Push(Push::Leave { channel, member: member.clone() }), out),
        }
    }
}

enum Letter {
    Ask(Request),
    Answer(Ticket, Result<Answer, Failure>),
    Deliver(Delivery),
    Cancel(SessionId, Arc<str>, u64),
    Peer(Peer),
}

/// What goes to a client over a line.
pub enum Down {
    /// A message.
    Message(Bytes),
    /// The line's end.
    Close(u16),
}

/// A line, as a shard has it.
struct Line {
    wire: u64,
    form: Form,
    outbox: VecDeque<Bytes>,
    bytes: usize,
    wants_room: bool,
    closing: Option<u16>,
    unfed: VecDeque<Result<Command, Rejected>>,
}

struct Shard {
    engine: Engine<Encode>,
    broker: MemoryBroker,
    inbox: VecDeque<Letter>,
    outgoing: Vec<VecDeque<Letter>>,
    /// What the broker has said, until its records are on disk.
    held: VecDeque<(Vec<Record>, Vec<Event>)>,
    lines: Vec<Option<Line>>,
}

/// What is the same in all lives of a node.
#[derive(Clone)]
pub struct Setup {
    /// The options of the channels.
    pub namespaces: Arc<Namespaces>,
    /// The options of the sessions.
    pub sessions: SessionOptions,
    /// The limits of each shard's broker.
    pub limits: Limits,
    /// Whether there is a store.
    pub durable: bool,
}

/// One life of a node.
pub struct Node {
    setup: Setup,
    shards: Vec<Shard>,
    /// The most that has waited for a line.
    pub outbox_max: usize,
    /// Lines closed because their client was too slow.
    pub slow: u64,
}

/// What an engine wants done, until it has returned.
struct Ways<'a> {
    lines: &'a mut Vec<Option<Line>>,
    shards: usize,
    asks: Vec<Request>,
    peers: Vec<(u16, Peer)>,
    closes: Vec<(u32, CloseCode)>,
}

impl Lines<Encode> for Ways<'_> {
    fn send(&mut self, line: u32, form: Form, message: &Message) {
        let mut bytes = Vec::new();
        form.push_message(message, &mut bytes);
        if let Some(Some(line)) = self.lines.get_mut(line as usize)
            && line.closing.is_none()
        {
            line.push(bytes.into());
        }
    }

    fn deal(&mut self, line: u32, bytes: &Bytes, _alone: bool) -> bool {
        let Some(Some(line)) = self.lines.get_mut(line as usize) else { return true };
        if line.closing.is_some() {
            return true;
        }
        let has_room = line.bytes == 0 || line.bytes + bytes.len() <= OUTBOX_BYTES;
        if has_room {
            line.push(bytes.clone());
        }
        has_room
    }

    fn has_shard(&self, shard: u16) -> bool {
        usize::from(shard) < self.shards
    }

    fn want_room(&mut self, line: u32) {
        if let Some(Some(line)) = self.lines.get_mut(line as usize) {
            line.wants_room = true;
        }
    }

    fn close(&mut self, line: u32, code: CloseCode) {
        self.closes.push((line, code));
    }

    fn ask(&mut self, request: Request) {
        self.asks.push(request);
    }

    fn tell(&mut self, shard: u16, peer: Peer) {
        self.peers.push((shard, peer));
    }
}

impl Line {
    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.outbox.push_back(bytes);
    }
}

impl Node {
    /// A node that begins with what the store has.
    pub fn new(setup: &Setup, shards: usize, now: Now, store: &Store, chance: &mut Chance) -> Self {
        let mut node = Self { setup: setup.clone(), shards: Vec::new(), outbox_max: 0, slow: 0 };
        for index in 0..shards {
            let engine = Engine::new(
                index as u16,
                setup.namespaces.clone(),
                setup.sessions,
                Arc::new(Anonymous),
                Random::seeded(chance.number()),
                Encode,
            );
            let mut broker = MemoryBroker::new(setup.namespaces.clone(), setup.limits, Random::seeded(chance.number()));
            broker.make_durable();
            let records = store.records(chance).into_iter().filter(|record| home(record.channel(), shards) == index);
            broker.restore(now, records);
            let outgoing = (0..shards).map(|_| VecDeque::new()).collect();
            node.shards.push(Shard {
                engine,
                broker,
                inbox: VecDeque::new(),
                outgoing,
                held: VecDeque::new(),
                lines: Vec::new(),
            });
        }
        node
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    fn engine<T>(&mut self, shard: usize, now: Now, act: impl FnOnce(&mut Engine<Encode>, &mut Ways<'_>) -> T) -> T {
        let shards = self.shards.len();
        let Shard { engine, lines, .. } = &mut self.shards[shard];
        engine.set_now(now);
        let mut ways = Ways { lines, shards, asks: Vec::new(), peers: Vec::new(), closes: Vec::new() };
        let done = act(engine, &mut ways);
        let Ways { asks, peers, closes, .. } = ways;
        for request in asks {
            self.shards[home(&request.channel, shards)].inbox.push_back(Letter::Ask(request));
        }
        for (to, peer) in peers {
            assert!(usize::from(to) < shards, "a letter to shard {to}, which is not there");
            self.shards[shard].outgoing[usize::from(to)].push_back(Letter::Peer(peer));
        }
        for (line, code) in closes {
            self.slow += u64::from(code == CloseCode::SlowReader);
            if let Some(Some(line)) = self.shards[shard].lines.get_mut(line as usize) {
                line.closing.get_or_insert(code.number());
                line.unfed.clear();
            }
        }
        done
    }

    /// A line has come to a shard; its index.
    pub fn opened(&mut self, shard: usize, wire: u64, form: Form, now: Now) -> usize {
        let lines = &mut self.shards[shard].lines;
        let index = lines.iter().position(Option::is_none).unwrap_or(lines.len());
        if index == lines.len() {
            lines.push(None);
        }
        let line =
            Line { wire, form, outbox: VecDeque::new(), bytes: 0, wants_room: false, closing: None, unfed: VecDeque::new() };
        lines[index] = Some(line);
        self.engine(shard, now, |engine, _| engine.opened(index as u32, form));
        index
    }

    /// A line has ended.
    pub fn closed(&mut self, shard: usize, index: usize, now: Now) {
        self.engine(shard, now, |engine, ways| engine.closed(index as u32, ways));
        self.shards[shard].lines[index] = None;
    }

    /// A client has said something.
    pub fn said(&mut self, shard: usize, index: usize, message: &[u8]) {
        let Some(line) = &mut self.shards[shard].lines[index] else { return };
        if line.closing.is_none() {
            line.unfed.extend(line.form.commands(message));
        }
    }

    /// Gives an engine what a client has said, as much as it takes. Whether it took anything.
    pub fn feed(&mut self, shard: usize, index: usize, now: Now) -> bool {
        let mut fed = false;
        while !self.shards[shard].engine.is_busy(index as u32)
            && let Some(Some(line)) = self.shards[shard].lines.get_mut(index)
            && let Some(command) = line.unfed.pop_front()
        {
            fed = true;
            let index = index as u32;
            self.engine(shard, now, |engine, ways| match command {
                Ok(command) => engine.command(index, command, ways),
                Err(rejected) => engine.rejected(index, rejected, ways),
            });
        }
        fed
    }

    /// Whether a client's words wait that the engine does not take.
    pub fn is_stuck(&self, shard: usize, index: usize) -> bool {
        self.shards[shard].lines[index].as_ref().is_some_and(|line| !line.unfed.is_empty())
    }

    /// Writes to a line what the network takes, if that has so many bytes already; the line's end comes last. Whether
    /// anything happened.
    pub fn flush(&mut self, shard: usize, index: usize, waiting: usize, now: Now) -> Vec<Down> {
        let Some(Some(line)) = self.shards[shard].lines.get_mut(index) else { return Vec::new() };
        self.outbox_max = self.outbox_max.max(line.bytes);
        let (mut down, mut room) = (Vec::new(), WINDOW.saturating_sub(waiting));
        while room > 0
            && let Some(bytes) = line.outbox.pop_front()
        {
            room = room.saturating_sub(bytes.len());
            line.bytes -= bytes.len();
            down.push(Down::Message(bytes));
        }
        if let Some(code) = line.closing.filter(|_| line.outbox.is_empty()) {
            down.push(Down::Close(code));
        }
        if line.bytes < OUTBOX_BYTES / 4 && std::mem::take(&mut line.wants_room) {
            self.engine(shard, now, |engine, ways| engine.room(index as u32, ways));
        }
        down
    }

    /// The wire of a line, and whether the server is ending it.
    pub fn line(&self, shard: usize, index: usize) -> Option<(u64, bool)> {
        self.shards[shard].lines.get(index)?.as_ref().map(|line| (line.wire, line.closing.is_some()))
    }

    /// A shard opens its next letter. Whether there was one.
    pub fn open_letter(&mut self, shard: usize, now: Now, truth: &mut Truth) -> Result<bool, String> {
        let Some(letter) = self.shards[shard].inbox.pop_front() else { return Ok(false) };
        match letter {
            Letter::Ask(request) => {
                self.shards[shard].broker.submit(now, request);
                self.sort(shard, truth)?;
            }
            Letter::Answer(ticket, answer) => self.engine(shard, now, |engine, ways| engine.answer(ticket, answer, ways)),
            Letter::Deliver(delivery) => self.engine(shard, now, |engine, ways| engine.deliver(&delivery, ways)),
            Letter::Cancel(producer, channel, stream) => {
                self.engine(shard, now, |engine, ways| engine.cancel(producer, channel, stream, ways));
            }
            Letter::Peer(peer) => self.engine(shard, now, |engine, ways| engine.told(peer, ways)),
        }
        Ok(true)
    }

    /// Takes what a broker has to say, and holds it back if it goes with something that is to be written down.
    pub fn sort(&mut self, shard: usize, truth: &mut Truth) -> Verdict {
        let at = &mut self.shards[shard];
        let records = at.broker.take_records();
        let events: Vec<Event> = std::iter::from_fn(|| at.broker.poll()).collect();
        at.held.push_back((records, events));
        while self.shards[shard].held.front().is_some_and(|(records, _)| records.is_empty() || !self.setup.durable) {
            self.release(shard, truth)?;
        }
        Ok(())
    }

    /// The store has written what waited for longest. Whether anything waited.
    pub fn commit(&mut self, shard: usize, store: &mut Store, truth: &mut Truth) -> Result<bool, String> {
        let Some((records, _)) = self.shards[shard].held.front() else { return Ok(false) };
        store.write(records);
        self.release(shard, truth)?;
        while self.shards[shard].held.front().is_some_and(|(records, _)| records.is_empty()) {
            self.release(shard, truth)?;
        }
        Ok(true)
    }

    fn release(&mut self, shard: usize, truth: &mut Truth) -> Verdict {
        let Some((records, events)) = self.shards[shard].held.pop_front() else { return Ok(()) };
        records.iter().try_for_each(|record| truth.apply(record))?;
        let shards = self.shards.len();
        let outgoing = &mut self.shards[shard].outgoing;
        for event in events {
            match event {
                Event::Answer(ticket, answer) => {
                    if let Some(outgoing) = outgoing.get_mut(usize::from(ticket.shard)) {
                        outgoing.push_back(Letter::Answer(ticket, answer));
                    }
                }
                Event::Deliver { shards: to, delivery } => {
                    if let What::Publication(publication) = &delivery.what {
                        truth.told(publication);
                    }
                    for shard in (0..shards).filter(|shard| to >> shard & 1 == 1) {
                        outgoing[shard].push_back(Letter::Deliver(delivery.clone()));
                    }
                }
                Event::Cancel { producer, channel, stream } => {
                    if let Some(outgoing) = outgoing.get_mut(usize::from(producer.shard())) {
                        outgoing.push_back(Letter::Cancel(producer, channel, stream));
                    }
                }
            }
        }
        Ok(())
    }

    /// Letters from one shard arrive at another. Whether there were any.
    pub fn ship(&mut self, from: usize, to: usize) -> bool {
        let letters = std::mem::take(&mut self.shards[from].outgoing[to]);
        let any = !letters.is_empty();
        self.shards[to].inbox.extend(letters);
        any
    }

    /// The end of a shard's tick.
    pub fn deal(&mut self, shard: usize, now: Now) {
        self.engine(shard, now, |engine, ways| engine.deal(ways));
    }

    /// A shard does what is due. Whether anything was.
    pub fn look_at_clock(&mut self, shard: usize, now: Now, truth: &mut Truth) -> Result<bool, String> {
        let due = |due: Option<u64>| due.is_some_and(|due| due <= now.steady);
        let mut any = false;
        if due(self.shards[shard].broker.due()) {
            any = true;
            self.shards[shard].broker.look_at_clock(now);
            self.sort(shard, truth)?;
        }
        if due(self.shards[shard].engine.due()) {
            any = true;
            self.engine(shard, now, |engine, ways| engine.look_at_clock(ways));
        }
        Ok(any)
    }

    /// When something is due.
    pub fn due(&self) -> Option<u64> {
        self.shards.iter().flat_map(|shard| [shard.engine.due(), shard.broker.due()]).flatten().min()
    }

    /// When something is due in sessions.
    pub fn session_due(&self) -> Option<u64> {
        self.shards.iter().filter_map(|shard| shard.engine.due()).min()
    }

    /// Who is in each channel, as their homes have it.
    pub fn members(&mut self, channels: &[Arc<str>], now: Now) -> BTreeMap<Arc<str>, std::collections::BTreeSet<SessionId>> {
        let shards = self.shards.len();
        let mut all = BTreeMap::new();
        for channel in channels {
            if !self.setup.namespaces.of(channel).is_some_and(|options| options.presence) {
                continue;
            }
            let broker = &mut self.shards[home(channel, shards)].broker;
            let ask = Ask::Presence { limit: 1000, after: None };
            broker.submit(now, Request { channel: channel.clone(), ticket: Ticket { shard: u16::MAX, id: 1 }, ask });
            while let Some(event) = broker.poll() {
                if let Event::Answer(_, Ok(Answer::Presence { members, .. })) = event {
                    all.insert(channel.clone(), members.iter().map(|member| member.session).collect());
                }
            }
        }
        all
    }

    /// That nothing of any client is left.
    ///
    /// # Errors
    /// What is left.
    pub fn is_empty(&self, channels: &[Arc<str>]) -> Verdict {
        for (index, shard) in self.shards.iter().enumerate() {
            if let Some(left) = shard.engine.leftovers() {
                return Err(format!("shard {index} still has {left}"));
            }
            if let Some(channel) = channels.iter().find(|channel| shard.broker.followers(channel) != 0) {
                return Err(format!("shard {index}: somebody still follows {channel}"));
            }
        }
        Ok(())
    }
}

fn home(channel: &str, shards: usize) -> usize {
    let hash = channel.bytes().fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % shards as u64) as usize
}
