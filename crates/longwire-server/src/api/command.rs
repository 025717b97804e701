//! What can be asked of the server API.

use std::sync::Arc;

use longwire_core::broker::Failure;
use longwire_protocol::{Action, Append, CHANNEL_MAX, Data, ErrorCode, History, LIST_MAX, Publish, SessionId, StreamEnd};

use super::members::{Members, bad_message, shown};

/// The most channels of one `publish_many`.
const CHANNELS_MAX: usize = 1000;

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// What one channel answers.
    Channel(Action),
    /// The same into many channels.
    PublishMany { channels: Vec<Arc<str>>, publish: Box<Publish> },
    /// Which channels there are.
    Channels(ChannelPage),
    /// Which sessions there are.
    Sessions(SessionPage),
    /// End sessions.
    Disconnect(Whom),
    /// End subscriptions.
    Unsubscribe { channel: Arc<str>, whom: Whom },
}

/// One session, or all of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Session(SessionId),
    User(Arc<str>),
}

/// Some of the channels, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelPage {
    pub(crate) prefix: Option<Box<str>>,
    /// Continue after this name.
    pub(crate) after: Option<Box<str>>,
    pub(crate) limit: Option<u32>,
}

/// Some of the sessions, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionPage {
    pub(crate) user: Option<Box<str>>,
    /// Continue after this session.
    pub(crate) after: Option<SessionId>,
    pub(crate) limit: Option<u32>,
}

/// What a command is called, and how it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    read: fn(&mut Members<'_>) -> Result<Command, Failure>,
}

impl Kind {
    pub(super) const PUBLISH: Self = Self { name: "publish", read: publish };
    pub(super) const PUBLISH_MANY: Self = Self { name: "publish_many", read: publish_many };
    pub(super) const APPEND: Self = Self { name: "append", read: append };
    pub(super) const CANCEL: Self = Self { name: "cancel", read: cancel };
    pub(super) const HISTORY: Self = Self { name: "history", read: history };
    pub(super) const PRESENCE: Self = Self { name: "presence", read: presence };
    pub(super) const STATE: Self = Self { name: "state", read: state };
    pub(super) const SET: Self = Self { name: "set", read: set };
    pub(super) const REMOVE: Self = Self { name: "remove", read: remove };
    pub(super) const CHANNELS: Self = Self { name: "channels", read: channels };
    pub(super) const SESSIONS: Self = Self { name: "sessions", read: sessions };
    pub(super) const DISCONNECT: Self = Self { name: "disconnect", read: disconnect };
    pub(super) const UNSUBSCRIBE: Self = Self { name: "unsubscribe", read: unsubscribe };

    const ALL: [Self; 13] = [
        Self::PUBLISH,
        Self::PUBLISH_MANY,
        Self::APPEND,
        Self::CANCEL,
        Self::HISTORY,
        Self::PRESENCE,
        Self::STATE,
        Self::SET,
        Self::REMOVE,
        Self::CHANNELS,
        Self::SESSIONS,
        Self::DISCONNECT,
        Self::UNSUBSCRIBE,
    ];

    /// The one that a line of a batch names.
    pub(super) fn of(members: &mut Members<'_>) -> Result<Self, Failure> {
        let name = members.text("type").map_err(|failure| bad_message(failure.message.unwrap_or_default()))?;
        let name = members.needed("type", name)?;
        Self::ALL
            .into_iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| bad_message(format!("there is no command {}", shown(&name))))
    }

    /// Reads the command, all of whose members must be known; `once` is its idempotency key if it has none of its own.
    pub(super) fn read(self, mut members: Members<'_>, once: Option<&str>) -> Result<Command, Failure> {
        members.are_of(self.name);
        let mut command = (self.read)(&mut members)?;
        members.finish()?;
        if let Some(once) = once {
            command.repeat_safely(once)?;
        }
        command.check()?;
        Ok(command)
    }
}

impl Command {
    /// Gives a publication its idempotency key; what needs none is as it was.
    fn repeat_safely(&mut self, once: &str) -> Result<(), Failure> {
        let publish = match self {
            Self::Channel(Action::Publish(publish)) => publish,
            Self::PublishMany { publish, .. } => &mut **publish,
            _ => return Ok(()),
        };
        match &publish.once {
            Some(own) if **own != *once => Err(bad_value("member once and the header Idempotency-Key contradict each other")),
            _ => {
                publish.once = Some(once.into());
                Ok(())
            }
        }
    }

    /// Checks every bound that needs no configuration.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Channel(action) => check(action),
            Self::PublishMany { channels, publish } => {
                if !(1..=CHANNELS_MAX).contains(&channels.len()) {
                    return Err(bad_value(format!("member channels of publish_many must have 1 to {CHANNELS_MAX} names")));
                }
                // Each channel is checked by itself when its turn comes; this is the rest.
                check(&Action::Publish(Publish { channel: "any".into(), ..(**publish).clone() }))
            }
            Self::Channels(ChannelPage { prefix, after, limit }) => {
                let is_long = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| text.len() > CHANNEL_MAX);
                if is_long(prefix) || is_long(after) {
                    return Err(bad_value(format!("prefix and after of channels have at most {CHANNEL_MAX} bytes")));
                }
                page(*limit, "channels")
            }
            Self::Sessions(SessionPage { limit, .. }) => page(*limit, "sessions"),
            Self::Unsubscribe { channel, .. } => check(&Action::Unsubscribe { channel: channel.clone() }),
            Self::Disconnect(_) => Ok(()),
        }
    }
}

