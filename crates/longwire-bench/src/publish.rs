//! `fanout`, `rooms`, `channel` and the busy part of `alive`: publishing lines, channels, subscribers.

use std::time::{Duration, Instant};

use crate::drive::Load;
use crate::line::Receiver;
use crate::lines::Lines;
use crate::message::Stamp;
use crate::routes::Routes;
use crate::sequence::{Arrival, Sequence, between};
use crate::tally::Tally;
use crate::way::Way;
use crate::wording::{Heard, Wording};
use crate::{Error, message};

/// Messages per channel whose times are remembered, at least: room for the probes before the run.
const SLOTS_MIN: u32 = 128;
/// Time between two probes, at least.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// When to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rhythm {
    /// At once, with at most so many messages of a channel ahead of its slowest subscriber.
    Window(u32),
    /// One message per so many nanoseconds, to the channels in turn.
    Every(u64),
}

impl Rhythm {
    /// How many messages of a channel are remembered at a time: a power of two.
    pub(crate) fn slots(self) -> usize {
        let window = match self {
            Rhythm::Window(window) => window,
            // A second's worth, so that a pause of the server delays messages and does not hold the rhythm up.
            Rhythm::Every(nanos) => (1_000_000_000 / nanos.max(1)).clamp(1, 1 << 16) as u32,
        };
        window.max(SLOTS_MIN).next_power_of_two() as usize
    }
}

/// How the lines are dealt: first `idle` ones, then the subscribers, then one publishing line per channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) idle: usize,
    pub(crate) subscribers: usize,
    pub(crate) channels: usize,
}

pub(crate) struct Publish<W> {
    wording: W,
    rhythm: Rhythm,
    /// The lines of the first subscriber and of the first publisher; the others follow.
    subscribers_at: usize,
    publishers_at: usize,
    routes: Routes,
    subscribers: Vec<Subscriber>,
    channels: Vec<Channel>,
    /// Channels that may be published to again.
    ready: Vec<u32>,
    /// The moment of the next message, and its channel.
    due: Option<u64>,
    turn: usize,
    /// Deliveries that are expected.
    outstanding: u64,
    tally: Tally,
    /// Publishing has begun.
    running: bool,
    finished: bool,
}

struct Subscriber {
    channel: u32,
    sequence: Sequence,
    closed: bool,
}

struct Channel {
    tag: u32,
    /// Subscribers that are left.
    members: u32,
    publisher_closed: bool,
    /// The oldest message that not all have, and the next one to publish.
    head: u32,
    next: u32,
    /// The messages from `head` to `next`, each at its number modulo the length, which is a power of two.
    slots: Box<[Slot]>,
    is_ready: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    sent: u64,
    /// Subscribers that do not have it yet.
    left: u32,
}

impl Channel {
    fn ahead(&self) -> u32 {
        self.next.wrapping_sub(self.head)
    }

    fn slot(&mut self, sequence: u32) -> &mut Slot {
        let at = sequence as usize & (self.slots.len() - 1);
        &mut self.slots[at]
    }

    fn is_live(&self) -> bool {
        !self.publisher_closed && self.members > 0
    }

    /// One subscriber fewer waits for this message. Tells whether the channel's head moved.
    #[inline]
    fn settle(&mut self, sequence: u32) -> bool {
        self.slot(sequence).left -= 1;
        if sequence != self.head || self.slot(sequence).left > 0 {
            return false;
        }
        while self.head != self.next && self.slot(self.head).left == 0 {
            self.head = self.head.wrapping_add(1);
        }
        true
    }
}

