//! `Message` of `docs/longwire.proto`: reading. Writing is in `write`.

mod write;

use std::sync::Arc;

pub use write::{encode_message, encode_piece, encode_publication};

use super::command::position;
use super::wire::{Field, Fields};
use crate::data::{Data, Epoch, Position, SessionId};
use crate::error::{Malformed, Result, bad_value, code_of};
use crate::message::{
    Abilities, Connected, ErrorReply, Member, Message, Piece, Publication, Push, Rare, Reply, Stream, StreamEnd, Subscribed,
    Unrecovered,
};

const NOWHERE: Position = Position { epoch: Epoch::NONE, offset: 0 };

/// Reads a message of a server, without a length before it; `None` if it is of a type that this version does not know, and
/// thereby to be ignored.
///
/// # Errors
/// If it is no message of this protocol.
pub fn decode_message(bytes: &[u8]) -> std::result::Result<Option<Message>, Malformed> {
    let (mut id, mut said) = (None, None);
    for field in Fields::new("a message", bytes) {
        let field = field?;
        match field.number {
            1 => id = Some(field.u32()?).filter(|id| *id > 0),
            2..=21 => said = Some(field),
            _ => {}
        }
    }
    let Some(said) = said else { return Ok(None) };
    let message = if said.number < 10 { Message::Push(push(&said)?) } else { Message::Reply(id, reply(&said)?) };
    Ok(Some(message))
}

fn push(field: &Field<'_>) -> Result<Push> {
    Ok(match field.number {
        2 => Push::Publication(Arc::new(publication(field, None)?)),
        3 => Push::Append(Arc::new(piece(field)?)),
        4 => changed(field).map(|(channel, member)| Push::Join { channel, member })?,
        5 => changed(field).map(|(channel, member)| Push::Leave { channel, member })?,
        6 => entries(field)?,
        7 => channel_and_number(field).map(|(channel, offset)| Push::Gap { channel, offset })?,
        8 => channel_and_number(field).map(|(channel, code)| Push::Unsubscribed { channel, code: code_of(code, true) })?,
        _ => channel_and_number(field).map(|(channel, stream)| Push::Cancel { channel, stream })?,
    })
}

fn reply(field: &Field<'_>) -> Result<Reply> {
    Ok(match field.number {
        10 => Reply::Error(error(field)?),
        11 => Reply::Connected(Box::new(connected(field)?)),
        12 => Reply::Subscribed(Box::new(subscribed(field)?)),
        13 => Reply::Unsubscribed { channel: channel_and_number(field)?.0 },
        14 => published(field)?,
        15 => appended(field)?,
        16 => channel_and_number(field).map(|(channel, stream)| Reply::Cancelled { channel, stream })?,
        17 => page(field).map(|page| Reply::History {
            channel: page.channel,
            head: page.head,
            publications: page.publications,
            more: page.more,
        })?,
        18 => presence(field)?,
        19 => page(field).map(|page| Reply::State {
            channel: page.channel,
            head: page.head,
            entries: page.publications,
            more: page.more,
        })?,
        20 => Reply::Refreshed { expires: only_number(field)? },
        _ => only_number(field).map(|_| Reply::Pong)?,
    })
}

fn shared(field: &Field<'_>) -> Result<Arc<str>> {
    Ok(field.text()?.into())
}

/// A message whose field 1 is a channel, and 2, if it has one, a number.
fn channel_and_number(field: &Field<'_>) -> Result<(Arc<str>, u64)> {
    let (mut channel, mut number) = (Arc::default(), 0);
    for field in field.message("a message")? {
        let field = field?;
        match field.number {
            1 => channel = shared(&field)?,
            2 => number = field.u64()?,
            _ => {}
        }
    }
    Ok((channel, number))
}

/// A message that has but one number, or nothing.
fn only_number(field: &Field<'_>) -> Result<Option<u32>> {
    let mut number = None;
    for field in field.message("a message")? {
        let field = field?;
        if field.number == 1 {
            number = Some(field.u32()?);
        }
    }
    Ok(number)
}

fn error(field: &Field<'_>) -> Result<ErrorReply> {
    let (mut number, mut message, mut retry, mut channel) = (0, None, false, None);
    for field in field.message("error")? {
        let field = field?;
        match field.number {
            1 => number = field.u64()?,
            3 => message = Some(field.boxed()?),
            4 => retry = field.flag()?,
            5 => channel = Some(shared(&field)?),
            _ => {}
        }
    }
    let code = code_of(number, retry);
    Ok(ErrorReply { code, message: message.unwrap_or_else(|| code.text().into()), channel })
}

