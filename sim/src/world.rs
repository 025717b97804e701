//! One run: clients, lines, a node, and what chance does to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use longwire_core::broker::Now;
use longwire_core::broker::memory::Limits;
use longwire_core::engine::SessionOptions;

use crate::chance::Chance;
use crate::client::Client;
use crate::node::{Down, Node, OUTBOX_BOUND, Setup};
use crate::setting::{self, Rates};
use crate::store::Store;
use crate::truth::Truth;
use crate::watcher::Verdict;

/// Milliseconds for which sessions are kept.
const KEEP: u64 = 20_000;
/// Milliseconds in which everything must come to rest once no more faults happen.
const REST: u64 = 300_000;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps of chance.
    pub steps: u64,
    /// Messages that clients have got.
    pub messages: u64,
    /// Lines that were cut.
    pub cuts: u64,
    /// Times that the server was restarted.
    pub restarts: u64,
    /// Lines that were closed because their clients were too slow.
    pub slow: u64,
    /// The most bytes that waited for a line.
    pub outbox: usize,
}

/// A line between a client and a shard.
struct Wire {
    client: usize,
    shard: usize,
    index: usize,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Down>,
    down_bytes: usize,
    /// The client's end is gone.
    client_gone: bool,
    /// The server's end is gone.
    server_gone: bool,
}

/// Everything there is.
pub struct World {
    chance: Chance,
    steady: u64,
    /// Milliseconds since 1970 when `steady` was 0.
    wall: u64,
    setup: Setup,
    node: Node,
    store: Store,
    truth: Truth,
    clients: Vec<Box<dyn Client>>,
    /// Clients that do not read.
    stalled: Vec<bool>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    channels: Arc<[Arc<str>]>,
    report: Report,
    rates: Rates,
    trace: Option<Box<dyn FnMut(String)>>,
}

impl World {
    /// From a seed.
    pub fn new(seed: u64, trace: Option<Box<dyn FnMut(String)>>) -> Self {
        let mut chance = Chance::new(seed);
        let namespaces = Arc::new(setting::namespaces());
        let names = [
            "plain", "log:a", "log:b", "short:a", "off:a", "here:a", "room:a", "room:b", "count:a", "keys:a", "keys:b",
            "both:a", "latest:a", "gap:a", "drop:a", "ai:a", "ai:b", "talk:a",
        ];
        // Few channels, so that much happens in each; which, is chance.
        let some = 2 + chance.below(5);
        let channels: Arc<[Arc<str>]> = (0..some).map(|_| Arc::from(*chance.pick(&names))).collect();
        let sessions = SessionOptions {
            keep: KEEP,
            parked: if chance.one_in(4) { 2 } else { 100 },
            subscriptions: 1000,
            ..SessionOptions::default()
        };
        let limits = Limits { channels: 1000, keep: if chance.one_in(3) { 60_000 } else { 24 * 3_600_000 } };
        let setup = Setup { namespaces: namespaces.clone(), sessions, limits, durable: chance.one_in(2) };
        let store = Store::default();
        let shards = 1 + chance.below(4);
        let wall = 1_700_000_000_000;
        let node = Node::new(&setup, shards, Now { steady: 0, wall }, &store, &mut chance);
        let count = 2 + chance.below(7);
        let clients: Vec<Box<dyn Client>> =
            (0..count).map(|number| setting::client(number, &namespaces, &channels, &mut chance)).collect();
        Self {
            steady: 0,
            wall,
            setup,
            node,
            store,
            truth: Truth::default(),
            stalled: vec![false; clients.len()],
            clients,
            wires: BTreeMap::new(),
            next_wire: 0,
            channels,
            report: Report::default(),
            rates: Rates::new(&mut chance),
            trace,
            chance,
        }
    }

