//! One channel, at its home.

mod check;
mod restore;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{
    Append, Epoch, ErrorCode, History, Member, Piece, Position, Publication, Publish, Rare, SessionId, Stream as Progress,
    Unrecovered,
};

use super::kept::{CHANNEL_BYTES, KEY_BYTES, MEMBER_BYTES, by};
use super::log::{Bounds, Log, size, size_of_publish};
use super::once::{self, Made, Once};
use super::presence::Presence;
use super::record::Record;
use super::stream::{Appended, Stream};
use super::{MEMBERS, Out, PAGE, PAGE_BYTES, need};
use crate::broker::{Answer, Ask, Delivery, Enter, Entered, Event, Failure, Now, Page, Ticket, What};
use crate::options::ChannelOptions;
use check::check;

/// Milliseconds for which a channel into which nothing was ever published is remembered after a restart, so that its subscribers can
/// come back.
const UNUSED_KEEP: u64 = 60_000;

pub(super) struct Channel {
    name: Arc<str>,
    options: Arc<ChannelOptions>,
    epoch: Epoch,
    /// The newest offset.
    head: u64,
    log: Log,
    keys: BTreeMap<Box<str>, Arc<Publication>>,
    members: Presence,
    once: Once,
    /// A bit for each shard that wants to be told.
    followers: u64,
    /// Who has made it, if not the server itself.
    made_by: Option<SessionId>,
    /// The epoch was written down.
    epoch_recorded: bool,
    /// A store has kept it, or it was read anew: then its epoch is not the one that it would have if it were made now.
    was_restored: bool,
    /// The steady time at which something last happened.
    touched: u64,
    /// Since when nothing but its numbering is kept, as the broker has it.
    pub(super) idle: Option<u64>,
    /// When the broker looks at it next.
    pub(super) registered: Option<u64>,
}

