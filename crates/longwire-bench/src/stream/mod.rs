//! `transports`: a numbered stream of publications, and clients that receive it in one way or another.
//!
//! There are few messages in it, so that each is read with all the care that a client would take.

mod polls;

use std::ops::Range;

use serde_json::Value;

use crate::Error;
use crate::args::Reception;
use crate::drive::Load;
use crate::line::Receiver;
use crate::lines::Lines;
use crate::message::{self, Stamp};
use crate::native::{Publisher, Speech, Text};
use crate::opening::Target;
use crate::sequence::{Arrival, Sequence, between};
use crate::tally::Tally;
use crate::way::Way;

use polls::Poll;

/// Where the stream is received.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// Paths with the channel in their query.
    pub(crate) events_path: String,
    pub(crate) poll_path: String,
    pub(crate) socketio_path: String,
    pub(crate) native_path: String,
    pub(crate) channel: String,
    /// Seconds that a long poll waits.
    pub(crate) wait: u64,
    /// Nanoseconds from one poll to the next.
    pub(crate) every: u64,
}

/// The listeners, and the publisher behind them.
pub(crate) struct Stream {
    reception: Option<Reception>,
    target: Target,
    /// The first listener's line; the others follow.
    first: usize,
    listeners: Vec<Listener>,
    /// None until its session is connected.
    publisher: Option<(usize, Publisher)>,
    text: Text,
    tag: u32,
    channel: String,
    /// When each message was published.
    sent: Vec<u64>,
    /// Nanoseconds from one to the next.
    interval: u64,
    due: Option<u64>,
    outstanding: u64,
    /// Messages received over the whole run.
    received: u64,
    tally: Tally,
    finished: bool,
    failure: Option<String>,
}

struct Listener {
    sequence: Sequence,
    /// It is where the channel is.
    ready: bool,
    poll: Option<Poll>,
    /// Requests so far, the one that opened its line included.
    requests: u64,
    closed: bool,
}

impl Reach {
    /// The way of a listener.
    pub(crate) fn way(&self, reception: Reception) -> Way {
        match reception {
            Reception::Polling | Reception::LongPolling => Way::Http(self.poll_path.clone()),
            Reception::Sse => Way::Events(self.events_path.clone()),
            Reception::WebSocket => Way::WebSocket(self.native_path.clone()),
            Reception::SocketIo => {
                let first = format!("420[\"subscribe\",{}]", serde_json::json!(self.channel));
                Way::SocketIo { path: self.socketio_path.clone(), first }
            }
        }
    }

    fn poll(&self, reception: Option<Reception>) -> Option<Poll> {
        match reception? {
            Reception::Polling => Some(Poll::new(self.poll_path.clone(), 0, Some(self.every))),
            Reception::LongPolling => Some(Poll::new(self.poll_path.clone(), self.wait, None)),
            Reception::Sse | Reception::WebSocket | Reception::SocketIo => None,
        }
    }
}

impl Stream {
    /// Of texts with `size` bytes, one each `interval` nanoseconds, to `count` listeners whose lines begin with `first`; without a
    /// reception nobody listens.
    pub(crate) fn new(
        reception: Option<Reception>,
        reach: &Reach,
        target: Target,
        first: usize,
        count: usize,
        size: usize,
        interval: u64,
    ) -> Stream {
        let is_poll = matches!(reception, Some(Reception::Polling | Reception::LongPolling));
        let listener = || Listener {
            sequence: Sequence::default(),
            ready: false,
            poll: reach.poll(reception),
            requests: u64::from(!is_poll),
            closed: false,
        };
        Stream {
            reception,
            target,
            first,
            listeners: std::iter::repeat_with(listener).take(if reception.is_some() { count } else { 0 }).collect(),
            publisher: None,
            text: Text::new(size),
            tag: message::random() as u32,
            channel: reach.channel.clone(),
            sent: Vec::new(),
            interval,
            due: None,
            outstanding: 0,
            received: 0,
            tally: Tally::new(),
            finished: false,
            failure: None,
        }
    }

    /// From now on this publishes, on this line.
    pub(crate) fn publish_with(&mut self, line: usize, publisher: Publisher) {
        self.publisher = Some((line, publisher));
    }

