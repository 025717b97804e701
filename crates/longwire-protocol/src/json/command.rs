//! Commands as JSON.

use std::collections::BTreeMap;

use super::members::{Members, Name};
use super::write::{Object, write};
use crate::data::{Data, Position};
use crate::error::{Rejected, Result, bad_message, bad_value};
use crate::message::{Action, Append, Command, Connect, ErrorReply, History, Publish, Subscribe};

/// Reads a command. Any bytes give one, or say what is wrong with them.
///
/// # Errors
/// With the `id`, the channel and the code, as far as there is one; see `docs/protocol.md`.
pub fn decode_command(line: &[u8]) -> std::result::Result<Command, Rejected> {
    let mut members = Members::of("a command");
    let decoded = members.read(line).and_then(|()| {
        let id = members.id()?;
        let action = action(&mut members)?;
        action.check()?;
        Ok(Command { id, action })
    });
    decoded.map_err(|error: ErrorReply| Rejected {
        id: members.id().ok().flatten(),
        error: ErrorReply { channel: members.valid_channel(), ..error },
    })
}

fn action(members: &mut Members<'_>) -> Result<Action> {
    let name = members.text(Name::Type).map_err(|error| bad_message(error.message))?;
    let name = members.needed(Name::Type, name)?;
    let read = match &*name {
        "connect" => ("connect", connect as fn(&Members<'_>) -> Result<Action>),
        "subscribe" => ("subscribe", subscribe as _),
        "unsubscribe" => ("unsubscribe", unsubscribe as _),
        "publish" => ("publish", publish as _),
        "append" => ("append", append as _),
        "cancel" => ("cancel", cancel as _),
        "history" => ("history", history as _),
        "presence" => ("presence", presence as _),
        "state" => ("state", state as _),
        "refresh" => ("refresh", refresh as _),
        "ping" => ("ping", ping as _),
        other => return Err(unknown(other)),
    };
    members.are_of(read.0);
    read.1(members)
}

/// The name is the client's: only so much of it goes back.
fn unknown(name: &str) -> ErrorReply {
    let shown: String = name.chars().take(40).collect();
    bad_message(format!("there is no command '{shown}'"))
}

fn connect(members: &Members<'_>) -> Result<Action> {
    let (session, key) = (members.session(Name::Session)?, members.text(Name::Key)?);
    if session.is_some() != key.is_some() {
        return Err(bad_value("connect takes session and key together, or none of them"));
    }
    Ok(Action::Connect(Connect {
        token: members.text(Name::Token)?.map(Into::into),
        info: members.some_json(Name::Info)?,
        // What is no session's id is an id that no session has.
        session: session.flatten(),
        key: key.filter(|_| session.flatten().is_some()).map(Into::into),
    }))
}

fn subscribe(members: &Members<'_>) -> Result<Action> {
    let since = match (members.epoch()?, members.u64(Name::Offset)?) {
        (Some(epoch), Some(offset)) => Some(Position { epoch, offset }),
        (None, None) => None,
        _ => return Err(bad_value("subscribe takes epoch and offset together, or none of them")),
    };
    Ok(Action::Subscribe(Subscribe {
        channel: members.channel()?,
        since,
        last: members.u32(Name::Last)?,
        state: members.is(Name::State)?,
        after: members.boxed(Name::After)?,
        members: members.is(Name::Members)?,
    }))
}

fn unsubscribe(members: &Members<'_>) -> Result<Action> {
    Ok(Action::Unsubscribe { channel: members.channel()? })
}

fn publish(members: &Members<'_>) -> Result<Action> {
    let channel = members.channel()?;
    let stream = members.is(Name::Stream)?;
    let data = if stream {
        members.text(Name::Data)?.map(|text| Data::from(text.into_owned()))
    } else {
        members.json(Name::Data)?.map(Data::Json)
    };
    let bytes = members.base64(Name::Bytes)?.map(Data::Bytes);
    if data.is_some() && bytes.is_some() {
        return Err(bad_value("publish takes data or bytes, not both"));
    }
    let tags: Option<BTreeMap<_, _>> = members.parsed(Name::Tags, "an object of texts")?;
    Ok(Action::Publish(Publish {
        channel,
        data: data.or(bytes),
        event: members.boxed(Name::Event)?,
        key: members.boxed(Name::Key)?,
        remove: members.is(Name::Remove)?,
        tags: tags.filter(|tags| !tags.is_empty()).map(Box::new),
        once: members.boxed(Name::Once)?,
        age: members.u64(Name::Age)?.unwrap_or(0),
        ephemeral: members.is(Name::Ephemeral)?,
        echo: members.flag(Name::Echo)?.unwrap_or(true),
        stream,
    }))
}

fn append(members: &Members<'_>) -> Result<Action> {
    Ok(Action::Append(Append {
        channel: members.channel()?,
        stream: members.needed(Name::Stream, members.u64(Name::Stream)?)?,
        data: members.boxed(Name::Data)?,
        at: members.u64(Name::At)?,
        end: members.end()?,
        reason: members.boxed(Name::Reason)?,
    }))
}

fn cancel(members: &Members<'_>) -> Result<Action> {
    let stream = members.u64(Name::Stream)?;
    Ok(Action::Cancel { channel: members.channel()?, stream: members.needed(Name::Stream, stream)? })
}

fn history(members: &Members<'_>) -> Result<Action> {
    Ok(Action::History(History {
        channel: members.channel()?,
        after: members.u64(Name::After)?,
        epoch: members.epoch()?,
        before: members.u64(Name::Before)?,
        limit: members.u32(Name::Limit)?,
    }))
}

fn presence(members: &Members<'_>) -> Result<Action> {
    let after = match members.session(Name::After)? {
        Some(None) => return Err(members.wrong(Name::After, "the id of a session")),
        after => after.flatten(),
    };
    Ok(Action::Presence { channel: members.channel()?, limit: members.u32(Name::Limit)?, after })
}

fn state(members: &Members<'_>) -> Result<Action> {
    let after = members.boxed(Name::After)?;
    Ok(Action::State { channel: members.channel()?, limit: members.u32(Name::Limit)?, after })
}

fn refresh(members: &Members<'_>) -> Result<Action> {
    let token = members.text(Name::Token)?;
    Ok(Action::Refresh { token: members.needed(Name::Token, token)?.into() })
}

fn ping(_: &Members<'_>) -> Result<Action> {
    Ok(Action::Ping)
}

/// Appends a command to `out`, without a newline.
pub fn encode_command(command: &Command, out: &mut Vec<u8>) {
    write(out, |object| {
        object.text("type", command.action.name());
        object.some_number("id", command.id.map(u64::from));
        object.some_text("channel", command.action.channel().map(|name| &**name));
        write_action(object, &command.action);
    });
}

/// The members of an action but its channel.
fn write_action(object: &mut Object<'_>, action: &Action) {
    match action {
        Action::Connect(connect) => {
            object.some_text("token", connect.token.as_deref());
            if let Some(info) = &connect.info {
                object.raw("info", info);
            }
            if let Some(session) = connect.session {
                object.session("session", session);
            }
            object.some_text("key", connect.key.as_deref());
        }
        Action::Subscribe(subscribe) => {
            if let Some(Position { epoch, offset }) = subscribe.since {
                object.epoch(epoch);
                object.number("offset", offset);
            }
            object.some_number("last", subscribe.last.map(u64::from));
            object.if_true("state", subscribe.state);
            object.some_text("after", subscribe.after.as_deref());
            object.if_true("members", subscribe.members);
        }
        Action::Publish(publish) => write_publish(object, publish),
        Action::Append(append) => {
            object.number("stream", append.stream);
            object.some_text("data", append.data.as_deref());
            object.some_number("at", append.at);
            object.some_text("end", append.end.map(|end| end.name()));
            object.some_text("reason", append.reason.as_deref());
        }
        Action::Cancel { channel: _, stream } => object.number("stream", *stream),
        Action::History(history) => {
            object.some_number("after", history.after);
            if let Some(epoch) = history.epoch {
                object.epoch(epoch);
            }
            object.some_number("before", history.before);
            object.some_number("limit", history.limit.map(u64::from));
        }
        Action::Presence { channel: _, limit, after } => {
            object.some_number("limit", limit.map(u64::from));
            if let Some(after) = after {
                object.session("after", *after);
            }
        }
        Action::State { channel: _, limit, after } => {
            object.some_number("limit", limit.map(u64::from));
            object.some_text("after", after.as_deref());
        }
        Action::Refresh { token } => object.text("token", token),
        Action::Unsubscribe { .. } | Action::Ping => {}
    }
}

fn write_publish(object: &mut Object<'_>, publish: &Publish) {
    object.data(publish.data.as_ref());
    object.some_text("event", publish.event.as_deref());
    object.some_text("key", publish.key.as_deref());
    object.if_true("remove", publish.remove);
    if let Some(tags) = &publish.tags {
        object.map("tags", tags.iter().map(|(name, text)| (&**name, &**text)));
    }
    object.some_text("once", publish.once.as_deref());
    object.some_number("age", (publish.age > 0).then_some(publish.age));
    object.if_true("ephemeral", publish.ephemeral);
    if !publish.echo {
        object.flag("echo", false);
    }
    object.if_true("stream", publish.stream);
}