impl Channel {
    pub(super) fn new(name: Arc<str>, options: Arc<ChannelOptions>, epoch: Epoch) -> Self {
        let epoch = if options.is_numbered() { epoch } else { Epoch(0) };
        Self {
            name,
            options,
            epoch,
            head: 0,
            log: Log::default(),
            keys: BTreeMap::new(),
            members: Presence::default(),
            once: Once::default(),
            followers: 0,
            made_by: None,
            epoch_recorded: false,
            was_restored: false,
            touched: 0,
            idle: None,
            registered: None,
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, ask: Ask, out: &mut Out) -> Option<Result<Answer, Failure>> {
        self.touched = out.now.steady;
        self.expire(out);
        Some(match ask {
            Ask::Follow => {
                self.followers |= bit(ticket);
                return None;
            }
            Ask::Unfollow => {
                self.followers &= !bit(ticket);
                return None;
            }
            Ask::Leave { session } => {
                if let Some(member) = self.members.leave(session) {
                    out.kept.sub(Some(session), MEMBER_BYTES);
                    if self.options.joins {
                        self.deliver(What::Leave(member), None, None, out);
                    }
                }
                return None;
            }
            Ask::Publish { publish, from } => self.publish(&publish, from, out),
            Ask::Append { append, producer } => self.append(&append, producer, out),
            Ask::Cancel { stream } => self.cancel(stream, out),
            Ask::Enter(enter) => {
                self.followers |= bit(ticket);
                self.promise_epoch(out);
                Ok(Answer::Entered(Box::new(self.enter(&enter, out))))
            }
            Ask::Page { since } => Ok(Answer::Page(self.page(since))),
            Ask::Latest { since } => Ok(Answer::Page(self.latest(since))),
            Ask::History(history) => {
                self.promise_epoch(out);
                self.history(&history)
            }
            Ask::Presence { limit, after } => self.presence(limit, after),
            Ask::State { limit, after } => {
                self.promise_epoch(out);
                self.state(limit, after.as_deref())
            }
        })
    }

    fn publish(&mut self, publish: &Publish, from: Option<Arc<Member>>, out: &mut Out) -> Result<Answer, Failure> {
        check(&self.options, publish, from.is_none())?;
        let lease = publish.stream.then(|| self.options.stream_lease.as_secs().try_into().unwrap_or(u32::MAX));
        if let Some(once) = &publish.once
            && let Some(position) = self.once.find(once)
        {
            // It may be from a time in which the channel was numbered.
            let position = position.filter(|_| self.options.is_numbered());
            return Ok(Answer::Published { position, repeated: true, lease });
        }
        self.check_age(publish.age, out)?;
        if let Some(key) = &publish.key
            && self.options.has_state()
            && !publish.remove
            && !self.keys.contains_key(key)
            && self.keys.len() >= self.options.state_keys
        {
            return Err(ErrorCode::StateFull.into());
        }
        let bytes = publish.data.as_ref().map_or(0, |data| data.as_bytes().len());
        if publish.stream && self.log.is_crowded(&self.bounds(), 1, bytes) {
            return Err(Failure::new(ErrorCode::Overloaded, "the channel's history is full of streams that have not ended"));
        }
        let position = (self.options.is_numbered() && !publish.ephemeral).then(|| self.next_position(out));
        let except = if publish.echo { None } else { from.as_ref().map(|from| from.session) };
        let producer = from.as_ref().map(|from| from.session);
        let publication = Arc::new(self.publication(publish, from, position, out.now));
        if position.is_some() {
            self.keep(&publication, publish, producer, out);
        }
        if let Some(key) = &publish.once {
            let window = millis(self.options.once_window);
            let until = out.now.wall.saturating_add(window);
            let (made, forgotten) = (Made { position, by: producer }, out.now.steady.saturating_add(window));
            self.once.insert(key, made, forgotten, self.options.once_keys, &mut out.kept);
            out.record(|| Record::Once { channel: self.name.clone(), key: key.clone(), position, until });
        }
        self.deliver(What::Publication(publication), position, except, out);
        Ok(Answer::Published { position, repeated: false, lease })
    }

    /// Whether what was said so long ago for the first time would be known if it had been published.
    fn check_age(&self, age: u64, out: &Out) -> Result<(), Failure> {
        // Of what was said before there is a numbering nothing is left, and whoever had it is told.
        let run = if self.options.is_numbered() || out.durable { u64::MAX } else { out.now.steady.saturating_sub(out.started) };
        let reach = self.once.reach(out.now.steady, millis(self.options.once_window)).min(run);
        if age == 0 || age < reach {
            return Ok(());
        }
        let why = format!(
            "this was said for the first time {age} ms ago, and the channel knows what was published in the last {reach} ms: \
             it is not known whether it was published"
        );
        Err(Failure::new(ErrorCode::MaybePublished, why))
    }

    fn publication(&self, publish: &Publish, from: Option<Arc<Member>>, position: Option<Position>, now: Now) -> Publication {
        let Publish { data, event, key, remove, tags, stream, .. } = publish;
        let offset = position.map_or(0, |position| position.offset);
        let rare = (event.is_some() || key.is_some() || tags.is_some() || *stream).then(|| {
            let length = data.as_ref().map_or(0, |data| data.as_bytes().len() as u64);
            Box::new(Rare {
                event: event.clone(),
                key: key.clone(),
                removed: *remove,
                tags: tags.as_deref().cloned().unwrap_or_default(),
                stream: stream.then_some(Progress { began: offset, length, end: None, reason: None }),
            })
        });
        Publication { channel: self.name.clone(), offset, time: now.wall, data: data.clone(), from, rare }
    }

    /// Writes a numbered publication into the history and the state.
    fn keep(&mut self, publication: &Arc<Publication>, publish: &Publish, producer: Option<SessionId>, out: &mut Out) {
        if self.options.has_history() {
            out.record(|| Record::Publication(publication.clone()));
            self.push(publication, producer, out);
            self.trim(out);
        }
        if let Some(key) = publish.key.as_ref().filter(|_| self.options.has_state()) {
            let value = (!publish.remove).then(|| publication.clone());
            let (channel, offset) = (self.name.clone(), publication.offset);
            out.record(|| Record::Key { channel, key: key.clone(), offset, publication: value.clone() });
            self.set(key, value, out);
        } else if !self.options.has_history() {
            // Nothing else says that the offset is taken.
            out.record(|| Record::Epoch { channel: self.name.clone(), epoch: self.epoch, head: self.head });
        }
        if !self.options.has_history() {
            self.log.trim_to(self.head, &mut out.kept);
        }
    }

    fn push(&mut self, publication: &Arc<Publication>, producer: Option<SessionId>, out: &mut Out) {
        let expires = self.expires(publication.time, out.now);
        if publication.rare.as_ref().is_some_and(|rare| rare.stream.is_some()) {
            let lease = out.now.steady.saturating_add(millis(self.options.stream_lease));
            self.log.push_stream(Stream::new(publication, producer, lease), expires, &mut out.kept);
        } else {
            self.log.push(publication.clone(), expires, &mut out.kept);
        }
    }

    fn set(&mut self, key: &str, value: Option<Arc<Publication>>, out: &mut Out) {
        let bytes = |value: &Publication| KEY_BYTES + key.len() + size(value);
        if let Some(value) = &value {
            out.kept.add(by(value.from.as_ref()), bytes(value));
        }
        let before = match value {
            Some(value) => self.keys.insert(key.into(), value),
            None => self.keys.remove(key),
        };
        if let Some(before) = before {
            out.kept.sub(by(before.from.as_ref()), bytes(&before));
        }
    }

    fn clear_keys(&mut self, out: &mut Out) {
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            self.set(&key, None, out);
        }
    }

