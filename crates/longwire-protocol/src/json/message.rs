//! Messages of the server as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::members::{Members, Name};
use super::write::{Object, write};
use crate::data::{Data, Position};
use crate::error::{Malformed, Result, code_of};
use crate::message::{
    Abilities, Connected, ErrorReply, Member, Message, Piece, Publication, Push, Rare, Reply, Stream, Subscribed, Unrecovered,
};

/// Reads a message of a server; `None` if it is of a type that this version does not know, and thereby to be ignored.
///
/// # Errors
/// If it is no message of this protocol.
pub fn decode_message(line: &[u8]) -> std::result::Result<Option<Message>, Malformed> {
    let mut members = Members::of("a message");
    members.read(line)?;
    let name = members.needed(Name::Type, members.text(Name::Type)?)?;
    let id = members.id()?;
    // Of some names there is both a reply and a push.
    let message = match &*name {
        "unsubscribed" if members.has(Name::Code) => push(&name, &mut members)?.map(Message::Push),
        "state" if !members.has(Name::Epoch) => push(&name, &mut members)?.map(Message::Push),
        _ => match reply(&name, &mut members)? {
            Some(reply) => Some(Message::Reply(id, reply)),
            None => push(&name, &mut members)?.map(Message::Push),
        },
    };
    Ok(message)
}

fn reply(name: &str, members: &mut Members<'_>) -> Result<Option<Reply>> {
    Ok(Some(match name {
        "error" => Reply::Error(error(members)?),
        "connected" => Reply::Connected(Box::new(connected(members)?)),
        "subscribed" => Reply::Subscribed(Box::new(subscribed(members)?)),
        "unsubscribed" => Reply::Unsubscribed { channel: members.channel()? },
        "published" => Reply::Published {
            channel: members.channel()?,
            position: if members.has(Name::Epoch) { Some(position(members, Name::Offset)?) } else { None },
            repeated: members.is(Name::Repeated)?,
            lease: members.u32(Name::Lease)?,
        },
        "appended" => Reply::Appended {
            channel: members.channel()?,
            stream: number(members, Name::Stream)?,
            length: number(members, Name::Length)?,
            cancel: members.is(Name::Cancel)?,
        },
        "cancelled" => Reply::Cancelled { channel: members.channel()?, stream: number(members, Name::Stream)? },
        "history" => {
            let channel = members.channel()?;
            let publications = publications(members, Name::Publications, &channel)?;
            Reply::History { head: position(members, Name::Head)?, publications, more: members.is(Name::More)?, channel }
        }
        "presence" => Reply::Presence {
            channel: members.channel()?,
            members: people(members)?.unwrap_or_default(),
            sessions: number(members, Name::Sessions)?,
            users: number(members, Name::Users)?,
            more: members.is(Name::More)?,
        },
        "state" => {
            let channel = members.channel()?;
            let entries = publications(members, Name::Entries, &channel)?;
            Reply::State { head: position(members, Name::Head)?, entries, more: members.is(Name::More)?, channel }
        }
        "refreshed" => Reply::Refreshed { expires: members.u32(Name::Expires)? },
        "pong" => Reply::Pong,
        _ => return Ok(None),
    }))
}

fn push(name: &str, members: &mut Members<'_>) -> Result<Option<Push>> {
    Ok(Some(match name {
        "publication" => Push::Publication(Arc::new(publication(members, members.channel()?)?)),
        "append" => Push::Append(Arc::new(piece(members)?)),
        "join" => Push::Join { channel: members.channel()?, member: changed(members)? },
        "leave" => Push::Leave { channel: members.channel()?, member: changed(members)? },
        "state" => {
            let channel = members.channel()?;
            let entries = publications(members, Name::Entries, &channel)?;
            Push::State { entries, done: members.is(Name::Done)?, channel }
        }
        "gap" => Push::Gap { channel: members.channel()?, offset: number(members, Name::Offset)? },
        "unsubscribed" => Push::Unsubscribed { channel: members.channel()?, code: code_of(number(members, Name::Code)?, true) },
        "cancel" => Push::Cancel { channel: members.channel()?, stream: number(members, Name::Stream)? },
        _ => return Ok(None),
    }))
}

