//! A shard and its channels: what the engine wants done to lines, and the way of questions, answers and deliveries between the
//! engines and the brokers of the node's shards (stations 2 to 5).

use std::collections::VecDeque;
use std::sync::Arc;

use longwire_core::broker::{Answer, Delivery, Event, Failure, Now, Request, Ticket};
use longwire_core::engine::{Engine, Peer};
use longwire_protocol::{CloseCode, Reply, SessionId};
use tokio::sync::oneshot;

use super::events::Followed;
use super::frames::{Encoding, Frames};
use super::home::{Home, Said, Told};
use super::socketio::order::{PUBLISHED, published_by};
use super::socketio::{KEPT, Names, Places};
use super::ways::Ways;
use super::{Command, Core, Shard};
use crate::codes;
use crate::node::{Flight, Node};

/// What the shards of a node say to each other about channels.
pub(crate) enum Letter {
    /// To a channel's home.
    Ask(Request, Option<Arc<Flight>>),
    /// To a channel's home, from someone who is no shard.
    AskFor(Request, Option<Arc<Flight>>, oneshot::Sender<Result<Answer, Failure>>),
    /// To the shard that asked.
    Answer(Ticket, Result<Answer, Failure>, Option<Arc<Flight>>),
    /// To a shard that follows the channel.
    Deliver(Delivery, Option<Arc<Flight>>),
    /// To the shard that a session was born on: someone wants its stream to stop.
    Cancel(SessionId, Arc<str>, u64),
    /// To another engine.
    Peer(Peer),
    /// Something that a shard is to do: from an operator, who waits for an answer, or from a channel's home.
    Act(Box<dyn FnOnce(&mut Shard) + Send>),
    /// To a channel's home: this is to be done by each shard, in its place among what happens in the channel.
    Relay(Arc<str>, Act),
}

/// What each shard of a node is to do.
pub(crate) type Act = Arc<dyn Fn(&mut Shard) + Send + Sync>;

impl Letter {
    /// Whether it is for the engine of the shard, and not for its broker or the shard itself.
    fn is_for_engine(&self) -> bool {
        match self {
            Self::Answer(ticket, ..) => ticket.shard & (PUBLISHED | KEPT) == 0,
            Self::Deliver(..) | Self::Cancel(..) | Self::Peer(_) => true,
            Self::Ask(..) | Self::AskFor(..) | Self::Act(_) | Self::Relay(..) => false,
        }
    }
}

/// Why an event stream ends that follows less than its client has asked for.
const TRY_AGAIN: &str = "a channel cannot be followed now: come back";

/// A shard's channels.
pub(crate) struct Channels {
    pub(crate) engine: Engine<Frames>,
    /// How far the event streams are.
    pub(crate) followed: Followed,
    pub(super) home: Home,
    /// Letters to this shard.
    pub(super) inbox: VecDeque<Letter>,
    /// Letters to the others, to be sent at the end of the tick.
    outgoing: Vec<Vec<Letter>>,
    /// What the engine wants closed.
    closes: Vec<(u32, Option<CloseCode>)>,
    /// What it says to the sockets of Socket.IO themselves, and not to their clients.
    answers: Vec<(u32, Answered)>,
    joined: Joined,
}

/// What a socket is told.
pub(super) enum Answered {
    Reply(Reply),
    /// What its client is told once it is written down that it is in a channel, or has left it, in frames.
    WhenKept(Vec<u8>),
    /// Its session is over.
    Forgotten(SessionId),
}

/// Messages to one line that are to go as one.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) line: Option<(u32, Encoding)>,
    pub(super) bytes: Vec<u8>,
}

impl Channels {
    pub(super) fn new(node: &Node, index: usize, home: Home, names: Names, places: Places) -> Self {
        let followed = Followed::new(node.seal().clone());
        Self {
            engine: node.engine(index, Frames::new(followed.clone(), names, places)),
            followed,
            home,
            inbox: VecDeque::new(),
            outgoing: (0..node.shards()).map(|_| Vec::new()).collect(),
            closes: Vec::new(),
            answers: Vec::new(),
            joined: Joined::default(),
        }
    }

    /// The channels whose home this is.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.home.channels()
    }

    /// Whether there is something to do without anything new coming in.
    pub(super) fn has_work(&self) -> bool {
        !self.inbox.is_empty() || self.home.has_work() || self.outgoing.iter().any(|letters| !letters.is_empty())
    }

    /// The steady time at which something is due.
    pub(super) fn due(&self) -> Option<u64> {
        self.engine.due().into_iter().chain(self.home.due()).min()
    }
}

