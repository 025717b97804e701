//! Names of rooms, and the channels that rooms are.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longwire_protocol::{CHANNEL_MAX, SessionId};
use longwire_socketio::Arguments;

use super::{Namespace, Socket};

/// The longest name of a room, in bytes.
pub(super) const ROOM_MAX: usize = 1024;

/// One room or several: a text, or an array, slice or `Vec` of texts.
pub trait Rooms {
    /// Gives each of them.
    fn each(self, give: impl FnMut(&str));
}

impl<T: AsRef<str> + ?Sized> Rooms for &T {
    fn each(self, mut give: impl FnMut(&str)) {
        give(self.as_ref());
    }
}

impl<T: AsRef<str>, const N: usize> Rooms for [T; N] {
    fn each(self, give: impl FnMut(&str)) {
        self.iter().map(AsRef::as_ref).for_each(give);
    }
}

impl<T: AsRef<str>> Rooms for Vec<T> {
    fn each(self, give: impl FnMut(&str)) {
        self.iter().map(AsRef::as_ref).for_each(give);
    }
}

/// Why a socket is not in a room that it was to join.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// A name of more than 1,024 bytes, or, where rooms are the application's own channels, one that no channel can have.
    BadName(String),
    /// It is in as many as it may be: see [`SocketIo::max_rooms`](super::SocketIo::max_rooms).
    TooMany {
        /// How many that are.
        limit: usize,
    },
    /// It is not connected any more.
    Disconnected,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "no room can be called {:?}", name.chars().take(64).collect::<String>()),
            Self::TooMany { limit } => write!(f, "in {limit} rooms already, which are all that a socket may be in"),
            Self::Disconnected => f.write_str("not connected any more"),
        }
    }
}

impl std::error::Error for JoinError {}

/// The channels of a namespace.
///
/// What users call namespaces and rooms is part of their names, escaped, so that no name means anything but itself: that of all
/// sockets ends in the only `#` that a namespace can have there, and what stands behind it is a room.
#[derive(Clone)]
pub(crate) struct Space {
    /// The name of the namespace.
    pub(crate) name: Arc<str>,
    /// The channel of all its sockets. That of a room, or of one socket, has its name behind this one.
    pub(crate) all: Arc<str>,
    /// Whether its sockets are in channels of their own, each called as a room with the socket's id for a name.
    pub(super) recovers: bool,
    rooms_in: Option<Arc<str>>,
    /// Whether somebody has joined a room whose name may be a socket's id.
    ids_are_joined: Arc<AtomicBool>,
    outgoing: Vec<Outgoing>,
}

/// What is told of each event that is emitted.
pub(super) type Outgoing = Arc<dyn Fn(Option<&Socket>, &str, &Arguments) + Send + Sync>;

impl Space {
    pub(super) fn new(name: &str, prefix: &str, recovers: bool, of: &Namespace, ids_are_joined: Arc<AtomicBool>) -> Self {
        let all = format!("{prefix}:{}#", escaped(name)).into();
        let (rooms_in, outgoing) = (of.rooms_in.clone(), of.outgoing.clone());
        Self { name: name.into(), all, recovers, rooms_in, ids_are_joined, outgoing }
    }

    /// Tells those who want to know that an event is emitted, to one socket or to many.
    pub(super) fn tell_outgoing(&self, to: Option<&Socket>, event: &str, arguments: &Arguments) {
        self.outgoing.iter().for_each(|tell| tell(to, event, arguments));
    }

    /// The same, of arguments with the event's name.
    pub(super) fn tell_outgoing_event(&self, to: Option<&Socket>, event: &str, arguments: &Arguments) {
        if !self.outgoing.is_empty() {
            self.tell_outgoing(to, event, &arguments.without_name());
        }
    }

    /// The channel that a room is, on a node of so many shards.
    pub(crate) fn room(&self, room: &str, shards: usize) -> Arc<str> {
        match &self.rooms_in {
            // What is said to one socket is not for whoever may follow a channel that is called as its id.
            Some(namespace) if id_of(room, shards).is_none() => format!("{namespace}:{room}").into(),
            _ => self.own(room),
        }
    }

    /// The same, if there can be such a room.
    pub(super) fn possible_room(&self, room: &str, shards: usize) -> Result<Arc<str>, JoinError> {
        let channel = self.room(room, shards);
        let is_possible = match &self.rooms_in {
            Some(_) if id_of(room, shards).is_none() => {
                !room.is_empty() && channel.len() <= CHANNEL_MAX && !room.contains(char::is_control)
            }
            _ => room.len() <= ROOM_MAX,
        };
        if is_possible { Ok(channel) } else { Err(JoinError::BadName(room.to_owned())) }
    }

    /// The channel of one socket, by its id, or of a room that is nobody else's.
    pub(crate) fn own(&self, room: &str) -> Arc<str> {
        // Nothing stands behind the name of the channel of all. A lone `%` is no escape.
        format!("{}{}", self.all, if room.is_empty() { "%".into() } else { escaped(room) }).into()
    }

