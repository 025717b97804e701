//! How what has happened in a channel reaches those who are live there.

use std::sync::Arc;

use super::sessions::Place;
use super::{Engine, Lines};
use crate::broker::Delivery;
use crate::hub::{Appended, Encoder, Share};
use crate::options::{Namespaces, Slow};

impl<E: Encoder> Engine<E> {
    /// Something has happened in a channel.
    pub fn deliver(&mut self, delivery: &Delivery, lines: &mut impl Lines<E>) {
        self.note_for_waiting(delivery, lines);
        self.keep_order(&delivery.channel, lines);
        if let Some(line) = lines.only(delivery) {
            if let Some(line) = line {
                self.deliver_to(line, delivery, lines);
            }
            return;
        }
        let except = delivery.except.and_then(|session| match self.sessions.get(&session) {
            Some(Place::Line(line)) => Some(*line),
            _ => None,
        });
        let volatile = lines.is_volatile(delivery);
        if !lines.is_for_all(delivery) {
            self.deal_channel(&delivery.channel, None, lines);
            self.hub.append(delivery, volatile);
            let namespaces = &self.namespaces;
            let refused = self.hub.deal_one(&delivery.channel, |line, share| {
                Some(line) == except || !lines.is_for(line, delivery) || give(line, share, namespaces, lines)
            });
            self.refused(refused, lines);
        } else if let Some(except) = except.filter(|line| self.hub.is_subscribed(*line, &delivery.channel)) {
            // Bytes are shared by all: what is not for all goes by itself.
            self.deal_channel(&delivery.channel, None, lines);
            self.hub.append(delivery, volatile);
            self.deal_channel(&delivery.channel, Some(except), lines);
        } else {
            match self.hub.append(delivery, volatile) {
                Appended::Yes => {}
                Appended::Much => self.deal(lines),
                Appended::DealFirst => {
                    self.deal_channel(&delivery.channel, None, lines);
                    self.hub.append(delivery, volatile);
                }
            }
        }
    }

    /// Where channels have one order, a line that is in several of them gets what has happened in that order.
    fn keep_order(&mut self, channel: &Arc<str>, lines: &mut impl Lines<E>) {
        if self.newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, channel)) {
            return;
        }
        let is_ordered = self.options_of(channel).is_some_and(|options| options.ordered);
        if is_ordered && self.newest.as_ref().is_some_and(|newest| **newest != **channel) {
            self.deal(lines);
        }
        self.newest = is_ordered.then(|| channel.clone());
    }

    /// What has happened concerns one of a channel's subscribers.
    fn deliver_to(&mut self, line: u32, delivery: &Delivery, lines: &mut impl Lines<E>) {
        let Some(encoding) = self.hub.encoding(line, &delivery.channel) else { return };
        self.deal_channel(&delivery.channel, None, lines);
        let bytes = self.hub.encode(encoding, delivery);
        let (channel, volatile) = (&delivery.channel, lines.is_volatile(delivery));
        let share = Share { channel, bytes: &bytes, alone: false, lines: 1, volatile };
        if !bytes.is_empty() && !give(line, &share, &self.namespaces, lines) {
            self.close_slow(line, delivery.channel.clone(), lines);
        }
    }

    /// Hands the lines what was delivered. To be called at the end of a tick.
    pub fn deal(&mut self, lines: &mut impl Lines<E>) {
        let namespaces = &self.namespaces;
        let refused = self.hub.deal(|line, share| give(line, share, namespaces, lines));
        self.refused(refused, lines);
    }

    /// Hands one line what was delivered so far, because something that is for it alone comes next.
    pub fn deal_to(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let namespaces = &self.namespaces;
        let refused = self.hub.deal_to(line, |share| give(line, share, namespaces, lines));
        self.refused(refused, lines);
    }

    pub(super) fn deal_channel(&mut self, channel: &Arc<str>, except: Option<u32>, lines: &mut impl Lines<E>) {
        let namespaces = &self.namespaces;
        let to = |line, share: &Share<'_>| Some(line) == except || give(line, share, namespaces, lines);
        let refused = self.hub.deal_one(channel, to);
        self.refused(refused, lines);
    }
}

/// Hands a line something; false if it has fallen behind.
#[inline]
fn give<E: Encoder>(line: u32, share: &Share<'_>, namespaces: &Namespaces, lines: &mut impl Lines<E>) -> bool {
    if share.volatile {
        lines.deal_volatile(line, share.bytes, share.alone);
        return true;
    }
    let closes = || namespaces.of(share.channel).is_none_or(|options| options.slow == Slow::Close);
    lines.deal(line, share.bytes, share.alone) || closes() && lines.deal_late(line, share.bytes, share.lines)
}
