//! The simplest server that keeps the protocol: for one client, in one piece.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longwire_protocol::{
    Abilities, Action, Append, Command, Connected, Data, Epoch, Form, Message, Piece, Position, Publication, Publish, Push,
    Rare, Reply, SessionId, Stream, Subscribe, Subscribed, Unrecovered,
};

/// What outlives lines.
#[derive(Default)]
pub(super) struct Model {
    pub(super) channels: BTreeMap<Arc<str>, Channel>,
    /// Those that the line is subscribed to.
    subscribed: BTreeSet<Arc<str>>,
}

#[derive(Default)]
pub(super) struct Channel {
    pub(super) head: u64,
    /// In the order of their newest offsets; streams with all their text.
    pub(super) log: Vec<Arc<Publication>>,
    /// What can be gone back to: everything after this offset.
    pub(super) kept_after: u64,
    pub(super) keys: BTreeMap<Box<str>, Arc<Publication>>,
    once: BTreeMap<Box<str>, Position>,
}

const EPOCH: Epoch = Epoch(7);
/// Keys come so many at a time.
const KEYS: usize = 2;

fn at(offset: u64) -> Position {
    Position { epoch: EPOCH, offset }
}

impl Model {
    /// The line is gone, and what was on it.
    pub(super) fn line_lost(&mut self) {
        self.subscribed.clear();
    }

