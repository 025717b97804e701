//! What one client may be told of one channel: every push is held against the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longwire_core::{ChannelOptions, Slow};
use longwire_protocol::{Epoch, Member, Piece, Position, Publication, SessionId, StreamEnd, Subscribed, Unrecovered};

use crate::truth::{Entry, Numbering, Truth, text_of};

/// What is said about an invariant that does not hold.
pub type Verdict = Result<(), String>;

/// What a client knows of a channel.
pub struct Watcher {
    channel: Arc<str>,
    options: Arc<ChannelOptions>,
    epoch: Epoch,
    /// The newest offset that it has got.
    position: Option<u64>,
    /// It has begun on the line that there is now.
    live: bool,
    streams: BTreeMap<u64, (String, Option<StreamEnd>)>,
    /// Streams of which pieces were passed over: a rolled-up publication has to come.
    owed: BTreeMap<u64, u64>,
    members: Option<BTreeSet<SessionId>>,
    keys: Option<BTreeMap<String, (u64, String)>>,
    /// A snapshot of the keys is on its way.
    snapshot: bool,
    /// The newest of what has no place.
    unnumbered: Option<usize>,
    /// The client keeps to itself that there is a gap, if it does not move its position on.
    hides_gaps: bool,
}

impl Watcher {
    /// Of a channel with these options.
    pub fn new(channel: Arc<str>, options: Arc<ChannelOptions>) -> Self {
        Self {
            channel,
            options,
            epoch: Epoch::NONE,
            position: None,
            live: false,
            streams: BTreeMap::new(),
            owed: BTreeMap::new(),
            members: None,
            keys: None,
            snapshot: false,
            unnumbered: None,
            hides_gaps: false,
        }
    }

    /// Of a client that does not tell its users of gaps between things that have no place.
    pub fn hiding_gaps(self) -> Self {
        Self { hides_gaps: true, ..self }
    }

    /// From where to go on, if it has begun and has all that came before.
    pub fn position(&self) -> Option<Position> {
        let offset = self.position.filter(|_| !self.snapshot)?;
        Some(Position { epoch: self.epoch, offset })
    }

