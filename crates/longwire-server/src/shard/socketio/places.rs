//! Which channels each socket is in, and how far it is there: what a client that comes back continues from.
//!
//! Stock clients keep one thing, the last argument of the last event that they got if it is a text, and say it when they come back.
//! So each event ends in a text that says how far its socket is in all of its channels: `0:17,3:9`, the numbers of those channels
//! in which something has happened since the socket came to them, and the newest offset there. A channel whose keys the socket has
//! asked for is not among them until all of those are told.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use longwire_protocol::{Epoch, Position, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The sockets of a shard, by the index under which the engine knows them.
#[derive(Clone, Default)]
pub(crate) struct Places(Rc<RefCell<All>>);

#[derive(Default)]
struct All {
    members: Vec<Option<Box<Member>>>,
    lines: HashMap<SessionId, u32>,
    /// Those of which what is written down is not what they are.
    unsaved: Vec<u32>,
    /// Whether they are written down.
    keeps: bool,
}

/// What is known of one socket.
#[derive(Default)]
pub(crate) struct Member {
    /// Once it has one.
    pub(crate) id: Option<SessionId>,
    /// What is written down of it is older than what it is.
    unsaved: bool,
    /// If it may come back: for how many milliseconds, and the secret with which its session is taken up again.
    pub(crate) recovery: Option<Box<(u64, Box<str>)>>,
    pub(crate) joined: Joined,
}

/// The channels of a socket. It goes with the session when the line is lost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Joined {
    places: Vec<Place>,
    next: u32,
    /// It was written down, and may be older than what its client knows: channels whose numbers it does not know were not answered.
    #[serde(skip, default = "yes")]
    is_restored: bool,
    /// What the application has noted.
    pub(crate) data: Option<Box<Noted>>,
}

/// JSON as the application has written it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Noted(pub(crate) Box<RawValue>);

/// A channel of a socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    #[serde(with = "channel")]
    channel: Arc<str>,
    number: u32,
    /// Where it came in.
    #[serde(with = "position")]
    joined: Position,
    /// The newest offset that was sent. After a restart nobody knows.
    #[serde(skip, default = "unknown")]
    at: u64,
    /// The channel has been renumbered: nobody can continue there.
    #[serde(skip)]
    is_lost: bool,
    /// Its keys come first.
    #[serde(default)]
    has_keys: bool,
    /// And not all of them were sent.
    #[serde(skip)]
    wants_keys: bool,
    /// The socket has left it, and that is not written down yet. Until then its client is to say how far it was, or it would hear it all
    /// again if the server is killed now.
    #[serde(skip)]
    is_left: bool,
}

/// Where a socket continues.
pub(crate) struct Return {
    pub(crate) channel: Arc<str>,
    pub(crate) since: Position,
    /// Its client does not have all keys.
    pub(crate) keys: bool,
}

fn unknown() -> u64 {
    u64::MAX
}

fn yes() -> bool {
    true
}

/// By so much what a client says may be ahead of what is written down.
const AHEAD_MAX: u32 = 10_000;

mod channel {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(channel: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(channel)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Into::into)
    }
}

mod position {
    use longwire_protocol::{Epoch, Position};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
        (position.epoch.0, position.offset).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        let (epoch, offset) = <(u32, u64)>::deserialize(deserializer)?;
        Ok(Position { epoch: Epoch(epoch), offset })
    }
}

/// What a client is told to say when nothing has happened since it came.
const NOTHING_YET: &str = "-";

/// In a publication's tags: the rooms, or ids of sockets, that it is meant for, as a list in JSON; if it is for one socket, its id;
/// and those that it is not meant for.
pub(crate) const TO: &str = "socketio.to";
pub(crate) const ONLY: &str = "socketio.only";
pub(crate) const EXCEPT: &str = "socketio.except";
/// That it is only for those who take it at once.
pub(crate) const VOLATILE: &str = "socketio.volatile";

impl Places {
    /// Of sockets that are written down.
    pub(crate) fn kept(keeps: bool) -> Self {
        Self(Rc::new(RefCell::new(All { keeps, ..All::default() })))
    }

