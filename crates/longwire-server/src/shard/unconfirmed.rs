//! Lines of which nobody has asked for anything but the request that began them. Whoever begins a line comes back to it at once; who
//! begins thousands and never does pays one request for each, and would have all the places. So such lines have few places, and go after
//! seconds.

use std::collections::VecDeque;

use super::Shard;
use super::closing::complain;
use super::slab::Key;

/// Of so many of the oldest the one goes whose address has most.
const OLDEST: usize = 16;

/// The unconfirmed lines of a shard.
#[derive(Default)]
pub(super) struct Unconfirmed {
    /// In the order in which they were begun; those that are confirmed, or over, are still among them for a while.
    lines: VecDeque<Key>,
    count: usize,
}

impl Unconfirmed {
    /// One is confirmed, or over.
    pub(super) fn one_less(&mut self) {
        self.count = self.count.saturating_sub(1);
    }
}

impl Shard {
    /// A line was begun by a request.
    pub(super) fn begun(&mut self, key: Key) {
        let Self { unconfirmed, lines, core, .. } = self;
        let Some(line) = lines.get_mut(key) else { return };
        let has_socket = line.fd.is_some();
        let Some(requests) = line.out.requests().filter(|requests| !requests.confirmed) else { return };
        if has_socket {
            // Its client listens.
            requests.confirmed = true;
            return;
        }
        requests.begun = Some(core.now);
        unconfirmed.count += 1;
        unconfirmed.lines.push_back(key);
        core.wheel.schedule_earlier(key.index, core.now.wrapping_add(core.unconfirmed_for));
        if unconfirmed.lines.len() > 2 * unconfirmed.count + OLDEST {
            self.forget_confirmed();
        }
        let most = (self.core.node.0.places.max_unconfirmed() / self.core.node.shards()).max(1);
        if self.unconfirmed.count > most
            && let Some(key) = self.least_wanted()
        {
            complain("a client is closed", "it has begun a line over requests and not used it, as many have");
            self.cut(key, "never used");
        }
    }

    /// Somebody asks for a line that there is.
    pub(super) fn confirm(&mut self, key: Key) {
        if let Some(requests) = self.lines.get_mut(key).and_then(|line| line.out.requests())
            && !std::mem::replace(&mut requests.confirmed, true)
        {
            self.unconfirmed.one_less();
        }
    }

    /// Whether nobody has asked for the line so far.
    pub(super) fn is_unconfirmed(&mut self, key: Key) -> bool {
        let requests = self.lines.get_mut(key).and_then(|line| line.out.requests());
        requests.is_some_and(|requests| !requests.confirmed)
    }

    /// The tick at which a line goes that nobody has asked for until then.
    pub(super) fn unconfirmed_until(&mut self, key: Key) -> Option<u32> {
        let requests = self.lines.get_mut(key)?.out.requests()?;
        let begun = requests.begun.filter(|_| !requests.confirmed)?;
        Some(begun.wrapping_add(self.core.unconfirmed_for))
    }

    fn least_wanted(&mut self) -> Option<Key> {
        self.forget_first_confirmed();
        let Self { unconfirmed, lines, .. } = self;
        let mut found: Option<(u32, Key)> = None;
        for &key in unconfirmed.lines.iter().take(OLDEST) {
            let Some(line) = lines.get_mut(key) else { continue };
            if line.out.requests().is_some_and(|requests| !requests.confirmed) {
                let share = line._permit.share();
                if found.is_none_or(|(most, _)| share > most) {
                    found = Some((share, key));
                }
            }
        }
        found.map(|(_, key)| key)
    }

    fn forget_first_confirmed(&mut self) {
        while let Some(&first) = self.unconfirmed.lines.front()
            && !self.is_unconfirmed(first)
        {
            self.unconfirmed.lines.pop_front();
        }
    }

    fn forget_confirmed(&mut self) {
        let lines = std::mem::take(&mut self.unconfirmed.lines);
        self.unconfirmed.lines = lines.into_iter().filter(|key| self.is_unconfirmed(*key)).collect();
    }
}
