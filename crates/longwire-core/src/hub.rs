//! Who listens to what on a shard, and the frames of a tick for them (station 5: fan-out).
//!
//! What happens in a channel is encoded once for each way in which the channel's subscribers read, and all of one tick stands in
//! one buffer, so that a line is written to once whatever their number. Lines that read in a way of their own get a buffer each, at
//! the end of the tick.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use longwire_protocol::Position;

use crate::broker::{Delivery, What, size};
use crate::names::ByName;

#[cfg(test)]
mod tests;

/// Bytes of one tick are handed on once they are this many.
const JOIN_BYTES: usize = 256 * 1024;

/// Makes bytes of what happens in a channel.
pub trait Encoder {
    /// A way in which lines read.
    type Encoding: Copy + Eq;

    /// Appends what lines of this kind are to be sent; nothing, if it does not concern them.
    fn encode(&mut self, encoding: Self::Encoding, delivery: &Delivery, out: &mut Vec<u8>);

    /// Whether several lines may read in this way; false for an encoding that just one line has. For that line what happens is
    /// encoded when it is dealt out, together with the rest of the tick.
    fn is_shared(_encoding: Self::Encoding) -> bool {
        true
    }

    /// A line with an encoding of its own had no room for what was encoded for it last: it is only this far in the channel, if the
    /// channel numbers what happens.
    fn refused(&mut self, _encoding: Self::Encoding, _channel: &str, _since: Option<Position>) {}

    /// A channel's deliveries have been encoded for all lines with an encoding of their own: what was kept because the next of
    /// them needs the same can go.
    fn dealt(&mut self) {}
}

/// The subscriptions of a shard's lines. A line is known by its index, which is used again only after [`Hub::leave`].
pub struct Hub<E: Encoder> {
    encoder: E,
    names: ByName<u32>,
    channels: Vec<Option<Channel<E::Encoding>>>,
    vacant: Vec<u32>,
    dirty: Vec<u32>,
    /// Of such channels, the lines that do not get all of what was not dealt out yet.
    ahead: HashMap<u32, Vec<Ahead>>,
    lines: Vec<Subscriptions>,
}

/// A line's place in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subscription {
    channel: u32,
    /// Where the line stands in the channel's list.
    place: u32,
}

/// The channels that a line is subscribed to; most lines have one or none.
#[derive(Debug, Default)]
enum Subscriptions {
    #[default]
    None,
    One(Subscription),
    #[expect(clippy::box_collection, reason = "16 bytes for every line instead of 24, for the rare line with many")]
    Many(Box<Vec<Subscription>>),
}

#[derive(Clone, Copy)]
struct Subscriber<T> {
    line: u32,
    /// Where the channel stands in the line's list.
    slot: u32,
    encoding: T,
}

struct Channel<T> {
    name: Arc<str>,
    subscribers: Vec<Subscriber<T>>,
    /// The encodings that are shared.
    encodings: Vec<Encoded<T>>,
    /// For the subscribers whose encoding is their own, if there are any.
    kept: Option<Box<Kept>>,
    dirty: bool,
    /// What was encoded and not dealt out yet is for those who take it at once.
    volatile: bool,
    /// What the newest of what was encoded has for a position, and the newest of what was dealt out.
    appended: Option<Position>,
    dealt: Option<Position>,
}

/// What a line is handed.
pub struct Share<'a> {
    /// Where it has happened.
    pub channel: &'a Arc<str>,
    /// What is to be written.
    pub bytes: &'a Bytes,
    /// The line is in no other channel.
    pub alone: bool,
    /// How many lines have these bytes in common.
    pub lines: u32,
    /// It is only for those who take it at once.
    pub volatile: bool,
}

/// Whether something was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Yes.
    Yes,
    /// Yes, and so much has come together that it should be dealt out.
    Much,
    /// No: what came before has to be dealt out first.
    DealFirst,
}

/// A line that had no room for what has happened in a channel.
pub struct Refused {
    /// Which.
    pub line: u32,
    /// Where.
    pub channel: Arc<str>,
    /// The newest position that it has got, if the channel numbers what happens.
    pub since: Option<Position>,
}

/// The bytes of this tick in one encoding.
struct Encoded<T> {
    encoding: T,
    subscribers: u32,
    bytes: Vec<u8>,
}

