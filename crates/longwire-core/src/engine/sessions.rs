//! How sessions begin, stay without a line, are taken up again, and end.
//!
//! A session's id names the shard that it was born on. It lives on the shard of its line; the shard of its birth knows which one
//! that is, so that whoever comes with the id finds it.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use longwire_protocol::{CloseCode, Connect, Connected, ErrorCode, Member, Push, Reply, SessionId};

use super::commands::Purpose;
use super::{Engine, Identity, Lines};
use crate::broker::Ask;
use crate::hub::Encoder;

/// A session with a line.
pub(super) struct Session {
    pub(super) id: SessionId,
    key: [u8; 16],
    pub(super) member: Arc<Member>,
    /// The steady time at which its token is no longer good.
    pub(super) expires: Option<u64>,
    /// Channels in which it still counts as present from before its line was lost, and until when; from the first to go.
    pub(super) leftover: Vec<(u64, Arc<str>)>,
    /// How often its client has come back with it, and it perhaps gone to another shard.
    moves: u32,
    /// What the server keeps with it while it has no line, and for how many milliseconds then.
    pub(super) luggage: Option<Luggage>,
    /// The steady time at which its newest line was opened. What an older line still says comes late, from a client that has
    /// given that line up: it does not get the session back.
    opened: u64,
    returns: Returns,
}

/// Who gets a session that has lost its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    /// Whoever has its secret.
    Client,
    /// So does the reader that it is, by its name.
    Reader,
    /// Nobody.
    Nobody,
}

impl Session {
    /// Whether its client has come back with it.
    pub(super) fn was_resumed(&self) -> bool {
        self.moves > 0
    }
}

/// What is kept with a session, and for how long without a line, in milliseconds.
pub type Luggage = (Box<dyn Any + Send>, u64);

/// Where a session is.
pub(super) enum Place {
    /// On this line.
    Line(u32),
    /// Here, without a line, until this steady time.
    Parked(Box<Session>, u64),
    /// On another shard; it was born here. And how often it had gone to another when it went there.
    Shard(u16, u32),
}

/// A line that waits for a session from another shard.
pub(super) struct Connecting {
    slot: u32,
    identity: Identity,
    info: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Connect { line: u32, number: u32 },
    Park(SessionId),
    Token { line: u32, number: u32 },
    Leftover { line: u32, number: u32 },
}

/// What the engines of a node tell each other.
pub struct Peer(pub(super) Said);

pub(super) enum Said {
    /// Someone who has come to `shard` says that this session is theirs.
    TakeOver { claim: Box<Claim>, shard: u16, line: u32, number: u32 },
    /// Here it is, or nobody knows of it.
    TakenOver { line: u32, number: u32, session: Option<Box<Session>> },
    /// It lives there now.
    Moved { session: SessionId, shard: u16, moves: u32 },
    /// It is over.
    Ended { session: SessionId },
    /// Someone wants its stream to stop.
    Cancel { producer: SessionId, channel: Arc<str>, stream: u64 },
}

/// What a line does that only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It has a look, and is not among those who are there.
    Looks,
    /// It is there. If another line has the session that it was, this one is the member from now on, and the other one reads on without being
    /// among those who are there.
    Stays {
        /// The session that it was, as far as the server knows; without one, or if that is over, it is a new one.
        before: Option<SessionId>,
        /// Its line is one of many short ones.
        briefly: bool,
    },
}

/// Someone says that a session is theirs.
pub(super) struct Claim {
    session: SessionId,
    /// Nothing if it is a reader's.
    key: Option<[u8; 16]>,
    user: Option<Arc<str>>,
    /// The steady time at which their line was opened.
    opened: u64,
}

impl Peer {
    pub(super) fn cancel(producer: SessionId, channel: Arc<str>, stream: u64) -> Self {
        Self(Said::Cancel { producer, channel, stream })
    }
}

