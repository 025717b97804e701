//! The bounds of commands that need no configuration, the same for every form and for the HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codes::ErrorCode;
use crate::data::{Data, json_line};
use crate::error::{Result, bad_value};
use crate::message::{Action, Append, Connect, ErrorReply, History, Publish, StreamEnd};

/// The longest name of a channel, in bytes.
pub const CHANNEL_MAX: usize = 255;
/// The longest event, key, name of a tag and text of a tag, in bytes.
pub const NAME_MAX: usize = 255;
/// The longest idempotency key, in bytes.
pub const ONCE_MAX: usize = 64;
/// The most tags of a publication.
pub const TAGS_MAX: usize = 16;
/// Tags whose names begin so are the server's own: nobody else sets them.
pub const OWN_TAGS: &str = "socketio.";
/// The longest that a client may say of itself, in bytes of JSON.
pub const INFO_MAX: usize = 1024;
/// The longest reason for the end of a stream, in bytes.
pub const REASON_MAX: usize = 1024;
/// How deep JSON data may nest.
pub const DEPTH_MAX: usize = 64;
/// The most publications in one page of history.
pub const HISTORY_MAX: u32 = 100;
/// The most members or keys in one page.
pub const LIST_MAX: u32 = 1000;
/// The longest secret of a session that is looked at, in bytes: none is longer.
const SECRET_MAX: usize = 255;

impl Action {
    /// Its `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::Append(_) => "append",
            Self::Cancel { .. } => "cancel",
            Self::History(_) => "history",
            Self::Presence { .. } => "presence",
            Self::State { .. } => "state",
            Self::Refresh { .. } => "refresh",
            Self::Ping => "ping",
        }
    }

    /// The channel that it is about.
    pub fn channel(&self) -> Option<&Arc<str>> {
        match self {
            Self::Subscribe(subscribe) => Some(&subscribe.channel),
            Self::Publish(publish) => Some(&publish.channel),
            Self::Append(append) => Some(&append.channel),
            Self::History(history) => Some(&history.channel),
            Self::Unsubscribe { channel }
            | Self::Cancel { channel, .. }
            | Self::Presence { channel, .. }
            | Self::State { channel, .. } => Some(channel),
            Self::Connect(_) | Self::Refresh { .. } | Self::Ping => None,
        }
    }

    /// Checks every bound that needs no configuration. What the decoders give has passed; what else is built need not have.
    ///
    /// # Errors
    /// `bad_channel` or `bad_value`, with a message that names the member.
    pub fn check(&self) -> std::result::Result<(), ErrorReply> {
        self.check_members()
            .map_err(|error| ErrorReply { channel: self.channel().filter(|name| is_channel(name)).cloned(), ..error })
    }

    fn check_members(&self) -> Result<()> {
        if let Some(name) = self.channel().filter(|name| !is_channel(name)) {
            return Err(bad_channel(name));
        }
        match self {
            Self::Connect(command) => connect(command),
            Self::Publish(command) => publish(command),
            Self::Append(command) => append(command),
            Self::History(History { after, before, limit, .. }) => {
                refuse(after.is_some() && before.is_some(), "history takes after or before, not both")?;
                page(*limit, HISTORY_MAX, "history")
            }
            Self::Presence { limit, .. } => page(*limit, LIST_MAX, "presence"),
            Self::State { limit, after, .. } => {
                page(*limit, LIST_MAX, "state")?;
                bounded(after.as_deref(), 1, NAME_MAX, "after of state")
            }
            Self::Cancel { stream, .. } => began(*stream, "cancel"),
            Self::Subscribe(subscribe) => bounded(subscribe.after.as_deref(), 0, NAME_MAX, "after of subscribe"),
            Self::Unsubscribe { .. } | Self::Refresh { .. } | Self::Ping => Ok(()),
        }
    }
}

