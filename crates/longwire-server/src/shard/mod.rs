//! A shard: a thread that owns its lines, its part of the hub, and everything that a line touches in its life.
//!
//! | module | what it holds |
//! |---|---|
//! | [`driver`] | the thread and the order of a tick |
//! | [`later`] | what can wait, so that nobody waits for it |
//! | [`reading`] | what comes from the lines: bytes to events to handlers |
//! | [`writing`] | what goes to them: publications, outboxes, flushes |
//! | [`closing`] | how lines end |
//! | [`line`], [`slab`], [`outbox`], [`behind`] | what is kept of a line, and what may wait for it |
//! | [`channels`], [`ways`], [`native`], [`frames`] | who listens to what, what clients ask, and how they are told |
//! | [`wire`], [`events`], [`engine_io`] | WebSocket, a stream of events, or Engine.IO |
//! | [`requests`], [`addresses`], [`once`] | lines that HTTP requests reach, and those that give one answer |
//! | [`unconfirmed`] | such of which it is not known yet whether anybody listens |
//! | [`socketio`] | the sockets of Socket.IO |
//! | [`home`] | the channels whose home this is, and what waits for the disk |
//! | [`heartbeat`], [`wheel`] | when a line is due for something |
//! | [`mailbox`] | what other threads ask |
//! | [`operator`] | what an operator asks |
//! | [`poller`] | the operating system's readiness |

mod addresses;
mod behind;
mod channels;
mod closing;
mod driver;
mod engine_io;
mod events;
mod frames;
mod heartbeat;
mod home;
mod later;
mod line;
pub(crate) mod loading;
mod mailbox;
mod native;
mod once;
mod operator;
mod outbox;
mod poller;
mod reading;
mod requests;
mod slab;
pub(crate) mod socketio;
mod unconfirmed;
mod ways;
mod wheel;
mod wire;
mod writing;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use longwire_protocol::SessionId;
use longwire_socketio::engine::{EncodedPacket, Form as EngineForm, Revision};
use longwire_store::Done;
use longwire_ws::Limits;
use longwire_ws::handshake::deflate::DeflateParams;

pub(crate) use channels::{Act, Letter};
pub(crate) use driver::spawn;
pub(crate) use events::{EventFormat, Events};
pub(crate) use frames::Frames;
pub(crate) use heartbeat::{Pace, Timing};
pub(crate) use home::Home;
pub use line::Line;
pub(crate) use line::Pauses;
pub(crate) use mailbox::Mailbox;
pub(crate) use native::{EventsHandler, First, NativeHandler, Reading};
pub(crate) use once::{Once, is_of, says_missed};
pub(crate) use requests::{Address, Polled, Posted, Requests, Said, Spoken};
pub(crate) use slab::Key;
pub(crate) use socketio::order::{Step, at_work};
pub(crate) use socketio::{
    EXCEPT, Found, KEPT_SOCKETS, Keep, Noted, ONLY, PACKED, SocketIoHandler, TO, VOLATILE, kept_sockets, pack,
};

use crate::handler::LineHandler;
use crate::node::{Arrival, Node};
use crate::places::{Permit, Trial};
use addresses::Addresses;
use behind::Behind;
use channels::Channels;
use later::Later;
use line::{Deferred, LineState};
use outbox::QueuePool;
use poller::{Poller, Readiness};
use slab::Slab;
use socketio::{Call, Connection, Names, Places};
use unconfirmed::Unconfirmed;
use wheel::Wheel;

/// What other threads ask of a shard.
pub(crate) enum Command {
    /// Speak HTTP on a new connection.
    Serve(TcpStream, Place, Arrival),
    /// Take over a connection that has become a line.
    Adopt(Box<Adoption>),
    /// About channels (stations 3 and 4).
    Letters(Vec<Letter>),
    /// The store has got on with what this shard has given it.
    Stored(Done),
    /// More of the channels that the store has kept can be taken in.
    Load,
    /// Close the lines little by little, then end.
    Drain,
}

/// What lets a connection be there.
#[derive(Clone)]
pub(crate) enum Place {
    Permit(Arc<Permit>),
    /// There is no place, and what it is for is to be seen.
    Trial(Arc<Trial>),
}

/// A connection whose opening handshake is done.
pub(crate) struct Adoption {
    /// None if requests fetch what is sent.
    pub(crate) fd: Option<OwnedFd>,
    /// What the client has sent behind its handshake.
    pub(crate) read: Bytes,
    pub(crate) speaks: Speaks,
    /// If HTTP requests reach it.
    pub(crate) requests: Option<Box<Requests>>,
    /// Makes the handler, on the shard's thread.
    pub(crate) handler: Box<dyn FnOnce() -> Box<dyn LineHandler> + Send>,
    pub(crate) permit: Arc<Permit>,
}