fn check(action: &Action) -> Result<(), Failure> {
    action.check().map_err(|error| Failure { code: error.code, message: Some(error.message) })
}

fn bad_value(message: impl Into<Box<str>>) -> Failure {
    Failure::new(ErrorCode::BadValue, message)
}

fn page(limit: Option<u32>, of: &str) -> Result<(), Failure> {
    match limit {
        Some(limit) if limit > LIST_MAX => {
            Err(bad_value(format!("member limit of {of} must be a whole number from 0 to {LIST_MAX}")))
        }
        _ => Ok(()),
    }
}

/// What all publications have, beside their channel.
fn publication(members: &mut Members<'_>) -> Result<Publish, Failure> {
    let stream = members.flag("stream")?;
    let data = if stream && !members.has("bytes") {
        members.text("data")?.map(|text| Data::from(text.into_owned()))
    } else {
        members.data()?
    };
    Ok(Publish {
        data,
        event: members.boxed("event")?,
        key: members.boxed("key")?,
        remove: members.flag("remove")?,
        tags: members.map("tags")?.map(Box::new),
        once: members.boxed("once")?,
        age: age(members)?,
        ephemeral: members.flag("ephemeral")?,
        stream,
        ..Publish::new("", "")
    })
}

fn publish(members: &mut Members<'_>) -> Result<Command, Failure> {
    let channel = members.channel()?;
    Ok(Command::Channel(Action::Publish(Publish { channel, ..publication(members)? })))
}

fn publish_many(members: &mut Members<'_>) -> Result<Command, Failure> {
    let channels = members.texts("channels")?;
    let channels = members.needed("channels", channels)?;
    Ok(Command::PublishMany { channels, publish: Box::new(publication(members)?) })
}

fn set(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (channel, key) = (members.channel()?, members.boxed("key")?);
    let publish = Publish {
        channel,
        data: members.data()?,
        event: members.boxed("event")?,
        key: Some(members.needed("key", key)?),
        tags: members.map("tags")?.map(Box::new),
        once: members.boxed("once")?,
        age: age(members)?,
        ..Publish::new("", "")
    };
    members.needed("data", publish.data.as_ref())?;
    Ok(Command::Channel(Action::Publish(publish)))
}

fn remove(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (channel, key) = (members.channel()?, members.boxed("key")?);
    let key = Some(members.needed("key", key)?);
    let (once, age) = (members.boxed("once")?, age(members)?);
    let publish = Publish { channel, data: None, key, remove: true, once, age, ..Publish::new("", "") };
    Ok(Command::Channel(Action::Publish(publish)))
}

/// How long ago what is said again was said for the first time.
fn age(members: &mut Members<'_>) -> Result<u64, Failure> {
    Ok(members.u64("age")?.unwrap_or(0))
}

fn append(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (channel, stream) = (members.channel()?, members.u64("stream")?);
    let end = members.text("end")?;
    let named = |name: &str| StreamEnd::ALL.into_iter().find(|end| end.name() == name);
    let end = end.map(|name| named(&name).ok_or_else(|| members.wrong("end", "finished, failed or cancelled"))).transpose()?;
    Ok(Command::Channel(Action::Append(Append {
        channel,
        stream: members.needed("stream", stream)?,
        data: members.boxed("data")?,
        at: members.u64("at")?,
        end,
        reason: members.boxed("reason")?,
    })))
}

fn cancel(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (channel, stream) = (members.channel()?, members.u64("stream")?);
    Ok(Command::Channel(Action::Cancel { channel, stream: members.needed("stream", stream)? }))
}

fn history(members: &mut Members<'_>) -> Result<Command, Failure> {
    Ok(Command::Channel(Action::History(History {
        channel: members.channel()?,
        after: members.u64("after")?,
        epoch: members.epoch()?,
        before: members.u64("before")?,
        limit: members.u32("limit")?,
    })))
}

fn presence(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (channel, limit, after) = (members.channel()?, members.u32("limit")?, members.session("after")?);
    Ok(Command::Channel(Action::Presence { channel, limit, after }))
}

fn state(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (channel, limit, after) = (members.channel()?, members.u32("limit")?, members.boxed("after")?);
    Ok(Command::Channel(Action::State { channel, limit, after }))
}

fn channels(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (prefix, after, limit) = (members.boxed("prefix")?, members.boxed("after")?, members.u32("limit")?);
    Ok(Command::Channels(ChannelPage { prefix, after, limit }))
}

fn sessions(members: &mut Members<'_>) -> Result<Command, Failure> {
    let (user, after, limit) = (members.boxed("user")?, members.session("after")?, members.u32("limit")?);
    Ok(Command::Sessions(SessionPage { user, after, limit }))
}

fn disconnect(members: &mut Members<'_>) -> Result<Command, Failure> {
    Ok(Command::Disconnect(whom(members, "disconnect")?))
}

fn unsubscribe(members: &mut Members<'_>) -> Result<Command, Failure> {
    Ok(Command::Unsubscribe { channel: members.channel()?, whom: whom(members, "unsubscribe")? })
}

fn whom(members: &mut Members<'_>, of: &str) -> Result<Whom, Failure> {
    match (members.session("session")?, members.text("user")?) {
        (Some(session), None) => Ok(Whom::Session(session)),
        (None, Some(user)) => Ok(Whom::User(user.into())),
        _ => Err(bad_message(format!("{of} takes session or user, one of them"))),
    }
}
