//! `Command` of `docs/longwire.proto`.

use std::sync::Arc;

use super::wire::{Field, Fields, Writer, number_of};
use crate::check::is_channel;
use crate::codes::ErrorCode;
use crate::data::{Epoch, Position};
use crate::error::{Rejected, Result, bad_message, bad_value};
use crate::message::{Action, Append, Command, Connect, ErrorReply, History, Publish, StreamEnd, Subscribe};

/// The fields of the `oneof` by their numbers, and the names of their types.
const ACTIONS: [(u32, &str); 11] = [
    (2, "connect"),
    (3, "subscribe"),
    (4, "unsubscribe"),
    (5, "publish"),
    (6, "append"),
    (7, "cancel"),
    (8, "history"),
    (9, "presence"),
    (10, "state"),
    (11, "refresh"),
    (12, "ping"),
];

/// Reads a command, without a length before it. Any bytes give one, or say what is wrong with them.
///
/// # Errors
/// With the `id`, the channel and the code, as far as there is one; see `docs/protocol.md`.
pub fn decode_command(bytes: &[u8]) -> std::result::Result<Command, Rejected> {
    let mut id = None;
    let mut wanted = None;
    let decoded = outer(bytes, &mut id, &mut wanted).and_then(|()| {
        let (field, name) = wanted.ok_or_else(|| bad_message("there is no command that this server knows"))?;
        let action = action(&field, name)?;
        action.check()?;
        Ok(Command { id, action })
    });
    decoded.map_err(|error: ErrorReply| Rejected {
        id,
        error: ErrorReply { channel: wanted.and_then(|(field, _)| valid_channel(&field)), ..error },
    })
}

/// The id, and the field of the action with its name: the last, if there are several.
fn outer<'a>(bytes: &'a [u8], id: &mut Option<u32>, wanted: &mut Option<(Field<'a>, &'static str)>) -> Result<()> {
    for field in Fields::new("a command", bytes) {
        let field = field?;
        if field.number == 1 {
            *id = Some(field.u32().map_err(|error| bad_message(error.message))?).filter(|id| *id > 0);
        } else if let Some((_, name)) = ACTIONS.iter().find(|(number, _)| *number == field.number) {
            *wanted = Some((field, name));
        }
    }
    Ok(())
}

/// The channel, if it can be read and may be called so: for errors about something else.
fn valid_channel(action: &Field<'_>) -> Option<Arc<str>> {
    let has_channel = !matches!(action.number, 2 | 11 | 12);
    let fields = has_channel.then(|| action.message("").ok()).flatten()?;
    let channel = fields.map_while(Result::ok).filter(|field| field.number == 1).last()?;
    channel.text().ok().filter(|name| is_channel(name)).map(Into::into)
}

fn action(field: &Field<'_>, name: &'static str) -> Result<Action> {
    let fields = field.message(name)?;
    match name {
        "connect" => connect(fields),
        "subscribe" => subscribe(fields),
        "publish" => publish(fields),
        "append" => append(fields),
        "history" => history(fields),
        "refresh" => refresh(fields),
        "ping" => ping(fields),
        _ => small(fields, name),
    }
}

fn channel(field: &Field<'_>) -> Result<Arc<str>> {
    let name = field.text().map_err(|error| ErrorReply::new(ErrorCode::BadChannel, error.message));
    Ok(name?.into())
}

fn connect(fields: Fields<'_>) -> Result<Action> {
    let mut connect = Connect::default();
    let mut session = None;
    for field in fields {
        let field = field?;
        match field.number {
            1 => connect.token = Some(field.text()?.to_owned()),
            2 => connect.info = field.info()?,
            3 => session = Some(field.session()?),
            4 => connect.key = Some(field.text()?.to_owned()),
            _ => {}
        }
    }
    if session.is_some() != connect.key.is_some() {
        return Err(bad_value("connect takes session and key together, or none of them"));
    }
    // What is no session's id is an id that no session has.
    connect.session = session.flatten();
    connect.key = connect.key.filter(|_| connect.session.is_some());
    Ok(Action::Connect(connect))
}

