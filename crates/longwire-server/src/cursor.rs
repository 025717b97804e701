//! How far a reader is in its channels, as the text that it keeps: the `id` of an event, the `since` of a poll.
//!
//! For each channel `EPOCH:OFFSET`, with commas between them, and nothing for one in which it is nowhere yet. A cursor never says more
//! than was delivered. So while the keys of a channel are on their way a `~` stands behind its position, and after it, in digits of
//! base 16, the last key that has come: who comes back with that gets the rest of them, and then what came after the position. Where it
//! is known who is there it ends in who reads. No cursor has a `-` or a `;`, which proxies put behind entity tags.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::Arc;

use longwire_protocol::{Epoch, Position, SessionId};

/// The most bytes of a key.
const KEY_MAX: usize = 255;

/// Who reads, as its cursor says: behind a `.`, in 40 digits of base 16, the session that it was, and a tag by which the server knows that it
/// has said so itself. Whoever finds a cursor somewhere can be that member, and no more: it is not the session's secret. See
/// [`Reader::Stays`](longwire_core::engine::Reader::Stays).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(crate) session: SessionId,
    tag: u64,
}

/// What a node makes tags with, as long as it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seal(RandomState);

impl Seal {
    pub(crate) fn reader(&self, session: SessionId) -> Reader {
        Reader { session, tag: self.0.hash_one(session.0) }
    }

    pub(crate) fn is_ours(&self, reader: Reader) -> bool {
        self.reader(reader.session) == reader
    }
}

impl Reader {
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.push(b'.');
        write_hex(&self.session.0, out);
        write_hex(&self.tag.to_be_bytes(), out);
    }

    fn parse(digits: &str) -> Option<Self> {
        let bytes: [u8; 20] = parse_hex(digits)?.try_into().ok()?;
        let (session, tag) = bytes.split_first_chunk::<12>()?;
        Some(Self { session: SessionId(*session), tag: u64::from_be_bytes(tag.try_into().ok()?) })
    }
}

/// How far a reader is in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) since: Position,
    /// Not all of its keys have come, but those up to this one: see [`Subscribe::after`](longwire_protocol::Subscribe::after).
    pub(crate) after: Option<Box<str>>,
}

/// A channel, and how far somebody is there. Whoever listens has one of them for each of its channels: 40 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) channel: Arc<str>,
    offset: u64,
    epoch: Epoch,
    is_known: bool,
    after: Option<Box<Key>>,
}

#[derive(Clone, Debug)]
struct Key(Box<str>);

impl Place {
    pub(crate) fn new(channel: Arc<str>, cursor: Option<Cursor>) -> Self {
        let is_known = cursor.is_some();
        let Cursor { since, after } =
            cursor.unwrap_or(Cursor { since: Position { epoch: Epoch::NONE, offset: 0 }, after: None });
        Self { channel, offset: since.offset, epoch: since.epoch, is_known, after: after.map(|key| Box::new(Key(key))) }
    }

    /// Whether there is a position from which its reader can continue.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Its reader has got all up to here; in the epoch that it has there if none is given.
    pub(crate) fn reached(&mut self, epoch: Option<Epoch>, offset: u64) {
        (self.epoch, self.offset, self.is_known) = (epoch.unwrap_or(self.epoch), offset, true);
    }

    /// Its reader gets what follows a position; before that, if `keys`, those that it does not have yet.
    pub(crate) fn entered(&mut self, position: Position, keys: bool, is_recovered: bool) {
        self.reached(Some(position.epoch), position.offset);
        match (keys, &self.after) {
            (false, _) => self.after = None,
            (true, Some(_)) if is_recovered => {}
            (true, _) => self.after = Some(Box::new(Key(Box::default()))),
        }
    }

    /// Whether some of its keys have not come yet.
    pub(crate) fn wants_keys(&self) -> bool {
        self.after.is_some()
    }

