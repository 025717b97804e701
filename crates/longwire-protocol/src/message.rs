//! What clients and servers say to each other; `docs/protocol.md` explains every member.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::codes::ErrorCode;
use crate::data::{Data, Epoch, Position, SessionId};

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Goes back with the reply.
    pub id: Option<u32>,
    /// What is wanted.
    pub action: Action,
}

/// What a command wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `connect`
    Connect(Connect),
    /// `subscribe`
    Subscribe(Subscribe),
    /// `unsubscribe`
    Unsubscribe {
        /// The channel to leave.
        channel: Arc<str>,
    },
    /// `publish`
    Publish(Publish),
    /// `append`
    Append(Append),
    /// `cancel`
    Cancel {
        /// Where the stream is.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
    },
    /// `history`
    History(History),
    /// `presence`
    Presence {
        /// The channel to look at.
        channel: Arc<str>,
        /// At most so many.
        limit: Option<u32>,
        /// Continue after this session.
        after: Option<SessionId>,
    },
    /// `state`
    State {
        /// The channel to look at.
        channel: Arc<str>,
        /// At most so many.
        limit: Option<u32>,
        /// Continue after this key.
        after: Option<Box<str>>,
    },
    /// `refresh`
    Refresh {
        /// The new token.
        token: String,
    },
    /// `ping`
    Ping,
}

/// The first command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    /// Who one is.
    pub token: Option<String>,
    /// What the client says of itself: JSON.
    pub info: Option<Bytes>,
    /// The session to take up again.
    pub session: Option<SessionId>,
    /// Its secret.
    pub key: Option<String>,
}

/// Join a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscribe {
    /// The channel to join.
    pub channel: Arc<str>,
    /// Continue after this position.
    pub since: Option<Position>,
    /// Or begin with the last so many.
    pub last: Option<u32>,
    /// Begin with the channel's keys, unless it continues after the position.
    pub state: bool,
    /// With `state`: the keys come even if it continues, those after this one. An empty text is before all of them.
    pub after: Option<Box<str>>,
    /// Begin with who is there.
    pub members: bool,
}

/// Say something in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The channel.
    pub channel: Arc<str>,
    /// What is said.
    pub data: Option<Data>,
    /// What kind it is.
    pub event: Option<Box<str>>,
    /// The key that it sets or removes.
    pub key: Option<Box<str>>,
    /// Whether the key goes.
    pub remove: bool,
    /// Texts beside the data.
    pub tags: Option<Box<BTreeMap<Box<str>, Box<str>>>>,
    /// The idempotency key.
    pub once: Option<Box<str>>,
    /// With an idempotency key: that this is said again, and how many milliseconds ago it was said for the first time; 0 if it is not.
    pub age: u64,
    /// Only for those who are there now.
    pub ephemeral: bool,
    /// Whether this session, if subscribed, gets it too.
    pub echo: bool,
    /// Whether it begins a stream.
    pub stream: bool,
}

impl Publish {
    /// A plain publication.
    pub fn new(channel: impl Into<Arc<str>>, data: impl Into<Data>) -> Self {
        Self {
            channel: channel.into(),
            data: Some(data.into()),
            event: None,
            key: None,
            remove: false,
            tags: None,
            once: None,
            age: 0,
            ephemeral: false,
            echo: true,
            stream: false,
        }
    }
}

/// Make a stream longer, or end it.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Where the stream is.
    pub channel: Arc<str>,
    /// The offset of its beginning.
    pub stream: u64,
    /// What is added.
    pub data: Option<Box<str>>,
    /// How long the stream is before, in bytes.
    pub at: Option<u64>,
    /// How it ends; `Lost` is not for producers to say.
    pub end: Option<StreamEnd>,
    /// Why it failed.
    pub reason: Option<Box<str>>,
}

/// Look at what was.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The channel.
    pub channel: Arc<str>,
    /// Only after this offset.
    pub after: Option<u64>,
    /// Of this epoch.
    pub epoch: Option<Epoch>,
    /// Only before this offset.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The answer to the command with this id.
    Reply(Option<u32>, Reply),
    /// Something that nobody asked for at that moment.
    Push(Push),
}

/// What a command is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It failed.
    Error(ErrorReply),
    /// `connected`
    Connected(Box<Connected>),
    /// `subscribed`
    Subscribed(Box<Subscribed>),
    /// `unsubscribed`
    Unsubscribed {
        /// The channel that was left.
        channel: Arc<str>,
    },
    /// `published`
    Published {
        /// Where.
        channel: Arc<str>,
        /// None if it was ephemeral.
        position: Option<Position>,
        /// It had been published before.
        repeated: bool,
        /// Of a stream: the producer is taken for lost after so many seconds of silence.
        lease: Option<u32>,
    },
    /// `appended`
    Appended {
        /// Where the stream is.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
        /// Bytes now.
        length: u64,
        /// Someone wants it to stop.
        cancel: bool,
    },
    /// `cancelled`
    Cancelled {
        /// Where the stream is.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
    },
    /// `history`
    History {
        /// Which channel.
        channel: Arc<str>,
        /// The channel's newest position.
        head: Position,
        /// From old to new.
        publications: Vec<Arc<Publication>>,
        /// Whether there are more in the direction looked.
        more: bool,
    },
    /// `presence`
    Presence {
        /// Which channel.
        channel: Arc<str>,
        /// In the order of their session ids.
        members: Vec<Arc<Member>>,
        /// Sessions in all.
        sessions: u64,
        /// Different users in all.
        users: u64,
        /// Whether there are more.
        more: bool,
    },
    /// `state`
    State {
        /// Which channel.
        channel: Arc<str>,
        /// The channel's newest position.
        head: Position,
        /// In the order of their keys.
        entries: Vec<Arc<Publication>>,
        /// Whether there are more.
        more: bool,
    },
    /// `refreshed`
    Refreshed {
        /// Seconds for which the token is good.
        expires: Option<u32>,
    },
    /// `pong`
    Pong,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorReply {
    /// Which of the table.
    pub code: ErrorCode,
    /// For people: the table's text unless there is more to say.
    pub message: Box<str>,
    /// The channel it is about.
    pub channel: Option<Arc<str>>,
}

