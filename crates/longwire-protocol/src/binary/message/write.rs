//! `Message` of `docs/longwire.proto`: writing.

use std::sync::Arc;

use crate::binary::command::write_position;
use crate::binary::wire::{Writer, number_of};
use crate::data::Position;
use crate::message::{Connected, Member, Message, Piece, Publication, Push, Rare, Reply, StreamEnd, Subscribed, Unrecovered};

/// Appends a message to `out`, without a length before it.
pub fn encode_message(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Reply(id, reply) => {
            let mut w = Writer(out);
            w.some_number(1, *id);
            write_reply(&mut w, reply);
        }
        Message::Push(Push::Publication(publication)) => encode_publication(publication, out),
        Message::Push(Push::Append(piece)) => encode_piece(piece, out),
        Message::Push(push) => write_push(&mut Writer(out), push),
    }
}

/// Appends the push of a publication to `out`, without a length before it.
pub fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    Writer(out).message(2, |w| {
        w.text(1, &publication.channel);
        write_publication(w, publication);
    });
}

/// Appends the push of a piece of a stream to `out`, without a length before it.
pub fn encode_piece(piece: &Piece, out: &mut Vec<u8>) {
    Writer(out).message(3, |w| {
        w.text(1, &piece.channel);
        w.number(2, piece.offset);
        w.number(3, piece.stream);
        w.number(4, piece.at);
        w.some_text(5, piece.data.as_deref());
        w.number(6, number_of(piece.end, &StreamEnd::ALL));
        w.some_text(7, piece.reason.as_deref());
    });
}

fn write_push(w: &mut Writer<'_>, push: &Push) {
    match push {
        Push::Publication(_) | Push::Append(_) => unreachable!("they have functions of their own"),
        Push::Join { channel, member } => write_changed(w, 4, channel, member),
        Push::Leave { channel, member } => write_changed(w, 5, channel, member),
        Push::State { channel, entries, done } => w.message(6, |w| {
            w.text(1, channel);
            entries.iter().for_each(|entry| w.message(2, |w| write_publication(w, entry)));
            w.number(3, *done);
        }),
        Push::Gap { channel, offset } => write_channel_and_number(w, 7, channel, *offset),
        Push::Unsubscribed { channel, code } => w.message(8, |w| {
            w.text(1, channel);
            w.number(2, code.number());
            w.text(3, code.name());
        }),
        Push::Cancel { channel, stream } => write_channel_and_number(w, 9, channel, *stream),
    }
}

fn write_reply(w: &mut Writer<'_>, reply: &Reply) {
    match reply {
        Reply::Error(error) => w.message(10, |w| {
            w.number(1, error.code.number());
            w.text(2, error.code.name());
            w.some_text(3, Some(&error.message));
            w.number(4, error.code.retry());
            w.some_text(5, error.channel.as_deref());
        }),
        Reply::Connected(connected) => w.message(11, |w| write_connected(w, connected)),
        Reply::Subscribed(subscribed) => w.message(12, |w| write_subscribed(w, subscribed)),
        Reply::Unsubscribed { channel } => write_channel_and_number(w, 13, channel, 0),
        Reply::Published { channel, position, repeated, lease } => w.message(14, |w| {
            w.text(1, channel);
            if let Some(position) = position {
                write_position(w, 2, *position);
            }
            w.number(3, *repeated);
            if let Some(lease) = lease {
                w.number(4, *lease);
            }
        }),
        Reply::Appended { channel, stream, length, cancel } => w.message(15, |w| {
            w.text(1, channel);
            w.number(2, *stream);
            w.number(3, *length);
            w.number(4, *cancel);
        }),
        Reply::Cancelled { channel, stream } => write_channel_and_number(w, 16, channel, *stream),
        Reply::History { channel, head, publications, more } => write_page(w, 17, channel, *head, publications, *more),
        Reply::Presence { channel, members, sessions, users, more } => w.message(18, |w| {
            w.text(1, channel);
            members.iter().for_each(|member| w.message(2, |w| write_member(w, member)));
            w.number(3, *sessions);
            w.number(4, *users);
            w.number(5, *more);
        }),
        Reply::State { channel, head, entries, more } => write_page(w, 19, channel, *head, entries, *more),
        Reply::Refreshed { expires } => w.message(20, |w| w.some_number(1, *expires)),
        Reply::Pong => w.message(21, |_| {}),
    }
}

