//! What comes out of a session.

use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{ErrorCode, ErrorReply, Member, Piece, Publication, Reply, SessionId, Subscribed, Unrecovered};

use crate::transport::Transport;

/// A subscription of a [`Session`](super::Session), never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub(super) u64);

/// A request of a [`Session`](super::Session), never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// What the owner of a [`Session`](super::Session) is to do or to hand on.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a line over this [`transport`](super::Session::transport); then say [`line_opened`](super::Session::line_opened) or
    /// [`line_lost`](super::Session::line_lost).
    Open,
    /// Close the line, or stop opening it. Nothing more of it is to be told to the session.
    Close(u16),
    /// Get a token, and say [`token`](super::Session::token).
    Token,
    /// The connection's state has changed.
    State(State),
    /// Something happened in a subscription.
    Event(SubscriptionId, Event),
    /// The answer to a request, and the last that is heard of it.
    Answer(RequestId, Result<Reply, Failure>),
    /// Someone wants a stream of this session to stop.
    Cancel {
        /// Where the stream is.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
    },
}

/// What the owner of a [`Session`](super::Session) is to do with its second line, the one to a better transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Climber {
    /// Open it; then say [`climber_opened`](super::Session::climber_opened) or [`climber_lost`](super::Session::climber_lost).
    Open(Transport),
    /// Close it, or stop opening it. Nothing more of it is to be told to the session.
    Close,
}

/// What happened in a subscription.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It has begun: what follows comes after its position.
    Subscribed(Box<Subscribed>),
    /// It goes on after an interruption, and nothing was missed.
    Recovered(Box<Subscribed>),
    /// It goes on, but what was published since its last position is missing: read the history, or load anew.
    Missed(Unrecovered, Box<Subscribed>),
    /// A publication; or, if it has a stream that began before its offset, all of that stream so far in the place of pieces
    /// that were missed.
    Publication(Arc<Publication>),
    /// The next piece of a stream.
    Append(Arc<Piece>),
    /// Someone has come.
    Join(Arc<Member>),
    /// Someone has left.
    Leave(Arc<Member>),
    /// Some of the keys of the channel as they are. What is known from before is to be forgotten when `first` is set. They come when the
    /// subscription begins; if that was cut off, the rest comes when it has [`Recovered`](Self::Recovered). Publications come after the
    /// last; of some of them the keys may know already.
    State {
        /// Keys and their values.
        entries: Vec<Arc<Publication>>,
        /// These are the first.
        first: bool,
        /// These are the last.
        done: bool,
    },
    /// What has not come up to this offset will not: this client reads too slowly for the channel.
    Gap(u64),
    /// The server has ended or refused the subscription. Nothing more comes.
    Ended(ErrorReply),
}

/// How the connection is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// A line is being opened.
    Connecting,
    /// The line is open, and the session is on it.
    Connected {
        /// The public id of the session.
        session: SessionId,
        /// Whether it is the one of before.
        resumed: bool,
        /// Who the token says one is.
        user: Option<Arc<str>>,
        /// What carries the line. When a better transport has taken over, the session is connected again, with no state between.
        transport: Transport,
    },
    /// The line is lost; another is opened after a while.
    Waiting {
        /// Why.
        lost: Lost,
        /// How long.
        wait: Duration,
    },
    /// There will be no other line.
    Stopped(Stopped),
}

/// Why a line was lost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Lost {
    /// It could not be opened, or was cut.
    Cut,
    /// The server closed it with this code.
    Closed(u16),
    /// The server took too long.
    Timeout,
    /// The server does not speak this protocol.
    BadMessage,
    /// The server would not have us now.
    Refused(ErrorReply),
    /// No token could be had.
    NoToken,
}

/// Why there will be no other line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Stopped {
    /// The user has closed the session.
    ByUser,
    /// The server closed it with a code that says not to come back.
    Closed(u16),
    /// The server refused the session.
    Refused(ErrorReply),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The server says so.
    Refused(ErrorReply),
    /// An ephemeral publication, and there is no line.
    Offline,
    /// The line was lost before the answer came, and asking again could do it twice: nobody knows whether it was done.
    Unknown,
    /// It is longer than the server takes, which is so many bytes.
    TooLarge(usize),
    /// As much as may be is waiting already.
    Full,
    /// The session has stopped.
    Stopped,
}

/// An error that the client finds before the server does.
pub(super) fn refusal(code: ErrorCode, channel: &Arc<str>) -> ErrorReply {
    ErrorReply { code, message: code.text().into(), channel: Some(channel.clone()) }
}
