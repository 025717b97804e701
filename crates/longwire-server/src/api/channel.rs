//! One channel, for whoever embeds the server.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use longwire_core::broker::Failure;
use longwire_protocol::{
    Action, Append, Data, Epoch, ErrorCode, History, Member, Position, Publication, Publish, Reply, SessionId, StreamEnd,
};

use super::command::{Command, Whom};
use super::execute::{Output, execute};
use crate::name::ChannelName;
use crate::node::Node;

/// A channel of a running node: what it can do, the server may do in it. Cheap to clone; holding one keeps nothing alive.
///
/// ```no_run
/// use longwire_server::Node;
///
/// # async fn example(node: Node) -> Result<(), Box<dyn std::error::Error>> {
/// let lobby = node.channel("chat:lobby");
///
/// let published = lobby.publish(serde_json::json!({ "text": "hello" })).event("say").once("order-17").await?;
/// println!("at {:?}", published.position);
///
/// for publication in lobby.history().limit(10).await?.publications {
///     println!("{}: {:?}", publication.offset, publication.data);
/// }
/// println!("{} people", lobby.presence().await?.users);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Channel {
    node: Node,
    name: Arc<str>,
}

/// A publication to be; awaiting it publishes.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct Publishing {
    node: Node,
    publish: Publish,
}

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its place; `None` if it has none, since it is ephemeral or its channel keeps nothing.
    pub position: Option<Position>,
    /// It had been published before, under the same idempotency key.
    pub repeated: bool,
}

/// Which part of the past is wanted; awaiting it gives it.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct HistoryQuery {
    node: Node,
    history: History,
}

/// Some of a channel's past.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// The channel's newest position.
    pub head: Position,
    /// From old to new.
    pub publications: Vec<Arc<Publication>>,
    /// Whether there are more in the direction looked.
    pub more: bool,
}

/// Which members are wanted; awaiting it gives them.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct PresenceQuery {
    channel: Channel,
    limit: Option<u32>,
    after: Option<SessionId>,
}

/// Some of those who are in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct PresencePage {
    /// In the order of their sessions' ids.
    pub members: Vec<Arc<Member>>,
    /// Sessions in all.
    pub sessions: u64,
    /// Different users in all.
    pub users: u64,
    /// Whether there are more.
    pub more: bool,
}

/// Which keys are wanted; awaiting it gives them.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct StateQuery {
    channel: Channel,
    limit: Option<u32>,
    after: Option<Box<str>>,
}

/// Some of a channel's keys, each as the publication that set it.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePage {
    /// The channel's newest position.
    pub head: Position,
    /// In the order of their keys.
    pub entries: Vec<Arc<Publication>>,
    /// Whether there are more.
    pub more: bool,
}

/// A stream that was begun here, to be written to: token by token, say.
///
/// ```no_run
/// # async fn example(node: longwire_server::Node) -> Result<(), longwire_server::Failure> {
/// let mut answer = node.channel("ai:thread-7").stream().await?;
/// for word in ["Keep", " the", " line", " open."] {
///     answer.append(word).await?;
///     if answer.is_cancelled() {
///         return answer.cancelled().await;
///     }
/// }
/// answer.finish().await
/// # }
/// ```
///
/// One that is neither written to nor ended is taken for lost after the lease of its channel.
#[derive(Debug)]
pub struct Stream {
    channel: Channel,
    began: u64,
    length: u64,
    cancelled: bool,
}

impl Node {
    /// A channel, by its name. Whether there can be such a channel is seen when something is done with it.
    pub fn channel(&self, name: impl ChannelName) -> Channel {
        Channel { node: self.clone(), name: name.into_name() }
    }
}

impl Channel {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Publishes: a text, bytes, a `serde_json::Value`, [`Data::of`] what can be serialised, or [`Data::json`].
    ///
    /// # Errors
    /// Awaiting it: what the channel does not take, or [`ErrorCode::Overloaded`].
    pub fn publish(&self, data: impl Into<Data>) -> Publishing {
        self.publishing(Some(data.into()))
    }

    /// Sets a key of the channel's state.
    ///
    /// # Errors
    /// Awaiting it: as with [`publish`](Self::publish).
    pub fn set(&self, key: impl AsRef<str>, data: impl Into<Data>) -> Publishing {
        let mut publishing = self.publish(data);
        publishing.publish.key = Some(key.as_ref().into());
        publishing
    }

    /// Removes a key of the channel's state.
    ///
    /// # Errors
    /// Awaiting it: as with [`publish`](Self::publish).
    pub fn remove(&self, key: impl AsRef<str>) -> Publishing {
        let mut publishing = self.publishing(None);
        (publishing.publish.key, publishing.publish.remove) = (Some(key.as_ref().into()), true);
        publishing
    }

