//! `echo`: every line keeps `depth` messages under way and waits for them to come back.

use crate::Error;
use crate::drive::Load;
use crate::line::Receiver;
use crate::lines::Lines;
use crate::message::{Stamp, Template};
use crate::sequence::{Arrival, Sequence, between};
use crate::tally::Tally;

/// Bytes appended at once for one line: the rest follows with the answers.
const FILL_MAX: usize = 1 << 20;

pub(crate) struct Echo {
    template: Template,
    depth: u32,
    lines: Vec<EchoLine>,
    /// When each message was sent: `slots` of them per line, a power of two.
    sent: Vec<u64>,
    slots: usize,
    outstanding: u64,
    tally: Tally,
    started: bool,
    finished: bool,
    open: usize,
}

#[derive(Default)]
struct EchoLine {
    sequence: Sequence,
    /// The number of the next message to send.
    next: u32,
    closed: bool,
}

impl Echo {
    pub(crate) fn new(template: Template, lines: usize, depth: u32) -> Echo {
        let slots = depth.next_power_of_two() as usize;
        Echo {
            template,
            depth,
            lines: std::iter::repeat_with(EchoLine::default).take(lines).collect(),
            sent: vec![0; lines * slots],
            slots,
            outstanding: 0,
            tally: Tally::new(),
            started: false,
            finished: false,
            open: lines,
        }
    }

    /// Appends messages until `depth` of them are under way on the line.
    #[inline]
    fn fill(&mut self, index: usize, now: u64, out: &mut Vec<u8>) {
        let line = &mut self.lines[index];
        while line.next.wrapping_sub(line.sequence.expected) < self.depth && out.len() < FILL_MAX {
            self.template.append(out, Stamp { tag: index as u32, sequence: line.next });
            self.sent[index * self.slots + (line.next as usize & (self.slots - 1))] = now;
            line.next = line.next.wrapping_add(1);
            self.tally.sent += 1;
            self.outstanding += 1;
        }
    }

    /// A message that is not the expected one.
    #[cold]
    fn unexpected(&mut self, index: usize, now: u64, binary: bool, payload: &[u8]) {
        let faults = &mut self.tally.faults;
        let Some(stamp) = self.template.stamp(binary, payload) else {
            faults.damaged += 1;
            return;
        };
        let line = &mut self.lines[index];
        if stamp.tag != index as u32 {
            faults.misrouted += 1;
            return;
        }
        if line.next.wrapping_sub(stamp.sequence).wrapping_sub(1) >= 1 << 31 {
            faults.damaged += 1; // a number that was never sent
            return;
        }
        match line.sequence.arrive(stamp.sequence) {
            Arrival::InOrder => self.returned(index, stamp.sequence, now, payload),
            Arrival::Early { first } => {
                let missing = u64::from(stamp.sequence.wrapping_sub(first));
                faults.missing += missing;
                self.outstanding -= missing;
                self.returned(index, stamp.sequence, now, payload);
            }
            Arrival::Late => {
                faults.missing -= 1;
                faults.disordered += 1;
                self.tally.operation(payload.len());
            }
            Arrival::Repeated => faults.repeated += 1,
        }
    }

    #[inline]
    fn returned(&mut self, index: usize, sequence: u32, now: u64, payload: &[u8]) {
        let sent = self.sent[index * self.slots + (sequence as usize & (self.slots - 1))];
        self.tally.latency.record(now - sent);
        self.tally.operation(payload.len());
        self.outstanding -= 1;
    }
}

impl Receiver for Echo {
    #[inline]
    fn message(&mut self, index: usize, now: u64, binary: bool, payload: &[u8]) {
        // Before the first message is sent the server may greet.
        if !self.started {
            return;
        }
        let line = &mut self.lines[index];
        let expected = line.sequence.expected;
        let stamp = Stamp { tag: index as u32, sequence: expected };
        if expected != line.next && self.template.is(stamp, binary, payload) {
            line.sequence.expected = expected.wrapping_add(1);
            self.returned(index, expected, now, payload);
        } else {
            self.unexpected(index, now, binary, payload);
        }
    }

    fn answer(&mut self, index: usize, now: u64, out: &mut Vec<u8>) {
        if self.started && !self.finished {
            self.fill(index, now, out);
        }
    }

    fn closed(&mut self, index: usize) {
        let line = &mut self.lines[index];
        if !std::mem::replace(&mut line.closed, true) {
            let lost = between(line.sequence.expected, line.next).count() as u64;
            line.sequence.expected = line.next;
            self.outstanding -= lost;
            self.tally.faults.missing += lost;
            self.open -= 1;
        }
    }
}

impl Load for Echo {
    fn pump(&mut self, lines: &mut Lines) -> Result<(), Error> {
        if !std::mem::replace(&mut self.started, true) {
            for index in 0..self.lines.len() {
                let now = lines.now();
                lines.send(index, |out| self.fill(index, now, out));
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
        &mut self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 20;

    /// A load with `depth` messages under way on each of two lines.
    fn echo(depth: u32) -> Echo {
        let mut echo = Echo::new(Template::new(SIZE, false), 2, depth);
        echo.started = true;
        echo.fill(0, 0, &mut Vec::new());
        echo.fill(1, 0, &mut Vec::new());
        echo
    }

    fn payload(tag: u32, sequence: u32) -> Vec<u8> {
        let letters = |number: u32| (0..8).rev().map(move |at| b'A' + (number >> (4 * at) & 15) as u8);
        letters(tag).chain(letters(sequence)).chain((16..SIZE).map(|at| b' ' + at as u8)).collect()
    }

    #[test]
    fn returned_messages_are_replaced_and_timed() {
        let mut echo = echo(4);
        assert_eq!(echo.outstanding(), 8);
        for sequence in 0..3 {
            echo.message(1, 500, false, &payload(1, sequence));
        }
        assert_eq!((echo.tally.operations, echo.outstanding()), (3, 5));
        let mut out = Vec::new();
        echo.answer(1, 600, &mut out);
        assert_eq!((out.len(), echo.outstanding()), (3 * (SIZE + 6), 8));
        assert_eq!(echo.tally.latency.max(), 500);
        assert_eq!(echo.tally.faults, Default::default());
    }

    #[test]
    fn every_fault_is_counted_as_what_it_is() {
        let mut echo = echo(8);
        echo.message(0, 1, false, &payload(0, 2)); // 0 and 1 are overtaken
        echo.message(0, 1, false, &payload(0, 1)); // late
        echo.message(0, 1, false, &payload(0, 1)); // again
        echo.message(0, 1, false, &payload(1, 3)); // the neighbour's
        echo.message(0, 1, false, &payload(0, 99)); // never sent
        echo.message(0, 1, true, &payload(0, 3)); // the wrong type
        echo.message(0, 1, false, b"short");
        let faults = echo.tally.faults;
        assert_eq!((faults.missing, faults.disordered, faults.repeated), (1, 1, 1));
        assert_eq!((faults.misrouted, faults.damaged), (1, 3));
        assert_eq!(echo.outstanding(), 16 - 3);
        echo.closed(0);
        echo.closed(0);
        assert_eq!((echo.outstanding(), echo.tally.faults.missing), (8, 6));
        assert!(!echo.is_dead());
        echo.closed(1);
        assert!(echo.is_dead());
    }
}