impl Core {
    pub(super) fn now(&self) -> Now {
        self.node.now()
    }
}

impl Node {
    /// Puts a question on its way to its channel, from a shard with this inbox: at once, so that letters arrive in the order in
    /// which they were posted, whoever posts them on a shard. Each counts as on its way until its answer is there, and all that is told
    /// because of it.
    pub(super) fn post(&self, shard: usize, inbox: &mut VecDeque<Letter>, request: Request, flight: Option<Arc<Flight>>) {
        let home = self.home(&request.channel);
        let flight = flight.unwrap_or_else(|| self.flight(&request));
        self.post_to(home, shard, inbox, Letter::Ask(request, Some(flight)));
    }

    /// Has each shard do something, in its place among what happens in a channel, from a shard with this inbox.
    pub(super) fn post_act(&self, shard: usize, inbox: &mut VecDeque<Letter>, channel: Arc<str>, act: Act) {
        let home = self.home(&channel);
        self.post_to(home, shard, inbox, Letter::Relay(channel, act));
    }

    fn post_to(&self, home: usize, shard: usize, inbox: &mut VecDeque<Letter>, letter: Letter) {
        if home == shard {
            inbox.push_back(letter);
        } else {
            self.mailbox(home).push(Command::Letters(vec![letter]));
        }
    }
}