    /// Begins a stream.
    ///
    /// # Errors
    /// As with [`publish`](Self::publish); [`ErrorCode::NotEnabled`] if the channel's namespace has no streams.
    pub async fn stream(&self) -> Result<Stream, Failure> {
        let mut publishing = self.publishing(None);
        publishing.publish.stream = true;
        let Published { position, .. } = publishing.await?;
        let began = position.ok_or(ErrorCode::NotEnabled)?.offset;
        Ok(Stream { channel: self.clone(), began, length: 0, cancelled: false })
    }

    /// Looks at the past: the newest page, unless the query says otherwise.
    pub fn history(&self) -> HistoryQuery {
        let history = History { channel: self.name.clone(), after: None, epoch: None, before: None, limit: None };
        HistoryQuery { node: self.node.clone(), history }
    }

    /// Looks at who is there.
    pub fn presence(&self) -> PresenceQuery {
        PresenceQuery { channel: self.clone(), limit: None, after: None }
    }

    /// Looks at the keys.
    pub fn state(&self) -> StateQuery {
        StateQuery { channel: self.clone(), limit: None, after: None }
    }

    /// Asks the producer of a stream to stop.
    ///
    /// # Errors
    /// [`ErrorCode::NoSuchStream`], [`ErrorCode::StreamEnded`].
    pub async fn cancel(&self, stream: u64) -> Result<(), Failure> {
        self.ask(Action::Cancel { channel: self.name.clone(), stream }).await.map(drop)
    }

    /// Ends a session's subscription.
    ///
    /// # Errors
    /// [`ErrorCode::NotSubscribed`].
    pub async fn unsubscribe_session(&self, session: SessionId) -> Result<(), Failure> {
        self.unsubscribe(Whom::Session(session)).await.map(drop)
    }

    /// Ends the subscriptions of a user, and says how many there were.
    ///
    /// # Errors
    /// [`ErrorCode::Overloaded`], if the node stops meanwhile.
    pub async fn unsubscribe_user(&self, user: impl AsRef<str>) -> Result<usize, Failure> {
        self.unsubscribe(Whom::User(user.as_ref().into())).await
    }

    async fn unsubscribe(&self, whom: Whom) -> Result<usize, Failure> {
        match execute(&self.node, Command::Unsubscribe { channel: self.name.clone(), whom }).await? {
            Output::Unsubscribed { sessions, .. } => Ok(sessions),
            _ => Err(ErrorCode::Internal.into()),
        }
    }

    fn publishing(&self, data: Option<Data>) -> Publishing {
        let publish = Publish { data, ..Publish::new(self.name.clone(), "") };
        Publishing { node: self.node.clone(), publish }
    }

    async fn ask(&self, action: Action) -> Result<Reply, Failure> {
        ask(&self.node, action).await
    }
}

async fn ask(node: &Node, action: Action) -> Result<Reply, Failure> {
    match execute(node, Command::Channel(action)).await? {
        Output::Reply(reply) => Ok(reply),
        _ => Err(ErrorCode::Internal.into()),
    }
}

impl Publishing {
    /// What kind of publication it is, in 1 to 255 bytes.
    pub fn event(mut self, event: impl AsRef<str>) -> Self {
        self.publish.event = Some(event.as_ref().into());
        self
    }

    /// A text beside the data: at most 16, of at most 255 bytes.
    pub fn tag(mut self, name: impl AsRef<str>, text: impl AsRef<str>) -> Self {
        let tags: &mut BTreeMap<_, _> = self.publish.tags.get_or_insert_default();
        tags.insert(name.as_ref().into(), text.as_ref().into());
        self
    }

    /// An idempotency key, in 1 to 64 bytes: a repetition within the channel's window publishes nothing, and gives the position of
    /// the first.
    pub fn once(mut self, key: impl AsRef<str>) -> Self {
        self.publish.once = Some(key.as_ref().into());
        self
    }

    /// With an idempotency key: that this was said before, and how long ago for the first time. If the channel may have forgotten the key
    /// since, nothing is published, and the error is [`ErrorCode::MaybePublished`].
    pub fn age(mut self, age: Duration) -> Self {
        self.publish.age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Only for those who are there now: it has no position, and the history does not keep it.
    pub fn ephemeral(mut self) -> Self {
        self.publish.ephemeral = true;
        self
    }
}

impl HistoryQuery {
    /// What comes after this offset.
    pub fn after(mut self, offset: u64) -> Self {
        self.history.after = Some(offset);
        self
    }