/// What is spoken on a new line.
pub(crate) enum Speaks {
    WebSocket(Option<DeflateParams>),
    Events(Events),
    /// In a WebSocket, or in the bodies of requests; at one of the node's paces, and with the packet that says so, if the line is
    /// a new one.
    Engine {
        form: EngineForm,
        pace: u8,
        open: EncodedPacket,
        id: SessionId,
        deflate: Option<DeflateParams>,
    },
    /// Engine.IO in a WebSocket that wants to take over the line with this address.
    Candidate {
        revision: Revision,
        of: SessionId,
        deflate: Option<DeflateParams>,
    },
}

/// A shard's state. Its driver and the tasks of its handlers share it, one at a time, never across an await.
pub(crate) struct Shard {
    lines: Slab<LineState>,
    /// The lines that HTTP requests reach, and those of Engine.IO that have become WebSockets.
    addresses: Addresses,
    unconfirmed: Unconfirmed,
    poller: Poller,
    core: Core,
    /// What the last look at the poller found; kept for its memory.
    readiness: Vec<Readiness>,
    /// Lines that were not read to the end.
    unread: Vec<Key>,
    /// Counts the turns in which lines are read.
    turn: u8,
    /// Native lines whose clients have said more than the engine takes at the moment.
    unfed: Vec<Key>,
    /// What can wait.
    later: VecDeque<(Key, Later)>,
    /// There may be more lines that are ready than the poller was asked about.
    unlooked: bool,
    /// What all lines are read into: an idle line has no buffer.
    read_buffer: Box<[u8]>,
    /// The wheel's findings; kept for their memory.
    due: Vec<u32>,
    drain: Option<Drain>,
    /// The driver, while it waits.
    driver: Option<Waker>,
}

/// The part of a shard that a handler reaches while its line is borrowed.
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) node: Node,
    pub(crate) channels: Channels,
    wheel: Wheel,
    /// How fast lines are given up: the node's own pace, and those of its Engine.IO servers.
    paces: Box<[Pace]>,
    limits: Limits,
    pub(crate) outbox_bytes: usize,
    pub(crate) inbox_bytes: usize,
    /// For how many ticks a line that requests reach may be without one.
    unconfirmed_for: u32,
    /// The tick of the wheel.
    now: u32,
    /// Those for which more waits than that.
    behind: Behind,
    /// Lines with something to write.
    pub(crate) dirty: Vec<Key>,
    pub(crate) queues: QueuePool,
    /// What handlers have asked for during their calls.
    pub(crate) deferred: Vec<(Key, Deferred)>,
    /// The connections of Socket.IO, by their lines.
    connections: HashMap<u32, Connection>,
    names: Names,
    places: Places,
    /// What is being written down of sockets, by the numbers of that.
    keeps: HashMap<u64, Keep>,
    next_keep: u64,
    /// What handlers of Socket.IO are to do.
    calls: VecDeque<Call>,
    /// Those on which what waits may have its turn.
    may_go_on: Vec<Key>,
    /// A handler, or a limit, has asked for the end of the line at hand.
    pub(crate) close_asked: bool,
    /// Tasks of handlers have something to do before the tick ends.
    pub(crate) handlers_woken: bool,
}

impl Core {
    /// What may wait for one line for a moment.
    pub(crate) fn burst_bytes(&self) -> usize {
        behind::burst_bytes(self.outbox_bytes)
    }
}

/// A shutdown under way.
struct Drain {
    /// The wheel tick at which it began.
    since: u32,
    /// The ticks over which it closes the lines.
    over: u32,
    /// The lines that there were.
    lines: usize,
    /// How many of them have been asked to close.
    closed: usize,
    /// The next index to look at.
    next: u32,
    /// This shard has told the node that it has no line left.
    told: bool,
}

thread_local! {
    static HERE: RefCell<Option<Rc<RefCell<Shard>>>> = const { RefCell::new(None) };
}

/// Runs `act` on this thread's shard; `None` on another thread, or when the shard has ended.
pub(crate) fn with<T>(act: impl FnOnce(&mut Shard) -> T) -> Option<T> {
    HERE.with_borrow(|shard| shard.as_ref().map(|shard| act(&mut shard.borrow_mut())))
}

/// As [`with`], for what may be dropped while the shard is at work: then nothing is done.
pub(crate) fn try_with<T>(act: impl FnOnce(&mut Shard) -> T) -> Option<T> {
    HERE.with_borrow(|shard| Some(act(&mut *shard.as_ref()?.try_borrow_mut().ok()?)))
}

impl Shard {
    pub(crate) fn index(&self) -> usize {
        self.core.index
    }

    pub(crate) fn node(&self) -> &Node {
        &self.core.node
    }

    /// Has the driver begin a tick, if it waits. Called by handlers' tasks after they have put something into an outbox.
    pub(crate) fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}