impl<W: Wording> Publish<W> {
    pub(crate) fn new(wording: W, layout: Layout, rhythm: Rhythm, routes: Routes) -> Publish<W> {
        let slots = rhythm.slots();
        // Another run's messages, still on their way, must not pass for this one's.
        let tag = message::random() as u32;
        let mut channels: Vec<Channel> = (0..layout.channels)
            .map(|number| Channel {
                tag: tag.wrapping_add(number as u32),
                members: 0,
                publisher_closed: false,
                head: 0,
                next: 0,
                slots: vec![Slot::default(); slots].into_boxed_slice(),
                is_ready: false,
            })
            .collect();
        let subscribers: Vec<Subscriber> = (0..layout.subscribers)
            .map(|number| {
                let channel = number % layout.channels;
                channels[channel].members += 1;
                Subscriber { channel: channel as u32, sequence: Sequence::default(), closed: false }
            })
            .collect();
        Publish {
            wording,
            rhythm,
            subscribers_at: layout.idle,
            publishers_at: layout.idle + layout.subscribers,
            routes,
            subscribers,
            channels,
            ready: Vec::new(),
            due: None,
            turn: 0,
            outstanding: 0,
            tally: Tally::new(),
            running: false,
            finished: false,
        }
    }

    pub(crate) fn wording(&mut self) -> &mut W {
        &mut self.wording
    }

    /// From now on these are the lines of the first subscriber and of the first publisher.
    pub(crate) fn place(&mut self, subscribers_at: usize, publishers_at: usize) {
        (self.subscribers_at, self.publishers_at) = (subscribers_at, publishers_at);
    }

    /// How many of the channel's messages a subscriber has got or missed.
    pub(crate) fn heard(&self, subscriber: usize) -> u32 {
        self.subscribers[subscriber].sequence.expected
    }

    /// Whether a channel has room for so many messages more.
    pub(crate) fn has_room(&self, number: usize, count: u32) -> bool {
        let channel = &self.channels[number];
        (channel.ahead() + count) as usize <= channel.slots.len()
    }

    /// The ways of the subscribers, in order.
    pub(crate) fn subscriber_ways(&self) -> Vec<Way> {
        self.subscribers.iter().map(|subscriber| self.routes.subscriber(subscriber.channel)).collect()
    }

    /// The ways of the publishing lines, in order.
    pub(crate) fn publisher_ways(&self) -> Vec<Way> {
        (0..self.channels.len()).map(|number| self.routes.publisher(number as u32)).collect()
    }

    /// Publishes to every channel until all subscribers have got the last message: some servers answer the handshake a moment
    /// before they subscribe the line. What was missed until then does not count.
    pub(crate) fn probe(&mut self, lines: &mut Lines, timeout: Duration) -> Result<(), Error> {
        let began = Instant::now();
        // So few that there is a slot for each.
        let every = PROBE_EVERY.max(timeout / (SLOTS_MIN - 1));
        loop {
            let now = lines.now();
            for number in 0..self.channels.len() {
                let channel = &self.channels[number];
                if channel.next == 0 || channel.ahead() > 0 && (channel.ahead() as usize) < channel.slots.len() {
                    self.publish(lines, number, now, 1);
                }
            }
            // While deliveries still arrive, the server is only slow: another message would make it slower.
            let mut quiet = Instant::now();
            while self.outstanding > 0 && quiet.elapsed() < every && began.elapsed() < timeout && !self.is_dead() {
                let before = self.outstanding;
                lines.turn(Duration::from_millis(20), self)?;
                if self.outstanding != before {
                    quiet = Instant::now();
                }
                if lines.stop_requested() {
                    return Err(Error::Interrupted);
                }
            }
            if self.outstanding == 0 && !self.is_dead() {
                break;
            }
            if began.elapsed() >= timeout || self.is_dead() {
                return Err(self.not_delivered());
            }
        }
        self.tally = Tally::new();
        Ok(())
    }

    fn not_delivered(&self) -> Error {
        let behind = |subscriber: &&Subscriber| {
            subscriber.closed || subscriber.sequence.expected != self.channels[subscriber.channel as usize].next
        };
        let mut behind = self.subscribers.iter().filter(behind);
        let channel = behind.next().map_or(0, |subscriber| subscriber.channel);
        let (sub_path, pub_path) = self.routes.names(channel);
        Error::NotDelivered { subscribers: behind.count() + 1, sub_path, pub_path }
    }