fn number(members: &Members<'_>, name: Name) -> Result<u64> {
    members.needed(name, members.u64(name)?)
}

fn small(members: &Members<'_>, name: Name) -> Result<u32> {
    members.needed(name, members.u32(name)?)
}

fn position(members: &Members<'_>, offset: Name) -> Result<Position> {
    Ok(Position { epoch: members.needed(Name::Epoch, members.epoch()?)?, offset: number(members, offset)? })
}

fn error(members: &Members<'_>) -> Result<ErrorReply> {
    let code = code_of(number(members, Name::Code)?, members.is(Name::Retry)?);
    let message = members.boxed(Name::Message)?.unwrap_or_else(|| code.text().into());
    let channel = if members.has(Name::Channel) { Some(members.channel()?) } else { None };
    Ok(ErrorReply { code, message, channel })
}

fn connected(members: &Members<'_>) -> Result<Connected> {
    Ok(Connected {
        session: members.needed(Name::Session, members.session(Name::Session)?.flatten())?,
        key: members.needed(Name::Key, members.text(Name::Key)?)?.into(),
        resumed: members.is(Name::Resumed)?,
        user: members.text(Name::User)?.map(Into::into),
        ping: small(members, Name::Ping)?,
        keep: small(members, Name::Keep)?,
        max: small(members, Name::Max)?,
        expires: members.u32(Name::Expires)?,
    })
}

fn subscribed(members: &Members<'_>) -> Result<Subscribed> {
    let options: Vec<Cow<'_, str>> = members.parsed(Name::Options, "a list of texts")?.unwrap_or_default();
    Ok(Subscribed {
        channel: members.channel()?,
        position: position(members, Name::Offset)?,
        head: number(members, Name::Head)?,
        recovered: match members.flag(Name::Recovered)? {
            None => None,
            Some(true) => Some(Ok(())),
            Some(false) => Some(Err(unrecovered(&members.text(Name::Reason)?.unwrap_or_default()))),
        },
        members: people(members)?,
        options: Abilities::from_names(options.iter().map(|name| &**name)),
    })
}

/// A reason that this version does not know comes to the same as that the past is gone.
fn unrecovered(name: &str) -> Unrecovered {
    Unrecovered::ALL.into_iter().find(|reason| reason.name() == name).unwrap_or(Unrecovered::Expired)
}

fn publications(members: &Members<'_>, name: Name, channel: &Arc<str>) -> Result<Vec<Arc<Publication>>> {
    let Some(list) = members.list(name)? else { return Ok(Vec::new()) };
    list.map(|members| Ok(Arc::new(publication(&members?, channel.clone())?))).collect()
}

fn publication(members: &Members<'_>, channel: Arc<str>) -> Result<Publication> {
    let stream = members.members(Name::Stream)?.map(|members| stream(&members)).transpose()?;
    let data = match &stream {
        Some(_) => members.text(Name::Data)?.map(|text| Data::from(text.into_owned())),
        None => members.json(Name::Data)?.map(Data::Json).or(members.base64(Name::Bytes)?.map(Data::Bytes)),
    };
    let rare = Rare {
        event: members.boxed(Name::Event)?,
        key: members.boxed(Name::Key)?,
        removed: members.is(Name::Removed)?,
        tags: members.parsed::<BTreeMap<_, _>>(Name::Tags, "an object of texts")?.unwrap_or_default(),
        stream,
    };
    Ok(Publication {
        channel,
        offset: members.u64(Name::Offset)?.unwrap_or(0),
        time: number(members, Name::Time)?,
        data,
        from: members.members(Name::From)?.map(|members| member(&members)).transpose()?,
        rare: (rare != Rare::default()).then(|| Box::new(rare)),
    })
}

fn stream(members: &Members<'_>) -> Result<Stream> {
    Ok(Stream {
        began: number(members, Name::Began)?,
        length: number(members, Name::Length)?,
        end: members.end()?,
        reason: members.boxed(Name::Reason)?,
    })
}