    /// Whether sockets are written down.
    pub(crate) fn keep(&self) -> bool {
        self.0.borrow().keeps
    }

    /// Whether this one is.
    pub(crate) fn is_kept(&self, line: u32) -> bool {
        self.keep() && self.with(line, |member| member.recovery.is_some()).unwrap_or(false)
    }

    /// Whether it has changed since it was given to be written down.
    pub(crate) fn has_changed(&self, line: u32) -> bool {
        self.with(line, |member| member.unsaved).unwrap_or(false)
    }

    /// What it has left is written down.
    pub(crate) fn forget_left(&self, line: u32) {
        self.with(line, |member| member.joined.places.retain(|place| !place.is_left));
    }

    pub(crate) fn begin(&self, line: u32, recovery: Option<u64>) {
        self.end(line);
        let members = &mut self.0.borrow_mut().members;
        if members.len() <= line as usize {
            members.resize_with(line as usize + 1, || None);
        }
        let recovery = recovery.map(|keep| Box::new((keep, Box::default())));
        members[line as usize] = Some(Box::new(Member { recovery, ..Member::default() }));
    }

    pub(crate) fn end(&self, line: u32) {
        let All { members, lines, .. } = &mut *self.0.borrow_mut();
        // It may have come back on another line already.
        if let Some(id) = members.get_mut(line as usize).and_then(Option::take).and_then(|member| member.id)
            && lines.get(&id) == Some(&line)
        {
            lines.remove(&id);
        }
    }

    /// A socket has its id, and the secret of its session.
    pub(crate) fn name(&self, line: u32, id: SessionId, secret: &str) {
        self.with(line, |member| {
            member.id = Some(id);
            if let Some(recovery) = &mut member.recovery {
                recovery.1 = secret.into();
            }
        });
        self.0.borrow_mut().lines.insert(id, line);
    }

    /// The socket with an id, if it is here.
    pub(crate) fn line_of(&self, id: SessionId) -> Option<u32> {
        self.0.borrow().lines.get(&id).copied()
    }

    /// It is to be written down what a socket is.
    pub(crate) fn is_unsaved(&self, line: u32) {
        if self.with(line, |member| member.recovery.is_some() && !std::mem::replace(&mut member.unsaved, true)).unwrap_or(false)
        {
            self.0.borrow_mut().unsaved.push(line);
        }
    }

    /// The sockets that are to be written down: those that are there still.
    pub(crate) fn take_unsaved(&self) -> Vec<u32> {
        let lines = std::mem::take(&mut self.0.borrow_mut().unsaved);
        let is_due = |line: &u32| self.with(*line, |member| std::mem::take(&mut member.unsaved)).unwrap_or(false);
        lines.into_iter().filter(is_due).collect()
    }

    pub(crate) fn with<T>(&self, line: u32, act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.0.borrow_mut().members.get_mut(line as usize)?.as_deref_mut().map(act)
    }

    /// A socket is in a channel from this position on, or `continues` there; what it was numbered it stays.
    pub(crate) fn joined(&self, line: u32, channel: &Arc<str>, position: Position, continues: bool) {
        self.with(line, |member| {
            let Joined { places, next, .. } = &mut member.joined;
            match places.iter_mut().find(|place| place.channel == *channel && !place.is_left) {
                // Where it came in stays what it was: what is written down may be older than this, and what is said from now on must
                // mean the same by it.
                Some(place) if continues && place.joined.epoch == position.epoch => {
                    (place.at, place.is_lost, place.wants_keys) = (position.offset, false, false);
                }
                Some(place) => {
                    (place.joined, place.at, place.is_lost) = (position, position.offset, false);
                    place.wants_keys = false;
                }
                None => {
                    // Most are in one or two.
                    places.reserve_exact(1);
                    places.push(Place {
                        channel: channel.clone(),
                        number: *next,
                        joined: position,
                        at: position.offset,
                        is_lost: false,
                        has_keys: false,
                        wants_keys: false,
                        is_left: false,
                    });
                    *next += 1;
                }
            }
        });
        self.is_unsaved(line);
    }