    /// Keys have come, up to this one, or all of them.
    pub(crate) fn keys(&mut self, last: Option<&str>, done: bool) {
        match (last, &mut self.after) {
            (_, after) if done => *after = None,
            (Some(last), Some(after)) => after.0 = last.into(),
            _ => {}
        }
    }
}

/// Appends the cursor of all these.
pub(crate) fn write(places: &[Place], out: &mut Vec<u8>) {
    for (number, place) in places.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        if !place.is_known {
            continue;
        }
        write_position(Position { epoch: place.epoch, offset: place.offset }, out);
        if let Some(after) = &place.after {
            out.push(b'~');
            write_hex(after.0.as_bytes(), out);
        }
    }
}

/// Appends the cursor of one who has all up to here in its only channel.
pub(crate) fn write_position(Position { epoch, offset }: Position, out: &mut Vec<u8>) {
    let _ = write!(out, "{epoch}:{offset}");
}

/// What a text says: the cursors of so many channels, and who reads.
pub(crate) type Read = (Vec<Option<Cursor>>, Option<Reader>);

/// Reads a text; `None` if it is no cursor of that many channels.
pub(crate) fn parse(text: &str, count: usize) -> Option<Read> {
    let (places, reader) = match text.split_once('.') {
        Some((places, reader)) => (places, Some(Reader::parse(reader)?)),
        None => (text, None),
    };
    let one = |text: &str| if text.is_empty() { Some(None) } else { parse_one(text).map(Some) };
    let cursors: Option<Vec<_>> = places.split(',').map(one).collect();
    cursors.filter(|cursors| cursors.len() == count).map(|cursors| (cursors, reader))
}

/// The cursors in the entity tags of a condition (RFC 9110, 13.1.2): those of the first tag that is one. Proxies may have made tags
/// weak, or put something behind them when they compressed the answer. `*` is no place.
pub(crate) fn of_tags<'a>(lists: impl Iterator<Item = &'a str>, count: usize) -> Option<Read> {
    let mut is_any = false;
    for list in lists {
        let mut rest = list;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            rest = rest.strip_prefix("W/").or(rest.strip_prefix("w/")).unwrap_or(rest);
            let (tag, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                // What somebody has typed.
                None => (rest.trim_end(), ""),
            };
            if rest.is_empty() {
                break;
            }
            is_any |= rest.trim_end() == "*";
            if let Some(cursors) = tag.split(['-', ';']).next().and_then(|tag| parse(tag, count)) {
                return Some(cursors);
            }
            rest = after;
        }
    }
    is_any.then(|| (vec![None; count], None))
}

fn parse_one(text: &str) -> Option<Cursor> {
    let (position, after) = match text.split_once('~') {
        Some((position, key)) => (position, Some(parse_key(key)?)),
        None => (text, None),
    };
    let (epoch, offset) = position.split_once(':')?;
    // An epoch that is none is one that the channel does not have.
    let since = Position { epoch: Epoch::parse(epoch).unwrap_or(Epoch::NONE), offset: offset.parse().ok()? };
    Some(Cursor { since, after })
}

fn parse_key(digits: &str) -> Option<Box<str>> {
    String::from_utf8(parse_hex(digits)?).ok().map(Into::into)
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.iter().for_each(|byte| drop(write!(out, "{byte:02x}")));
}

fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.len() > 2 * KEY_MAX || !digits.is_ascii() {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn text(places: &[Place]) -> String {
        let mut out = Vec::new();
        write(places, &mut out);
        String::from_utf8(out).expect("a text")
    }

    #[test]
    fn a_cursor_says_what_was_delivered_and_is_read_back() {
        let mut places = [Place::new("a".into(), None), Place::new("b".into(), Some(Cursor { since: at(10, 2), after: None }))];
        assert_eq!(text(&places), ",0000000a:2", "what the reader has said stands");
        places[0].entered(at(11, 5), true, false);
        assert_eq!(text(&places), "0000000b:5~,0000000a:2", "no key has come");
        places[0].keys(Some("k\u{e4}"), false);
        assert_eq!(text(&places), "0000000b:5~6bc3a4,0000000a:2");
        let (read, _) = parse(&text(&places), 2).expect("a cursor");
        assert_eq!(read[0], Some(Cursor { since: at(11, 5), after: Some("k\u{e4}".into()) }));
        let mut back = Place::new("a".into(), read[0].clone());
        back.entered(at(11, 5), true, true);
        assert_eq!(text(std::slice::from_ref(&back)), "0000000b:5~6bc3a4", "those that it has are not asked for again");
        back.entered(at(12, 7), true, false);
        assert_eq!(text(std::slice::from_ref(&back)), "0000000c:7~", "all of them are");
        places[0].keys(None, true);
        places[0].reached(None, 6);
        assert_eq!(text(&places), "0000000b:6,0000000a:2");
    }

    #[test]
    fn a_reader_is_known_by_the_seal_of_the_node_that_has_named_it() {
        let seal = Seal::default();
        let reader = seal.reader(SessionId([7; 12]));
        let mut text = b"0000000a:7".to_vec();
        reader.write(&mut text);
        let text = String::from_utf8(text).expect("a text");
        let (places, read) = parse(&text, 1).expect("a cursor");
        assert_eq!((places.len(), read), (1, Some(reader)));
        assert_eq!(of_tags([&*format!("W/\"{text}-gzip\"")].into_iter(), 1).and_then(|read| read.1), Some(reader));
        assert!(seal.is_ours(reader) && !seal.is_ours(Reader { session: SessionId([8; 12]), ..reader }));
        assert!(!Seal::default().is_ours(reader), "of an earlier run");
        for bad in [&text[..text.len() - 1], &format!("{text}00"), "0000000a:7.", "0000000a:7.x"] {
            assert_eq!(parse(bad, 1), None, "{bad}");
        }
    }

    #[test]
    fn an_entity_tag_is_found_whatever_proxies_made_of_it() {
        let offset = |list: &str, count| -> Option<Option<u64>> {
            of_tags([list].into_iter(), count).map(|(all, _)| all[count - 1].as_ref().map(|cursor| cursor.since.offset))
        };
        for list in [
            "\"0000000a:7\"",
            "W/\"0000000a:7\"",
            "w/\"0000000a:7\"",
            "0000000a:7",
            " W/0000000a:7 ",
            "\"x\", \"0000000a:7\"",
            "\"0000000a:7-gzip\"",
            "\"0000000a:7--gzip\"",
            "\"0000000a:7;gz\"",
            "W/\"0000000a:7-br\" , \"0000000a:9\"",
            "\"0000000a:7",
        ] {
            assert_eq!(offset(list, 1), Some(Some(7)), "{list}");
        }
        assert_eq!(offset("\"x,y\",W/\"0000000a:1,0000000b:7~6b-gzip\"", 2), Some(Some(7)));
        assert_eq!((offset("*", 1), offset("\"x\", *", 2)), (Some(None), Some(None)));
        for list in ["\"yesterday\"", "\"0000000a:7\", \"x", ",", "\"\"\""] {
            assert_eq!(offset(list, 2), None, "{list}");
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for bad in
            ["yesterday", "0000000a", "0000000a:", "0000000a:x", "0000000a:1~6", "0000000a:1~zz", "0000000a:1~ff", "a:1,b:2"]
        {
            assert_eq!(parse(bad, 1), None, "{bad}");
        }
        assert_eq!(parse("", 1), Some((vec![None], None)));
        assert_eq!(parse(",", 2), Some((vec![None, None], None)));
        assert_eq!(parse("nonsense:1", 1), Some((vec![Some(Cursor { since: at(0, 1), after: None })], None)));
        let long = format!("0000000a:1~{}", "61".repeat(256));
        assert_eq!(parse(&long, 1), None);
    }
}