    fn append(&mut self, append: &Append, producer: Option<SessionId>, out: &mut Out) -> Result<Answer, Failure> {
        need(self.options.streams, "streams")?;
        let bounds = self.bounds();
        let stream = self.log.stream(append.stream).ok_or(ErrorCode::NoSuchStream)?;
        let appended = stream.accept(append, producer, self.options.stream_bytes)?;
        let cancel = stream.is_cancelled() && stream.is_open() && append.end.is_none();
        let mut length = stream.length();
        if let Appended::Piece(piece) = &appended {
            let bytes = piece.data.as_ref().map_or(0, |data| data.len());
            if bytes > 0 && self.log.is_crowded(&bounds, 0, bytes) {
                return Err(Failure::new(
                    ErrorCode::Overloaded,
                    "the channel's history is full of streams that have not ended",
                ));
            }
            length += bytes as u64;
        }
        self.log.renew(append.stream, out.now.steady.saturating_add(millis(self.options.stream_lease)));
        if let Appended::Piece(piece) = appended {
            self.extend(piece, out);
        }
        Ok(Answer::Appended { length, cancel })
    }

    /// Numbers a piece, keeps it and tells it.
    fn extend(&mut self, mut piece: Piece, out: &mut Out) {
        let position = self.next_position(out);
        piece.offset = position.offset;
        let piece = Arc::new(piece);
        out.record(|| Record::Piece(piece.clone()));
        self.log.add(&piece, self.expires(out.now.wall, out.now), &mut out.kept);
        self.trim(out);
        self.deliver(What::Piece(piece), Some(position), None, out);
    }

    fn cancel(&mut self, began: u64, out: &mut Out) -> Result<Answer, Failure> {
        need(self.options.streams, "streams")?;
        let stream = self.log.stream(began).ok_or(ErrorCode::NoSuchStream)?;
        if let Some(producer) = stream.cancel()? {
            out.events.push_back(Event::Cancel { producer, channel: self.name.clone(), stream: began });
        }
        Ok(Answer::Cancelled)
    }