    /// What a socket is sent of a channel begins with the keys.
    pub(crate) fn keys_follow(&self, line: u32, channel: &str) {
        self.with(line, |member| {
            if let Some(place) = member.joined.place(channel) {
                (place.has_keys, place.wants_keys) = (true, true);
            }
        });
        self.is_unsaved(line);
    }

    /// All of them were sent.
    pub(crate) fn has_keys(&self, line: u32, channel: &str) {
        self.with(line, |member| member.joined.place(channel).map(|place| place.wants_keys = false));
    }

    pub(crate) fn left(&self, line: u32, channel: &str) {
        let is_kept = self.is_kept(line);
        self.with(line, |member| {
            if let Some(place) = member.joined.place(channel) {
                place.is_left = true;
            }
            if !is_kept {
                member.joined.places.retain(|place| !place.is_left);
            }
        });
        self.is_unsaved(line);
    }

    pub(crate) fn is_in(&self, line: u32, channel: &str) -> bool {
        self.with(line, |member| member.joined.has(channel)).unwrap_or(false)
    }

    /// What goes with the session of a lost line, and for how long.
    pub(crate) fn luggage(&self, line: u32) -> Option<(Joined, u64)> {
        self.with(line, |member| member.recovery.as_ref().map(|recovery| (member.joined.clone(), recovery.0))).flatten()
    }

    /// Notes that a socket is this far.
    pub(crate) fn note(&self, line: u32, channel: &str, epoch: Option<Epoch>, offset: u64) {
        self.with(line, |member| {
            if let Some(place) = member.joined.place(channel) {
                place.is_lost |= epoch.is_some_and(|epoch| epoch != place.joined.epoch);
                place.at = offset;
            }
        });
    }

    /// Appends how far a socket is, as its client is told.
    pub(crate) fn push_offset(&self, line: u32, out: &mut Vec<u8>) {
        let start = out.len();
        self.with(line, |member| {
            for place in member.joined.places.iter().filter(|place| place.is_to_be_said()) {
                if out.len() > start {
                    out.push(b',');
                }
                let _ = write!(out, "{}:{}", place.number, place.at);
            }
        });
        if out.len() == start {
            // An empty text would say nothing to the client.
            out.extend_from_slice(NOTHING_YET.as_bytes());
        }
    }

    /// Whether a delivery that is not for all is for this socket. Rooms are those of its namespace, whose channels begin alike.
    pub(crate) fn is_for(&self, line: u32, tags: &BTreeMap<Box<str>, Box<str>>) -> bool {
        let all = self.0.borrow();
        let Some(Some(member)) = all.members.get(line as usize) else { return true };
        let named = |tag| tags.get(tag).and_then(|list| serde_json::from_str::<Vec<String>>(list).ok());
        let any = |names: &[String]| names.iter().any(|name| member.is_named(name));
        if tags.get(ONLY).is_some_and(|only| !member.is_named(only)) {
            return false;
        }
        named(TO).is_none_or(|names| any(&names)) && !named(EXCEPT).is_some_and(|names| any(&names))
    }
}

impl Member {
    /// By a room's channel, or by its id.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.joined.has(name) || self.id.is_some_and(|id| SessionId::parse(name) == Some(id))
    }
}

impl Place {
    /// Whether it must be said, because it is not what is meant if nothing is said.
    fn is_to_be_said(&self) -> bool {
        !self.wants_keys && (self.has_keys || self.at != self.joined.offset)
    }
}

