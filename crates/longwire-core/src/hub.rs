//! Who listens to what on a shard, and the frames of a tick for them (station 5: fan-out).
//!
//! What happens in a channel is encoded once for each way in which the channel's subscribers read, and all of one tick stands in
//! one buffer, so that a line is written to once whatever their number.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use longwire_protocol::Position;

use crate::broker::Delivery;

/// Bytes of one tick are handed on once they are this many.
const JOIN_BYTES: usize = 256 * 1024;

/// Makes bytes of what happens in a channel.
pub trait Encoder {
    /// A way in which lines read.
    type Encoding: Copy + Eq;

    /// Appends what lines of this kind are to be sent; nothing, if it does not concern them.
    fn encode(&mut self, encoding: Self::Encoding, delivery: &Delivery, out: &mut Vec<u8>);
}

/// The subscriptions of a shard's lines. A line is known by its index, which is used again only after [`Hub::leave`].
pub struct Hub<E: Encoder> {
    encoder: E,
    names: HashMap<Arc<str>, u32>,
    channels: Vec<Option<Channel<E::Encoding>>>,
    vacant: Vec<u32>,
    dirty: Vec<u32>,
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
    encodings: Vec<Encoded<T>>,
    dirty: bool,
    /// What the newest of what was encoded has for a position, and the newest of what was dealt out.
    appended: Option<Position>,
    dealt: Option<Position>,
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

impl<E: Encoder> Hub<E> {
    /// Without subscriptions.
    pub fn new(encoder: E) -> Self {
        Self { encoder, names: HashMap::new(), channels: Vec::new(), vacant: Vec::new(), dirty: Vec::new(), lines: Vec::new() }
    }

    /// Adds a line to a channel; false if it is in it already.
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
        match channel.encodings.iter_mut().find(|encoded| encoded.encoding == encoding) {
            Some(encoded) => encoded.subscribers += 1,
            None => channel.encodings.push(Encoded { encoding, subscribers: 1, bytes: Vec::new() }),
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
        self.names.contains_key(name)
    }

    /// Encodes what has happened for the subscribers. True when so much has come together that it should be dealt out.
    #[inline]
    pub fn append(&mut self, delivery: &Delivery) -> bool {
        let Some(id) = self.names.get(&*delivery.channel).copied() else { return false };
        let Some(channel) = self.channels[id as usize].as_mut() else { return false };
        let mut longest = 0;
        for encoded in &mut channel.encodings {
            self.encoder.encode(encoded.encoding, delivery, &mut encoded.bytes);
            longest = longest.max(encoded.bytes.len());
        }
        channel.appended = delivery.position.or(channel.appended);
        if !channel.dirty {
            channel.dirty = true;
            self.dirty.push(id);
        }
        longest >= JOIN_BYTES
    }

    /// Hands each subscriber what has happened since the last time, as one shared buffer; `to` gets the index of the line, the
    /// bytes, and whether the line is in no other channel. Those for whom it says false have fallen behind.
    pub fn deal(&mut self, mut to: impl FnMut(u32, &Bytes, bool) -> bool) -> Vec<Refused> {
        let mut refused = Vec::new();
        while let Some(id) = self.dirty.pop() {
            self.deal_channel(id, &mut to, &mut refused);
        }
        refused
    }

    /// As [`deal`](Self::deal), of one channel.
    pub fn deal_one(&mut self, name: &str, mut to: impl FnMut(u32, &Bytes, bool) -> bool) -> Vec<Refused> {
        let mut refused = Vec::new();
        if let Some(id) = self.names.get(name).copied()
            && let Some(at) = self.dirty.iter().position(|dirty| *dirty == id)
        {
            self.dirty.swap_remove(at);
            self.deal_channel(id, &mut to, &mut refused);
        }
        refused
    }