fn subscribe(fields: Fields<'_>) -> Result<Action> {
    let mut subscribe = Subscribe::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => subscribe.channel = channel(&field)?,
            2 => subscribe.since = Some(position(&field)?),
            3 => subscribe.last = Some(field.u32()?),
            4 => subscribe.state = field.flag()?,
            5 => subscribe.members = field.flag()?,
            6 => subscribe.after = Some(field.boxed()?),
            _ => {}
        }
    }
    Ok(Action::Subscribe(subscribe))
}

fn publish(fields: Fields<'_>) -> Result<Action> {
    let mut publish = Publish::new(Arc::default(), "");
    publish.data = None;
    for field in fields {
        let field = field?;
        match field.number {
            1 => publish.channel = channel(&field)?,
            2..=4 => publish.data = Some(field.data(2)?),
            5 => publish.event = Some(field.boxed()?),
            6 => publish.key = Some(field.boxed()?),
            7 => publish.remove = field.flag()?,
            8 => {
                let (name, text) = field.pair()?;
                publish.tags.get_or_insert_default().insert(name, text);
            }
            9 => publish.once = Some(field.boxed()?),
            10 => publish.ephemeral = field.flag()?,
            11 => publish.echo = field.flag()?,
            12 => publish.stream = field.flag()?,
            13 => publish.age = field.u64()?,
            _ => {}
        }
    }
    Ok(Action::Publish(publish))
}

fn append(fields: Fields<'_>) -> Result<Action> {
    let mut append = Append { channel: Arc::default(), stream: 0, data: None, at: None, end: None, reason: None };
    for field in fields {
        let field = field?;
        match field.number {
            1 => append.channel = channel(&field)?,
            2 => append.stream = field.u64()?,
            3 => append.data = Some(field.boxed()?),
            4 => append.at = Some(field.u64()?),
            5 => append.end = field.choice(&StreamEnd::ALL)?,
            6 => append.reason = Some(field.boxed()?),
            _ => {}
        }
    }
    Ok(Action::Append(append))
}

fn history(fields: Fields<'_>) -> Result<Action> {
    let mut history = History { channel: Arc::default(), after: None, epoch: None, before: None, limit: None };
    for field in fields {
        let field = field?;
        match field.number {
            1 => history.channel = channel(&field)?,
            2 => history.after = Some(field.u64()?),
            3 => history.epoch = Some(Epoch(field.u32()?)),
            4 => history.before = Some(field.u64()?),
            5 => history.limit = Some(field.u32()?),
            _ => {}
        }
    }
    Ok(Action::History(history))
}

fn refresh(fields: Fields<'_>) -> Result<Action> {
    let mut token = None;
    for field in fields {
        let field = field?;
        if field.number == 1 {
            token = Some(field.text()?.to_owned());
        }
    }
    let token = token.ok_or_else(|| bad_message("field 1 of refresh is missing"))?;
    Ok(Action::Refresh { token })
}

fn ping(mut fields: Fields<'_>) -> Result<Action> {
    fields.try_for_each(|field| field.map(drop))?;
    Ok(Action::Ping)
}

/// The actions that are little more than a channel.
fn small(fields: Fields<'_>, name: &'static str) -> Result<Action> {
    let mut at: Arc<str> = Arc::default();
    let (mut stream, mut limit, mut session, mut key) = (0, None, None, None);
    for field in fields {
        let field = field?;
        match (name, field.number) {
            (_, 1) => at = channel(&field)?,
            ("cancel", 2) => stream = field.u64()?,
            ("presence" | "state", 2) => limit = Some(field.u32()?),
            ("presence", 3) => {
                let read = field.session()?;
                session = Some(read.ok_or_else(|| bad_value("field 3 of presence must be the id of a session, 12 bytes"))?);
            }
            ("state", 3) => key = Some(field.boxed()?),
            _ => {}
        }
    }
    Ok(match name {
        "cancel" => Action::Cancel { channel: at, stream },
        "presence" => Action::Presence { channel: at, limit, after: session },
        "state" => Action::State { channel: at, limit, after: key },
        _ => Action::Unsubscribe { channel: at },
    })
}