    /// A message came; says what to send back.
    pub(super) fn message(&mut self, form: Form, bytes: &[u8]) -> Vec<Message> {
        let mut out = Vec::new();
        for command in form.commands(bytes) {
            let Command { id, action } = command.expect("a good command");
            let reply = match action {
                Action::Connect(_) => connected(),
                Action::Subscribe(subscribe) => {
                    let (reply, pushes) = self.subscribe(&subscribe);
                    out.push(Message::Reply(id, reply));
                    out.extend(pushes.into_iter().map(Message::Push));
                    continue;
                }
                Action::Unsubscribe { channel } => {
                    assert!(self.subscribed.remove(&channel), "left {channel}, which was not joined");
                    Reply::Unsubscribed { channel }
                }
                Action::Publish(publish) => {
                    let (reply, push) = self.publish(publish);
                    out.extend(push.map(Message::Push));
                    reply
                }
                Action::Append(append) => {
                    let (length, push) = self.append(&append);
                    out.extend(push.map(Message::Push));
                    Reply::Appended { channel: append.channel, stream: append.stream, length, cancel: false }
                }
                Action::Ping => Reply::Pong,
                other => panic!("unexpected {other:?}"),
            };
            out.push(Message::Reply(id, reply));
        }
        out
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> (Reply, Vec<Push>) {
        let channel = self.channels.entry(subscribe.channel.clone()).or_default();
        assert!(self.subscribed.insert(subscribe.channel.clone()), "joined {} twice", subscribe.channel);
        let recovered = subscribe.since.map(|since| match since {
            _ if since.epoch != EPOCH => Err(Unrecovered::Epoch),
            _ if since.offset > channel.head => Err(Unrecovered::Ahead),
            _ if since.offset < channel.kept_after => Err(Unrecovered::Expired),
            _ => Ok(()),
        });
        let offset = match (recovered, subscribe.since) {
            // A server may begin earlier than it was asked to.
            (Some(Ok(())), Some(since)) => since.offset.saturating_sub(since.offset % 3).max(channel.kept_after),
            _ => channel.head,
        };
        let mut pushes = Vec::new();
        let after = subscribe.after.as_deref().filter(|_| recovered == Some(Ok(())));
        if subscribe.state && (recovered != Some(Ok(())) || after.is_some()) {
            let rest = channel.keys.iter().filter(|(key, _)| ***key > *after.unwrap_or_default());
            let all: Vec<_> = rest.map(|(_, entry)| entry.clone()).collect();
            let mut parts: Vec<_> = all.chunks(KEYS).map(<[_]>::to_vec).collect();
            let last = parts.pop().unwrap_or_default();
            let part = |entries, done| Push::State { channel: subscribe.channel.clone(), entries, done };
            pushes.extend(parts.into_iter().map(|entries| part(entries, false)));
            pushes.push(part(last, true));
        }
        pushes.extend(channel.log.iter().filter(|kept| kept.offset > offset).cloned().map(Push::Publication));
        let reply = Subscribed {
            channel: subscribe.channel.clone(),
            position: at(offset),
            head: channel.head,
            recovered,
            members: None,
            options: Abilities { history: true, state: subscribe.state, ..Abilities::default() },
        };
        (Reply::Subscribed(Box::new(reply)), pushes)
    }

    pub(super) fn publish(&mut self, publish: Publish) -> (Reply, Option<Push>) {
        let channel = self.channels.entry(publish.channel.clone()).or_default();
        if let Some(once) = &publish.once {
            if let Some(position) = channel.once.get(once) {
                return (
                    Reply::Published { channel: publish.channel, position: Some(*position), repeated: true, lease: None },
                    None,
                );
            }
            channel.once.insert(once.clone(), at(channel.head + 1));
        }
        channel.head += 1;
        let stream = publish.stream.then_some(Stream { began: channel.head, length: 0, end: None, reason: None });
        let key = publish.key.clone();
        let rare = stream.is_some() || key.is_some();
        let publication = Arc::new(Publication {
            channel: publish.channel.clone(),
            offset: channel.head,
            time: 1,
            data: publish.data,
            from: None,
            rare: rare.then(|| Box::new(Rare { stream, key, removed: publish.remove, ..Rare::default() })),
        });
        match publish.key {
            Some(key) if publish.remove => drop(channel.keys.remove(&key)),
            Some(key) => drop(channel.keys.insert(key, publication.clone())),
            None => {}
        }
        channel.log.push(publication.clone());
        let position = Some(at(channel.head));
        let push = self.subscribed.contains(&publish.channel).then_some(Push::Publication(publication));
        (Reply::Published { channel: publish.channel, position, repeated: false, lease: None }, push)
    }

    /// The stream's new length, and what to tell the subscriber.
    fn append(&mut self, append: &Append) -> (u64, Option<Push>) {
        let channel = self.channels.get_mut(&append.channel).expect("a channel");
        let at = channel.log.iter().position(|entry| stream_of(entry).is_some_and(|stream| stream.began == append.stream));
        let mut entry = Publication::clone(&channel.log.remove(at.expect("a stream")));
        let mut text = String::from_utf8(entry.data.as_ref().map_or(Vec::new(), |data| data.as_bytes().to_vec())).unwrap();
        let before = text.len() as u64;
        let new = append.data.as_deref().unwrap_or_default();
        let known = usize::try_from(before - append.at.unwrap()).expect("no hole").min(new.len());
        text.push_str(&new[known..]);
        let changed = known < new.len() || append.end.is_some();
        if changed {
            channel.head += 1;
            entry.offset = channel.head;
        }
        let length = text.len() as u64;
        entry.data = Some(Data::from(text));
        let stream = entry.rare.as_mut().and_then(|rare| rare.stream.as_mut()).unwrap();
        stream.length = length;
        stream.end = append.end.or(stream.end);
        let piece = Piece {
            channel: append.channel.clone(),
            offset: entry.offset,
            stream: append.stream,
            at: before,
            data: Some(new[known..].into()),
            end: append.end,
            reason: None,
        };
        channel.log.push(Arc::new(entry));
        channel.log.sort_by_key(|entry| entry.offset);
        let push = (changed && self.subscribed.contains(&append.channel)).then(|| Push::Append(Arc::new(piece)));
        (length, push)
    }

    /// Forgets the oldest publications but so many.
    pub(super) fn forget(&mut self, keep: usize) {
        for channel in self.channels.values_mut() {
            let many = channel.log.len().saturating_sub(keep);
            // A stream that goes on is not forgotten, nor is what comes after it.
            let many = channel.log[..many].iter().position(|entry| stream_of(entry).is_some()).unwrap_or(many);
            if let Some(last) = channel.log.drain(..many).next_back() {
                channel.kept_after = last.offset;
            }
        }
    }
}

pub(super) fn stream_of(publication: &Publication) -> Option<&Stream> {
    publication.rare.as_ref()?.stream.as_ref()
}

fn connected() -> Reply {
    Reply::Connected(Box::new(Connected {
        session: SessionId::new(0, [1; 10]),
        key: "secret".into(),
        resumed: false,
        user: None,
        ping: 25,
        keep: 60,
        max: 4096,
        expires: None,
    }))
}