    /// Publishes `count` messages to a channel, in one write.
    pub(crate) fn publish(&mut self, lines: &mut Lines, number: usize, sent: u64, count: u32) {
        let channel = &mut self.channels[number];
        if !channel.is_live() {
            return;
        }
        let wording = &mut self.wording;
        lines.send(self.publishers_at + number, |out| {
            for _ in 0..count {
                wording.say(number, Stamp { tag: channel.tag, sequence: channel.next }, sent, out);
                *channel.slot(channel.next) = Slot { sent, left: channel.members };
                channel.next = channel.next.wrapping_add(1);
            }
        });
        self.outstanding += u64::from(count) * u64::from(channel.members);
        self.tally.sent += u64::from(count);
    }

    /// Fills the windows of the channels whose slowest subscriber has moved on.
    fn pump_windows(&mut self, lines: &mut Lines, window: u32) {
        if !self.running {
            self.ready = (0..self.channels.len() as u32).collect();
            self.channels.iter_mut().for_each(|channel| channel.is_ready = true);
        }
        let mut ready = std::mem::take(&mut self.ready);
        for number in ready.drain(..) {
            let channel = &mut self.channels[number as usize];
            channel.is_ready = false;
            let count = window.saturating_sub(channel.ahead());
            if count > 0 {
                let now = lines.now();
                self.publish(lines, number as usize, now, count);
            }
        }
        self.ready = ready;
    }

    /// Publishes what is due. A message that cannot be sent for want of a slot waits, and its latency counts on.
    fn pump_rhythm(&mut self, lines: &mut Lines, every: u64) -> Result<(), Error> {
        let now = lines.now();
        let mut due = self.due.unwrap_or(now);
        while due <= now {
            let channel = &self.channels[self.turn];
            if channel.ahead() as usize >= channel.slots.len() {
                break;
            }
            self.publish(lines, self.turn, due, 1);
            self.turn = (self.turn + 1) % self.channels.len();
            due += every;
        }
        if self.due != Some(due) {
            self.due = Some(due);
            lines.wake_at(due)?;
        }
        Ok(())
    }

    /// Takes a message that is not the expected one off the front.
    #[cold]
    fn unexpected(&mut self, number: usize, now: u64, binary: bool, rest: &mut &[u8]) {
        let before = rest.len();
        let heard = self.wording.next(binary, rest);
        let bytes = before - rest.len();
        let faults = &mut self.tally.faults;
        let stamp = match heard {
            Heard::Message(stamp) => stamp,
            Heard::Nothing => return,
            Heard::Damaged => {
                faults.damaged += 1;
                return;
            }
        };
        let subscriber = &mut self.subscribers[number];
        let channel = &mut self.channels[subscriber.channel as usize];
        if stamp.tag != channel.tag {
            faults.misrouted += 1;
            return;
        }
        if channel.next.wrapping_sub(stamp.sequence).wrapping_sub(1) >= 1 << 31 {
            faults.damaged += 1; // a number that was never published
            return;
        }
        match subscriber.sequence.arrive(stamp.sequence) {
            Arrival::InOrder => self.delivered(number, stamp.sequence, now, bytes),
            Arrival::Early { first } => {
                self.missed(number, first, stamp.sequence);
                self.delivered(number, stamp.sequence, now, bytes);
            }
            Arrival::Late => {
                // It may have been missing before the run, which does not count.
                faults.missing = faults.missing.saturating_sub(1);
                faults.disordered += 1;
                self.tally.operation(bytes);
            }
            Arrival::Repeated => faults.repeated += 1,
        }
    }

    #[inline]
    fn delivered(&mut self, number: usize, sequence: u32, now: u64, bytes: usize) {
        let of = self.subscribers[number].channel;
        let sent = self.channels[of as usize].slot(sequence).sent;
        self.tally.latency.record(now.saturating_sub(sent));
        self.tally.operation(bytes);
        self.settle(of, sequence);
    }