impl Joined {
    fn place(&mut self, channel: &str) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| *place.channel == *channel && !place.is_left)
    }

    fn has(&self, channel: &str) -> bool {
        self.places.iter().any(|place| *place.channel == *channel && !place.is_left)
    }

    /// The channels, in the order in which they were joined.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.places.iter().filter(|place| !place.is_left).map(|place| &place.channel)
    }

    /// What is to be written down: the channels that it is in, and has come into.
    pub(crate) fn to_keep(&self) -> Self {
        let is_in = |place: &&Place| !place.is_left && place.joined.epoch != Epoch::NONE;
        Self { places: self.places.iter().filter(is_in).cloned().collect(), data: self.data.clone(), ..*self }
    }

    /// Where to continue in each channel, by what a client has said; `None` if that cannot be done.
    pub(crate) fn continue_at(&mut self, offset: Option<&str>) -> Option<Vec<Return>> {
        let known = if self.is_restored { self.next.saturating_add(AHEAD_MAX) } else { self.next };
        let pair = |pair: &str| {
            let (number, offset) = pair.split_once(':')?;
            let number = number.parse().ok().filter(|number| *number < known)?;
            Some((number, offset.parse().ok()?))
        };
        let seen: HashMap<u32, u64> = match offset {
            None | Some(NOTHING_YET) => HashMap::new(),
            // What was never said is no place to continue from.
            Some(offset) => offset.split(',').map(pair).collect::<Option<_>>()?,
        };
        // A number that its client knows is not given again.
        self.next = seen.keys().map(|number| number + 1).fold(self.next, u32::max);
        self.is_restored = false;
        let at = |place: &Place| {
            let Place { channel, number, joined, at, is_lost, has_keys, .. } = place;
            let seen = seen.get(number);
            // What it cannot have seen it has not.
            let offset = seen.map_or(joined.offset, |seen| (*seen).clamp(joined.offset, *at));
            let since = Position { epoch: joined.epoch, offset };
            (!is_lost).then(|| Return { channel: channel.clone(), since, keys: *has_keys && seen.is_none() })
        };
        self.places.iter().filter(|place| !place.is_left).map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(places: &Places) -> String {
        let mut out = Vec::new();
        places.push_offset(7, &mut out);
        String::from_utf8(out).expect("a text")
    }

    #[test]
    fn an_offset_says_how_far_a_socket_is_where_something_has_happened() {
        let places = Places::default();
        places.begin(7, Some(1000));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let epoch = Epoch(5);
        places.joined(7, &a, Position { epoch, offset: 3 }, false);
        places.joined(7, &b, Position { epoch, offset: 0 }, false);
        assert_eq!(offset(&places), "-");
        places.note(7, "b", Some(epoch), 2);
        assert_eq!(offset(&places), "1:2");
        places.note(7, "a", None, 9);
        assert_eq!(offset(&places), "0:9,1:2");
        let (mut joined, _) = places.luggage(7).expect("it may come back");
        let mut at = |text| joined.continue_at(text).map(|all| all.iter().map(|at| at.since.offset).collect::<Vec<_>>());
        assert_eq!(at(None), Some(vec![3, 0]), "nothing was heard yet");
        assert_eq!(at(Some("0:4")), Some(vec![4, 0]));
        assert_eq!(at(Some("0:99,1:1")), Some(vec![9, 1]), "no further than it was sent");
        for unknown in ["", "x", "0:9,", "5:1", "0:9,1:1,nonsense"] {
            assert_eq!(at(Some(unknown)), None, "{unknown:?} was never said");
        }
        let kept = serde_json::to_string(&joined).expect("JSON");
        let mut restored: Joined = serde_json::from_str(&kept).expect("what was written");
        let positions = restored.continue_at(Some("0:12")).expect("it was said");
        assert_eq!(positions.iter().map(|at| at.since.offset).collect::<Vec<_>>(), [12, 0], "after a restart");
        places.left(7, "a");
        places.joined(7, &a, Position { epoch, offset: 9 }, false);
        assert_eq!(offset(&places), "1:2", "a channel that was left has a new number");
        places.note(7, "a", Some(Epoch(6)), 1);
        let (mut joined, _) = places.luggage(7).expect("it may come back");
        assert!(joined.continue_at(None).is_none(), "it was renumbered");
    }

    #[test]
    fn what_a_client_knows_of_and_was_not_written_down_is_not_taken_for_something_else() {
        let places = Places::kept(true);
        places.begin(7, Some(1000));
        let [a, b, c]: [Arc<str>; 3] = ["a", "b", "c"].map(Into::into);
        let epoch = Epoch(5);
        places.joined(7, &a, Position { epoch, offset: 3 }, false);
        places.note(7, "a", None, 4);
        let before = serde_json::to_string(&places.luggage(7).expect("it may come back").0.to_keep()).expect("JSON");
        // It joins a room and leaves another, and is told of something, and then the server is killed.
        places.joined(7, &b, Position { epoch: Epoch::NONE, offset: 0 }, false);
        assert_eq!(places.luggage(7).expect("it may come back").0.to_keep().channels().count(), 1, "it is not in yet");
        places.joined(7, &b, Position { epoch, offset: 5 }, false);
        places.left(7, "a");
        assert!(!places.is_in(7, "a"));
        places.note(7, "a", None, 9);
        places.note(7, "b", None, 6);
        assert_eq!(offset(&places), "0:4,1:6");
        let mut restored: Joined = serde_json::from_str(&before).expect("what was written");
        let positions = restored.continue_at(Some("0:4,1:6")).expect("it was said");
        assert_eq!(positions.iter().map(|at| (&*at.channel, at.since.offset)).collect::<Vec<_>>(), [("a", 4)]);
        places.begin(7, Some(1000));
        places.with(7, |member| member.joined = restored);
        places.joined(7, &a, Position { epoch, offset: 4 }, false);
        places.joined(7, &c, Position { epoch, offset: 0 }, false);
        places.note(7, "c", None, 1);
        assert_eq!(offset(&places), "2:1");
        // Once it is written down that it has left, nothing more is said of it.
        places.left(7, "a");
        places.forget_left(7);
        places.joined(7, &a, Position { epoch, offset: 9 }, false);
        places.note(7, "a", None, 10);
        assert_eq!(offset(&places), "2:1,3:10");
    }

    #[test]
    fn what_is_said_after_a_return_holds_with_what_was_written_down_before_it() {
        let places = Places::default();
        places.begin(7, Some(1000));
        let (quiet, busy): (Arc<str>, Arc<str>) = ("quiet".into(), "busy".into());
        let at = |offset| Position { epoch: Epoch(5), offset };
        places.joined(7, &quiet, at(3), false);
        places.joined(7, &busy, at(0), false);
        let (joined, _) = places.luggage(7).expect("it may come back");
        let written = serde_json::to_string(&joined).expect("JSON");
        places.note(7, "quiet", None, 9);
        // It comes back, and something happens in one of its channels only; then the server is killed, and has written nothing since.
        places.joined(7, &quiet, at(9), true);
        places.joined(7, &busy, at(0), true);
        places.note(7, "busy", None, 1);
        let said = offset(&places);
        let mut restored: Joined = serde_json::from_str(&written).expect("what was written");
        let positions = restored.continue_at(Some(&said)).expect("it was said");
        assert_eq!(positions.iter().map(|at| at.since.offset).collect::<Vec<_>>(), [9, 1], "{said}");
    }

    #[test]
    fn a_place_before_which_keys_come_is_said_once_they_have() {
        let places = Places::default();
        places.begin(7, Some(1000));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        places.joined(7, &a, Position { epoch: Epoch(5), offset: 3 }, false);
        places.keys_follow(7, "a");
        places.joined(7, &b, Position { epoch: Epoch(5), offset: 0 }, false);
        places.note(7, "b", None, 1);
        assert_eq!(offset(&places), "1:1");
        let keys = |text| {
            let (joined, _) = places.luggage(7).expect("it may come back");
            // As well after a restart.
            let kept: Joined = serde_json::from_str(&serde_json::to_string(&joined).expect("JSON")).expect("what was written");
            let all = [joined, kept].map(|mut joined| {
                let all = joined.continue_at(text).expect("it was said");
                all.iter().map(|at| at.keys).collect::<Vec<_>>()
            });
            assert_eq!(all[0], all[1]);
            all[0].clone()
        };
        assert_eq!(keys(Some("1:1")), [true, false]);
        places.has_keys(7, "a");
        assert_eq!(offset(&places), "0:3,1:1", "though nothing has happened there since");
        assert_eq!((keys(Some("0:3,1:1")), keys(Some("1:1"))), (vec![false, false], vec![true, false]));
        places.joined(7, &a, Position { epoch: Epoch(5), offset: 4 }, true);
        assert_eq!(offset(&places), "0:4,1:1", "it continues");
    }
}
