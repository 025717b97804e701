//! One publisher and one subscriber, now and then: the latency of a server that has nothing else to do, or all too much.

use crate::Error;
use crate::drive::Load;
use crate::histogram::Histogram;
use crate::line::Receiver;
use crate::lines::Lines;
use crate::message::{self, Stamp, Template};
use crate::native::Native;
use crate::publish::Publish;
use crate::tally::Tally;

/// Publishes at a steady pace, with an echo between two publications if there is a line for it. Each is timed from its sending: how
/// late this program is does not count.
pub(crate) struct Pair {
    publish: Publish<Native>,
    echo: Option<Echo>,
    /// Nanoseconds from one to the next.
    every: u64,
    due: Option<u64>,
    echo_is_next: bool,
    finished: bool,
}

struct Echo {
    line: usize,
    template: Template,
    stamp: Stamp,
    /// When it was sent, while it is under way.
    sent: Option<u64>,
    latency: Histogram,
    damaged: u64,
    closed: bool,
}

impl Pair {
    /// `every` is the time between two publications.
    pub(crate) fn new(publish: Publish<Native>, every: u64) -> Pair {
        Pair { publish, echo: None, every, due: None, echo_is_next: false, finished: false }
    }

    /// Half-way between two publications a message of `size` bytes goes out on this line and comes back.
    pub(crate) fn with_echo(mut self, line: usize, size: usize) -> Pair {
        self.every /= 2;
        let stamp = Stamp { tag: message::random() as u32, sequence: 0 };
        let template = Template::new(size, false);
        let latency = Histogram::new();
        self.echo = Some(Echo { line, template, stamp, sent: None, latency, damaged: 0, closed: false });
        self
    }

    /// The round trips of the echo since the interval began.
    pub(crate) fn echoes(&self) -> Option<&Histogram> {
        self.echo.as_ref().map(|echo| &echo.latency)
    }

    /// From publishing to the acknowledgement since the interval began.
    pub(crate) fn acks(&mut self) -> &Histogram {
        &self.publish.wording().acks
    }

    /// What the server said when it first refused something.
    pub(crate) fn refusal(&mut self) -> Option<String> {
        self.publish.wording().refusal().map(str::to_owned)
    }

    fn send(&mut self, lines: &mut Lines, now: u64) {
        if let Some(echo) = self.echo.as_mut().filter(|_| self.echo_is_next) {
            // The next one waits for the last.
            if echo.sent.is_none() && !echo.closed {
                echo.sent = Some(now);
                lines.send(echo.line, |out| echo.template.append(out, echo.stamp));
            }
        } else if self.publish.has_room(0, 1) {
            self.publish.publish(lines, 0, now, 1);
        }
        self.echo_is_next = self.echo.is_some() && !self.echo_is_next;
    }
}

impl Receiver for Pair {
    fn message(&mut self, line: usize, now: u64, binary: bool, payload: &[u8]) {
        let Some(echo) = self.echo.as_mut().filter(|echo| echo.line == line) else {
            self.publish.message(line, now, binary, payload);
            return;
        };
        match echo.sent.take() {
            Some(sent) if echo.template.is(echo.stamp, binary, payload) => {
                echo.latency.record(now.saturating_sub(sent));
                echo.stamp.sequence = echo.stamp.sequence.wrapping_add(1);
            }
            // Before the first message the server may greet.
            None if echo.stamp.sequence == 0 => {}
            _ => echo.damaged += 1,
        }
    }

    fn closed(&mut self, line: usize) {
        match self.echo.as_mut().filter(|echo| echo.line == line) {
            Some(echo) => echo.closed = true,
            None => self.publish.closed(line),
        }
    }
}

impl Load for Pair {
    fn pump(&mut self, lines: &mut Lines) -> Result<(), Error> {
        let now = lines.now();
        let due = self.due.unwrap_or(now);
        if now < due || self.finished {
            return Ok(());
        }
        self.send(lines, now);
        // What this program was too late for is left out: it would only come in a heap.
        let next = if due + self.every > now { due + self.every } else { now + self.every };
        self.due = Some(next);
        lines.wake_at(next)
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn outstanding(&self) -> u64 {
        let echo = self.echo.as_ref().is_some_and(|echo| echo.sent.is_some());
        self.publish.outstanding() + u64::from(echo)
    }

    fn is_dead(&self) -> bool {
        self.publish.is_dead() || self.echo.as_ref().is_some_and(|echo| echo.closed)
    }

    fn tally(&mut self) -> &mut Tally {
        let damaged = self.echo.as_mut().map_or(0, |echo| std::mem::take(&mut echo.damaged));
        let tally = self.publish.tally();
        tally.faults.damaged += damaged;
        tally
    }

    fn begin(&mut self) {
        self.tally().restart();
        self.publish.wording().acks.clear();
        if let Some(echo) = &mut self.echo {
            echo.latency.clear();
        }
    }
}