    fn missed(&mut self, number: usize, first: u32, end: u32) {
        let of = self.subscribers[number].channel;
        for sequence in between(first, end) {
            self.tally.faults.missing += 1;
            self.settle(of, sequence);
        }
    }

    #[inline]
    fn settle(&mut self, of: u32, sequence: u32) {
        self.outstanding -= 1;
        let channel = &mut self.channels[of as usize];
        if channel.settle(sequence) && !channel.is_ready {
            channel.is_ready = true;
            self.ready.push(of);
        }
    }
}

impl<W: Wording> Receiver for Publish<W> {
    #[inline]
    fn message(&mut self, line: usize, now: u64, binary: bool, payload: &[u8]) {
        if (self.publishers_at..self.publishers_at + self.channels.len()).contains(&line) {
            self.wording.answered(now, binary, payload);
            return;
        }
        // Idle lines may be told something; it is not looked at.
        let Some(number) = line.checked_sub(self.subscribers_at) else { return };
        if number >= self.subscribers.len() {
            return;
        }
        let mut rest = payload;
        loop {
            let subscriber = &mut self.subscribers[number];
            let channel = &self.channels[subscriber.channel as usize];
            let expected = subscriber.sequence.expected;
            let stamp = Stamp { tag: channel.tag, sequence: expected };
            let before = rest.len();
            if expected != channel.next && self.wording.expect(stamp, binary, &mut rest) {
                subscriber.sequence.expected = expected.wrapping_add(1);
                self.delivered(number, expected, now, before - rest.len());
            } else {
                self.unexpected(number, now, binary, &mut rest);
            }
            if rest.is_empty() {
                break;
            }
        }
    }

    fn closed(&mut self, line: usize) {
        if let Some(number) = line.checked_sub(self.publishers_at)
            && let Some(channel) = self.channels.get_mut(number)
        {
            channel.publisher_closed = true;
            return;
        }
        let Some(number) = line.checked_sub(self.subscribers_at) else { return };
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        if std::mem::replace(&mut subscriber.closed, true) {
            return;
        }
        let channel = &mut self.channels[subscriber.channel as usize];
        channel.members -= 1;
        let (first, end) = (subscriber.sequence.expected, channel.next);
        subscriber.sequence.expected = end;
        self.missed(number, first, end);
    }
}