fn piece(members: &Members<'_>) -> Result<Piece> {
    Ok(Piece {
        channel: members.channel()?,
        offset: number(members, Name::Offset)?,
        stream: number(members, Name::Stream)?,
        at: number(members, Name::At)?,
        data: members.boxed(Name::Data)?,
        end: members.end()?,
        reason: members.boxed(Name::Reason)?,
    })
}

fn people(members: &Members<'_>) -> Result<Option<Vec<Arc<Member>>>> {
    let list = members.list(Name::Members)?;
    list.map(|list| list.map(|members| member(&members?)).collect()).transpose()
}

fn changed(members: &Members<'_>) -> Result<Arc<Member>> {
    member(&members.needed(Name::Member, members.members(Name::Member)?)?)
}

fn member(members: &Members<'_>) -> Result<Arc<Member>> {
    Ok(Arc::new(Member {
        session: members.needed(Name::Session, members.session(Name::Session)?.flatten())?,
        user: members.text(Name::User)?.map(Into::into),
        info: members.some_json(Name::Info)?,
    }))
}

/// Appends a message to `out`, without a newline.
pub fn encode_message(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Reply(id, reply) => write(out, |object| {
            object.text("type", reply_name(reply));
            object.some_number("id", id.map(u64::from));
            write_reply(object, reply);
        }),
        Message::Push(Push::Publication(publication)) => encode_publication(publication, out),
        Message::Push(Push::Append(piece)) => encode_piece(piece, out),
        Message::Push(push) => write(out, |object| write_push(object, push)),
    }
}

/// Appends the push of a publication to `out`, without a newline.
pub fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    write(out, |object| {
        object.text("type", "publication");
        object.text("channel", &publication.channel);
        write_publication(object, publication);
    });
}

/// Appends the push of a piece of a stream to `out`, without a newline.
pub fn encode_piece(piece: &Piece, out: &mut Vec<u8>) {
    write(out, |object| {
        object.text("type", "append");
        object.text("channel", &piece.channel);
        object.number("offset", piece.offset);
        object.number("stream", piece.stream);
        object.number("at", piece.at);
        object.some_text("data", piece.data.as_deref());
        object.some_text("end", piece.end.map(|end| end.name()));
        object.some_text("reason", piece.reason.as_deref());
    });
}

fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Error(_) => "error",
        Reply::Connected(_) => "connected",
        Reply::Subscribed(_) => "subscribed",
        Reply::Unsubscribed { .. } => "unsubscribed",
        Reply::Published { .. } => "published",
        Reply::Appended { .. } => "appended",
        Reply::Cancelled { .. } => "cancelled",
        Reply::History { .. } => "history",
        Reply::Presence { .. } => "presence",
        Reply::State { .. } => "state",
        Reply::Refreshed { .. } => "refreshed",
        Reply::Pong => "pong",
    }
}

fn write_reply(object: &mut Object<'_>, reply: &Reply) {
    match reply {
        Reply::Error(error) => {
            object.number("code", error.code.number().into());
            object.text("name", error.code.name());
            object.text("message", &error.message);
            object.flag("retry", error.code.retry());
            object.some_text("channel", error.channel.as_deref());
        }
        Reply::Connected(connected) => write_connected(object, connected),
        Reply::Subscribed(subscribed) => write_subscribed(object, subscribed),
        Reply::Unsubscribed { channel } => object.text("channel", channel),
        Reply::Published { channel, position, repeated, lease } => {
            object.text("channel", channel);
            if let Some(position) = position {
                write_position(object, *position, "offset");
            }
            object.if_true("repeated", *repeated);
            if let Some(lease) = lease {
                object.number("lease", u64::from(*lease));
            }
        }
        Reply::Appended { channel, stream, length, cancel } => {
            object.text("channel", channel);
            object.number("stream", *stream);
            object.number("length", *length);
            object.if_true("cancel", *cancel);
        }
        Reply::Cancelled { channel, stream } => {
            object.text("channel", channel);
            object.number("stream", *stream);
        }
        Reply::History { channel, head, publications, more } => {
            object.text("channel", channel);
            write_position(object, *head, "head");
            object.objects("publications", publications, |object, publication| write_publication(object, publication));
            object.flag("more", *more);
        }
        Reply::Presence { channel, members, sessions, users, more } => {
            object.text("channel", channel);
            object.objects("members", members, |object, member| write_member(object, member));
            object.number("sessions", *sessions);
            object.number("users", *users);
            object.flag("more", *more);
        }
        Reply::State { channel, head, entries, more } => {
            object.text("channel", channel);
            write_position(object, *head, "head");
            object.objects("entries", entries, |object, entry| write_publication(object, entry));
            object.flag("more", *more);
        }
        Reply::Refreshed { expires } => object.some_number("expires", expires.map(u64::from)),
        Reply::Pong => {}
    }
}