fn write_channel_and_number(w: &mut Writer<'_>, field: u32, channel: &str, number: u64) {
    w.message(field, |w| {
        w.text(1, channel);
        w.number(2, number);
    });
}

fn write_changed(w: &mut Writer<'_>, field: u32, channel: &str, member: &Member) {
    w.message(field, |w| {
        w.text(1, channel);
        w.message(2, |w| write_member(w, member));
    });
}

fn write_page(w: &mut Writer<'_>, field: u32, channel: &str, head: Position, publications: &[Arc<Publication>], more: bool) {
    w.message(field, |w| {
        w.text(1, channel);
        write_position(w, 2, head);
        publications.iter().for_each(|publication| w.message(3, |w| write_publication(w, publication)));
        w.number(4, more);
    });
}

fn write_connected(w: &mut Writer<'_>, connected: &Connected) {
    w.bytes(1, &connected.session.0);
    w.text(2, &connected.key);
    w.number(3, connected.resumed);
    w.some_text(4, connected.user.as_deref());
    w.number(5, connected.ping);
    w.number(6, connected.keep);
    w.number(7, connected.max);
    w.some_number(8, connected.expires);
}

fn write_subscribed(w: &mut Writer<'_>, subscribed: &Subscribed) {
    w.text(1, &subscribed.channel);
    write_position(w, 2, subscribed.position);
    w.number(3, subscribed.head);
    let recovered: u64 = match subscribed.recovered {
        None => 0,
        Some(Ok(())) => 1,
        Some(Err(Unrecovered::Expired)) => 2,
        Some(Err(Unrecovered::Epoch)) => 3,
        Some(Err(Unrecovered::Off)) => 4,
        Some(Err(Unrecovered::Ahead)) => 5,
    };
    w.number(4, recovered);
    if let Some(members) = &subscribed.members {
        w.message(5, |w| members.iter().for_each(|member| w.message(1, |w| write_member(w, member))));
    }
    w.message(6, |w| {
        w.number(1, subscribed.options.history);
        w.number(2, subscribed.options.presence);
        w.number(3, subscribed.options.joins);
        w.number(4, subscribed.options.state);
        w.number(5, subscribed.options.streams);
        w.number(6, subscribed.options.publish);
    });
}

/// The fields of a publication but its channel.
fn write_publication(w: &mut Writer<'_>, publication: &Publication) {
    w.number(2, publication.offset);
    w.number(3, publication.time);
    w.data(4, publication.data.as_ref());
    if let Some(from) = &publication.from {
        w.message(7, |w| write_member(w, from));
    }
    if let Some(rare) = &publication.rare {
        write_rare(w, rare);
    }
}

fn write_rare(w: &mut Writer<'_>, rare: &Rare) {
    w.some_text(8, rare.event.as_deref());
    w.some_text(9, rare.key.as_deref());
    w.number(10, rare.removed);
    w.map(11, rare.tags.iter().map(|(name, text)| (&**name, &**text)));
    if let Some(stream) = &rare.stream {
        w.message(12, |w| {
            w.number(1, stream.began);
            w.number(2, stream.length);
            w.number(3, number_of(stream.end, &StreamEnd::ALL));
            w.some_text(4, stream.reason.as_deref());
        });
    }
}

fn write_member(w: &mut Writer<'_>, member: &Member) {
    w.bytes(1, &member.session.0);
    w.some_text(2, member.user.as_deref());
    if let Some(info) = &member.info {
        w.bytes(3, info);
    }
}