/// The line is a session's now.
#[derive(Clone, Debug, PartialEq)]
pub struct Connected {
    /// The public id.
    pub session: SessionId,
    /// The secret to take it up again.
    pub key: String,
    /// Whether it was taken up again.
    pub resumed: bool,
    /// Who the token says one is.
    pub user: Option<Arc<str>>,
    /// Seconds of silence before the server pings.
    pub ping: u32,
    /// Seconds for which the session is kept without a line.
    pub keep: u32,
    /// The longest message from a client, in bytes.
    pub max: u32,
    /// Seconds for which the token is good.
    pub expires: Option<u32>,
}

/// The channel follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribed {
    /// The channel that was joined.
    pub channel: Arc<str>,
    /// What follows comes after this.
    pub position: Position,
    /// The channel's newest offset.
    pub head: u64,
    /// If a position was given: whether all since then follows, or why not.
    pub recovered: Option<Result<(), Unrecovered>>,
    /// Who is there.
    pub members: Option<Vec<Arc<Member>>>,
    /// What the channel can do.
    pub options: Abilities,
}

/// Why a subscription does not continue where it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecovered {
    /// The history no longer reaches back.
    Expired,
    /// The channel has lost its past.
    Epoch,
    /// The channel keeps no history.
    Off,
    /// There never was such a position.
    Ahead,
}

/// What a channel can do for this session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It has a past.
    pub history: bool,
    /// It knows who is there.
    pub presence: bool,
    /// It says who comes and goes.
    pub joins: bool,
    /// It has keys with values.
    pub state: bool,
    /// It has streams.
    pub streams: bool,
    /// This session may publish in it.
    pub publish: bool,
}

/// What a server says by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// `publication`
    Publication(Arc<Publication>),
    /// `append`
    Append(Arc<Piece>),
    /// `join`
    Join {
        /// Where.
        channel: Arc<str>,
        /// Who.
        member: Arc<Member>,
    },
    /// `leave`
    Leave {
        /// Where.
        channel: Arc<str>,
        /// Who.
        member: Arc<Member>,
    },
    /// `state`
    State {
        /// Which channel.
        channel: Arc<str>,
        /// Some of its keys.
        entries: Vec<Arc<Publication>>,
        /// Those were the last.
        done: bool,
    },
    /// `gap`
    Gap {
        /// Which channel.
        channel: Arc<str>,
        /// What has not come up to here will not.
        offset: u64,
    },
    /// `unsubscribed`
    Unsubscribed {
        /// Which channel.
        channel: Arc<str>,
        /// Why.
        code: ErrorCode,
    },
    /// `cancel`
    Cancel {
        /// Where the stream is.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
    },
}

/// One message in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The channel that it is in.
    pub channel: Arc<str>,
    /// Its place; 0 if it is ephemeral and has none.
    pub offset: u64,
    /// When it was published, in milliseconds since 1970.
    pub time: u64,
    /// What is said.
    pub data: Option<Data>,
    /// Who said it.
    pub from: Option<Arc<Member>>,
    /// What few publications have.
    pub rare: Option<Box<Rare>>,
}

/// What few publications have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rare {
    /// What kind it is.
    pub event: Option<Box<str>>,
    /// The key that it sets or removes.
    pub key: Option<Box<str>>,
    /// The key is gone.
    pub removed: bool,
    /// Texts beside the data.
    pub tags: BTreeMap<Box<str>, Box<str>>,
    /// It is a stream.
    pub stream: Option<Stream>,
}

/// How far a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The offset of its beginning, which identifies it.
    pub began: u64,
    /// Bytes so far.
    pub length: u64,
    /// How it ended.
    pub end: Option<StreamEnd>,
    /// Why it failed.
    pub reason: Option<Box<str>>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// All is said.
    Finished,
    /// The producer could not go on.
    Failed,
    /// The producer was asked to stop.
    Cancelled,
    /// The producer was not heard of for too long.
    Lost,
}

/// The next piece of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Where the stream is.
    pub channel: Arc<str>,
    /// The piece's place in the channel.
    pub offset: u64,
    /// The offset of the stream's beginning.
    pub stream: u64,
    /// How long the stream was before, in bytes.
    pub at: u64,
    /// What is added.
    pub data: Option<Box<str>>,
    /// How the stream ended.
    pub end: Option<StreamEnd>,
    /// Why it failed.
    pub reason: Option<Box<str>>,
}

/// Who is in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The public id of the session.
    pub session: SessionId,
    /// Who its token says it is.
    pub user: Option<Arc<str>>,
    /// What it says of itself: JSON.
    pub info: Option<Bytes>,
}