/// What has happened in this tick, for lines that share no encoding.
#[derive(Default)]
struct Kept {
    subscribers: u32,
    deliveries: Vec<Delivery>,
    /// What they come to, about.
    bytes: usize,
}

/// A line that has got some of what was not dealt out yet, or has come after it.
struct Ahead {
    line: u32,
    /// Of what is shared, it gets what comes after so many bytes; of the rest, after so many deliveries.
    bytes: usize,
    deliveries: usize,
    since: Option<Position>,
}

impl<E: Encoder> Hub<E> {
    /// Without subscriptions.
    pub fn new(encoder: E) -> Self {
        Self {
            encoder,
            names: ByName::new(),
            channels: Vec::new(),
            vacant: Vec::new(),
            dirty: Vec::new(),
            ahead: HashMap::new(),
            lines: Vec::new(),
        }
    }

    /// Adds a line to a channel; false if it is in it already. What was not dealt out yet it does not get.
    pub fn subscribe(&mut self, line: u32, encoding: E::Encoding, name: &str) -> bool {
        let id = match self.names.get(name) {
            Some(id) => *id,
            None => self.create(name),
        };
        if self.lines.len() <= line as usize {
            self.lines.resize_with(line as usize + 1, Subscriptions::default);
        }
        let to = &mut self.lines[line as usize];
        if to.position(id).is_some() {
            return false;
        }
        let Some(channel) = self.channels[id as usize].as_mut() else { return false };
        if !E::is_shared(encoding) {
            channel.kept.get_or_insert_default().subscribers += 1;
        } else if let Some(encoded) = channel.encodings.iter_mut().find(|encoded| encoded.encoding == encoding) {
            encoded.subscribers += 1;
        } else {
            channel.encodings.push(Encoded { encoding, subscribers: 1, bytes: Vec::new() });
        }
        if channel.dirty {
            channel.put_ahead(self.ahead.entry(id).or_default(), line, encoding);
        }
        let place = channel.subscribers.len() as u32;
        channel.subscribers.push(Subscriber { line, slot: to.len() as u32, encoding });
        to.push(Subscription { channel: id, place });
        true
    }

    /// Takes a line out of a channel; false if it was not in it. What was not dealt out yet it does not get.
    pub fn unsubscribe(&mut self, line: u32, name: &str) -> bool {
        let slot = self.names.get(name).and_then(|id| self.lines.get(line as usize)?.position(*id));
        slot.map(|slot| self.take_out(line, slot)).is_some()
    }

    /// Takes a line out of all its channels; calls `left` with each.
    pub fn leave(&mut self, line: u32, mut left: impl FnMut(&Arc<str>)) {
        while let Some(subscriptions) = self.lines.get(line as usize)
            && subscriptions.len() > 0
        {
            if let Some(name) = self.take_out(line, subscriptions.len() - 1) {
                left(&name);
            }
        }
    }

    /// Notes how far the first subscribers of a channel are, before anything is dealt out to them.
    pub(crate) fn begin_at(&mut self, name: &str, position: Position) {
        let Some(id) = self.names.get(name) else { return };
        if let Some(channel) = self.channels[*id as usize].as_mut() {
            channel.dealt = channel.dealt.or(Some(position));
            channel.appended = channel.appended.or(Some(position));
        }
    }

    /// The channels that a line is in.
    pub(crate) fn channels_of(&self, line: u32) -> impl Iterator<Item = &Arc<str>> {
        let subscriptions = self.lines.get(line as usize);
        let all = (0..subscriptions.map_or(0, Subscriptions::len)).filter_map(move |slot| subscriptions?.get(slot));
        all.filter_map(|subscription| Some(&self.channels[subscription.channel as usize].as_ref()?.name))
    }

    /// Whether a line is in a channel.
    pub fn is_subscribed(&self, line: u32, name: &str) -> bool {
        let id = self.names.get(name);
        id.is_some_and(|id| self.lines.get(line as usize).is_some_and(|subscriptions| subscriptions.position(*id).is_some()))
    }

    /// How many channels a line is in.
    #[inline]
    pub fn subscriptions(&self, line: u32) -> usize {
        self.lines.get(line as usize).map_or(0, Subscriptions::len)
    }

    /// How many lines are in a channel.
    pub fn subscribers(&self, name: &str) -> usize {
        let channel = self.names.get(name).and_then(|id| self.channels.get(*id as usize)?.as_ref());
        channel.map_or(0, |channel| channel.subscribers.len())
    }