    fn deal_channel(&mut self, id: u32, to: &mut impl FnMut(u32, &Bytes, bool) -> bool, refused: &mut Vec<Refused>) {
        let Some(channel) = self.channels[id as usize].as_mut() else { return };
        channel.dirty = false;
        let since = std::mem::replace(&mut channel.dealt, channel.appended);
        for encoded in &mut channel.encodings {
            if encoded.bytes.is_empty() {
                continue;
            }
            let bytes = Bytes::from(std::mem::take(&mut encoded.bytes));
            for subscriber in channel.subscribers.iter().filter(|subscriber| subscriber.encoding == encoded.encoding) {
                let alone = self.lines.get(subscriber.line as usize).is_none_or(|subscriptions| subscriptions.len() < 2);
                if !to(subscriber.line, &bytes, alone) {
                    refused.push(Refused { line: subscriber.line, channel: channel.name.clone(), since });
                }
            }
        }
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
        if let Some(at) = channel.encodings.iter().position(|encoded| encoded.encoding == gone.encoding) {
            channel.encodings[at].subscribers -= 1;
            if channel.encodings[at].subscribers == 0 {
                channel.encodings.swap_remove(at);
            }
        }
        if channel.subscribers.is_empty() {
            self.names.remove(&channel.name);
            self.channels[id as usize] = None;
            self.dirty.retain(|dirty| *dirty != id);
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
            dirty: false,
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use longwire_protocol::Publication;

    use super::*;
    use crate::broker::What;
    use crate::random::Random;

    struct Names;

    impl Encoder for Names {
        type Encoding = bool;

        fn encode(&mut self, encoding: bool, delivery: &Delivery, out: &mut Vec<u8>) {
            out.push(u8::from(encoding));
            out.extend_from_slice(delivery.channel.as_bytes());
        }
    }

    fn delivery(channel: &str) -> Delivery {
        let channel: Arc<str> = channel.into();
        let publication =
            Publication { channel: channel.clone(), offset: 0, time: 0, data: Some("hello".into()), from: None, rare: None };
        Delivery { channel, position: None, what: What::Publication(Arc::new(publication)), except: None }
    }

    /// Against plain sets, over random subscriptions and their ends, with deliveries checked all along.
    #[test]
    fn everyone_subscribed_gets_each_publication_once() {
        let mut random = Random::seeded(3);
        let mut random = move |below: u64| (random.number() % below) as u32;
        let mut hub = Hub::new(Names);
        let mut model = BTreeMap::<u32, BTreeSet<u32>>::new();
        for _ in 0..10_000 {
            let (line, channel) = (random(20), random(6));
            let name = format!("c{channel}");
            match random(8) {
                0..=3 => {
                    let new = hub.subscribe(line, line % 3 == 0, &name);
                    assert_eq!(new, model.entry(channel).or_default().insert(line));
                }
                4..=5 => {
                    let was = model.entry(channel).or_default().remove(&line);
                    assert_eq!(hub.is_subscribed(line, &name), was);
                    assert_eq!(hub.unsubscribe(line, &name), was);
                }
                6 => {
                    let mut left = BTreeSet::new();
                    hub.leave(line, |name| assert!(left.insert(name.to_string())));
                    for (channel, lines) in &mut model {
                        assert_eq!(lines.remove(&line), left.contains(&format!("c{channel}")));
                    }
                }
                _ => {
                    hub.append(&delivery(&name));
                    let mut got = Vec::new();
                    let refused = hub.deal(|line, bytes, alone| {
                        assert_eq!(bytes[0] == 1, line % 3 == 0);
                        assert_eq!(&bytes[1..], name.as_bytes());
                        assert_eq!(alone, model.values().filter(|lines| lines.contains(&line)).count() == 1);
                        got.push(line);
                        line != 7
                    });
                    assert_eq!(refused.len(), usize::from(got.contains(&7)));
                    got.sort_unstable();
                    let want: Vec<u32> = model.entry(channel).or_default().iter().copied().collect();
                    assert_eq!(got, want);
                }
            }
        }
        let channels = model.values().filter(|lines| !lines.is_empty()).count();
        assert_eq!(hub.names.len(), channels, "a channel without subscribers is forgotten");
    }
}
