//! The client on tokio.

mod builder;
mod feed;
mod producer;
mod shared;
mod slept;
mod subscription;
mod task;

use std::fmt;
use std::sync::Arc;

use longwire_protocol::{Data, History, Member, Position, Publication, Publish, Reply, SessionId, Subscribe};
use tokio::sync::watch;

pub use self::builder::ClientBuilder;
pub use self::producer::Producer;
use self::shared::Handle;
pub use self::subscription::{SubscribeOptions, Subscription};
use crate::error::Error;
use crate::session::{Failure, Request, State};
use crate::transport::Transport;

/// A client that keeps the line open. Clones are cheap and are the same client; it ends with the last of them and of its
/// subscriptions.
///
/// What is asked for waits while there is no line, up to the bounds of [`Config`](crate::session::Config); what waits to be asked for
/// beyond that waits in its own future.
///
/// ```no_run
/// # async fn example() -> Result<(), longwire_client::Error> {
/// use longwire_client::{Client, Publish};
///
/// let client = Client::builder("ws://localhost:8000").token("who I am").connect()?;
/// let published = client.publish("chat:lobby", "hello").await?;
/// println!("at {:?}", published.position);
/// client.publish_with(Publish { event: Some("joke".into()), ..Publish::new("chat:lobby", "knock knock") }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its place; `None` if it was ephemeral.
    pub position: Option<Position>,
    /// It had been published before: its idempotency key was known.
    pub repeated: bool,
}

/// Which part of a channel's history; all of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryRange {
    /// Only what comes after this position.
    pub after: Option<Position>,
    /// Only what comes before this offset; the page is then the one nearest to it.
    pub before: Option<u64>,
    /// At most so many; 100 at most.
    pub limit: Option<u32>,
}

/// A page of a channel's history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// The channel's newest position.
    pub head: Position,
    /// From old to new.
    pub publications: Vec<Arc<Publication>>,
    /// Whether there are more in the direction looked.
    pub more: bool,
}

/// Who is in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct PresencePage {
    /// In the order of their sessions.
    pub members: Vec<Arc<Member>>,
    /// Sessions in all.
    pub sessions: u64,
    /// Different users in all.
    pub users: u64,
    /// Whether there are more.
    pub more: bool,
}

/// Keys of a channel and their values.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePage {
    /// The channel's newest position.
    pub head: Position,
    /// In the order of their keys.
    pub entries: Vec<Arc<Publication>>,
    /// Whether there are more.
    pub more: bool,
}

impl Client {
    /// A client of the server at `ws://HOST[:PORT]`; the path is `/v1/ws` unless there is another.
    pub fn builder(address: &str) -> ClientBuilder {
        ClientBuilder::new(address)
    }

    /// Subscribes to what comes in a channel from now on. The client takes care of the rest: after a lost line the subscription
    /// goes on where it was. Dropping the subscription ends it.
    ///
    /// # Errors
    /// The channel's name is wrong, this client is subscribed to it already, or has stopped. What the server has against it comes as
    /// [`Event::Ended`](crate::Event::Ended).
    pub fn subscribe(&self, channel: &str) -> Result<Subscription, Error> {
        self.subscribe_with(channel, SubscribeOptions::default())
    }

