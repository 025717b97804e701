//! Which channels there are, what is published in them, and who follows which.

use std::collections::BTreeMap;
use std::time::Duration;

use longwire_client::{Data, Publish};
use serde::{Deserialize, Serialize};

/// Keys of a channel that has any.
const KEYS: u64 = 40;
/// What goes with every second key, so that a snapshot of them is large enough to be cut in its middle.
const PADDING: usize = 3000;
/// One in so many publications removes its key.
const REMOVES_ONE_IN: u64 = 11;

/// What subscribers of all kinds are told.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Deal {
    /// Every second one has keys.
    pub(crate) channels: usize,
    /// How many of them a client follows over its one line.
    pub(crate) follows: usize,
    /// How often each client begins anew in one of its channels, with all that was published so far,
    pub(crate) renewals: usize,
    /// in the course of so many milliseconds.
    pub(crate) within: u64,
}

/// What a client knows of a channel's keys, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Digest {
    /// How many there are.
    pub(crate) count: u64,
    /// The sum over all of them: the number that has set it, times the number of the key, from 1.
    pub(crate) sum: u64,
}

impl Deal {
    /// The channels that a client follows.
    pub(crate) fn of(&self, client: usize) -> impl Iterator<Item = usize> + use<> {
        let (channels, follows) = (self.channels, self.follows);
        (0..follows).map(move |more| (client + more) % channels)
    }

    /// Which of its channels this is to a client; none if it does not follow it.
    pub(crate) fn place(&self, client: usize, channel: usize) -> Option<usize> {
        (channel < self.channels)
            .then(|| (channel + self.channels - client % self.channels) % self.channels)
            .filter(|at| *at < self.follows)
    }

    /// How long to wait from one time to begin anew to the next, as chance has it: `fraction` is from 0 to 1.
    pub(crate) fn renewal(&self, fraction: f64) -> Duration {
        Duration::from_millis((self.within as f64 * fraction * 2.0 / (self.renewals + 1) as f64) as u64)
    }
}

/// Whether a channel has keys.
pub(crate) fn is_keyed(channel: usize) -> bool {
    channel % 2 == 1
}

/// The name of a channel.
pub(crate) fn name(channel: usize) -> String {
    format!("{}:{channel}", if is_keyed(channel) { "keyed" } else { "fault" })
}

/// What is published in a channel: with the number as its data, or, where it is with a key, as its event.
pub(crate) fn publication(channel: usize, number: u64) -> Publish {
    let text = number.to_string();
    if !is_keyed(channel) {
        return Publish::new(name(channel), Data::from(text));
    }
    let remove = removes(number);
    let padding = if number.is_multiple_of(2) { PADDING } else { 1 };
    Publish {
        key: Some(key(number % KEYS).into()),
        remove,
        data: (!remove).then(|| Data::from("x".repeat(padding))),
        event: Some(text.into()),
        ..Publish::new(name(channel), "")
    }
}

/// The keys of a channel with keys after `0..each` were published.
pub(crate) fn keys_after(each: u64) -> Digest {
    let mut keys = BTreeMap::new();
    for number in 0..each {
        if removes(number) {
            keys.remove(&key(number % KEYS));
        } else {
            keys.insert(key(number % KEYS), number);
        }
    }
    Digest::of(&keys)
}

fn removes(number: u64) -> bool {
    number % REMOVES_ONE_IN == REMOVES_ONE_IN - 1
}

fn key(index: u64) -> String {
    format!("k{}", index + 1)
}

impl Digest {
    /// Of keys and the numbers that have set them.
    pub(crate) fn of(keys: &BTreeMap<String, u64>) -> Self {
        let product = |(key, number): (&String, &u64)| number * key[1..].parse().unwrap_or(0);
        Self { count: keys.len() as u64, sum: keys.iter().map(product).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_follows_as_many_channels_and_knows_which() {
        for (channels, follows) in [(1, 1), (5, 3), (4, 4)] {
            let deal = Deal { channels, follows, renewals: 0, within: 0 };
            for client in 0..12 {
                let of: Vec<_> = deal.of(client).collect();
                let places: Vec<_> = of.iter().map(|channel| deal.place(client, *channel)).collect();
                assert_eq!(places, (0..follows).map(Some).collect::<Vec<_>>(), "{client} of {channels}");
                let others = (0..channels + 2).filter(|channel| !of.contains(channel));
                assert!(others.into_iter().all(|channel| deal.place(client, channel).is_none()));
            }
        }
    }

    #[test]
    fn the_keys_are_those_that_were_set_last() {
        assert_eq!(keys_after(0), Digest::default());
        // 0 to 9 set k1 to k10, and 10 removes k11, which is not there.
        assert_eq!(keys_after(11), Digest { count: 10, sum: (0..10).map(|n| n * (n + 1)).sum() });
        assert_eq!(keys_after(400).count, 36, "four were removed at last");
    }
}
