//! Sessions and the list of channels, for whoever embeds the server.

use std::pin::Pin;
use std::sync::Arc;

use longwire_core::broker::Failure;
use longwire_protocol::{ErrorCode, Member, SessionId};

use super::command::{ChannelPage, Command, SessionPage, Whom};
use super::execute::{Output, execute};
use crate::node::Node;

/// Which channels are wanted; awaiting it gives them.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct ChannelQuery {
    node: Node,
    page: ChannelPage,
}

/// Which sessions are wanted; awaiting it gives them.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct SessionQuery {
    node: Node,
    page: SessionPage,
}

/// Some of the channels of a node, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelList {
    /// From the first name on.
    pub channels: Vec<ChannelInfo>,
    /// Whether there are more.
    pub more: bool,
}

/// A channel that exists: somebody is subscribed, or something of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// What it is called.
    pub name: Arc<str>,
    /// How many lines of this node are subscribed.
    pub subscribers: usize,
}

/// Some of the sessions of a node, by their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionList {
    /// From the first id on.
    pub sessions: Vec<SessionInfo>,
    /// Whether there are more.
    pub more: bool,
}

/// A session of a client that speaks the native protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionInfo {
    /// Who it is.
    pub member: Arc<Member>,
    /// In how many channels it is; `None` while its line is lost and it may still come back.
    pub subscriptions: Option<usize>,
}

impl Node {
    /// The channels that there are.
    ///
    /// ```no_run
    /// # async fn example(node: longwire_server::Node) -> Result<(), longwire_server::Failure> {
    /// for channel in node.channels().prefix("chat:").limit(10).await?.channels {
    ///     println!("{}: {} subscribers", channel.name, channel.subscribers);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn channels(&self) -> ChannelQuery {
        ChannelQuery { node: self.clone(), page: ChannelPage::default() }
    }

    /// The sessions that there are.
    ///
    /// ```no_run
    /// # async fn example(node: longwire_server::Node) -> Result<(), longwire_server::Failure> {
    /// let ada = node.sessions().user("ada").await?;
    /// println!("ada has {} sessions", ada.sessions.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn sessions(&self) -> SessionQuery {
        SessionQuery { node: self.clone(), page: SessionPage::default() }
    }

    /// Ends a session for good: its line is closed with 3501, and it cannot be taken up again.
    ///
    /// # Errors
    /// [`ErrorCode::NoSuchSession`].
    pub async fn disconnect_session(&self, session: SessionId) -> Result<(), Failure> {
        execute(self, Command::Disconnect(Whom::Session(session))).await.map(drop)
    }

    /// Ends all sessions of a user, and says how many there were.
    ///
    /// # Errors
    /// [`ErrorCode::Overloaded`], if the node stops meanwhile.
    pub async fn disconnect_user(&self, user: impl AsRef<str>) -> Result<usize, Failure> {
        match execute(self, Command::Disconnect(Whom::User(user.as_ref().into()))).await? {
            Output::Disconnected { sessions } => Ok(sessions),
            _ => Err(ErrorCode::Internal.into()),
        }
    }
}

impl ChannelQuery {
    /// Only those whose names begin so.
    pub fn prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.page.prefix = Some(prefix.into());
        self
    }

    /// Only those that come after this name.
    pub fn after(mut self, name: impl Into<Box<str>>) -> Self {
        self.page.after = Some(name.into());
        self
    }

    /// At most so many, up to 1,000, which is also the default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.page.limit = Some(limit);
        self
    }
}

impl SessionQuery {
    /// Only those of a user.
    pub fn user(mut self, user: impl Into<Box<str>>) -> Self {
        self.page.user = Some(user.into());
        self
    }

    /// Only those that come after this one.
    pub fn after(mut self, session: SessionId) -> Self {
        self.page.after = Some(session);
        self
    }

    /// At most so many, up to 1,000, which is also the default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.page.limit = Some(limit);
        self
    }
}

impl IntoFuture for ChannelQuery {
    type Output = Result<ChannelList, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Output::Channels { channels, more } = execute(&self.node, Command::Channels(self.page)).await? else {
                return Err(ErrorCode::Internal.into());
            };
            let channels = channels.into_iter().map(|(name, subscribers)| ChannelInfo { name, subscribers }).collect();
            Ok(ChannelList { channels, more })
        })
    }
}

impl IntoFuture for SessionQuery {
    type Output = Result<SessionList, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Output::Sessions { sessions, more } = execute(&self.node, Command::Sessions(self.page)).await? else {
                return Err(ErrorCode::Internal.into());
            };
            let sessions = sessions.into_iter().map(|(member, subscriptions)| SessionInfo { member, subscriptions }).collect();
            Ok(SessionList { sessions, more })
        })
    }
}