    fn enter(&mut self, enter: &Enter, out: &mut Out) -> Entered {
        let recovered = enter.since.map(|since| self.recover(since));
        let offset = match (enter.since, recovered, enter.last) {
            (Some(since), Some(Ok(())), _) => since.offset,
            (None, _, Some(last)) => self.log.before_last(last as usize, self.head),
            _ => self.head,
        };
        if let Some(member) = enter.member.as_ref().filter(|_| self.options.presence)
            && self.members.enter(member)
        {
            out.kept.add(Some(member.session), MEMBER_BYTES);
            if self.options.joins {
                self.deliver(What::Join(member.clone()), None, None, out);
            }
        }
        let position = Position { epoch: self.epoch, offset };
        // Of those who come back only they want keys who have not got them all.
        let after = enter.after.as_deref().filter(|_| recovered == Some(Ok(())));
        let wants_entries = enter.state && self.options.has_state() && (recovered != Some(Ok(())) || after.is_some());
        let wants_members = enter.members && self.options.presence && self.members.sessions() <= MEMBERS as u64;
        Entered {
            position,
            recovered,
            page: self.page(position),
            entries: wants_entries.then(|| self.keys_after(after).cloned().collect()),
            members: wants_members.then(|| self.members.page(MEMBERS, None).0),
        }
    }

    /// Whether all that came after a position can still be had.
    fn recover(&self, since: Position) -> Result<(), Unrecovered> {
        if !self.options.is_numbered() {
            Err(Unrecovered::Off)
        } else if since.epoch != self.epoch {
            Err(Unrecovered::Epoch)
        } else if since.offset > self.head {
            Err(Unrecovered::Ahead)
        } else if since.offset == self.head {
            Ok(())
        } else if !self.options.has_history() || !self.options.resume {
            Err(Unrecovered::Off)
        } else if since.offset < self.log.floor() {
            Err(Unrecovered::Expired)
        } else {
            Ok(())
        }
    }

    fn page(&self, since: Position) -> Page {
        let lost = since.epoch != self.epoch || since.offset < self.log.floor() || since.offset > self.head;
        let (publications, end) = if lost { (Vec::new(), self.head) } else { self.log.page(since.offset, self.head) };
        Page { publications, end: self.position(end), head: self.head, lost }
    }

    fn latest(&self, since: Position) -> Page {
        let is_known = since.epoch == self.epoch;
        let (mut publications, has_more) = self.log.latest(if is_known { since.offset } else { 0 });
        let mut bytes = 0;
        let fit = publications.iter().take_while(|publication| {
            let fits = bytes < PAGE_BYTES;
            bytes += size(publication);
            fits
        });
        let fit = fit.count();
        let is_cut = fit < publications.len();
        publications.truncate(fit);
        let end = if is_cut { publications.last().map_or(self.head, |last| last.offset) } else { self.head };
        Page { publications, end: self.position(end), head: self.head, lost: has_more || !is_known }
    }

