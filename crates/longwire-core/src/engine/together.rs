//! How a line gets to the present of several channels that have one order: it is told what has happened in all of them in that order.
//!
//! Such channels are numbered together, so what comes next is what has the smallest offset. They become live together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use longwire_protocol::{Message, Position, Push};

use super::entering::{Entering, Stage};
use super::{Engine, Lines};
use crate::broker::{Ask, Page, size};
use crate::hub::Encoder;
use crate::options::Slow;

/// What comes next in a channel.
enum Next {
    /// Something with this offset, which is here.
    Offset(u64),
    /// What comes after this position has to be asked for.
    Page(Position),
    /// It is asked for.
    Waits,
    /// Nothing: this is the present.
    Present,
    /// The channel has lost it.
    Lost,
}

impl<E: Encoder> Engine<E> {
    /// Which of the subscriptions that a line is about to enter have one order; none, if it is only one.
    pub(super) fn in_order(&self, line: u32) -> Vec<usize> {
        let Some(Some(at)) = self.lines.get(line as usize) else { return Vec::new() };
        if at.entering.len() < 2 || at.held {
            return Vec::new();
        }
        let all = at.entering.iter().enumerate().filter(|(_, entering)| self.is_in_order(entering));
        let all: Vec<usize> = all.map(|(index, _)| index).collect();
        if all.len() < 2 { Vec::new() } else { all }
    }

    pub(super) fn is_in_order(&self, entering: &Entering) -> bool {
        let is_ordered =
            self.options_of(&entering.channel).is_some_and(|options| options.ordered && options.slow == Slow::Close);
        is_ordered && matches!(entering.stage, Stage::CatchingUp { entries: None, .. })
    }

    /// Brings these subscriptions of a line nearer to the present, as far as there is room.
    pub(super) fn advance_together(&mut self, line: u32, all: &[usize], lines: &mut impl Lines<E>) {
        let mut next = BinaryHeap::new();
        let mut waits = false;
        for index in all {
            match self.next_in(line, *index) {
                Next::Offset(offset) => next.push(Reverse((offset, *index))),
                Next::Present => {}
                other => {
                    waits = true;
                    if !self.go_for(line, *index, other, lines) {
                        return;
                    }
                }
            }
        }
        if waits {
            return;
        }
        while let Some(Reverse((_, index))) = next.pop() {
            if self.line(line).is_none_or(|at| at.credit <= 0) {
                return lines.want_room(line);
            }
            self.send_next(line, index, lines);
            match self.next_in(line, index) {
                Next::Offset(offset) => next.push(Reverse((offset, index))),
                Next::Present => {}
                other => {
                    self.go_for(line, index, other, lines);
                    return;
                }
            }
        }
        let Some(at) = self.line(line) else { return };
        let end = |index: &usize| match at.entering.get(*index) {
            Some(Entering { channel, stage: Stage::CatchingUp { end, .. }, .. }) => Some((channel.clone(), *end)),
            _ => None,
        };
        let present: Vec<_> = all.iter().filter_map(end).collect();
        for (channel, end) in present {
            if self.go_live(line, &channel, end, lines) {
                self.forget_entering(line, &channel, lines);
            }
        }
    }

    fn next_in(&mut self, line: u32, index: usize) -> Next {
        let Self { lines, waiting, .. } = self;
        let Some(Some(at)) = lines.get_mut(line as usize) else { return Next::Waits };
        let Some(Entering { channel, asked, stage: Stage::CatchingUp { page, end, head, .. } }) = at.entering.get_mut(index)
        else {
            return Next::Waits;
        };
        if let Some(Page { publications, end: page_end, head: newest, lost }) = page {
            if *lost {
                return Next::Lost;
            }
            if let Some(first) = publications.first() {
                return Next::Offset(first.offset);
            }
            (*end, *head) = (*page_end, *newest);
            *page = None;
        }
        let Some(waiting) = waiting.get(channel).filter(|_| *asked == 0) else { return Next::Waits };
        if end.offset < *head || waiting.dropped > end.offset {
            return Next::Page(*end);
        }
        match waiting.after(*end).next() {
            Some(delivery) => Next::Offset(delivery.position.map_or(0, |position| position.offset)),
            None => Next::Present,
        }
    }

    /// Does what there is to do where nothing is here; false if the line has fallen behind.
    fn go_for(&mut self, line: u32, index: usize, next: Next, lines: &mut impl Lines<E>) -> bool {
        let channel = self.line(line).and_then(|at| at.entering.get(index)).map(|entering| entering.channel.clone());
        match (next, channel) {
            (Next::Page(since), Some(channel)) => self.ask_page(line, index, channel, Ask::Page { since }, lines),
            (Next::Lost, Some(channel)) => {
                // It was too slow even for the past: it comes back, and is told what it has missed.
                self.close_slow(line, channel, lines);
                return false;
            }
            _ => {}
        }
        true
    }

    /// Sends what comes next in a channel.
    fn send_next(&mut self, line: u32, index: usize, lines: &mut impl Lines<E>) {
        let session = self.session_of(line);
        let Self { lines: all, waiting, .. } = self;
        let Some(Some(at)) = all.get_mut(line as usize) else { return };
        let encoding = at.encoding;
        let Some(Entering { channel, stage: Stage::CatchingUp { page, end, .. }, .. }) = at.entering.get_mut(index) else {
            return;
        };
        if let Some(page) = page {
            let publication = page.publications.remove(0);
            let bytes = size(&publication);
            lines.send(line, encoding, &Message::Push(Push::Publication(publication)));
            return self.charge(line, bytes, lines);
        }
        let delivery = waiting.get(channel).and_then(|waiting| waiting.after(*end).next()).cloned();
        if let Some(delivery) = delivery {
            *end = delivery.position.unwrap_or(*end);
            if delivery.except.is_none() || delivery.except != session {
                self.send_delivery(line, &delivery, lines);
            }
        }
    }
}