    /// All listeners are where the channel is: the native sessions and the streams have been told so.
    pub(crate) fn joined(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.ready = true);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.listeners.iter().all(|listener| listener.ready)
    }

    /// The lines of the listeners.
    pub(crate) fn lines(&self) -> Range<usize> {
        self.first..self.first + self.listeners.len()
    }

    /// Requests of all listeners, and messages that they received.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.listeners.iter().map(|listener| listener.requests).sum(), self.received)
    }

    /// What went wrong, in words.
    pub(crate) fn failure(&self) -> Option<String> {
        let refusal = self.publisher.as_ref().and_then(|(_, publisher)| publisher.refusal());
        let refusal = refusal.map(|said| format!("a publication was refused: {said}"));
        let lost = || self.listeners.iter().any(|listener| listener.closed).then(|| "the server closed a line".to_owned());
        self.failure.clone().or(refusal).or_else(lost)
    }

    /// Sends the polls that are due. Gives when the next one is.
    pub(crate) fn poll(&mut self, lines: &mut Lines) -> Option<u64> {
        let now = lines.now();
        for number in 0..self.listeners.len() {
            if let Some(request) = self.listeners[number].request(now, &self.target) {
                lines.send(self.first + number, |out| out.extend_from_slice(request.as_bytes()));
            }
        }
        self.listeners.iter().filter(|listener| !listener.closed).filter_map(|listener| listener.poll.as_ref()?.due()).min()
    }

    fn publish(&mut self, lines: &mut Lines, now: u64) {
        let Some((line, publisher)) = &mut self.publisher else { return };
        let stamp = Stamp { tag: self.tag, sequence: publisher.next() };
        lines.send(*line, |out| publisher.say(stamp, now, out));
        self.sent.push(now);
        self.tally.sent += 1;
        self.outstanding += self.listeners.iter().filter(|listener| !listener.closed).count() as u64;
    }

    /// Takes what came on a listener's line.
    fn hear(&mut self, number: usize, now: u64, payload: &[u8]) -> Result<(), String> {
        match self.reception {
            Some(Reception::Polling | Reception::LongPolling) => {
                let Some(poll) = &mut self.listeners[number].poll else { return Ok(()) };
                let publications = poll.answer(payload)?;
                self.listeners[number].ready = poll.is_ready();
                publications.iter().for_each(|publication| self.publication(number, now, publication));
            }
            Some(Reception::Sse | Reception::WebSocket) => {
                let speech = if self.reception == Some(Reception::Sse) { Speech::events() } else { Speech::json() };
                let mut rest = payload;
                while let Some(piece) = speech.split(&mut rest) {
                    let message = serde_json::from_slice(piece).map_err(|error| format!("what came is no JSON: {error}"))?;
                    self.publication(number, now, &message);
                }
            }
            Some(Reception::SocketIo) => self.packet(number, now, payload)?,
            None => {}
        }
        Ok(())
    }

    /// Takes a packet of Socket.IO: the acknowledgement of the subscription, or a publication.
    fn packet(&mut self, number: usize, now: u64, packet: &[u8]) -> Result<(), String> {
        let is_ack = packet.starts_with(b"43");
        let Some(at) = packet.iter().position(|&byte| byte == b'[').filter(|_| is_ack || packet.starts_with(b"42")) else {
            return Ok(());
        };
        let arguments: Vec<Value> =
            serde_json::from_slice(&packet[at..]).map_err(|error| format!("an event of Socket.IO is no JSON: {error}"))?;
        match arguments.as_slice() {
            [answer, ..] if is_ack && (answer.get("error").is_some() || answer["type"] == "error") => {
                return Err(format!("the subscription was refused: {answer}"));
            }
            [name, answer, ..] if name == "refused" => return Err(format!("the subscription was refused: {answer}")),
            _ if is_ack => self.listeners[number].ready = true,
            [name, publication, ..] if name == "publication" => self.publication(number, now, publication),
            _ => {}
        }
        Ok(())
    }

    /// Takes a message, if it is a publication.
    fn publication(&mut self, number: usize, now: u64, message: &Value) {
        // In the answer to a poll it needs no type, and no channel if there is only one.
        let is = |name: &str, value: &str| message.get(name).is_none_or(|found| found == value);
        if !is("type", "publication") {
            return;
        }
        let data = message.get("data").and_then(Value::as_str).filter(|_| is("channel", &self.channel));
        let stamp = data.and_then(|data| self.text.stamp(data.as_bytes()));
        match stamp.filter(|stamp| stamp.tag == self.tag && (stamp.sequence as usize) < self.sent.len()) {
            Some(stamp) => self.arrived(number, now, stamp.sequence),
            None => self.tally.faults.damaged += 1,
        }
    }

    fn arrived(&mut self, number: usize, now: u64, sequence: u32) {
        let arrival = self.listeners[number].sequence.arrive(sequence);
        match arrival {
            Arrival::Repeated => {
                self.tally.faults.repeated += 1;
                return;
            }
            Arrival::Late => {
                self.tally.faults.missing = self.tally.faults.missing.saturating_sub(1);
                self.tally.faults.disordered += 1;
            }
            Arrival::InOrder => self.outstanding -= 1,
            Arrival::Early { first } => {
                let missing = between(first, sequence).count() as u64;
                self.tally.faults.missing += missing;
                self.outstanding -= missing + 1;
            }
        }
        self.received += 1;
        self.tally.operation(self.text.len());
        self.tally.latency.record(now.saturating_sub(self.sent[sequence as usize]));
    }
}