/// A `Position`.
pub(super) fn position(field: &Field<'_>) -> Result<Position> {
    let mut position = Position { epoch: Epoch::NONE, offset: 0 };
    for field in field.message("position")? {
        let field = field?;
        match field.number {
            1 => position.epoch = Epoch(field.u32()?),
            2 => position.offset = field.u64()?,
            _ => {}
        }
    }
    Ok(position)
}

pub(super) fn write_position(w: &mut Writer<'_>, field: u32, position: Position) {
    w.message(field, |w| {
        w.number(1, position.epoch.0);
        w.number(2, position.offset);
    });
}

/// Appends a command to `out`, without a length before it.
pub fn encode_command(command: &Command, out: &mut Vec<u8>) {
    let mut w = Writer(out);
    w.some_number(1, command.id);
    let name = command.action.name();
    let number = ACTIONS.iter().find(|(_, other)| *other == name).expect("every action has a number").0;
    w.message(number, |w| {
        if let Some(channel) = command.action.channel() {
            w.text(1, channel);
        }
        write_action(w, &command.action);
    });
}

/// The fields of an action but its channel.
fn write_action(w: &mut Writer<'_>, action: &Action) {
    match action {
        Action::Connect(connect) => {
            w.some_text(1, connect.token.as_deref());
            if let Some(info) = &connect.info {
                w.bytes(2, info);
            }
            if let Some(session) = connect.session {
                w.bytes(3, &session.0);
            }
            w.some_text(4, connect.key.as_deref());
        }
        Action::Subscribe(subscribe) => {
            if let Some(since) = subscribe.since {
                write_position(w, 2, since);
            }
            w.some_number(3, subscribe.last);
            w.number(4, subscribe.state);
            w.number(5, subscribe.members);
            w.some_text(6, subscribe.after.as_deref());
        }
        Action::Publish(publish) => write_publish(w, publish),
        Action::Append(append) => {
            w.number(2, append.stream);
            w.some_text(3, append.data.as_deref());
            w.some_number(4, append.at);
            w.number(5, number_of(append.end, &StreamEnd::ALL));
            w.some_text(6, append.reason.as_deref());
        }
        Action::Cancel { channel: _, stream } => w.number(2, *stream),
        Action::History(history) => {
            w.some_number(2, history.after);
            w.some_number(3, history.epoch.map(|epoch| epoch.0));
            w.some_number(4, history.before);
            w.some_number(5, history.limit);
        }
        Action::Presence { channel: _, limit, after } => {
            w.some_number(2, *limit);
            if let Some(after) = after {
                w.bytes(3, &after.0);
            }
        }
        Action::State { channel: _, limit, after } => {
            w.some_number(2, *limit);
            w.some_text(3, after.as_deref());
        }
        Action::Refresh { token } => w.some_text(1, Some(token)),
        Action::Unsubscribe { .. } | Action::Ping => {}
    }
}

fn write_publish(w: &mut Writer<'_>, publish: &Publish) {
    w.data(2, publish.data.as_ref());
    w.some_text(5, publish.event.as_deref());
    w.some_text(6, publish.key.as_deref());
    w.number(7, publish.remove);
    if let Some(tags) = &publish.tags {
        w.map(8, tags.iter().map(|(name, text)| (&**name, &**text)));
    }
    w.some_text(9, publish.once.as_deref());
    w.number(10, publish.ephemeral);
    w.some_number(11, (!publish.echo).then_some(0_u32));
    w.number(12, publish.stream);
    w.number(13, publish.age);
}