    /// Where it is, for a client that goes on from there though some keys have not come.
    pub fn place(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch, offset: self.position? })
    }

    /// Whether the keys are known.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some() && !self.snapshot
    }

    /// Streams of which it knows.
    pub fn streams(&self) -> impl Iterator<Item = u64> {
        self.streams.keys().copied()
    }

    /// The line is lost, or the subscription has ended.
    pub fn stopped(&mut self) {
        self.live = false;
        self.members = None;
        self.unnumbered = None;
    }

    /// The subscription has begun, from `since` if that was asked for.
    ///
    /// # Errors
    /// If it could not begin so.
    pub fn begun(&mut self, since: Option<Position>, wants_keys: bool, reply: &Subscribed, truth: &Truth) -> Verdict {
        let Position { epoch, offset } = reply.position;
        let wrong = |what: &str| Err(format!("{}: {what}: {:?} for {since:?}", self.channel, reply.position));
        if self.live {
            return wrong("subscribed twice");
        }
        if since.is_some() != reply.recovered.is_some() {
            return wrong("recovered says something else than was asked");
        }
        if reply.head < offset {
            return wrong("begins behind the head");
        }
        let numbering = truth.numbering(&self.channel, epoch);
        if self.options.is_numbered() && numbering.is_none_or(|numbering| reply.head > numbering.head) {
            return wrong("a head that never was");
        }
        let continues = reply.recovered == Some(Ok(()));
        match (since, reply.recovered) {
            (Some(since), Some(Ok(()))) if since != reply.position => return wrong("does not continue where it says"),
            (Some(since), Some(Err(reason))) => self.has_reason(since, reason, truth)?,
            _ => {}
        }
        self.live = true;
        self.unnumbered = None;
        self.members = reply.members.as_ref().map(|members| members.iter().map(|member| member.session).collect());
        if continues {
            return Ok(());
        }
        (self.epoch, self.position) = (epoch, Some(offset));
        self.streams.clear();
        self.owed.clear();
        self.snapshot = wants_keys && self.options.has_state();
        self.keys = self.snapshot.then(BTreeMap::new);
        Ok(())
    }

    /// Whether it is true why a subscription could not continue.
    fn has_reason(&self, since: Position, reason: Unrecovered, truth: &Truth) -> Verdict {
        let numbering = truth.numbering(&self.channel, since.epoch);
        let is_true = match reason {
            Unrecovered::Off => !self.options.has_history() || !self.options.resume,
            Unrecovered::Epoch => truth.channel(&self.channel).is_some_and(|channel| channel.ended.contains(&since.epoch)),
            Unrecovered::Expired => numbering.is_some_and(|numbering| since.offset < numbering.floor),
            Unrecovered::Ahead => false,
        };
        if is_true {
            Ok(())
        } else {
            Err(format!("{}: not recovered from {since:?}, {reason:?}, and that is not true", self.channel))
        }
    }

    fn must_be_live(&self, what: &str) -> Verdict {
        if self.live { Ok(()) } else { Err(format!("{}: {what} without a subscription", self.channel)) }
    }

    fn numbering<'a>(&self, truth: &'a Truth) -> Result<&'a Numbering, String> {
        truth.numbering(&self.channel, self.epoch).ok_or_else(|| format!("{}: no epoch {}", self.channel, self.epoch))
    }

    /// Moves to an offset; what lies between must have an excuse.
    fn advance(&mut self, offset: u64, own: &BTreeSet<SessionId>, truth: &Truth) -> Verdict {
        let before = self.position.unwrap_or(0);
        if offset <= before {
            return Err(format!("{}: offset {offset} after {before}", self.channel));
        }
        self.pass_over(before + 1, offset - 1, own, truth)?;
        self.position = Some(offset);
        Ok(())
    }

    fn pass_over(&mut self, from: u64, to: u64, own: &BTreeSet<SessionId>, truth: &Truth) -> Verdict {
        let numbering = self.numbering(truth)?;
        for offset in from..=to {
            match numbering.entries.get(&offset) {
                Some(Entry::Piece(piece)) => drop(self.owed.insert(piece.stream, offset)),
                Some(Entry::Publication(publication))
                    if publication.rare.as_ref().is_some_and(|rare| rare.stream.is_some()) =>
                {
                    self.owed.insert(offset, offset);
                }
                Some(Entry::Publication(publication))
                    if text_of(publication).starts_with("no echo ")
                        && publication.from.as_ref().is_some_and(|from| own.contains(&from.session)) => {}
                Some(_) => return Err(format!("{}: offset {offset} is missing, {to} and more came", self.channel)),
                None => return Err(format!("{}: offset {offset} never was", self.channel)),
            }
        }
        Ok(())
    }

    /// A publication came.
    ///
    /// # Errors
    /// If it must not come, or not so.
    pub fn publication(&mut self, publication: &Publication, own: &BTreeSet<SessionId>, truth: &Truth) -> Verdict {
        self.must_be_live("a publication")?;
        if publication.offset == 0 {
            return self.unnumbered(publication, own, truth);
        }
        let stream = publication.rare.as_ref().and_then(|rare| rare.stream.as_ref());
        self.advance(publication.offset, own, truth)?;
        let numbering = self.numbering(truth)?;
        let wrong = |what: &str| Err(format!("{}: {what} at offset {}", self.channel, publication.offset));
        if let Some(stream) = stream {
            let Some((text, end)) = numbering.stream(stream.began, publication.offset) else { return wrong("no such stream") };
            if text_of(publication) != text || stream.length != text.len() as u64 || stream.end != end {
                return wrong("another stream than it was");
            }
            self.owed.remove(&stream.began);
            self.streams.insert(stream.began, (text, end));
            return Ok(());
        }
        match numbering.entries.get(&publication.offset) {
            Some(Entry::Publication(truth)) if is_same(publication, truth) => {}
            Some(Entry::Removal) if publication.rare.as_ref().is_some_and(|rare| rare.removed) => {}
            Some(Entry::Passed) => {}
            _ => return wrong("another publication than there was"),
        }
        self.note_key(publication);
        Ok(())
    }

    fn note_key(&mut self, publication: &Publication) {
        let Some(rare) = &publication.rare else { return };
        if let (Some(keys), Some(key)) = (&mut self.keys, &rare.key)
            && keys.get(&**key).is_none_or(|(offset, _)| *offset < publication.offset)
        {
            if rare.removed {
                keys.remove(&**key);
            } else {
                keys.insert(key.to_string(), (publication.offset, text_of(publication)));
            }
        }
    }

    fn unnumbered(&mut self, publication: &Publication, own: &BTreeSet<SessionId>, truth: &Truth) -> Verdict {
        let text = text_of(publication);
        let places = truth.places_of(publication);
        let Some(last) = places.last() else { return Err(format!("{}: {text:.20} never was", self.channel)) };
        let mine = publication.from.as_ref().is_some_and(|from| own.contains(&from.session));
        if text.starts_with("no echo ") && mine {
            return Err(format!("{}: {text:.20} came back to its sender", self.channel));
        }
        let Some(before) = self.unnumbered else {
            self.unnumbered = (places.len() == 1).then_some(*last);
            return Ok(());
        };
        let next = before + 1;
        let place = *places.iter().find(|place| **place >= next).unwrap_or(last);
        self.unnumbered = Some(place);
        let is_unechoed = |place| {
            let at = truth.at_place(&self.channel, place);
            at.is_some_and(|(text, from)| text.starts_with("no echo ") && from.is_some_and(|from| own.contains(&from)))
        };
        let may_miss = self.hides_gaps && self.options.slow != Slow::Close;
        if place < next || !may_miss && !(next..place).all(is_unechoed) {
            return Err(format!("{}: {text:.20} is number {place}, not {next}", self.channel));
        }
        Ok(())
    }

    /// A piece of a stream came.
    ///
    /// # Errors
    /// If it must not come, or not so.
    pub fn piece(&mut self, piece: &Piece, own: &BTreeSet<SessionId>, truth: &Truth) -> Verdict {
        self.must_be_live("a piece")?;
        self.advance(piece.offset, own, truth)?;
        let wrong = |what: &str| Err(format!("{}: {what} at offset {}", self.channel, piece.offset));
        if self.owed.contains_key(&piece.stream) {
            return wrong("a piece after pieces that are missing");
        }
        match self.numbering(truth)?.entries.get(&piece.offset) {
            Some(Entry::Piece(truth)) if **truth == *piece => {}
            _ => return wrong("another piece than there was"),
        }
        if let Some((text, end)) = self.streams.get_mut(&piece.stream) {
            if text.len() as u64 != piece.at || end.is_some() {
                return wrong("a piece that does not fit");
            }
            text.push_str(piece.data.as_deref().unwrap_or(""));
            *end = piece.end;
        }
        Ok(())
    }

    /// The keys that come next are the first: those from before are forgotten.
    pub fn forget_keys(&mut self) {
        self.keys = Some(BTreeMap::new());
    }

    /// Some keys came.
    ///
    /// # Errors
    /// If they must not come.
    pub fn state(&mut self, entries: &[Arc<Publication>], done: bool) -> Verdict {
        self.must_be_live("keys")?;
        if !self.snapshot {
            return Err(format!("{}: keys that nobody asked for", self.channel));
        }
        entries.iter().for_each(|entry| self.note_key(entry));
        self.snapshot = !done;
        Ok(())
    }

    /// Someone has come.
    ///
    /// # Errors
    /// If they were there.
    pub fn join(&mut self, member: &Member) -> Verdict {
        self.must_be_live("a join")?;
        let is_new = self.members.as_mut().is_none_or(|members| members.insert(member.session));
        if is_new { Ok(()) } else { Err(format!("{}: {} has come twice", self.channel, member.session)) }
    }

    /// Someone has left.
    ///
    /// # Errors
    /// If they were not there.
    pub fn leave(&mut self, member: &Member) -> Verdict {
        self.must_be_live("a leave")?;
        let was_there = self.members.as_mut().is_none_or(|members| members.remove(&member.session));
        if was_there { Ok(()) } else { Err(format!("{}: {} has left without being there", self.channel, member.session)) }
    }

    /// There is a gap.
    ///
    /// # Errors
    /// If there is no reason for one.
    pub fn gap(&mut self, offset: u64, truth: &Truth) -> Verdict {
        self.must_be_live("a gap")?;
        self.members = None;
        self.unnumbered = None;
        if self.options.is_numbered() {
            let numbering = self.numbering(truth)?;
            if offset > numbering.head {
                return Err(format!("{}: a gap up to {offset}, which never was", self.channel));
            }
            let is_lost = numbering.floor > self.position.unwrap_or(0);
            if self.options.slow == Slow::Close {
                return Err(format!("{}: a gap up to {offset}, where slow readers are closed", self.channel));
            }
            // The newest of each key has come, unless the history did not reach back.
            if self.options.slow != Slow::Latest || is_lost {
                self.keys = None;
            }
        }
        self.position = Some(self.position.unwrap_or(0).max(offset));
        self.owed.clear();
        self.streams.clear();
        Ok(())
    }

    /// Nothing is on its way any more: it must know everything. `there` is who is in the channel.
    ///
    /// # Errors
    /// What it does not know.
    pub fn settled(&mut self, own: &BTreeSet<SessionId>, there: Option<&BTreeSet<SessionId>>, truth: &Truth) -> Verdict {
        let wrong = |what: String| Err(format!("{}: {what}", self.channel));
        if let (Some(known), Some(there)) = (&self.members, there)
            && self.options.joins
            && known != there
        {
            return wrong(format!("members are known as {known:?}, and are {there:?}"));
        }
        if !self.options.is_numbered() {
            return Ok(());
        }
        if truth.channel(&self.channel).and_then(|channel| channel.epoch) != Some(self.epoch) {
            return wrong(format!("still in epoch {}", self.epoch));
        }
        let (position, head) = (self.position.unwrap_or(0), self.numbering(truth)?.head);
        if position > head {
            return wrong(format!("ahead, {position} of {head}"));
        }
        self.pass_over(position + 1, head, own, truth)?;
        let wrong = |what: String| Err(format!("{}: {what}", self.channel));
        if let Some((began, offset)) = self.owed.first_key_value() {
            return wrong(format!("of stream {began} what came at {offset} is missing"));
        }
        let numbering = self.numbering(truth)?;
        for (began, (text, end)) in &self.streams {
            if numbering.stream(*began, head).as_ref() != Some(&(text.clone(), *end)) {
                return wrong(format!("stream {began} is known as another"));
            }
        }
        if self.snapshot {
            return wrong("the snapshot has no end".to_owned());
        }
        if let Some(keys) = &self.keys {
            let truth: BTreeMap<_, _> = numbering
                .keys
                .iter()
                .map(|(key, publication)| (key.clone(), (publication.offset, text_of(publication))))
                .collect();
            if *keys != truth {
                return wrong(format!("keys are known as {keys:.60?}, and are {truth:.60?}"));
            }
        }
        Ok(())
    }
}

fn is_same(one: &Publication, other: &Publication) -> bool {
    let rare =
        |publication: &Publication| publication.rare.as_ref().map(|rare| (rare.key.clone(), rare.removed, rare.event.clone()));
    one.time == other.time && text_of(one) == text_of(other) && one.from == other.from && rare(one) == rare(other)
}