impl<E: Encoder> Engine<E> {
    pub(super) fn connect(&mut self, line: u32, number: u32, connect: Connect, lines: &mut impl Lines<E>) {
        let Connect { token, info, session, key } = connect;
        let identity = match self.authenticator.authenticate(token.as_deref()) {
            Ok(identity) => identity,
            Err(code) => return self.fail(line, number, code, None, lines),
        };
        let claim = match self.readers.get(&line) {
            Some(Reader::Stays { before: Some(session), .. }) => Some((*session, None)),
            _ => session.zip(key.as_deref().and_then(parse_key).map(Some)),
        };
        let Some((session, key)) = claim else {
            return self.begin_session(line, number, identity, info, None, lines);
        };
        let home = match self.sessions.get(&session) {
            Some(Place::Shard(shard, _)) => *shard,
            Some(_) => self.shard,
            None => session.shard(),
        };
        if !lines.has_shard(home) {
            return self.begin_session(line, number, identity, info, None, lines);
        }
        let user = identity.user.clone();
        let Some(at) = self.line(line) else { return };
        let claim = Claim { session, key, user, opened: at.opened };
        if home == self.shard {
            let mut taken = self.take(&claim, lines);
            if let Some(taken) = &mut taken {
                taken.moves += 1;
            }
            return self.begin_session(line, number, identity, info, taken, lines);
        }
        let Some(at) = self.line(line) else { return };
        at.connecting = Some(Box::new(Connecting { slot: number, identity, info }));
        let at = at.number;
        self.wait(line, number, Purpose::Connect);
        lines.tell(home, Peer(Said::TakeOver { claim: Box::new(claim), shard: self.shard, line, number: at }));
    }

    /// Another shard's engine says something.
    pub fn told(&mut self, peer: Peer, lines: &mut impl Lines<E>) {
        match peer.0 {
            Said::TakeOver { claim, shard, line, number } => {
                let session = claim.session;
                if let Some(Place::Shard(next, _)) = self.sessions.get(&session)
                    && *next != shard
                {
                    let next = *next;
                    return lines.tell(next, Peer(Said::TakeOver { claim, shard, line, number }));
                }
                let mut taken = self.take(&claim, lines);
                if let Some(taken) = &mut taken {
                    taken.moves += 1;
                    let moves = taken.moves;
                    if session.shard() == self.shard {
                        self.sessions.insert(session, Place::Shard(shard, moves));
                    } else if session.shard() != shard {
                        lines.tell(session.shard(), Peer(Said::Moved { session, shard, moves }));
                    }
                }
                lines.tell(shard, Peer(Said::TakenOver { line, number, session: taken }));
            }
            Said::TakenOver { line, number, session } => {
                let waits = self.line(line).filter(|line| line.number == number).and_then(|line| line.connecting.take());
                match (waits, session) {
                    (Some(waits), session) => {
                        let Connecting { slot, identity, info } = *waits;
                        self.begin_session(line, slot, identity, info, session, lines);
                    }
                    // The line has ended meanwhile.
                    (None, Some(session)) => self.park(session, Vec::new(), lines),
                    (None, None) => {}
                }
            }
            Said::Moved { session, shard, moves } => {
                // Letters of different shards may come in another order than they were written in.
                if let Some(Place::Shard(at, known)) = self.sessions.get_mut(&session)
                    && moves > *known
                {
                    (*at, *known) = (shard, moves);
                }
            }
            Said::Ended { session } => {
                if let Some(Place::Shard(..)) = self.sessions.get(&session) {
                    self.sessions.remove(&session);
                }
            }
            Said::Cancel { producer, channel, stream } => self.cancel(producer, channel, stream, lines),
        }
    }

    /// Takes a session from its line, or from where it is parked, if the claim is right.
    fn take(&mut self, claim: &Claim, lines: &mut impl Lines<E>) -> Option<Box<Session>> {
        let id = claim.session;
        let session = match self.sessions.get(&id)? {
            Place::Line(line) => self.lines.get(*line as usize)?.as_ref()?.session.as_ref()?,
            Place::Parked(session, _) => session,
            Place::Shard(..) => return None,
        };
        let is_theirs = match &claim.key {
            Some(key) => is_same(&session.key, key),
            None => session.returns == Returns::Reader,
        };
        if !is_theirs || session.member.user != claim.user || session.opened > claim.opened {
            return None;
        }
        match self.sessions.remove(&id)? {
            Place::Line(line) if claim.key.is_none() => self.rename(line, lines),
            Place::Line(line) => {
                let (session, channels) = self.detach(line, lines);
                let mut session = session?;
                self.note_presence(&mut session, channels, lines);
                lines.close(line, CloseCode::Replaced);
                Some(session)
            }
            Place::Parked(session, until) => {
                self.parked -= 1;
                self.timers.remove(&(until, Timer::Park(id)));
                Some(session)
            }
            Place::Shard(..) => None,
        }
    }

