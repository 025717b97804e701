//! Who listens to what on this shard, and the frames of a tick for them (station 5: fan-out).
//!
//! A publication is encoded once for each way in which the channel's subscribers read frames, and the publications of one tick
//! stand in one buffer, so that a line is written to once whatever their number.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use longwire_ws::deflate::SharedDeflater;
use longwire_ws::frame;

use crate::node::Publication;
use longwire_ws::OwnedMessage as Message;

/// Frames of one tick are handed on once they are this long.
const JOIN_BYTES: usize = 256 * 1024;

/// How a line reads frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Plain,
    /// Compressed each on its own, for a window of so many bits.
    Deflated(u8),
}

/// A line's place in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    channel: u32,
    /// Where the line stands in the channel's list.
    place: u32,
}

/// The channels that a line is subscribed to; most lines have one or none.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(Subscription),
    #[expect(clippy::box_collection, reason = "16 bytes in every line instead of 24, for the rare line with many")]
    Many(Box<Vec<Subscription>>),
}

#[derive(Clone, Copy)]
struct Subscriber {
    line: u32,
    /// Where the channel stands in the line's list.
    slot: u32,
    encoding: Encoding,
}

struct Channel {
    name: Arc<str>,
    subscribers: Vec<Subscriber>,
    encodings: Vec<Encoded>,
    dirty: bool,
}

/// The frames of this tick in one encoding.
struct Encoded {
    encoding: Encoding,
    subscribers: u32,
    frames: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Hub {
    names: HashMap<Arc<str>, u32>,
    channels: Vec<Option<Channel>>,
    vacant: Vec<u32>,
    dirty: Vec<u32>,
    deflaters: HashMap<u8, SharedDeflater>,
}

impl Hub {
    pub(crate) fn channel(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Adds a line to a channel; false if it is in it already.
    pub(crate) fn subscribe(&mut self, line: u32, encoding: Encoding, to: &mut Subscriptions, name: &str) -> bool {
        let id = match self.names.get(name) {
            Some(id) => *id,
            None => self.create(name),
        };
        if to.position(id).is_some() {
            return false;
        }
        let Some(channel) = self.channels[id as usize].as_mut() else { return false };
        match channel.encodings.iter_mut().find(|encoded| encoded.encoding == encoding) {
            Some(encoded) => encoded.subscribers += 1,
            None => channel.encodings.push(Encoded { encoding, subscribers: 1, frames: Vec::new() }),
        }
        let place = channel.subscribers.len() as u32;
        channel.subscribers.push(Subscriber { line, slot: to.len() as u32, encoding });
        to.push(Subscription { channel: id, place });
        true
    }

    /// Takes a line out of a channel. `others` gives the subscriptions of another line, whose place moves.
    pub(crate) fn unsubscribe<'a>(
        &mut self,
        from: &mut Subscriptions,
        slot: usize,
        others: impl FnOnce(u32) -> Option<&'a mut Subscriptions>,
    ) {
        let Some(subscription) = from.swap_remove(slot) else { return };
        if let Some(moved) = from.get(slot)
            && let Some(channel) = self.channels[moved.channel as usize].as_mut()
        {
            channel.subscribers[moved.place as usize].slot = slot as u32;
        }
        let id = subscription.channel;
        let Some(channel) = self.channels[id as usize].as_mut() else { return };
        let gone = channel.subscribers.swap_remove(subscription.place as usize);
        if let Some(moved) = channel.subscribers.get(subscription.place as usize) {
            let (line, slot) = (moved.line, moved.slot as usize);
            if let Some(subscription_of_moved) = others(line).and_then(|subscriptions| subscriptions.get_mut(slot)) {
                subscription_of_moved.place = subscription.place;
            }
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
    }

    /// Encodes a publication for the subscribers here. True when so much has come together that it should be dealt out.
    #[inline]
    pub(crate) fn append(&mut self, publication: &Publication) -> bool {
        let Some(id) = self.channel(publication.channel()) else { return false };
        let Some(channel) = self.channels[id as usize].as_mut() else { return false };
        let mut longest = 0;
        for encoded in &mut channel.encodings {
            encode(publication.message(), encoded.encoding, &mut self.deflaters, &mut encoded.frames);
            longest = longest.max(encoded.frames.len());
        }
        if !channel.dirty {
            channel.dirty = true;
            self.dirty.push(id);
        }
        longest >= JOIN_BYTES
    }

    /// Hands each subscriber of what was published the frames for it, as one shared buffer.
    pub(crate) fn deal(&mut self, mut to: impl FnMut(u32, &Bytes)) {
        while let Some(id) = self.dirty.pop() {
            let Some(channel) = self.channels[id as usize].as_mut() else { continue };
            channel.dirty = false;
            for encoded in &mut channel.encodings {
                let frames = Bytes::from(std::mem::take(&mut encoded.frames));
                for subscriber in channel.subscribers.iter().filter(|subscriber| subscriber.encoding == encoded.encoding) {
                    to(subscriber.line, &frames);
                }
            }
        }
    }

    fn create(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let channel = Channel { name: name.clone(), subscribers: Vec::new(), encodings: Vec::new(), dirty: false };
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

fn encode(message: &Message, encoding: Encoding, deflaters: &mut HashMap<u8, SharedDeflater>, out: &mut Vec<u8>) {
    let (kind, payload) = (message.kind(), message.as_bytes());
    match encoding {
        Encoding::Deflated(bits) => {
            deflaters.entry(bits).or_insert_with(|| SharedDeflater::new(bits)).encode(kind, payload, out);
        }
        Encoding::Plain => frame::encode(kind.into(), payload, None, out),
    }
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    /// Where the channel stands in the list.
    pub(crate) fn position(&self, channel: u32) -> Option<usize> {
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
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Against plain sets, over random subscriptions and their ends, with deliveries checked all along.
    #[test]
    fn everyone_subscribed_gets_each_publication_once() {
        let mut seed = 3u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) % below) as u32
        };
        let mut hub = Hub::default();
        let mut lines: Vec<Subscriptions> = (0..20).map(|_| Subscriptions::default()).collect();
        let mut model = BTreeMap::<u32, BTreeSet<u32>>::new();
        for _ in 0..10_000 {
            let (line, channel) = (random(20), random(6));
            let name = format!("c{channel}");
            match random(3) {
                0 => {
                    let encoding = if line % 3 == 0 { Encoding::Deflated(15) } else { Encoding::Plain };
                    let new = hub.subscribe(line, encoding, &mut lines[line as usize], &name);
                    assert_eq!(new, model.entry(channel).or_default().insert(line));
                }
                1 => {
                    let slot = hub.channel(&name).and_then(|id| lines[line as usize].position(id));
                    assert_eq!(slot.is_some(), model.entry(channel).or_default().remove(&line));
                    if let Some(slot) = slot {
                        let mut own = std::mem::take(&mut lines[line as usize]);
                        hub.unsubscribe(&mut own, slot, |other| Some(&mut lines[other as usize]));
                        lines[line as usize] = own;
                    }
                }
                _ => {
                    hub.append(&Publication::for_test(&name, "hello"));
                    let mut got = Vec::new();
                    hub.deal(|line, frames| {
                        assert_eq!(&frames[..], b"\x81\x05hello");
                        got.push(line);
                    });
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