    /// How many channels have subscribers.
    pub fn channels(&self) -> usize {
        self.names.len()
    }

    /// Whether any line is in a channel.
    pub fn has_subscribers(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Encodes what has happened for the subscribers. What is volatile does not stand in one buffer with what is not.
    #[inline]
    pub fn append(&mut self, delivery: &Delivery, volatile: bool) -> Appended {
        let Some(id) = self.names.get(&delivery.channel).copied() else { return Appended::Yes };
        let Some(channel) = self.channels[id as usize].as_mut() else { return Appended::Yes };
        if channel.volatile != volatile {
            if channel.dirty {
                return Appended::DealFirst;
            }
            channel.volatile = volatile;
        }
        let mut longest = 0;
        for encoded in &mut channel.encodings {
            self.encoder.encode(encoded.encoding, delivery, &mut encoded.bytes);
            longest = longest.max(encoded.bytes.len());
        }
        if let Some(kept) = &mut channel.kept {
            kept.deliveries.push(delivery.clone());
            kept.bytes += weight(delivery);
            longest = longest.max(kept.bytes);
        }
        channel.appended = delivery.position.or(channel.appended);
        if !channel.dirty {
            channel.dirty = true;
            self.dirty.push(id);
        }
        if longest >= JOIN_BYTES { Appended::Much } else { Appended::Yes }
    }

    /// In which way a line reads what happens in a channel that it is in.
    pub(crate) fn encoding(&self, line: u32, name: &str) -> Option<E::Encoding> {
        let id = *self.names.get(name)?;
        let subscriptions = self.lines.get(line as usize)?;
        let place = subscriptions.get(subscriptions.position(id)?)?.place;
        Some(self.channels[id as usize].as_ref()?.subscribers.get(place as usize)?.encoding)
    }

    /// What has happened, as one line is to be sent it.
    pub(crate) fn encode(&mut self, encoding: E::Encoding, delivery: &Delivery) -> Bytes {
        let mut bytes = Vec::new();
        self.encoder.encode(encoding, delivery, &mut bytes);
        self.encoder.dealt();
        bytes.into()
    }

    /// Hands each subscriber what has happened since the last time, as one shared buffer, or as one or more of its own; `to` gets
    /// the index of the line. Those for whom it says false have fallen behind.
    pub fn deal(&mut self, mut to: impl FnMut(u32, &Share<'_>) -> bool) -> Vec<Refused> {
        let mut refused = Vec::new();
        while let Some(id) = self.dirty.pop() {
            self.deal_channel(id, &mut to, &mut refused);
        }
        refused
    }

    /// Hands one line what has happened so far in its channels, because something that is for it alone comes next. The others still
    /// get all of the tick as one.
    pub(crate) fn deal_to(&mut self, line: u32, mut to: impl FnMut(&Share<'_>) -> bool) -> Vec<Refused> {
        let mut refused = Vec::new();
        let Some(subscriptions) = self.lines.get(line as usize) else { return refused };
        for slot in 0..subscriptions.len() {
            let Some(Subscription { channel: id, place }) = subscriptions.get(slot) else { continue };
            let Some(channel) = self.channels[id as usize].as_ref().filter(|channel| channel.dirty) else { continue };
            let Some(Subscriber { encoding, .. }) = channel.subscribers.get(place as usize).copied() else { continue };
            let ahead = self.ahead.entry(id).or_default();
            let known = ahead.iter().find(|ahead| ahead.line == line);
            let (from, after, since) =
                known.map_or((0, 0, channel.dealt), |ahead| (ahead.bytes, ahead.deliveries, ahead.since));
            let bytes = if E::is_shared(encoding) {
                let encoded = channel.encodings.iter().find(|encoded| encoded.encoding == encoding);
                encoded.map_or(Bytes::new(), |encoded| Bytes::copy_from_slice(&encoded.bytes[from..]))
            } else {
                let mut bytes = Vec::new();
                for delivery in channel.kept.iter().flat_map(|kept| &kept.deliveries[after..]) {
                    self.encoder.encode(encoding, delivery, &mut bytes);
                }
                bytes.into()
            };
            channel.put_ahead(ahead, line, encoding);
            let share = Share { channel: &channel.name, bytes: &bytes, alone: false, lines: 1, volatile: channel.volatile };
            if !bytes.is_empty() && !to(&share) {
                if !E::is_shared(encoding) {
                    self.encoder.refused(encoding, &channel.name, since);
                }
                refused.push(Refused { line, channel: channel.name.clone(), since });
            }
        }
        refused
    }

    /// As [`deal`](Self::deal), of one channel.
    pub fn deal_one(&mut self, name: &str, mut to: impl FnMut(u32, &Share<'_>) -> bool) -> Vec<Refused> {
        let mut refused = Vec::new();
        if let Some(id) = self.names.get(name).copied()
            && let Some(at) = self.dirty.iter().position(|dirty| *dirty == id)
        {
            self.dirty.swap_remove(at);
            self.deal_channel(id, &mut to, &mut refused);
        }
        refused
    }

    fn deal_channel(&mut self, id: u32, to: &mut impl FnMut(u32, &Share<'_>) -> bool, refused: &mut Vec<Refused>) {
        let Some(channel) = self.channels[id as usize].as_mut() else { return };
        channel.dirty = false;
        let since = std::mem::replace(&mut channel.dealt, channel.appended);
        let (name, volatile) = (&channel.name, channel.volatile);
        let mut give = |line: u32, bytes: &Bytes, lines: u32, since: Option<Position>| {
            let alone = self.lines.get(line as usize).is_none_or(|subscriptions| subscriptions.len() < 2);
            let taken = to(line, &Share { channel: name, bytes, alone, lines, volatile });
            if !taken {
                refused.push(Refused { line, channel: name.clone(), since });
            }
            taken
        };
        let ahead = if self.ahead.is_empty() { None } else { self.ahead.remove(&id) };
        let ahead: HashMap<u32, Ahead> = ahead.into_iter().flatten().map(|ahead| (ahead.line, ahead)).collect();
        for encoded in &mut channel.encodings {
            if encoded.bytes.is_empty() {
                continue;
            }
            let (bytes, lines) = (Bytes::from(std::mem::take(&mut encoded.bytes)), encoded.subscribers);
            for subscriber in channel.subscribers.iter().filter(|subscriber| subscriber.encoding == encoded.encoding) {
                if ahead.is_empty() {
                    give(subscriber.line, &bytes, lines, since);
                } else if let Some(ahead) = ahead.get(&subscriber.line) {
                    let rest = bytes.slice(ahead.bytes..);
                    let _ = rest.is_empty() || give(subscriber.line, &rest, lines, ahead.since);
                } else {
                    give(subscriber.line, &bytes, lines, since);
                }
            }
        }
        let Some(kept) = &mut channel.kept else { return };
        kept.bytes = 0;
        let deliveries = std::mem::take(&mut kept.deliveries);
        let mut buffer = Vec::new();
        for Subscriber { line, encoding, .. } in channel.subscribers.iter().filter(|at| !E::is_shared(at.encoding)) {
            let (since, after) = ahead.get(line).map_or((since, 0), |ahead| (ahead.since, ahead.deliveries));
            // How far the line is with what it was handed, and with what stands in the buffer.
            let (mut handed, mut reached) = (since, since);
            for (number, delivery) in deliveries.iter().enumerate().skip(after) {
                self.encoder.encode(*encoding, delivery, &mut buffer);
                reached = delivery.position.or(reached);
                let is_last = number + 1 == deliveries.len();
                if buffer.is_empty() || buffer.len() < JOIN_BYTES && !is_last {
                    continue;
                }
                // A copy is as long as it must be, which matters where it has to wait in outboxes.
                let bytes = Bytes::copy_from_slice(&buffer);
                buffer.clear();
                if !give(*line, &bytes, 1, handed) {
                    self.encoder.refused(*encoding, &channel.name, handed);
                    break;
                }
                handed = reached;
            }
        }
        self.encoder.dealt();
    }

    /// Ends a subscription; the channel's name, if it was its last.
    fn take_out(&mut self, line: u32, slot: usize) -> Option<Arc<str>> {
        let from = self.lines.get_mut(line as usize)?;
        let subscription = from.swap_remove(slot)?;
        if let Some(moved) = from.get(slot)
            && let Some(channel) = self.channels[moved.channel as usize].as_mut()
        {
            channel.subscribers[moved.place as usize].slot = slot as u32;
        }
        let id = subscription.channel;
        let channel = self.channels[id as usize].as_mut()?;
        let name = channel.name.clone();
        let gone = channel.subscribers.swap_remove(subscription.place as usize);
        if let Some(moved) = channel.subscribers.get(subscription.place as usize)
            && let Some(moved) = self.lines[moved.line as usize].get_mut(moved.slot as usize)
        {
            moved.place = subscription.place;
        }
        if let Some(ahead) = self.ahead.get_mut(&id) {
            ahead.retain(|ahead| ahead.line != line);
        }
        if !E::is_shared(gone.encoding) {
            channel.kept = channel.kept.take().filter(|kept| kept.subscribers > 1);
            if let Some(kept) = &mut channel.kept {
                kept.subscribers -= 1;
            }
        } else if let Some(at) = channel.encodings.iter().position(|encoded| encoded.encoding == gone.encoding) {
            channel.encodings[at].subscribers -= 1;
            if channel.encodings[at].subscribers == 0 {
                channel.encodings.swap_remove(at);
            }
        }
        if channel.subscribers.is_empty() {
            self.names.remove(&channel.name);
            self.channels[id as usize] = None;
            self.dirty.retain(|dirty| *dirty != id);
            self.ahead.remove(&id);
            self.vacant.push(id);
        } else if channel.subscribers.capacity() > 64 && channel.subscribers.len() < channel.subscribers.capacity() / 4 {
            let half = channel.subscribers.capacity() / 2;
            channel.subscribers.shrink_to(half);
        }
        Some(name)
    }

    fn create(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let channel = Channel {
            name: name.clone(),
            subscribers: Vec::new(),
            encodings: Vec::new(),
            kept: None,
            dirty: false,
            volatile: false,
            appended: None,
            dealt: None,
        };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.channels[id as usize] = Some(channel);
                id
            }
            None => {
                self.channels.push(Some(channel));
                self.channels.len() as u32 - 1
            }
        };
        self.names.insert(name, id);
        id
    }
}

impl<T: Copy + Eq> Channel<T> {
    /// Notes that a line has got, or does not get, what was encoded so far.
    fn put_ahead(&self, all: &mut Vec<Ahead>, line: u32, encoding: T) {
        let encoded = self.encodings.iter().find(|encoded| encoded.encoding == encoding);
        let bytes = encoded.map_or(0, |encoded| encoded.bytes.len());
        let deliveries = self.kept.as_ref().map_or(0, |kept| kept.deliveries.len());
        let now = Ahead { line, bytes, deliveries, since: self.appended };
        match all.iter_mut().find(|ahead| ahead.line == line) {
            Some(ahead) => *ahead = now,
            None => all.push(now),
        }
    }
}

/// What a delivery is in bytes, about, when it is encoded.
fn weight(delivery: &Delivery) -> usize {
    match &delivery.what {
        What::Publication(publication) => size(publication),
        What::Piece(piece) => 160 + piece.data.as_ref().map_or(0, |data| data.len()),
        What::Join(member) | What::Leave(member) => 64 + member.info.as_ref().map_or(0, Bytes::len),
    }
}

impl Subscriptions {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    /// Where the channel stands in the list.
    fn position(&self, channel: u32) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One(one) => (one.channel == channel).then_some(0),
            Self::Many(many) => many.iter().position(|subscription| subscription.channel == channel),
        }
    }

    fn push(&mut self, subscription: Subscription) {
        match self {
            Self::None => *self = Self::One(subscription),
            Self::One(one) => *self = Self::Many(Box::new(vec![*one, subscription])),
            Self::Many(many) => many.push(subscription),
        }
    }

    fn get(&self, slot: usize) -> Option<Subscription> {
        match self {
            Self::None => None,
            Self::One(one) => (slot == 0).then_some(*one),
            Self::Many(many) => many.get(slot).copied(),
        }
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Subscription> {
        match self {
            Self::None => None,
            Self::One(one) => (slot == 0).then_some(one),
            Self::Many(many) => many.get_mut(slot),
        }
    }

    fn swap_remove(&mut self, slot: usize) -> Option<Subscription> {
        let removed = self.get(slot)?;
        match self {
            Self::Many(many) if many.len() > 1 => {
                many.swap_remove(slot);
            }
            _ => *self = Self::None,
        }
        Some(removed)
    }
}