impl<W: Wording> Load for Publish<W> {
    fn pump(&mut self, lines: &mut Lines) -> Result<(), Error> {
        if !self.finished {
            match self.rhythm {
                Rhythm::Window(window) => self.pump_windows(lines, window),
                Rhythm::Every(nanos) => self.pump_rhythm(lines, nanos)?,
            }
            self.running = true;
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn outstanding(&self) -> u64 {
        self.outstanding + self.wording.unanswered()
    }

    fn is_dead(&self) -> bool {
        // With many channels only the first live one is looked for.
        !self.channels.iter().any(Channel::is_live)
    }

    fn tally(&mut self) -> &mut Tally {
        self.tally.faults.refused = self.wording.refused();
        &mut self.tally
    }
}

/// Messages of the default window. More of them make bigger writes and so a smaller cost per delivery; what matters is that
/// all servers get the same.
const WINDOW: usize = 16;

/// The default window: 16 messages, fewer when they are so large that 192 KiB per line (what a server's bounded queue for a
/// line takes) or 256 MiB over all lines (what the kernel's buffers take) would be passed.
pub(crate) fn default_window(frame: usize, subscribers: usize) -> u32 {
    let per_line = (192 << 10) / frame;
    let in_all = (256 << 20) / (frame * subscribers.max(1));
    per_line.min(in_all).clamp(1, WINDOW) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Template;

    const SIZE: usize = 20;

    /// One channel with three subscribers on the lines 2 to 4, behind two idle ones, and `published` messages on their way.
    fn fanout(published: u32) -> Publish<Template> {
        let layout = Layout { idle: 2, subscribers: 3, channels: 1 };
        let mut load = Publish::new(Template::new(SIZE, false), layout, Rhythm::Window(4), Routes::of_channel("c"));
        let channel = &mut load.channels[0];
        channel.tag = 7;
        for sequence in 0..published {
            *channel.slot(sequence) = Slot { sent: 100, left: 3 };
        }
        channel.next = published;
        load.outstanding = u64::from(published) * 3;
        load
    }

    fn payload(tag: u32, sequence: u32) -> Vec<u8> {
        let letters = |number: u32| (0..8).rev().map(move |at| b'A' + (number >> (4 * at) & 15) as u8);
        letters(tag).chain(letters(sequence)).chain((16..SIZE).map(|at| b' ' + at as u8)).collect()
    }

    #[test]
    fn the_slowest_subscriber_moves_the_window() {
        let mut load = fanout(2);
        for line in [2, 3] {
            load.message(line, 150, false, &payload(7, 0));
            load.message(line, 150, false, &payload(7, 1));
        }
        assert!(load.ready.is_empty());
        assert_eq!((load.channels[0].ahead(), load.outstanding()), (2, 2));
        load.message(4, 175, false, &payload(7, 0));
        assert_eq!(load.channels[0].ahead(), 1);
        load.message(4, 175, false, &payload(7, 1));
        assert_eq!((load.channels[0].ahead(), load.outstanding()), (0, 0));
        assert_eq!((load.tally.operations, load.tally.latency.min(), load.tally.latency.max()), (6, 50, 75));
        assert_eq!(load.ready, [0], "a channel is ready once");
    }

    #[test]
    fn loss_lateness_repetition_and_strangers_are_told_apart() {
        let mut load = fanout(4);
        load.message(2, 150, false, &payload(7, 2)); // 0 and 1 are overtaken
        load.message(2, 150, false, &payload(7, 0)); // late
        load.message(2, 150, false, &payload(7, 2)); // again
        load.message(2, 150, false, &payload(8, 3)); // of another channel
        load.message(2, 150, false, &payload(7, 4)); // never published
        load.message(2, 150, false, b"noise");
        load.message(0, 150, false, b"a greeting on an idle line");
        let faults = load.tally.faults;
        assert_eq!((faults.missing, faults.disordered, faults.repeated), (1, 1, 1));
        assert_eq!((faults.misrouted, faults.damaged), (1, 2));
        assert_eq!(load.outstanding(), 12 - 3);
    }

    #[test]
    fn a_closed_subscriber_no_longer_holds_the_window() {
        let mut load = fanout(1);
        load.message(2, 150, false, &payload(7, 0));
        load.message(3, 150, false, &payload(7, 0));
        load.closed(4);
        load.closed(4);
        assert_eq!((load.outstanding(), load.channels[0].ahead(), load.tally.faults.missing), (0, 0, 1));
        assert!(!load.is_dead());
        load.closed(5);
        assert!(load.is_dead(), "the publishing line is gone");
    }

    #[test]
    fn subscribers_are_dealt_over_the_channels() {
        let layout = Layout { idle: 0, subscribers: 5, channels: 2 };
        let load = Publish::new(Template::new(SIZE, false), layout, Rhythm::Window(1), Routes::of_channel("{}"));
        let ways = |numbers: &[u32]| numbers.iter().map(|number| Way::WebSocket(number.to_string())).collect::<Vec<_>>();
        assert_eq!(load.subscriber_ways(), ways(&[0, 1, 0, 1, 0]));
        assert_eq!(load.publisher_ways(), ways(&[0, 1]));
        assert_eq!(load.channels.iter().map(|channel| channel.members).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn default_windows_keep_their_bounds() {
        for (frame, subscribers) in [(132, 1000), (20_000, 10_000), (70_000, 10), (1 << 21, 1)] {
            let window = default_window(frame, subscribers) as usize;
            assert!(window == 1 || window * frame <= 192 << 10 && window * frame * subscribers <= 256 << 20);
        }
        assert_eq!(default_window(132, 10_000), 16);
    }
}