fn connected(field: &Field<'_>) -> Result<Connected> {
    let session = SessionId([0; 12]);
    let key = String::new();
    let mut connected = Connected { session, key, resumed: false, user: None, ping: 0, keep: 0, max: 0, expires: None };
    for field in field.message("connected")? {
        let field = field?;
        match field.number {
            1 => connected.session = session_of(&field)?,
            2 => connected.key = field.text()?.to_owned(),
            3 => connected.resumed = field.flag()?,
            4 => connected.user = Some(shared(&field)?),
            5 => connected.ping = field.u32()?,
            6 => connected.keep = field.u32()?,
            7 => connected.max = field.u32()?,
            8 => connected.expires = Some(field.u32()?),
            _ => {}
        }
    }
    Ok(connected)
}

fn session_of(field: &Field<'_>) -> Result<SessionId> {
    field.session()?.ok_or_else(|| bad_value("the id of a session must have 12 bytes"))
}

fn subscribed(field: &Field<'_>) -> Result<Subscribed> {
    let mut subscribed = Subscribed {
        channel: Arc::default(),
        position: NOWHERE,
        head: 0,
        recovered: None,
        members: None,
        options: Abilities::default(),
    };
    for field in field.message("subscribed")? {
        let field = field?;
        match field.number {
            1 => subscribed.channel = shared(&field)?,
            2 => subscribed.position = position(&field)?,
            3 => subscribed.head = field.u64()?,
            4 => subscribed.recovered = recovered(field.u64()?),
            5 => subscribed.members = Some(people(&field)?),
            6 => subscribed.options = abilities(&field)?,
            _ => {}
        }
    }
    Ok(subscribed)
}

/// A reason that this version does not know comes to the same as that the past is gone.
fn recovered(number: u64) -> Option<std::result::Result<(), Unrecovered>> {
    match number {
        0 => None,
        1 => Some(Ok(())),
        3 => Some(Err(Unrecovered::Epoch)),
        4 => Some(Err(Unrecovered::Off)),
        5 => Some(Err(Unrecovered::Ahead)),
        _ => Some(Err(Unrecovered::Expired)),
    }
}

fn abilities(field: &Field<'_>) -> Result<Abilities> {
    let mut abilities = Abilities::default();
    for field in field.message("options")? {
        let field = field?;
        match field.number {
            1 => abilities.history = field.flag()?,
            2 => abilities.presence = field.flag()?,
            3 => abilities.joins = field.flag()?,
            4 => abilities.state = field.flag()?,
            5 => abilities.streams = field.flag()?,
            6 => abilities.publish = field.flag()?,
            _ => {}
        }
    }
    Ok(abilities)
}

fn published(field: &Field<'_>) -> Result<Reply> {
    let (mut channel, mut at, mut repeated, mut lease) = (Arc::default(), None, false, None);
    for field in field.message("published")? {
        let field = field?;
        match field.number {
            1 => channel = shared(&field)?,
            2 => at = Some(position(&field)?),
            3 => repeated = field.flag()?,
            4 => lease = Some(field.u32()?),
            _ => {}
        }
    }
    Ok(Reply::Published { channel, position: at, repeated, lease })
}

fn appended(field: &Field<'_>) -> Result<Reply> {
    let (mut channel, mut stream, mut length, mut cancel) = (Arc::default(), 0, 0, false);
    for field in field.message("appended")? {
        let field = field?;
        match field.number {
            1 => channel = shared(&field)?,
            2 => stream = field.u64()?,
            3 => length = field.u64()?,
            4 => cancel = field.flag()?,
            _ => {}
        }
    }
    Ok(Reply::Appended { channel, stream, length, cancel })
}

/// `HistoryPage` or `StatePage`.
struct Page {
    channel: Arc<str>,
    head: Position,
    publications: Vec<Arc<Publication>>,
    more: bool,
}

fn page(field: &Field<'_>) -> Result<Page> {
    let mut page = Page { channel: Arc::default(), head: NOWHERE, publications: Vec::new(), more: false };
    let mut inside = Vec::new();
    for field in field.message("a page")? {
        let field = field?;
        match field.number {
            1 => page.channel = shared(&field)?,
            2 => page.head = position(&field)?,
            3 => inside.push(field),
            4 => page.more = field.flag()?,
            _ => {}
        }
    }
    page.publications = publications(&inside, &page.channel)?;
    Ok(page)
}

fn entries(field: &Field<'_>) -> Result<Push> {
    let (mut channel, mut inside, mut done) = (Arc::default(), Vec::new(), false);
    for field in field.message("entries")? {
        let field = field?;
        match field.number {
            1 => channel = shared(&field)?,
            2 => inside.push(field),
            3 => done = field.flag()?,
            _ => {}
        }
    }
    Ok(Push::State { entries: publications(&inside, &channel)?, channel, done })
}