impl Shard {
    /// Has the engine do something, and does what it then wants.
    pub(super) fn engine<T>(&mut self, act: impl FnOnce(&mut Engine<Frames>, &mut Ways<'_>) -> T) -> T {
        let Self { lines, core, .. } = self;
        let Core { channels, queues, dirty, outbox_bytes, behind, now, node, index, names, places, .. } = core;
        let Channels { engine, followed, inbox, outgoing, closes, answers, joined, .. } = channels;
        engine.set_now(node.now());
        let mut ways = Ways {
            lines,
            followed,
            queues,
            dirty,
            outbox_bytes: *outbox_bytes,
            behind,
            now: *now,
            node,
            index: *index,
            inbox,
            outgoing,
            closes,
            answers,
            joined,
            names,
            places,
        };
        let done = act(engine, &mut ways);
        ways.flush_joined();
        if !self.core.channels.closes.is_empty() {
            // Ending one comes through here again, which must find no other: there may be thousands.
            for (line, code) in std::mem::take(&mut self.core.channels.closes) {
                let Some(key) = self.lines.key_at(line) else { continue };
                match code {
                    Some(code) if self.close_socket(key, code) => {}
                    Some(code) => self.close(key, codes::of(code), code.text()),
                    None => self.close(key, longwire_ws::CloseCode::TRY_AGAIN_LATER, TRY_AGAIN),
                }
            }
        }
        if !self.core.channels.answers.is_empty() {
            for (line, answer) in std::mem::take(&mut self.core.channels.answers) {
                match answer {
                    Answered::Reply(reply) => self.socket_answered(line, reply),
                    Answered::WhenKept(frames) => {
                        if let Some(line) = self.lines.key_at(line) {
                            self.answer_when_kept(line, frames);
                        }
                    }
                    Answered::Forgotten(session) => self.forget_kept_socket(session),
                }
            }
        }
        done
    }

    /// Stations 3 to 5: questions are put to the channels that have their home here, answers and deliveries go where they
    /// belong, and what was delivered here goes into the outboxes.
    pub(super) fn fan_out(&mut self) {
        self.look_at_channels();
        self.save_sockets();
        // Once a tick: who says much at once does not keep the others from being read.
        self.feed_waiting();
        self.open_letters();
        // What has changed by that goes with it.
        self.save_sockets();
        self.open_letters();
        let now = self.core.now();
        self.core.channels.home.commit(now);
        for (shard, letters) in self.core.channels.outgoing.iter_mut().enumerate() {
            if !letters.is_empty() {
                self.core.node.mailbox(shard).push(Command::Letters(std::mem::take(letters)));
            }
        }
        self.engine(|engine, ways| engine.deal(ways));
    }

    pub(super) fn open_letters(&mut self) {
        while let Some(letter) = self.core.channels.inbox.pop_front() {
            self.open(letter);
        }
    }

    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::Ask(request, flight) => {
                let now = self.core.now();
                self.core.channels.home.submit(now, request, flight.as_ref());
                self.sort();
            }
            Letter::AskFor(request, flight, asker) => {
                let now = self.core.now();
                self.core.channels.home.submit_from_outside(now, request, flight.as_ref(), asker);
                self.sort();
            }
            Letter::Act(act) => act(self),
            Letter::Relay(channel, act) => {
                self.core.channels.home.relay(&channel, act);
                self.sort();
            }
            Letter::Answer(ticket, ..) if ticket.shard & PUBLISHED != 0 => self.socket_published(published_by(ticket)),
            Letter::Answer(ticket, answer, _in_flight) if ticket.shard & KEPT != 0 => {
                self.socket_kept(ticket.id, answer.as_ref().err());
            }
            letter => self.engine(|engine, ways| {
                // All that are for the engine in one go, so that what goes to one line is joined.
                let mut next = Some(letter);
                while let Some(letter) = next {
                    tell(engine, letter, ways);
                    next = ways.inbox.pop_front_if(|letter| letter.is_for_engine());
                }
            }),
        }
    }

    /// The store has got on, or has failed.
    pub(super) fn stored(&mut self, done: &longwire_store::Done) {
        let now = self.core.now();
        self.core.channels.home.stored(now, done);
        self.sort();
    }

    /// Takes in channels that the store has kept.
    pub(super) fn load(&mut self) {
        let now = self.core.now();
        let waiting = self.core.channels.home.load(now);
        self.sort();
        if let Some(waiting) = waiting {
            self.restore_sockets();
            self.core.node.shard_is_loaded();
            self.core.channels.home.resume(now, waiting);
            self.sort();
        }
    }

    /// Has another shard do something, behind all that this one has sent there.
    pub(crate) fn have(&mut self, shard: usize, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.core.hand(shard, Letter::Act(Box::new(act)));
    }

    /// Sends what channels have to say on its way.
    fn sort(&mut self) {
        while let Some(Said { what, flight }) = self.core.channels.home.next() {
            let event = match what {
                Told::Event(event) => event,
                Told::Act(act) => {
                    for shard in 0..self.core.node.shards() {
                        let act = act.clone();
                        self.core.hand(shard, Letter::Act(Box::new(move |shard| act(shard))));
                    }
                    continue;
                }
            };
            match event {
                Event::Answer(ticket, answer) => {
                    self.core.hand((ticket.shard & !(PUBLISHED | KEPT)).into(), Letter::Answer(ticket, answer, flight));
                }
                Event::Deliver { shards, delivery } => {
                    for shard in (0..self.core.node.shards()).filter(|shard| shards >> shard & 1 == 1) {
                        self.core.hand(shard, Letter::Deliver(delivery.clone(), flight.clone()));
                    }
                }
                Event::Cancel { producer, channel, stream } => {
                    self.core.hand(producer.shard().into(), Letter::Cancel(producer, channel, stream));
                }
            }
        }
    }

    /// Does what is due in channels and sessions.
    fn look_at_channels(&mut self) {
        let now = self.core.now();
        self.core.channels.home.look_at_clock(now);
        self.sort();
        if self.core.channels.engine.due().is_some_and(|due| due <= now.steady) {
            self.engine(|engine, ways| engine.look_at_clock(ways));
        }
    }
}

/// Gives a letter to the engine that it is for.
fn tell(engine: &mut Engine<Frames>, letter: Letter, ways: &mut Ways<'_>) {
    match letter {
        Letter::Answer(ticket, answer, _in_flight) => engine.answer(ticket, answer, ways),
        Letter::Deliver(delivery, _in_flight) => engine.deliver(&delivery, ways),
        Letter::Cancel(producer, channel, stream) => engine.cancel(producer, channel, stream, ways),
        Letter::Peer(peer) => engine.told(peer, ways),
        // These are for others.
        Letter::Ask(..) | Letter::AskFor(..) | Letter::Act(_) | Letter::Relay(..) => {}
    }
}

impl Core {
    /// Gives a letter to a shard: this one, or another at the end of the tick.
    fn hand(&mut self, shard: usize, letter: Letter) {
        if shard == self.index {
            self.channels.inbox.push_back(letter);
        } else if let Some(letters) = self.channels.outgoing.get_mut(shard) {
            letters.push(letter);
        }
    }
}
