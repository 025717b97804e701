//! What keeps the channels: a broker puts what happens in a channel in order, keeps its past, and tells those who follow it.
//!
//! A broker is asked with [`Request`]s and speaks in [`Event`]s. It is plain state: it has no socket, no clock and no thread, so
//! that a simulation can run it.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod memory;

pub(crate) use memory::size;

use std::fmt;
use std::sync::Arc;

use longwire_protocol::{Append, ErrorCode, History, Member, Piece, Position, Publication, Publish, SessionId, Unrecovered};

/// The time, as the caller's clocks have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never jumps: for everything that expires.
    pub steady: u64,
    /// Milliseconds since 1970: for people.
    pub wall: u64,
}

/// Keeps channels.
pub trait Broker {
    /// Takes a request. Its answer, if it has one, is an event with the same ticket.
    fn submit(&mut self, now: Now, request: Request);

    /// Does what is due.
    fn look_at_clock(&mut self, now: Now);

    /// The steady time at which something will be due, if anything will.
    fn due(&self) -> Option<u64>;

    /// The next thing that it has to say. For one shard and one channel the order of events is the order of what happened: an
    /// answer that gives the channel's head comes after all that the head includes, and before all that it does not.
    fn poll(&mut self) -> Option<Event>;
}

/// Where an answer goes; the broker does not look into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Ticket {
    /// The shard that asked.
    pub shard: u16,
    /// What it knows the question by.
    pub id: u64,
}

/// A question about one channel.
#[derive(Clone, Debug)]
pub struct Request {
    /// The channel.
    pub channel: Arc<str>,
    /// Where the answer goes.
    pub ticket: Ticket,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of a channel.
#[derive(Clone, Debug)]
pub enum Ask {
    /// From now on the ticket's shard is told what happens. No answer.
    Follow,
    /// And from now on no longer. No answer.
    Unfollow,
    /// Publish.
    Publish {
        /// What.
        publish: Box<Publish>,
        /// Who; nobody if the server itself does.
        from: Option<Arc<Member>>,
    },
    /// Make a stream longer, or end it.
    Append {
        /// How.
        append: Box<Append>,
        /// Who; nobody if the server itself does.
        producer: Option<SessionId>,
    },
    /// Ask the producer of a stream to stop.
    Cancel {
        /// The offset of its beginning.
        stream: u64,
    },
    /// What a new subscriber gets. The ticket's shard is told what happens from then on, as after [`Ask::Follow`].
    Enter(Enter),
    /// The next page of what follows a position.
    Page {
        /// The position.
        since: Position,
    },
    /// The newest publication of each key after a position.
    Latest {
        /// The position.
        since: Position,
    },
    /// A session is no longer there.
    Leave {
        /// Which.
        session: SessionId,
    },
    /// A page of the past.
    History(Box<History>),
    /// A page of who is there.
    Presence {
        /// At most so many.
        limit: usize,
        /// Continue after this session.
        after: Option<SessionId>,
    },
    /// A page of keys.
    State {
        /// At most so many.
        limit: usize,
        /// Continue after this key.
        after: Option<Box<str>>,
    },
}

/// How a subscriber wants to begin.
#[derive(Clone, Debug, Default)]
pub struct Enter {
    /// Continue after this position.
    pub since: Option<Position>,
    /// Or begin with the last so many.
    pub last: Option<u32>,
    /// With the keys, unless it continues.
    pub state: bool,
    /// With the keys even if it continues, those after this one.
    pub after: Option<Box<str>>,
    /// With who is there.
    pub members: bool,
    /// Who comes, if that is to be known.
    pub member: Option<Arc<Member>>,
}

/// What a broker says.
#[derive(Clone, Debug)]
pub enum Event {
    /// To the one who asked.
    Answer(Ticket, Result<Answer, Failure>),
    /// To all shards that follow the channel.
    Deliver {
        /// A bit for each.
        shards: u64,
        /// What has happened.
        delivery: Delivery,
    },
    /// To a session: someone wants its stream to stop.
    Cancel {
        /// Who produces it.
        producer: SessionId,
        /// Where.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
    },
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which error.
    pub code: ErrorCode,
    /// More about it, if there is more to say than the code does.
    pub message: Option<Box<str>>,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message.as_deref().unwrap_or(self.code.text()))
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// With something to say about it.
    pub fn new(code: ErrorCode, message: impl Into<Box<str>>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

/// Something that has happened in a channel.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where.
    pub channel: Arc<str>,
    /// Its place; `None` for what has none.
    pub position: Option<Position>,
    /// What.
    pub what: What,
    /// A session that is not to be told.
    pub except: Option<SessionId>,
}

/// What has happened in a channel.
#[derive(Clone, Debug)]
pub enum What {
    /// A publication.
    Publication(Arc<Publication>),
    /// A stream has become longer, or has ended.
    Piece(Arc<Piece>),
    /// A session has come.
    Join(Arc<Member>),
    /// A session has gone.
    Leave(Arc<Member>),
}

/// What a question is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Ask::Publish`].
    Published {
        /// None if it has none.
        position: Option<Position>,
        /// It had been published before.
        repeated: bool,
        /// Of a stream: how many seconds its producer may be silent.
        lease: Option<u32>,
    },
    /// To [`Ask::Append`].
    Appended {
        /// Bytes now.
        length: u64,
        /// Someone wants it to stop.
        cancel: bool,
    },
    /// To [`Ask::Cancel`].
    Cancelled,
    /// To [`Ask::Enter`].
    Entered(Box<Entered>),
    /// To [`Ask::Page`] and [`Ask::Latest`].
    Page(Page),
    /// To [`Ask::History`].
    History {
        /// The channel's newest position.
        head: Position,
        /// From old to new.
        publications: Vec<Arc<Publication>>,
        /// Whether there are more in the direction looked.
        more: bool,
    },
    /// To [`Ask::Presence`].
    Presence {
        /// In the order of their sessions.
        members: Vec<Arc<Member>>,
        /// Sessions in all.
        sessions: u64,
        /// Users in all.
        users: u64,
        /// Whether there are more.
        more: bool,
    },
    /// To [`Ask::State`].
    State {
        /// The channel's newest position.
        head: Position,
        /// In the order of their keys.
        entries: Vec<Arc<Publication>>,
        /// Whether there are more.
        more: bool,
    },
}

/// What a new subscriber gets.
#[derive(Clone, Debug)]
pub struct Entered {
    /// What follows comes after this.
    pub position: Position,
    /// If it asked to continue: whether it does, or why not.
    pub recovered: Option<Result<(), Unrecovered>>,
    /// The first of what follows.
    pub page: Page,
    /// The keys, if it asked for them.
    pub entries: Option<Vec<Arc<Publication>>>,
    /// Who is there, if it asked, and they are not too many.
    pub members: Option<Vec<Arc<Member>>>,
}

/// Some of what follows a position.
#[derive(Clone, Debug)]
pub struct Page {
    /// By offset; streams rolled up.
    pub publications: Vec<Arc<Publication>>,
    /// Everything up to here is among them.
    pub end: Position,
    /// The channel's newest offset.
    pub head: u64,
    /// Some of what was asked for is not there any more, or the channel has another epoch.
    pub lost: bool,
}