    /// The room that a channel is.
    pub(crate) fn room_of<'a>(&self, channel: &'a str) -> Option<Cow<'a, str>> {
        if let Some(room) = channel.strip_prefix(&*self.all) {
            return if room.is_empty() { None } else { Some(unescaped(room)) };
        }
        let room = channel.strip_prefix(self.rooms_in.as_deref()?)?.strip_prefix(':')?;
        Some(room.into())
    }

    /// Notes that somebody joins a room: what is emitted to a socket's id may be for more than that socket from then on.
    pub(super) fn is_joined(&self, room: &str, shards: usize) {
        if id_of(room, shards).is_some() {
            self.ids_are_joined.store(true, Ordering::SeqCst);
        }
    }

    /// Whether what is emitted to a socket's id may be for others, who have joined a room of that name.
    pub(super) fn ids_are_joined(&self) -> bool {
        self.ids_are_joined.load(Ordering::SeqCst)
    }
}

/// The id that a name may be, on a node of so many shards.
pub(super) fn id_of(name: &str, shards: usize) -> Option<SessionId> {
    SessionId::parse(name).filter(|id| usize::from(id.shard()) < shards)
}

fn is_plain(char: char) -> bool {
    !(matches!(char, '%' | '#') || char.is_control())
}

/// A name without `#` and without control characters: those, and `%`, are written as the bytes of their UTF-8 in hexadecimal.
fn escaped(name: &str) -> Cow<'_, str> {
    if name.chars().all(is_plain) {
        return name.into();
    }
    let mut out = String::with_capacity(name.len() + 16);
    for char in name.chars() {
        if is_plain(char) {
            out.push(char);
        } else {
            char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
    }
    out.into()
}

/// What [`escaped`] has made of a name, as it was.
fn unescaped(name: &str) -> Cow<'_, str> {
    let Some((plain, mut rest)) = name.split_once('%') else { return name.into() };
    let mut out = plain.as_bytes().to_vec();
    while let Some((byte, after)) = rest.split_at_checked(2) {
        out.extend(u8::from_str_radix(byte, 16).ok());
        let (plain, next) = after.split_once('%').unwrap_or((after, ""));
        out.extend_from_slice(plain.as_bytes());
        rest = next;
    }
    String::from_utf8(out).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn space(name: &str, rooms_in: Option<&str>) -> Space {
        let of = Namespace { rooms_in: rooms_in.map(Into::into), ..Namespace::default() };
        Space::new(name, "io", false, &of, Arc::default())
    }

    /// The id of a socket on shard 1.
    const ID: &str = "AAECAwQFBgcICQoL";

    #[test]
    fn no_two_rooms_have_the_same_channel_and_each_knows_its_name() {
        let names = [
            "", "a", "#", "#a", "a#b", "%", "%25", "%23", "25", "\0", "\u{85}", "a\nb", "ä%", "/", "/#", ID, "io:/#a",
            "chat:a", "😀",
        ];
        let mut channels = HashSet::new();
        for namespace in ["/", "/a", "/a#", "/a#b", "/%23", "/%", "/a/b"] {
            let space = space(namespace, None);
            assert!(channels.insert(space.all.clone()), "{namespace:?}");
            assert_eq!(space.room_of(&space.all), None);
            for name in names {
                let channel = space.possible_room(name, 4).expect("a room");
                assert_eq!(space.room_of(&channel).as_deref(), Some(name), "{namespace:?} {name:?} as {channel:?}");
                assert_eq!(channel.matches('#').count(), 1, "{channel:?}");
                assert!(!channel.contains(char::is_control), "{channel:?}");
                assert!(channels.insert(channel), "{namespace:?} {name:?}");
            }
        }
        assert!(space("/", None).possible_room(&"\n".repeat(ROOM_MAX), 4).is_ok());
        assert!(matches!(space("/", None).possible_room(&"x".repeat(ROOM_MAX + 1), 4), Err(JoinError::BadName(_))));
    }

    #[test]
    fn rooms_that_are_channels_are_called_as_these_but_no_socket_is() {
        let space = space("/", Some("chat"));
        for name in ["lobby", "50%", "a#b", "chat:x", "/"] {
            let channel = space.possible_room(name, 4).expect("a room");
            assert_eq!((&*channel, space.room_of(&channel).as_deref()), (&*format!("chat:{name}"), Some(name)));
        }
        for name in ["", "a\nb", &"x".repeat(251)] {
            assert!(space.possible_room(name, 4).is_err(), "{name:?}");
        }
        assert_eq!(&*space.room(ID, 2), format!("io:/#{ID}"));
        assert_eq!(&*space.room(ID, 1), format!("chat:{ID}"), "there is no such shard");
        assert_eq!(space.room_of(&space.own(ID)).as_deref(), Some(ID));
    }
}