/// Whether a channel may be called so.
pub(crate) fn is_channel(name: &str) -> bool {
    (1..=CHANNEL_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn bad_channel(name: &str) -> ErrorReply {
    let why = match name.len() {
        0 => "member channel is empty",
        1..=CHANNEL_MAX => "member channel has a control character",
        _ => "member channel is longer than 255 bytes",
    };
    ErrorReply::new(ErrorCode::BadChannel, why)
}

fn bounded(text: Option<&str>, min: usize, max: usize, member: &str) -> Result<()> {
    match text {
        Some(text) if !(min..=max).contains(&text.len()) => {
            Err(bad_value(format!("member {member} must have {min} to {max} bytes, not {}", text.len())))
        }
        _ => Ok(()),
    }
}

fn page(limit: Option<u32>, max: u32, of: &str) -> Result<()> {
    match limit {
        Some(limit) if limit > max => Err(bad_value(format!("member limit of {of} must be a whole number from 0 to {max}"))),
        _ => Ok(()),
    }
}

fn began(stream: u64, of: &str) -> Result<()> {
    if stream == 0 { Err(bad_value(format!("member stream of {of} must be an offset, from 1"))) } else { Ok(()) }
}

fn refuse(refused: bool, why: &str) -> Result<()> {
    if refused { Err(bad_value(why)) } else { Ok(()) }
}

fn connect(Connect { token: _, info, session: _, key }: &Connect) -> Result<()> {
    bounded(key.as_deref(), 0, SECRET_MAX, "key of connect")?;
    let Some(info) = info else { return Ok(()) };
    refuse(info.len() > INFO_MAX, "member info of connect must have at most 1024 bytes")?;
    match json_line(info.clone()) {
        Ok(line) if line == *info => Ok(()),
        Ok(_) => Err(bad_value("member info of connect must be JSON on one line")),
        Err(why) => Err(bad_value(format!("member info of connect must be JSON: {why}"))),
    }
}

fn publish(command: &Publish) -> Result<()> {
    let Publish { channel: _, data, event, key, remove, tags, once, age, ephemeral, echo: _, stream } = command;
    bounded(event.as_deref(), 1, NAME_MAX, "event of publish")?;
    bounded(key.as_deref(), 1, NAME_MAX, "key of publish")?;
    bounded(once.as_deref(), 1, ONCE_MAX, "once of publish")?;
    check_tags(tags.as_deref())?;
    refuse(*age > 0 && once.is_none(), "publish with age needs once")?;
    refuse(*remove && key.is_none(), "publish with remove needs a key")?;
    refuse(*remove && data.is_some(), "publish with remove takes no data")?;
    refuse(*ephemeral && key.is_some(), "publish takes key or ephemeral, not both: a key's value has an offset")?;
    refuse(*stream && key.is_some(), "publish takes key or stream, not both")?;
    refuse(*stream && *ephemeral, "publish takes stream or ephemeral, not both: a stream is named by its offset")?;
    refuse(*stream && !matches!(data, None | Some(Data::Text(_))), "the data of a stream must be a text")
}

fn check_tags(tags: Option<&BTreeMap<Box<str>, Box<str>>>) -> Result<()> {
    let Some(tags) = tags else { return Ok(()) };
    refuse(tags.len() > TAGS_MAX, "member tags of publish must have at most 16 members")?;
    for (name, text) in tags {
        bounded(Some(name), 1, NAME_MAX, "tags of publish: a name in it")?;
        bounded(Some(text), 0, NAME_MAX, "tags of publish: a text in it")?;
        refuse(name.starts_with(OWN_TAGS), "tags of publish whose names begin with socketio. are the server's own")?;
    }
    Ok(())
}

fn append(Append { channel: _, stream, data: _, at: _, end, reason }: &Append) -> Result<()> {
    began(*stream, "append")?;
    bounded(reason.as_deref(), 0, REASON_MAX, "reason of append")?;
    refuse(*end == Some(StreamEnd::Lost), "member end of append must be finished, failed or cancelled")?;
    refuse(reason.is_some() && end.is_none(), "append with reason needs end")
}