impl Listener {
    /// The request that is due, if one is.
    fn request(&mut self, now: u64, target: &Target) -> Option<String> {
        if self.closed {
            return None;
        }
        let poll = self.poll.as_mut().filter(|poll| poll.due().is_some_and(|due| due <= now))?;
        self.requests += 1;
        Some(poll.request(now, |path| target.http_head("GET", path)))
    }
}

impl Receiver for Stream {
    fn message(&mut self, line: usize, now: u64, binary: bool, payload: &[u8]) {
        if let Some((_, publisher)) = self.publisher.as_mut().filter(|(publisher, _)| *publisher == line) {
            // How long an acknowledgement takes is measured elsewhere.
            publisher.answered(now, binary, payload, &mut crate::histogram::Histogram::new());
            return;
        }
        let Some(number) = line.checked_sub(self.first).filter(|&number| number < self.listeners.len()) else { return };
        if let Err(why) = self.hear(number, now, payload) {
            self.failure.get_or_insert(why);
        }
    }

    fn answer(&mut self, line: usize, now: u64, out: &mut Vec<u8>) {
        let Some(number) = line.checked_sub(self.first) else { return };
        let Some(listener) = self.listeners.get_mut(number) else { return };
        // The next poll goes out with the answer to the last; what has failed would only be asked the same again.
        if self.failure.is_none()
            && let Some(request) = listener.request(now, &self.target)
        {
            out.extend_from_slice(request.as_bytes());
        }
    }

    fn closed(&mut self, line: usize) {
        if self.publisher.as_ref().is_some_and(|(publisher, _)| *publisher == line) {
            self.failure.get_or_insert("the server closed the line that publishes".to_owned());
            return;
        }
        let Some(listener) = line.checked_sub(self.first).and_then(|number| self.listeners.get_mut(number)) else { return };
        if !std::mem::replace(&mut listener.closed, true) {
            let lost = between(listener.sequence.expected, self.sent.len() as u32).count() as u64;
            listener.sequence.expected = self.sent.len() as u32;
            self.outstanding -= lost;
            self.tally.faults.missing += lost;
        }
    }
}

impl Load for Stream {
    fn pump(&mut self, lines: &mut Lines) -> Result<(), Error> {
        let now = lines.now();
        let mut wake = self.poll(lines);
        if !self.finished {
            let mut due = self.due.unwrap_or(now);
            while due <= now {
                self.publish(lines, now);
                due += self.interval;
            }
            self.due = Some(due);
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
        }
        wake.map_or(Ok(()), |wake| lines.wake_at(wake))
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn outstanding(&self) -> u64 {
        self.outstanding
    }

    fn is_dead(&self) -> bool {
        let deaf = !self.listeners.is_empty() && self.listeners.iter().all(|listener| listener.closed);
        deaf || self.failure.is_some()
    }

    fn tally(&mut self) -> &mut Tally {
        self.tally.faults.refused = self.publisher.as_ref().map_or(0, |(_, publisher)| publisher.refused());
        &mut self.tally
    }
}
