//! `publish`: publishers that keep so many publications ahead of their acknowledgements.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Error;
use crate::drive::Load;
use crate::line::Receiver;
use crate::lines::Lines;
use crate::message::{self, Stamp};
use crate::native::{Offsets, Publisher};
use crate::sequence::Faults;
use crate::tally::Tally;

/// Bytes appended at once for one line: the rest follows with the acknowledgements.
const FILL_MAX: usize = 1 << 20;

pub(crate) struct Acks {
    /// One for each line.
    publishers: Vec<(Publisher, bool)>,
    window: u32,
    size: usize,
    tag: u32,
    outstanding: u64,
    tally: Tally,
    started: bool,
    finished: bool,
    open: usize,
}

impl Acks {
    /// Publications have `size` bytes; `window` of them wait at most on each line.
    pub(crate) fn new(publishers: Vec<Publisher>, window: u32, size: usize) -> Acks {
        Acks {
            open: publishers.len(),
            publishers: publishers.into_iter().map(|publisher| (publisher, true)).collect(),
            window,
            size,
            tag: message::random() as u32,
            outstanding: 0,
            tally: Tally::new(),
            started: false,
            finished: false,
        }
    }

    fn fill(&mut self, line: usize, now: u64, out: &mut Vec<u8>) {
        let Some((publisher, true)) = self.publishers.get_mut(line) else { return };
        while publisher.unanswered() < self.window && out.len() < FILL_MAX {
            publisher.say(Stamp { tag: self.tag, sequence: publisher.next() }, now, out);
            self.outstanding += 1;
            self.tally.sent += 1;
        }
    }

    /// Whether each channel has numbered what it acknowledged without a hole and without a number twice. For the end, when nothing
    /// is on its way.
    pub(crate) fn check_offsets(&self, faults: &mut Faults) {
        let mut channels: BTreeMap<&Arc<str>, Offsets> = BTreeMap::new();
        for (publisher, _) in &self.publishers {
            let one = publisher.offsets();
            if one.count > 0 {
                let all = channels.entry(publisher.channel()).or_insert(Offsets { first: u64::MAX, ..Offsets::default() });
                (all.count, all.sum) = (all.count + one.count, all.sum + one.sum);
                (all.first, all.last) = (all.first.min(one.first), all.last.max(one.last));
            }
        }
        for all in channels.values() {
            let span = all.last - all.first + 1;
            faults.missing += span.saturating_sub(all.count);
            faults.repeated += all.count.saturating_sub(span);
            // As many as there must be, but not those.
            let sum = (u128::from(all.first) + u128::from(all.last)) * u128::from(span) / 2;
            faults.damaged += u64::from(span == all.count && sum != all.sum);
        }
    }

    /// What the server said when it first refused something.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.publishers.iter().find_map(|(publisher, _)| publisher.refusal())
    }
}

impl Receiver for Acks {
    fn message(&mut self, line: usize, now: u64, binary: bool, payload: &[u8]) {
        let Some((publisher, _)) = self.publishers.get_mut(line) else { return };
        let count = publisher.answered(now, binary, payload, &mut self.tally.latency);
        self.tally.operations += count;
        self.tally.payload_bytes += count * self.size as u64;
        self.outstanding -= count;
    }

    fn answer(&mut self, line: usize, now: u64, out: &mut Vec<u8>) {
        if self.started && !self.finished {
            self.fill(line, now, out);
        }
    }

    fn closed(&mut self, line: usize) {
        let Some((publisher, open)) = self.publishers.get_mut(line) else { return };
        if std::mem::replace(open, false) {
            let lost = u64::from(publisher.unanswered());
            self.outstanding -= lost;
            self.tally.faults.missing += lost;
            self.open -= 1;
        }
    }
}

impl Load for Acks {
    fn pump(&mut self, lines: &mut Lines) -> Result<(), Error> {
        if !std::mem::replace(&mut self.started, true) {
            for line in 0..self.publishers.len() {
                let now = lines.now();
                lines.send(line, |out| self.fill(line, now, out));
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn outstanding(&self) -> u64 {
        self.outstanding
    }

    fn is_dead(&self) -> bool {
        self.open == 0
    }

    fn tally(&mut self) -> &mut Tally {
        self.tally.faults.refused = self.publishers.iter().map(|(publisher, _)| publisher.refused()).sum();
        &mut self.tally
    }
}

#[cfg(test)]
mod tests {
    use longwire_protocol::{Epoch, Form, Message, Position, Reply};

    use super::*;
    use crate::native::Speech;

    /// Two publishers of one channel with `acknowledged` offsets for each.
    fn load(acknowledged: [&[u64]; 2]) -> Acks {
        let publisher = || Publisher::new(Speech::new(Form::Binary), "c".into(), 20, None, false, 4);
        let mut load = Acks::new(vec![publisher(), publisher()], 4, 20);
        load.started = true;
        for (line, offsets) in acknowledged.into_iter().enumerate() {
            load.fill(line, 100, &mut Vec::new());
            for (sequence, &offset) in offsets.iter().enumerate() {
                let position = Some(Position { epoch: Epoch(3), offset });
                let reply = Reply::Published { channel: "c".into(), position, repeated: false, lease: None };
                let mut payload = Vec::new();
                Form::Binary.push_message(&Message::Reply(Some(sequence as u32 + 1), reply), &mut payload);
                load.message(line, 150, true, &payload);
            }
        }
        load
    }

    fn faults(acknowledged: [&[u64]; 2]) -> Faults {
        let mut load = load(acknowledged);
        let mut faults = load.tally().faults;
        load.check_offsets(&mut faults);
        faults
    }

    #[test]
    fn acknowledgements_make_room() {
        let mut load = load([&[5, 6], &[7]]);
        assert_eq!((load.tally().operations, load.outstanding(), load.tally().latency.max()), (3, 5, 50));
        let mut out = Vec::new();
        load.answer(0, 200, &mut out);
        assert!(!out.is_empty());
        assert_eq!(load.outstanding(), 7);
        load.closed(0);
        load.closed(0);
        assert_eq!((load.outstanding(), load.tally().faults.missing, load.is_dead()), (3, 4, false));
    }

    #[test]
    fn offsets_are_held_against_each_other() {
        assert_eq!(faults([&[5, 7], &[6, 8]]), Faults::default());
        assert_eq!(faults([&[5, 7], &[6, 9]]).missing, 1);
        assert_eq!(faults([&[5, 6], &[5, 6]]).repeated, 2);
        assert_eq!(faults([&[5, 6], &[6, 8]]).damaged, 1);
        assert_eq!(faults([&[5, 5], &[6]]).refused, 1, "the same line, twice the same number");
    }
}
