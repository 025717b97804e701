//! A channel as a store has kept it, whose options may have changed since.
//!
//! A position is good as long as everything that came after it has a number and is kept, or is known not to be; and as long as who
//! continues from there has the channel's keys. So a time in which a channel numbers nothing ends its epoch, and so does one in which it
//! has lost its keys, or has taken no notice of keys; and to a time without a history the history does not reach back.

use std::collections::HashMap;

use longwire_protocol::Epoch;

use super::{Channel, Made, millis};
use crate::broker::memory::Out;
use crate::broker::memory::record::Record;

impl Channel {
    /// Takes in a record of what was kept of it.
    pub(in super::super) fn restore(&mut self, record: Record, out: &mut Out) {
        self.touched = out.now.steady;
        self.was_restored = true;
        match record {
            Record::Epoch { epoch, head, .. } => {
                (self.epoch, self.epoch_recorded) = (epoch, true);
                self.head = self.head.max(head);
                if !self.options.has_history() {
                    self.log.trim_to(self.head, &mut out.kept);
                }
            }
            Record::Renumbered { epoch, .. } => {
                self.epoch = epoch;
                self.clear_keys(out);
            }
            Record::Publication(publication) => {
                self.head = self.head.max(publication.offset);
                let producer = publication.from.as_ref().map(|from| from.session);
                self.push(&publication, producer, out);
            }
            Record::Piece(piece) => {
                self.head = self.head.max(piece.offset);
                self.log.add(&piece, self.expires(out.now.wall, out.now), &mut out.kept);
            }
            Record::Trim { floor, .. } => {
                self.head = self.head.max(floor);
                self.log.trim_to(floor, &mut out.kept);
            }
            Record::Key { key, offset, publication, .. } => {
                self.head = self.head.max(offset);
                self.set(&key, publication, out);
                if !self.options.has_history() {
                    self.log.trim_to(self.head, &mut out.kept);
                }
            }
            Record::Once { key, position, until, .. } => {
                // No clock that was set back makes it last longer.
                let left = until.saturating_sub(out.now.wall).min(millis(self.options.once_window));
                let (made, until) = (Made { position, by: None }, out.now.steady.saturating_add(left));
                self.once.insert(&key, made, until, self.options.once_keys, &mut out.kept);
            }
            Record::Gone { .. } => {}
        }
    }

    /// After all records: what they say is brought together with what the channel can do now. `epoch` is one that it never had.
    pub(in super::super) fn reconcile(&mut self, epoch: Epoch, out: &mut Out) {
        if !self.options.is_numbered() {
            self.renumber(Epoch::NONE, out);
            self.drop_all(out);
            (self.head, self.epoch_recorded) = (0, false);
            return;
        }
        if self.options.ordered {
            out.newest = out.newest.max(self.head);
        }
        // What was numbered and is not here was numbered in a time without a history.
        let ends_early = self.log.newest().max(self.log.floor()) < self.head;
        if if self.options.has_history() { ends_early } else { !self.log.is_empty() } {
            self.drop_history(out);
        }
        if self.epoch == Epoch::NONE {
            // Nobody was told of this one yet.
            (self.epoch, self.epoch_recorded) = (epoch, false);
        } else if if self.options.has_state() { !self.keys_are_those_of_history() } else { !self.keys.is_empty() } {
            self.renumber(epoch, out);
        }
    }

    /// Nobody can continue from a position of before. The history stays, the keys go, unless they are those of a time with a state.
    fn renumber(&mut self, epoch: Epoch, out: &mut Out) {
        if std::mem::replace(&mut self.epoch, epoch) == epoch {
            return;
        }
        let keys = if self.options.has_state() { self.keys.clone() } else { Default::default() };
        self.clear_keys(out);
        let channel = self.name.clone();
        out.record(|| Record::Renumbered { channel, epoch });
        for (key, publication) in keys {
            let (channel, offset, publication) = (self.name.clone(), publication.offset, Some(publication));
            out.record(|| Record::Key { channel, key: key.clone(), offset, publication: publication.clone() });
            self.set(&key, publication, out);
        }
    }

    /// Drops the history, with the streams that have not ended.
    fn drop_all(&mut self, out: &mut Out) {
        let (was_empty, floor) = (self.log.is_empty(), self.head);
        self.log.clear(&mut out.kept);
        if !was_empty {
            let channel = self.name.clone();
            out.record(|| Record::Trim { channel, floor, except: Vec::new() });
        }
    }

    /// Whether the keys are what was published with them last, as far as the history has it. If not, there was a time without a state.
    fn keys_are_those_of_history(&self) -> bool {
        let mut newest: HashMap<&str, (u64, bool)> = HashMap::new();
        let keyed = self.log.publications().filter_map(|publication| Some((publication, publication.rare.as_ref()?)));
        for (publication, rare) in keyed {
            if let Some(key) = rare.key.as_deref() {
                newest.insert(key, (publication.offset, rare.removed));
            }
        }
        newest.into_iter().all(|(key, (offset, removed))| match self.keys.get(key) {
            Some(value) => value.offset == offset && !removed,
            None => removed,
        })
    }
}