fn publications(fields: &[Field<'_>], channel: &Arc<str>) -> Result<Vec<Arc<Publication>>> {
    fields.iter().map(|field| Ok(Arc::new(publication(field, Some(channel))?))).collect()
}

/// A `Publication`; inside a page or entries it is in their channel.
fn publication(field: &Field<'_>, of: Option<&Arc<str>>) -> Result<Publication> {
    let mut rare = Rare::default();
    let channel = of.cloned().unwrap_or_default();
    let mut publication = Publication { channel, offset: 0, time: 0, data: None, from: None, rare: None };
    for field in field.message("publication")? {
        let field = field?;
        match field.number {
            1 if of.is_none() => publication.channel = shared(&field)?,
            2 => publication.offset = field.u64()?,
            3 => publication.time = field.u64()?,
            4..=6 => publication.data = Some(field.data(4)?),
            7 => publication.from = Some(member(&field)?),
            8 => rare.event = Some(field.boxed()?),
            9 => rare.key = Some(field.boxed()?),
            10 => rare.removed = field.flag()?,
            11 => {
                let (name, text) = field.pair()?;
                rare.tags.insert(name, text);
            }
            12 => rare.stream = Some(stream(&field)?),
            _ => {}
        }
    }
    if rare.stream.is_some() && !matches!(publication.data, None | Some(Data::Text(_))) {
        return Err(bad_value("the data of a stream must be a text"));
    }
    publication.rare = (rare != Rare::default()).then(|| Box::new(rare));
    Ok(publication)
}

fn stream(field: &Field<'_>) -> Result<Stream> {
    let mut stream = Stream { began: 0, length: 0, end: None, reason: None };
    for field in field.message("stream")? {
        let field = field?;
        match field.number {
            1 => stream.began = field.u64()?,
            2 => stream.length = field.u64()?,
            3 => stream.end = field.choice(&StreamEnd::ALL)?,
            4 => stream.reason = Some(field.boxed()?),
            _ => {}
        }
    }
    Ok(stream)
}

fn piece(field: &Field<'_>) -> Result<Piece> {
    let mut piece = Piece { channel: Arc::default(), offset: 0, stream: 0, at: 0, data: None, end: None, reason: None };
    for field in field.message("append")? {
        let field = field?;
        match field.number {
            1 => piece.channel = shared(&field)?,
            2 => piece.offset = field.u64()?,
            3 => piece.stream = field.u64()?,
            4 => piece.at = field.u64()?,
            5 => piece.data = Some(field.boxed()?),
            6 => piece.end = field.choice(&StreamEnd::ALL)?,
            7 => piece.reason = Some(field.boxed()?),
            _ => {}
        }
    }
    Ok(piece)
}

fn presence(field: &Field<'_>) -> Result<Reply> {
    let (mut channel, mut members) = (Arc::default(), Vec::new());
    let (mut sessions, mut users, mut more) = (0, 0, false);
    for field in field.message("presence")? {
        let field = field?;
        match field.number {
            1 => channel = shared(&field)?,
            2 => members.push(member(&field)?),
            3 => sessions = field.u64()?,
            4 => users = field.u64()?,
            5 => more = field.flag()?,
            _ => {}
        }
    }
    Ok(Reply::Presence { channel, members, sessions, users, more })
}

/// A `Members`.
fn people(field: &Field<'_>) -> Result<Vec<Arc<Member>>> {
    let mut members = Vec::new();
    for field in field.message("members")? {
        let field = field?;
        if field.number == 1 {
            members.push(member(&field)?);
        }
    }
    Ok(members)
}

fn changed(field: &Field<'_>) -> Result<(Arc<str>, Arc<Member>)> {
    let (mut channel, mut who) = (Arc::default(), None);
    for field in field.message("a change of presence")? {
        let field = field?;
        match field.number {
            1 => channel = shared(&field)?,
            2 => who = Some(member(&field)?),
            _ => {}
        }
    }
    Ok((channel, who.ok_or_else(|| bad_value("a change of presence is of a member"))?))
}

fn member(field: &Field<'_>) -> Result<Arc<Member>> {
    let mut member = Member { session: SessionId([0; 12]), user: None, info: None };
    for field in field.message("member")? {
        let field = field?;
        match field.number {
            1 => member.session = session_of(&field)?,
            2 => member.user = Some(shared(&field)?),
            3 => member.info = field.info()?,
            _ => {}
        }
    }
    Ok(Arc::new(member))
}