    /// Does so many steps of chance, in rounds; after each, all must come to rest and agree, and in the end nothing may be left.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn run(&mut self, steps: u64) -> Result<Report, String> {
        let mut done = 0;
        while done < steps {
            let round = (100 + self.chance.below(1500) as u64).min(steps - done);
            for _ in 0..round {
                self.step()?;
            }
            done += round;
            self.report.steps = done;
            self.rest()?;
        }
        self.end()?;
        self.report.slow += self.node.slow;
        self.report.outbox = self.report.outbox.max(self.node.outbox_max);
        Ok(self.report)
    }

    fn now(&self) -> Now {
        Now { steady: self.steady, wall: self.wall.saturating_add(self.steady) }
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace(format!("{:>9} {}", self.steady, what()));
        }
    }

    fn step(&mut self) -> Verdict {
        let client = self.chance.below(self.clients.len());
        self.fault(client)?;
        let shard = self.chance.below(self.node.shards());
        if Rates::is_time(&mut self.chance, self.rates.pass) {
            let most = if self.chance.one_in(20) { 30_000 } else { 300 };
            let millis = self.chance.below(most) as u64;
            self.pass(millis)?;
        }
        if Rates::is_time(&mut self.chance, self.rates.commit) {
            self.node.commit(shard, &mut self.store, &mut self.truth)?;
        }
        match self.chance.below(100) {
            0..18 => self.clients[client].act(&mut self.chance, &self.truth)?,
            18..30 => self.transmit(client),
            30..45 => self.each_wire(World::up)?,
            45..62 => self.each_wire(World::down)?,
            62..76 => {
                for _ in 0..1 + self.chance.below(4) {
                    self.letter(shard)?;
                }
            }
            76..85 => {
                let to = self.chance.below(self.node.shards());
                let _ = self.node.ship(shard, to);
            }
            85..92 => drop(self.tick(shard)),
            92..98 => self.connect(client),
            _ => self.each_wire(World::notice)?,
        }
        self.check_outboxes()
    }

    fn fault(&mut self, client: usize) -> Verdict {
        if Rates::is_time(&mut self.chance, self.rates.cut) {
            self.cut()?;
        }
        if Rates::is_time(&mut self.chance, self.rates.restart) {
            self.restart()?;
        }
        if Rates::is_time(&mut self.chance, self.rates.stall) {
            self.stalled[client] = !self.stalled[client];
            let stalled = self.stalled[client];
            self.say(|| format!("client {client} {}", if stalled { "no longer reads" } else { "reads again" }));
        }
        if Rates::is_time(&mut self.chance, self.rates.jump) {
            let jump = self.chance.below(3_600_000) as u64;
            self.wall = if self.chance.one_in(2) { self.wall + jump } else { self.wall - jump };
            self.say(|| "the wall clock jumps".to_owned());
        }
        Ok(())
    }

    fn check_outboxes(&self) -> Verdict {
        let most = self.node.outbox_max;
        if most > OUTBOX_BOUND { Err(format!("{most} bytes waited for one line")) } else { Ok(()) }
    }

    fn each_wire(&mut self, act: impl FnOnce(&mut Self, u64) -> Verdict) -> Verdict {
        let count = self.wires.len();
        let Some(wire) = self.wires.keys().nth(self.chance.below(count)).copied() else { return Ok(()) };
        act(self, wire)
    }

    fn letter(&mut self, shard: usize) -> Result<bool, String> {
        let now = self.now();
        self.node.open_letter(shard, now, &mut self.truth)
    }

    /// Time passes.
    fn pass(&mut self, millis: u64) -> Verdict {
        self.steady += millis;
        for shard in 0..self.node.shards() {
            let now = self.now();
            self.node.look_at_clock(shard, now, &mut self.truth)?;
        }
        for client in 0..self.clients.len() {
            self.clients[client].time(self.steady);
            self.give_up(client);
        }
        Ok(())
    }

    /// A client that no longer wants its line leaves it.
    fn give_up(&mut self, client: usize) {
        if self.clients[client].gives_up()
            && let Some((id, wire)) = self.wires.iter_mut().find(|(_, wire)| wire.client == client && !wire.client_gone)
        {
            let id = *id;
            wire.client_gone = true;
            wire.down.clear();
            self.say(|| format!("client {client} gives line {id} up"));
            self.forget_wire(id);
        }
    }

    fn connect(&mut self, client: usize) {
        if !self.clients[client].wants_line(self.steady) {
            return;
        }
        let shard = self.chance.below(self.node.shards());
        let (wire, now) = (self.next_wire, self.now());
        self.next_wire += 1;
        self.clients[client].opened(self.steady);
        let index = self.node.opened(shard, wire, self.clients[client].form(), now);
        self.say(|| format!("client {client} opens line {wire} to shard {shard}"));
        let (up, down) = (VecDeque::new(), VecDeque::new());
        let wire_at = Wire { client, shard, index, up, down, down_bytes: 0, client_gone: false, server_gone: false };
        self.wires.insert(wire, wire_at);
    }

    fn transmit(&mut self, client: usize) {
        let Some(wire) = self.wires.values_mut().find(|wire| wire.client == client && !wire.client_gone) else { return };
        if let Some(message) = self.clients[client].transmit(&mut self.chance) {
            if let Some(trace) = &mut self.trace {
                trace(format!("{:>9} client {client} says {}", self.steady, shown(&message)));
            }
            wire.up.push_back(message);
        }
    }

    /// The next message of a client arrives at the server.
    fn up(&mut self, id: u64) -> Verdict {
        let now = self.now();
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.server_gone) else { return Ok(()) };
        if let Some(message) = wire.up.pop_front() {
            self.node.said(wire.shard, wire.index, &message);
        }
        self.node.feed(wire.shard, wire.index, now);
        Ok(())
    }

    /// The next message of the server arrives at a client.
    fn down(&mut self, id: u64) -> Verdict {
        let Some(wire) = self.wires.get_mut(&id) else { return Ok(()) };
        let client = wire.client;
        if wire.client_gone || self.stalled[client] {
            return Ok(());
        }
        match wire.down.pop_front() {
            Some(Down::Message(bytes)) => {
                wire.down_bytes -= bytes.len();
                self.report.messages += 1;
                self.say(|| format!("client {client} hears {}", shown(&bytes)));
                self.clients[client].received(self.steady, &bytes, &self.truth)?;
                self.give_up(client);
                Ok(())
            }
            Some(Down::Close(code)) => {
                wire.client_gone = true;
                self.say(|| format!("client {client} hears the end of line {id}: {code}"));
                self.clients[client].lost(self.steady, Some(code), &mut self.chance);
                self.forget_wire(id);
                Ok(())
            }
            None if wire.server_gone => {
                wire.client_gone = true;
                self.say(|| format!("client {client} finds line {id} cut"));
                self.clients[client].lost(self.steady, None, &mut self.chance);
                self.forget_wire(id);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A shard writes to its lines, and feeds its engine.
    fn tick(&mut self, shard: usize) -> bool {
        let now = self.now();
        self.node.deal(shard, now);
        let mut any = false;
        let wires: Vec<u64> =
            self.wires.iter().filter(|(_, wire)| wire.shard == shard && !wire.server_gone).map(|(id, _)| *id).collect();
        for id in wires {
            let Some(wire) = self.wires.get_mut(&id) else { continue };
            if matches!(wire.down.back(), Some(Down::Close(_))) {
                continue;
            }
            // The network takes what is for a client that is gone until the server notices.
            let waiting = if wire.client_gone { 0 } else { wire.down_bytes };
            for down in self.node.flush(shard, wire.index, waiting, now) {
                any = true;
                if let Down::Message(bytes) = &down {
                    wire.down_bytes += bytes.len();
                }
                if !wire.client_gone {
                    wire.down.push_back(down);
                }
            }
            any |= self.node.feed(shard, wire.index, now);
        }
        any
    }

    /// A line is cut: one end notices at once, and what is on its way is lost, all or the end of it.
    fn cut(&mut self) -> Verdict {
        let count = self.wires.len();
        let Some(id) = self.wires.keys().nth(self.chance.below(count)).copied() else { return Ok(()) };
        let by_client = self.chance.one_in(2);
        let now = self.now();
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.client_gone && !wire.server_gone) else { return Ok(()) };
        let client = wire.client;
        self.report.cuts += 1;
        wire.up.truncate(self.chance.below(wire.up.len() + 1));
        wire.down.truncate(self.chance.below(wire.down.len() + 1));
        if by_client {
            wire.client_gone = true;
            wire.down.clear();
            self.clients[client].lost(self.steady, None, &mut self.chance);
        } else {
            wire.server_gone = true;
            wire.up.clear();
            self.node.closed(wire.shard, wire.index, now);
        }
        self.say(|| format!("line {id} of client {client} is cut at the {}", if by_client { "client" } else { "server" }));
        Ok(())
    }

    /// A server notices that a client is gone, or is done with closing a line.
    fn notice(&mut self, id: u64) -> Verdict {
        let now = self.now();
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.server_gone) else { return Ok(()) };
        let is_closing = self.node.line(wire.shard, wire.index).is_some_and(|(_, closing)| closing);
        let is_over = wire.client_gone && wire.up.is_empty();
        if is_over || is_closing && self.chance.one_in(2) {
            wire.server_gone = true;
            self.node.closed(wire.shard, wire.index, now);
            self.say(|| format!("the server is done with line {id}"));
            self.forget_wire(id);
        }
        Ok(())
    }

    fn forget_wire(&mut self, id: u64) {
        if self.wires.get(&id).is_some_and(|wire| wire.client_gone && wire.server_gone) {
            self.wires.remove(&id);
        }
    }

    /// The server is killed, and begins anew with what its store has.
    fn restart(&mut self) -> Verdict {
        self.report.restarts += 1;
        self.report.slow += self.node.slow;
        for wire in self.wires.values_mut() {
            wire.server_gone = true;
            wire.up.clear();
            wire.down.truncate(self.chance.below(wire.down.len() + 1));
        }
        self.wires.retain(|_, wire| !wire.client_gone);
        let shards = if self.chance.one_in(3) { 1 + self.chance.below(4) } else { self.node.shards() };
        if !self.setup.durable {
            self.truth.lose_all();
        }
        let now = self.now();
        self.node = Node::new(&self.setup, shards, now, &self.store, &mut self.chance);
        for shard in 0..shards {
            // What it found to be too old.
            self.node.sort(shard, &mut self.truth)?;
        }
        let durable = self.setup.durable;
        self.say(|| {
            format!("the server is restarted with {shards} shards, {}", if durable { "with its store" } else { "empty" })
        });
        Ok(())
    }

    /// Does everything that can be done without time passing. Whether there was anything.
    fn do_all(&mut self) -> Result<bool, String> {
        let mut any = false;
        for client in 0..self.clients.len() {
            self.connect(client);
            while let Some(wire) = self.wires.values().find(|wire| wire.client == client && !wire.client_gone) {
                let before = wire.up.len();
                self.transmit(client);
                let after =
                    self.wires.values().find(|wire| wire.client == client && !wire.client_gone).map(|wire| wire.up.len());
                if after == Some(before) {
                    break;
                }
                any = true;
            }
        }
        let wires: Vec<u64> = self.wires.keys().copied().collect();
        for id in wires {
            while self.wires.get(&id).is_some_and(|wire| !wire.up.is_empty() && !wire.server_gone) {
                any = true;
                self.up(id)?;
            }
            let moves = |wire: &Wire| !wire.down.is_empty() || wire.server_gone;
            while self.wires.get(&id).is_some_and(|wire| !wire.client_gone && moves(wire)) {
                any = true;
                self.down(id)?;
            }
            let before = self.wires.len();
            self.notice(id)?;
            any |= self.wires.len() < before;
        }
        for shard in 0..self.node.shards() {
            any |= self.node.commit(shard, &mut self.store, &mut self.truth)?;
            while self.letter(shard)? {
                any = true;
            }
            for to in 0..self.node.shards() {
                any |= self.node.ship(shard, to);
            }
            any |= self.tick(shard);
            let now = self.now();
            any |= self.node.look_at_clock(shard, now, &mut self.truth)?;
        }
        self.check_outboxes()?;
        Ok(any)
    }

    /// No faults any more: all comes to rest, and must agree.
    fn rest(&mut self) -> Verdict {
        self.stalled.fill(false);
        self.say(|| "no more faults: all must come to rest".to_owned());
        let by = self.steady + REST;
        // Once sessions that did not come back in time are over.
        let from = self.steady + KEEP + 15_000;
        loop {
            if self.do_all()? {
                continue;
            }
            let is_settled = self.clients.iter().all(|client| client.is_settled());
            if is_settled && self.steady >= from {
                break;
            }
            if self.steady >= by {
                return Err(self.stuck());
            }
            let due = self.clients.iter().filter_map(|client| client.due()).chain(self.node.due()).min();
            let step = due.map_or(1000, |due| due.saturating_sub(self.steady)).clamp(1, 5000);
            self.pass(step)?;
        }
        let now = self.now();
        let there = self.node.members(&self.channels, now);
        let mut really = BTreeMap::new();
        for client in &mut self.clients {
            client.settled(&there, &self.truth)?;
            let (session, channels) = client.whereabouts();
            for channel in channels.into_iter().filter(|channel| there.contains_key(channel)) {
                really.entry(channel).or_insert_with(std::collections::BTreeSet::new).extend(session);
            }
        }
        for (channel, there) in &there {
            if *there != really.get(channel).cloned().unwrap_or_default() {
                return Err(format!("{channel}: its home has {there:?}, and really there are {:?}", really.get(channel)));
            }
        }
        Ok(())
    }

    fn stuck(&self) -> String {
        let clients: Vec<usize> = (0..self.clients.len()).filter(|client| !self.clients[*client].is_settled()).collect();
        let lines = self.wires.values().filter(|wire| !wire.server_gone && self.node.is_stuck(wire.shard, wire.index)).count();
        format!("clients {clients:?} wait for ever, and {lines} lines are not read any more")
    }

    /// Everyone goes, and nothing of them may be left.
    fn end(&mut self) -> Verdict {
        self.say(|| "everyone leaves".to_owned());
        for client in 0..self.clients.len() {
            self.clients[client].leave();
        }
        let now = self.now();
        for (_, wire) in std::mem::take(&mut self.wires) {
            if !wire.server_gone {
                self.node.closed(wire.shard, wire.index, now);
            }
        }
        let until = self.steady + 2 * KEEP + 20_000;
        while self.steady < until {
            while self.do_all()? {}
            let due = self.node.session_due().unwrap_or(until).saturating_sub(self.steady);
            self.pass(due.clamp(1, 5000))?;
        }
        while self.do_all()? {}
        let channels = self.channels.clone();
        self.node.is_empty(&channels)?;
        let now = self.now();
        let left = self.node.members(&channels, now).into_iter().find(|(_, members)| !members.is_empty());
        left.map_or(Ok(()), |(channel, members)| Err(format!("{channel}: {members:?} are ghosts")))
    }
}

/// What a message says, for people; binary ones by their length.
fn shown(message: &[u8]) -> String {
    match std::str::from_utf8(message) {
        Ok(text) if message.first().is_some_and(|byte| *byte == b'{') => {
            text.lines().map(|line| line.chars().take(220).collect::<String>()).collect::<Vec<_>>().join(" | ")
        }
        _ => format!("{} bytes", message.len()),
    }
}