    fn history(&self, history: &History) -> Result<Answer, Failure> {
        need(self.options.has_history(), "history")?;
        if history.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Err(Failure::new(ErrorCode::BadValue, format!("the channel's epoch is {} now", self.epoch)));
        }
        let limit = history.limit.map_or(PAGE, |limit| (limit as usize).min(PAGE));
        let (publications, more) = match (history.after, history.before) {
            (Some(_), Some(_)) => {
                return Err(Failure::new(ErrorCode::BadValue, "members after and before of history exclude each other"));
            }
            (Some(after), None) => self.log.after(after, limit),
            (None, before) => self.log.before(before.unwrap_or(u64::MAX), limit),
        };
        Ok(Answer::History { head: self.position(self.head), publications, more })
    }

    fn presence(&self, limit: usize, after: Option<SessionId>) -> Result<Answer, Failure> {
        need(self.options.presence, "presence")?;
        let (members, more) = self.members.page(limit.min(MEMBERS), after);
        Ok(Answer::Presence { members, sessions: self.members.sessions(), users: self.members.users(), more })
    }

    fn state(&self, limit: usize, after: Option<&str>) -> Result<Answer, Failure> {
        need(self.options.has_state(), "state")?;
        let mut rest = self.keys_after(after).cloned().peekable();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < limit.min(MEMBERS)
            && bytes < PAGE_BYTES
            && let Some(entry) = rest.next()
        {
            bytes += size(&entry);
            entries.push(entry);
        }
        Ok(Answer::State { head: self.position(self.head), entries, more: rest.peek().is_some() })
    }

    fn keys_after(&self, key: Option<&str>) -> impl Iterator<Item = &Arc<Publication>> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range::<str, _>((from, Bound::Unbounded)).map(|(_, publication)| publication)
    }

    fn deliver(&self, what: What, position: Option<Position>, except: Option<SessionId>, out: &mut Out) {
        if self.followers != 0 {
            let delivery = Delivery { channel: self.name.clone(), position, what, except };
            out.events.push_back(Event::Deliver { shards: self.followers, delivery });
        }
    }

    /// The epoch is about to be told to someone, who may come back with it. Of a channel that only is looked at nothing is written down:
    /// whoever comes back after a restart is told that it begins anew.
    fn promise_epoch(&mut self, out: &mut Out) {
        if self.followers != 0 || self.head > 0 {
            self.record_epoch(out);
        }
    }

    fn record_epoch(&mut self, out: &mut Out) {
        if self.options.is_numbered() && !std::mem::replace(&mut self.epoch_recorded, true) {
            out.record(|| Record::Epoch { channel: self.name.clone(), epoch: self.epoch, head: self.head });
        }
    }

    fn next_position(&mut self, out: &mut Out) -> Position {
        self.record_epoch(out);
        // Channels that have one order are numbered together, so that what has happened in several of them can be told in that order.
        let newest = if self.options.ordered { self.head.max(out.newest) } else { self.head };
        self.head = newest + 1;
        if self.options.ordered {
            out.newest = self.head;
        }
        self.position(self.head)
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    /// The steady time at which what was published at `time` is too old.
    fn expires(&self, time: u64, now: Now) -> u64 {
        let age = now.wall.saturating_sub(time);
        now.steady.saturating_add(millis(self.options.history_age).saturating_sub(age))
    }

    pub(super) fn expire(&mut self, out: &mut Out) {
        self.once.expire(out.now.steady, &mut out.kept);
        self.trim(out);
    }

    fn trim(&mut self, out: &mut Out) {
        let bounds = self.bounds();
        let floor = self.log.floor();
        if self.log.trim(&bounds, out.now.steady, &mut out.kept) && self.log.floor() != floor {
            self.record_trim(out);
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { entries: self.options.history_size, bytes: self.options.history_bytes }
    }

    fn record_trim(&self, out: &mut Out) {
        out.record(|| Record::Trim { channel: self.name.clone(), floor: self.log.floor(), except: self.log.open_streams() });
    }

    /// Drops what may be dropped of the history.
    fn drop_history(&mut self, out: &mut Out) {
        self.log.trim_to(self.head, &mut out.kept);
        self.record_trim(out);
    }

    /// It is there from now on, because of a session or of the server itself.
    pub(super) fn make(&mut self, by: Option<SessionId>, out: &mut Out) {
        self.made_by = by;
        out.kept.add(by, CHANNEL_BYTES + self.name.len());
    }

    /// It goes, with all that it keeps.
    pub(super) fn unmake(&mut self, out: &mut Out) {
        self.log.clear(&mut out.kept);
        self.once.clear(&mut out.kept);
        self.clear_keys(out);
        self.members.all().for_each(|member| out.kept.sub(Some(member.session), MEMBER_BYTES));
        out.kept.sub(self.made_by, CHANNEL_BYTES + self.name.len());
    }

    /// How many more bytes it keeps after this, about, and because of whom; 0 if it only goes on as before, at one of its own bounds.
    pub(super) fn grows(&self, ask: &Ask, is_there: bool) -> (usize, Option<SessionId>) {
        let own = if is_there { 0 } else { CHANNEL_BYTES + self.name.len() };
        match ask {
            Ask::Publish { publish, from } => {
                let is_repeated = publish.once.as_ref().is_some_and(|once| self.once.find(once).is_some());
                let (mut more, mut less) = (0, 0);
                if let Some(once) = publish.once.as_ref().filter(|_| !is_repeated) {
                    more += once::weight(once);
                    less += if self.once.len() >= self.options.once_keys { once::weight(once) } else { 0 };
                }
                if self.options.is_numbered() && !publish.ephemeral && !is_repeated {
                    let bytes = size_of_publish(publish);
                    if self.options.has_history() {
                        more += bytes;
                        less += self.log.makes_room(&self.bounds(), bytes);
                    }
                    if let Some(key) = publish.key.as_ref().filter(|_| self.options.has_state()) {
                        let value = |bytes| KEY_BYTES + key.len() + bytes;
                        more += if publish.remove { 0 } else { value(bytes) };
                        less += self.keys.get(key).map_or(0, |before| value(size(before)));
                    }
                }
                let is_made = is_there || more == 0;
                ((more + if is_made { 0 } else { own }).saturating_sub(less), by(from.as_ref()))
            }
            Ask::Append { append, producer } => (append.data.as_ref().map_or(0, |data| data.len()), *producer),
            Ask::Enter(enter) => {
                let member = enter.member.as_ref().map(|member| member.session);
                let is_new = self.options.presence && member.is_some_and(|member| !self.members.has(member));
                (own + if is_new { MEMBER_BYTES } else { 0 }, member)
            }
            _ => (0, None),
        }
    }

    pub(super) fn look_at_clock(&mut self, out: &mut Out) {
        self.expire(out);
        while let Some(lost) = self.log.lost_stream(out.now.steady).map(Stream::lost) {
            self.extend(lost, out);
        }
    }

    /// When something is due: an entry too old, a producer lost, an idempotency key over, or nothing left to keep it for.
    pub(super) fn due(&self, keep: u64, now: &Now) -> Option<u64> {
        let idle = self.is_idle().then(|| self.touched.saturating_add(self.kept_for(keep)));
        let due = [self.log.due(), self.once.due(), idle].into_iter().flatten().min();
        due.map(|due| due.max(now.steady + 1))
    }

    /// Whether nothing would be lost with it: if it is made again, it is the same.
    pub(super) fn is_needless(&self) -> bool {
        self.is_idle() && !self.has_numbered() && !self.was_restored
    }

    /// Whether it has given anything a number, which it must not give to something else.
    pub(super) fn has_numbered(&self) -> bool {
        self.options.is_numbered() && self.head > 0
    }

    /// Whether a client makes a channel by this question that was not there before. What the server's own handlers follow is theirs to
    /// decide.
    pub(super) fn is_made_by(&self, ticket: Ticket, ask: &Ask) -> bool {
        match ask {
            Ask::Enter(_) => bit(ticket) != 0,
            Ask::Publish { publish, .. } => self.options.is_numbered() && !publish.ephemeral || publish.once.is_some(),
            _ => false,
        }
    }

    pub(super) fn touched(&self) -> u64 {
        self.touched
    }

    /// Whether nothing but its numbering would be lost with it, and that was kept for long enough.
    pub(super) fn is_forgotten(&self, keep: u64, now: &Now) -> bool {
        self.is_idle() && now.steady >= self.touched.saturating_add(self.kept_for(keep))
    }

    /// For how long the numbering is kept. Where there never was anything nobody can miss it.
    fn kept_for(&self, keep: u64) -> u64 {
        if self.head == 0 { keep.min(UNUSED_KEEP) } else { keep }
    }

    /// Whether there is nothing of it but its numbering.
    pub(super) fn is_idle(&self) -> bool {
        self.followers == 0 && self.log.is_empty() && self.keys.is_empty() && self.members.is_empty() && self.once.is_empty()
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn options(&self) -> &ChannelOptions {
        &self.options
    }

    pub(super) fn followers(&self) -> u64 {
        self.followers
    }

    /// Takes over who is there and who follows, which no store keeps.
    pub(super) fn adopt(&mut self, before: Self, out: &mut Out) {
        before.members.all().for_each(|member| out.kept.add(Some(member.session), MEMBER_BYTES));
        (self.followers, self.members) = (before.followers, before.members);
        self.was_restored = true;
    }
}

/// The bit of the shard that asks; none for whoever is no shard.
fn bit(ticket: Ticket) -> u64 {
    1u64.checked_shl(ticket.shard.into()).unwrap_or(0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