    /// Subscribes, and says where to begin.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_with(&self, channel: &str, options: SubscribeOptions) -> Result<Subscription, Error> {
        let SubscribeOptions { since, last, state, members } = options;
        let wants = Subscribe { channel: channel.into(), since, last, state, after: None, members };
        let (id, feed) = self.handle.0.subscribe(wants)?;
        Ok(Subscription::new(self.clone(), channel.into(), id, feed))
    }

    /// Publishes, and waits until the server has it. If the line is lost meanwhile, it is published on the next one, once, and in the
    /// order in which it was asked for.
    ///
    /// Dropping the future does not take it back once it has been polled.
    ///
    /// # Errors
    /// [`Error::Refused`] by the server, [`Error::Unknown`], [`Error::TooLarge`], [`Error::Stopped`].
    pub async fn publish(&self, channel: &str, data: impl Into<Data>) -> Result<Published, Error> {
        self.publish_with(Publish::new(channel, data)).await
    }

    /// Publishes with more than data.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`Error::Offline`] if it is ephemeral and there is no line.
    pub async fn publish_with(&self, publish: Publish) -> Result<Published, Error> {
        match self.handle.0.ask(Request::Publish(publish)).await? {
            Reply::Published { position, repeated, .. } => Ok(Published { position, repeated }),
            _ => Err(self.wrong_answer()),
        }
    }

    /// Begins a stream: a publication that grows. `publish` says what it is, with the first piece of text as its data, if any.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn stream(&self, publish: Publish) -> Result<Producer, Error> {
        Producer::begin(self.clone(), publish).await
    }

    /// Asks the producer of a stream to stop.
    ///
    /// # Errors
    /// [`Error::Refused`] by the server, [`Error::Stopped`].
    pub async fn cancel(&self, channel: &str, stream: u64) -> Result<(), Error> {
        self.handle.0.ask(Request::Cancel { channel: channel.into(), stream }).await.map(drop)
    }

    /// Reads a page of what a channel remembers.
    ///
    /// # Errors
    /// [`Error::Refused`] by the server, [`Error::Stopped`].
    pub async fn history(&self, channel: &str, range: HistoryRange) -> Result<HistoryPage, Error> {
        let request = Request::History(History {
            channel: channel.into(),
            after: range.after.map(|after| after.offset),
            epoch: range.after.map(|after| after.epoch),
            before: range.before,
            limit: range.limit,
        });
        match self.handle.0.ask(request).await? {
            Reply::History { head, publications, more, .. } => Ok(HistoryPage { head, publications, more }),
            _ => Err(self.wrong_answer()),
        }
    }

    /// Reads who is in a channel: at most `limit` (1,000 at most), after the session `after`.
    ///
    /// # Errors
    /// [`Error::Refused`] by the server, [`Error::Stopped`].
    pub async fn presence(&self, channel: &str, limit: Option<u32>, after: Option<SessionId>) -> Result<PresencePage, Error> {
        match self.handle.0.ask(Request::Presence { channel: channel.into(), limit, after }).await? {
            Reply::Presence { members, sessions, users, more, .. } => Ok(PresencePage { members, sessions, users, more }),
            _ => Err(self.wrong_answer()),
        }
    }

    /// Reads the keys of a channel: at most `limit` (1,000 at most), after the key `after`.
    ///
    /// # Errors
    /// [`Error::Refused`] by the server, [`Error::Stopped`].
    pub async fn state_of(&self, channel: &str, limit: Option<u32>, after: Option<&str>) -> Result<StatePage, Error> {
        match self.handle.0.ask(Request::State { channel: channel.into(), limit, after: after.map(Into::into) }).await? {
            Reply::State { head, entries, more, .. } => Ok(StatePage { head, entries, more }),
            _ => Err(self.wrong_answer()),
        }
    }

    /// How the connection is now.
    pub fn connection(&self) -> State {
        self.handle.0.state.borrow().clone()
    }

    /// How the connection is, again and again.
    pub fn connection_states(&self) -> ConnectionStates {
        let mut states = self.handle.0.state.subscribe();
        states.mark_changed();
        ConnectionStates { states }
    }

    /// What carries the line; `None` while there is none. [`State::Connected`] tells it as well, again when another takes over.
    pub fn transport(&self) -> Option<Transport> {
        match &*self.handle.0.state.borrow() {
            State::Connected { transport, .. } => Some(*transport),
            _ => None,
        }
    }

    /// Why the last line could not be opened, for people; `None` if it could.
    pub fn trouble(&self) -> Option<String> {
        self.handle.0.core().trouble.clone()
    }

    /// Tells the server of a new token.
    pub fn refresh(&self, token: impl Into<String>) {
        let shared = &self.handle.0;
        shared.core().session.token(shared.now(), Some(token.into()));
        shared.changed.notify_one();
    }

    /// Ends the client, its clones too, and waits until the line is closed. What was asked for and is not answered fails with
    /// [`Error::Stopped`].
    pub async fn close(self) {
        let shared = &self.handle.0;
        shared.core().session.close();
        shared.changed.notify_one();
        let mut states = shared.state.subscribe();
        let _ = states.wait_for(|state| matches!(state, State::Stopped(_))).await;
    }

    /// The session only hands on answers that fit.
    fn wrong_answer(&self) -> Error {
        self.handle.0.error(Failure::Unknown)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection()).finish_non_exhaustive()
    }
}

/// See [`Client::connection_states`].
#[derive(Clone, Debug)]
pub struct ConnectionStates {
    states: watch::Receiver<State>,
}

impl ConnectionStates {
    /// The state as it is, and then whenever it is another. States that have passed meanwhile are left out. `None` once the client has
    /// ended and its last state was told.
    pub async fn next(&mut self) -> Option<State> {
        self.states.changed().await.ok()?;
        Some(self.states.borrow_and_update().clone())
    }
}