    /// A line that is about to connect only reads.
    pub fn reads(&mut self, line: u32, reader: Reader) {
        self.readers.insert(line, reader);
    }

    /// Takes the session of a reader's line, which goes on under another name, and is not among those who are there any more.
    fn rename(&mut self, line: u32, lines: &mut impl Lines<E>) -> Option<Box<Session>> {
        let channels = self.hub.channels_of(line).cloned().collect::<Vec<_>>();
        let (id, key) = (SessionId::new(self.shard, self.random.bytes()), self.random.bytes());
        let at = self.line(line)?;
        let entering = at.entering.iter().map(|entering| entering.channel.clone());
        let channels = entering.chain(channels).collect();
        let mut session = at.session.take()?;
        let Member { user, info, .. } = &*session.member;
        let member = Arc::new(Member { session: id, user: user.clone(), info: info.clone() });
        let Session { expires, opened, .. } = *session;
        let (leftover, returns) = (Vec::new(), Returns::Nobody);
        let renamed = Session { id, key, member, expires, leftover, moves: 0, luggage: None, opened, returns };
        at.session = Some(Box::new(renamed));
        self.sessions.insert(id, Place::Line(line));
        session.expires = None;
        self.note_presence(&mut session, channels, lines);
        Some(session)
    }

    /// A line speaks for a session from now on: for this one, or for a new one.
    fn begin_session(
        &mut self,
        line: u32,
        slot: u32,
        identity: Identity,
        info: Option<Bytes>,
        taken: Option<Box<Session>>,
        lines: &mut impl Lines<E>,
    ) {
        let resumed = taken.is_some();
        let Identity { user, expires } = identity;
        let reader = self.readers.get(&line).copied();
        if matches!(reader, Some(Reader::Stays { briefly: false, .. })) {
            self.readers.remove(&line);
        }
        let returns = if reader.is_some() { Returns::Reader } else { Returns::Client };
        let (id, key, known_info, leftover, moves, luggage) = match taken {
            Some(taken) => (taken.id, taken.key, taken.member.info.clone(), taken.leftover, taken.moves, taken.luggage),
            None => (SessionId::new(self.shard, self.random.bytes()), self.random.bytes(), None, Vec::new(), 0, None),
        };
        // Whoever had the secret of a session that was taken up by its name has it no longer.
        let by_name = matches!(reader, Some(Reader::Stays { before: Some(_), .. }));
        let key = if by_name && resumed { self.random.bytes() } else { key };
        let member = Arc::new(Member { session: id, user: user.clone(), info: info.or(known_info) });
        let Some(at) = self.line(line) else { return };
        let (number, opened, connect_by) = (at.number, at.opened, at.connect_by);
        at.session = Some(Box::new(Session { id, key, member, expires: None, leftover, moves, luggage, opened, returns }));
        self.timers.remove(&(connect_by, Timer::Connect { line, number }));
        self.sessions.insert(id, Place::Line(line));
        self.leave_leftover(line, lines);
        self.expect_expiry(line, expires);
        let connected = Connected {
            session: id,
            key: show_key(&key),
            resumed,
            user,
            ping: self.options.ping,
            keep: (self.options.keep / 1000) as u32,
            max: self.options.message_bytes,
            expires,
        };
        self.reply(line, slot, Some(Reply::Connected(Box::new(connected))), lines);
    }

    pub(super) fn refresh(&mut self, line: u32, number: u32, token: &str, lines: &mut impl Lines<E>) {
        let identity = match self.authenticator.authenticate(Some(token)) {
            Ok(identity) => identity,
            Err(code) => return self.fail(line, number, code, None, lines),
        };
        let user = self.line(line).and_then(|line| line.session.as_ref()).and_then(|session| session.member.user.clone());
        if identity.user != user {
            return self.fail(line, number, ErrorCode::PermissionDenied, None, lines);
        }
        self.expect_expiry(line, identity.expires);
        let has_id = self.has_id(line, number);
        self.reply(line, number, has_id.then_some(Reply::Refreshed { expires: identity.expires }), lines);
    }