    /// What comes before this offset, nearest to it.
    pub fn before(mut self, offset: u64) -> Self {
        self.history.before = Some(offset);
        self
    }

    /// Only if the channel still has this epoch; else it is an error.
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.history.epoch = Some(epoch);
        self
    }

    /// At most so many, up to 100, which is also the default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.history.limit = Some(limit);
        self
    }
}

impl PresenceQuery {
    /// Those that come after this session.
    pub fn after(mut self, session: SessionId) -> Self {
        self.after = Some(session);
        self
    }

    /// At most so many, up to 1,000, which is also the default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl StateQuery {
    /// Those that come after this key.
    pub fn after(mut self, key: impl AsRef<str>) -> Self {
        self.after = Some(key.as_ref().into());
        self
    }

    /// At most so many, up to 1,000, which is also the default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl Stream {
    /// The offset of its beginning, by which it is named.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// How long it is, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether somebody had asked to stop when something was last appended.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Adds a text. An empty one just says that the producer lives.
    ///
    /// # Errors
    /// [`ErrorCode::TooLarge`] past the length that the channel allows, [`ErrorCode::StreamEnded`] if it is taken for lost,
    /// [`ErrorCode::Overloaded`]; it can be tried again, since no text is added twice.
    pub async fn append(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.send(Some(text.as_ref()).filter(|text| !text.is_empty()).map(Into::into), None, None).await
    }

    /// All is said.
    ///
    /// # Errors
    /// As with [`append`](Self::append).
    pub async fn finish(mut self) -> Result<(), Failure> {
        self.send(None, Some(StreamEnd::Finished), None).await
    }

    /// It cannot be gone on with; why, for people, in at most 1 KiB.
    ///
    /// # Errors
    /// As with [`append`](Self::append).
    pub async fn fail(mut self, reason: impl AsRef<str>) -> Result<(), Failure> {
        self.send(None, Some(StreamEnd::Failed), Some(reason.as_ref().into())).await
    }

    /// It stops, as somebody has asked.
    ///
    /// # Errors
    /// As with [`append`](Self::append).
    pub async fn cancelled(mut self) -> Result<(), Failure> {
        self.send(None, Some(StreamEnd::Cancelled), None).await
    }

    async fn send(&mut self, data: Option<Box<str>>, end: Option<StreamEnd>, reason: Option<Box<str>>) -> Result<(), Failure> {
        let channel = self.channel.name.clone();
        let append = Append { channel, stream: self.began, data, at: Some(self.length), end, reason };
        match self.channel.ask(Action::Append(append)).await? {
            Reply::Appended { length, cancel, .. } => {
                (self.length, self.cancelled) = (length, cancel);
                Ok(())
            }
            _ => Err(ErrorCode::Internal.into()),
        }
    }
}

type Answered<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

impl IntoFuture for Publishing {
    type Output = Result<Published, Failure>;
    type IntoFuture = Answered<Published>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let data = self.publish.data.take().map(Data::checked).transpose();
            self.publish.data = data.map_err(|why| Failure::new(ErrorCode::BadValue, why.to_string()))?;
            match ask(&self.node, Action::Publish(self.publish)).await? {
                Reply::Published { position, repeated, .. } => Ok(Published { position, repeated }),
                _ => Err(ErrorCode::Internal.into()),
            }
        })
    }
}

impl IntoFuture for HistoryQuery {
    type Output = Result<HistoryPage, Failure>;
    type IntoFuture = Answered<HistoryPage>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match ask(&self.node, Action::History(self.history)).await? {
                Reply::History { head, publications, more, .. } => Ok(HistoryPage { head, publications, more }),
                _ => Err(ErrorCode::Internal.into()),
            }
        })
    }
}

impl IntoFuture for PresenceQuery {
    type Output = Result<PresencePage, Failure>;
    type IntoFuture = Answered<PresencePage>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { channel, limit, after } = self;
            match channel.ask(Action::Presence { channel: channel.name.clone(), limit, after }).await? {
                Reply::Presence { members, sessions, users, more, .. } => Ok(PresencePage { members, sessions, users, more }),
                _ => Err(ErrorCode::Internal.into()),
            }
        })
    }
}

impl IntoFuture for StateQuery {
    type Output = Result<StatePage, Failure>;
    type IntoFuture = Answered<StatePage>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { channel, limit, after } = self;
            match channel.ask(Action::State { channel: channel.name.clone(), limit, after }).await? {
                Reply::State { head, entries, more, .. } => Ok(StatePage { head, entries, more }),
                _ => Err(ErrorCode::Internal.into()),
            }
        })
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