fn write_connected(object: &mut Object<'_>, connected: &Connected) {
    object.session("session", connected.session);
    object.text("key", &connected.key);
    object.flag("resumed", connected.resumed);
    object.some_text("user", connected.user.as_deref());
    object.number("ping", connected.ping.into());
    object.number("keep", connected.keep.into());
    object.number("max", connected.max.into());
    object.some_number("expires", connected.expires.map(u64::from));
}

fn write_subscribed(object: &mut Object<'_>, subscribed: &Subscribed) {
    object.text("channel", &subscribed.channel);
    write_position(object, subscribed.position, "offset");
    object.number("head", subscribed.head);
    if let Some(recovered) = subscribed.recovered {
        object.flag("recovered", recovered.is_ok());
        object.some_text("reason", recovered.err().map(Unrecovered::name));
    }
    if let Some(members) = &subscribed.members {
        object.objects("members", members, |object, member| write_member(object, member));
    }
    object.texts("options", subscribed.options.names());
}

fn write_push(object: &mut Object<'_>, push: &Push) {
    let mut begin = |name, channel: &str| {
        object.text("type", name);
        object.text("channel", channel);
    };
    match push {
        Push::Publication(_) | Push::Append(_) => unreachable!("they have functions of their own"),
        Push::Join { channel, member } => {
            begin("join", channel);
            object.object("member", |object| write_member(object, member));
        }
        Push::Leave { channel, member } => {
            begin("leave", channel);
            object.object("member", |object| write_member(object, member));
        }
        Push::State { channel, entries, done } => {
            begin("state", channel);
            object.objects("entries", entries, |object, entry| write_publication(object, entry));
            object.if_true("done", *done);
        }
        Push::Gap { channel, offset } => {
            begin("gap", channel);
            object.number("offset", *offset);
        }
        Push::Unsubscribed { channel, code } => {
            begin("unsubscribed", channel);
            object.number("code", code.number().into());
            object.text("reason", code.name());
        }
        Push::Cancel { channel, stream } => {
            begin("cancel", channel);
            object.number("stream", *stream);
        }
    }
}

fn write_position(object: &mut Object<'_>, position: Position, offset: &'static str) {
    object.epoch(position.epoch);
    object.number(offset, position.offset);
}

/// The members of a publication but its type and channel.
fn write_publication(object: &mut Object<'_>, publication: &Publication) {
    if publication.offset > 0 {
        object.number("offset", publication.offset);
    }
    object.data(publication.data.as_ref());
    if let Some(rare) = &publication.rare {
        write_rare(object, rare);
    }
    object.number("time", publication.time);
    if let Some(from) = &publication.from {
        object.object("from", |object| write_member(object, from));
    }
}

fn write_rare(object: &mut Object<'_>, rare: &Rare) {
    object.some_text("event", rare.event.as_deref());
    object.some_text("key", rare.key.as_deref());
    object.if_true("removed", rare.removed);
    if !rare.tags.is_empty() {
        object.map("tags", rare.tags.iter().map(|(name, text)| (&**name, &**text)));
    }
    if let Some(stream) = &rare.stream {
        object.object("stream", |object| {
            object.number("began", stream.began);
            object.number("length", stream.length);
            object.some_text("end", stream.end.map(|end| end.name()));
            object.some_text("reason", stream.reason.as_deref());
        });
    }
}

fn write_member(object: &mut Object<'_>, member: &Member) {
    object.session("session", member.session);
    object.some_text("user", member.user.as_deref());
    if let Some(info) = &member.info {
        object.raw("info", info);
    }
}