    fn expect_expiry(&mut self, line: u32, expires: Option<u32>) {
        let now = self.now.steady;
        let Some(at) = self.line(line) else { return };
        let number = at.number;
        let Some(session) = &mut at.session else { return };
        let before = std::mem::replace(&mut session.expires, expires.map(|seconds| now + u64::from(seconds) * 1000));
        let after = session.expires;
        if let Some(before) = before {
            self.timers.remove(&(before, Timer::Token { line, number }));
        }
        self.timers.extend(after.map(|after| (after, Timer::Token { line, number })));
    }

    /// Keeps a session that has no line, for a while; it was in these channels.
    pub(super) fn park(&mut self, mut session: Box<Session>, channels: Vec<Arc<str>>, lines: &mut impl Lines<E>) {
        self.note_presence(&mut session, channels, lines);
        if self.options.keep == 0 || self.parked >= self.options.parked || session.returns == Returns::Nobody {
            return self.end(*session, lines);
        }
        self.parked += 1;
        let keep = session.luggage.as_ref().map_or(self.options.keep, |(_, keep)| *keep);
        let (id, until) = (session.id, self.now.steady + keep);
        self.timers.insert((until, Timer::Park(id)));
        self.sessions.insert(id, Place::Parked(session, until));
    }

    /// A session from before a restart, without a line: its secret, and what is kept with it.
    pub fn restore(&mut self, id: SessionId, key: &str, luggage: Luggage) {
        let Some(key) = parse_key(key) else { return };
        if self.parked >= self.options.parked || self.sessions.contains_key(&id) {
            return;
        }
        let until = self.now.steady.saturating_add(luggage.1);
        let member = Arc::new(Member { session: id, user: None, info: None });
        let leftover = Vec::new();
        let (luggage, returns) = (Some(luggage), Returns::Client);
        let session = Session { id, key, member, expires: None, leftover, moves: 0, luggage, opened: 0, returns };
        self.parked += 1;
        self.timers.insert((until, Timer::Park(id)));
        self.sessions.insert(id, Place::Parked(Box::new(session), until));
    }

    /// Takes what was kept with the session of a line.
    pub fn unpack(&mut self, line: u32) -> Option<Box<dyn Any + Send>> {
        let session = self.line(line)?.session.as_mut()?;
        session.luggage.take().map(|(luggage, _)| luggage)
    }

    /// Of the channels that a session was in, notes those in which its presence is known.
    pub(super) fn note_presence(&mut self, session: &mut Session, channels: Vec<Arc<str>>, lines: &mut impl Lines<E>) {
        let until = self.now.steady + self.options.keep;
        let is_known = |channel: &Arc<str>| self.options_of(channel).is_some_and(|options| options.presence);
        session.leftover.extend(channels.into_iter().filter(is_known).map(|channel| (until, channel)));
        // Whoever comes and goes fast is not in more channels for that.
        let too_many = session.leftover.len().saturating_sub(self.options.subscriptions);
        for (_, channel) in session.leftover.drain(..too_many) {
            self.ask_silently(channel, Ask::Leave { session: session.id }, lines);
        }
    }

    /// A line that is being closed is no longer subscribed to a channel: its session is present there as after any lost line.
    pub(super) fn leave_behind(&mut self, line: u32, channel: Arc<str>, lines: &mut impl Lines<E>) {
        if let Some(mut session) = self.line(line).and_then(|line| line.session.take()) {
            self.note_presence(&mut session, vec![channel], lines);
            if let Some(at) = self.line(line) {
                at.session = Some(session);
            }
        }
    }

    /// The session of a line leaves the channels of an earlier line to which it did not come back in time.
    fn leave_leftover(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let now = self.now.steady;
        // A short line enters its channels again, or another one after it sees to this.
        let is_brief = matches!(self.readers.get(&line), Some(Reader::Stays { briefly: true, .. }));
        let Some(at) = self.line(line) else { return };
        let number = at.number;
        let Some(session) = &mut at.session else { return };
        let id = session.id;
        let over = session.leftover.iter().take_while(|(until, _)| *until <= now).count();
        let gone: Vec<_> = session.leftover.drain(..over).collect();
        let next = session.leftover.first().map(|(until, _)| *until).filter(|_| !is_brief);
        self.timers.extend(next.map(|next| (next, Timer::Leftover { line, number })));
        for (_, channel) in gone {
            self.ask_silently(channel, Ask::Leave { session: id }, lines);
        }
    }

    pub(super) fn end(&mut self, session: Session, lines: &mut impl Lines<E>) {
        let id = session.id;
        self.sessions.remove(&id);
        if session.luggage.is_some() {
            lines.forgotten(id);
        }
        for (_, channel) in session.leftover {
            self.ask_silently(channel, Ask::Leave { session: id }, lines);
        }
        if id.shard() != self.shard {
            lines.tell(id.shard(), Peer(Said::Ended { session: id }));
        }
    }

    pub(super) fn due_now(&mut self, timer: Timer, lines: &mut impl Lines<E>) {
        let now = self.now.steady;
        match timer {
            Timer::Connect { line, number } => {
                if self.line(line).is_some_and(|line| line.number == number && line.session.is_none()) {
                    lines.close(line, CloseCode::NoConnect);
                }
            }
            Timer::Park(id) => {
                if let Some(Place::Parked(..)) = self.sessions.get(&id)
                    && let Some(Place::Parked(session, _)) = self.sessions.remove(&id)
                {
                    self.parked -= 1;
                    self.end(*session, lines);
                }
            }
            Timer::Token { line, number } => {
                let is_over = |session: &Session| session.expires.is_some_and(|expires| expires <= now);
                let at = self.line(line).filter(|line| line.number == number);
                if at.and_then(|line| line.session.as_deref()).is_some_and(is_over) {
                    lines.close(line, CloseCode::TokenExpired);
                }
            }
            Timer::Leftover { line, number } => {
                if self.line(line).is_some_and(|line| line.number == number) {
                    self.leave_leftover(line, lines);
                }
            }
        }
    }

    /// Ends a session that is here, with a line or without, for good. False if it is not.
    pub fn disconnect(&mut self, session: SessionId, lines: &mut impl Lines<E>) -> bool {
        match self.sessions.get(&session) {
            Some(Place::Line(line)) => {
                let line = *line;
                let (session, channels) = self.detach(line, lines);
                if let Some(mut session) = session {
                    self.note_presence(&mut session, channels, lines);
                    self.end(*session, lines);
                }
                lines.close(line, CloseCode::Disconnected);
                true
            }
            Some(Place::Parked(_, until)) => {
                self.timers.remove(&(*until, Timer::Park(session)));
                let Some(Place::Parked(session, _)) = self.sessions.remove(&session) else { return false };
                self.parked -= 1;
                self.end(*session, lines);
                true
            }
            Some(Place::Shard(..)) | None => false,
        }
    }

    /// Ends a session's subscription, and tells it. False if it has none here.
    pub fn unsubscribe_session(&mut self, session: SessionId, channel: &Arc<str>, lines: &mut impl Lines<E>) -> bool {
        let Some(Place::Line(line)) = self.sessions.get(&session) else { return false };
        let line = *line;
        let ended = self.end_subscription(line, channel, lines);
        if ended {
            self.push(line, Push::Unsubscribed { channel: channel.clone(), code: ErrorCode::PermissionDenied }, lines);
        }
        ended
    }

    /// The sessions that are here: who they are, and in how many channels; `None` for those that have no line.
    pub fn members(&self) -> impl Iterator<Item = (&Arc<Member>, Option<usize>)> {
        self.sessions.values().filter_map(|place| match place {
            Place::Line(line) => {
                let session = self.lines.get(*line as usize)?.as_ref()?.session.as_ref()?;
                Some((&session.member, Some(self.hub.subscriptions(*line))))
            }
            Place::Parked(session, _) => Some((&session.member, None)),
            Place::Shard(..) => None,
        })
    }

    /// How many lines here are subscribed to a channel.
    pub fn subscribers(&self, channel: &str) -> usize {
        self.hub.subscribers(channel)
    }

    pub(super) fn session_of(&self, line: u32) -> Option<SessionId> {
        Some(self.lines.get(line as usize)?.as_ref()?.session.as_ref()?.id)
    }
}

fn show_key(key: &[u8; 16]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_key(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 16];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

/// Takes as long whatever they have in common.
fn is_same(one: &[u8; 16], other: &[u8; 16]) -> bool {
    one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}
