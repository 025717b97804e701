//! `storm`: the clients of a channel are cut at once and come back for what they missed, while somebody else goes on publishing.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Bench;
use super::native::{common_position, options, publish};
use crate::Error;
use crate::args::StormArgs;
use crate::cost::{CpuTime, MemoryWatch, Processes};
use crate::drive::Load;
use crate::line::Receiver;
use crate::lines::Lines;
use crate::native::{Joined, Joining, Native, Plan, Speech};
use crate::pair::Pair;
use crate::publish::{Publish, Rhythm};
use crate::report::{ClientCost, Latency, Operation, Outcome, Report, ServerCost, Storm};
use crate::steady::{Phase, Steadied, Steady};
use crate::way::Way;
use crate::wording::Wording;

/// How often the server's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(10);
/// Longest wait for the server before the clock is looked at.
const TURN: Duration = Duration::from_millis(20);
/// How long to wait for what must not come any more.
const LINGER: Duration = Duration::from_millis(500);
/// The line that publishes what the clients miss; theirs follow.
const PUBLISHER: usize = 0;

/// The clients and their channel.
struct Crowd<'a> {
    args: &'a StormArgs,
    speech: Speech,
    load: Publish<Native>,
    joined: Vec<Joined>,
}

/// The lines of those who come back: what is not for the session is for the load.
struct Returning<'a> {
    joining: Joining,
    load: &'a mut Publish<Native>,
}

/// How the storm went.
struct Passed {
    outcome: Outcome,
    back: Vec<Joined>,
    away: Duration,
    whole: Duration,
}

struct Reading {
    at: Instant,
    server: CpuTime,
    client: CpuTime,
}

impl Bench<'_> {
    pub(super) fn storm(mut self, args: &StormArgs) -> Result<Report, Error> {
        let mut lines = self.native_lines(args.clients as usize + 1, &args.native)?;
        let mut crowd = self.gather(&mut lines, args)?;
        let steady = self.steady(args)?;
        self.settle(&mut lines, &mut crowd.load, Duration::from_secs(1))?;

        steady.next_phase();
        self.settle(&mut lines, &mut crowd.load, args.before)?;
        let memory_before = self.server.anonymous_bytes()?;
        let watch = MemoryWatch::start(&self.server, MEMORY_EVERY);
        let began = self.reading()?;
        steady.next_phase();
        let passed = self.pass(&mut lines, &mut crowd)?;
        let steadied = steady.finish()?;
        let ended = self.reading()?;
        let (peak, after) = (watch.finish()?, self.server.anonymous_bytes()?);
        self.linger(&mut lines, &mut crowd.load)?;

        let load = &mut crowd.load;
        let clients = args.clients as usize;
        let all = 1 + args.messages;
        let storm = Storm {
            clients: clients as u64,
            messages: args.messages.into(),
            resumed: passed.back.iter().filter(|joined| joined.resumed).count() as u64,
            recovered: passed.back.iter().filter(|joined| joined.recovered).count() as u64,
            caught_up: (0..clients).filter(|&client| load.heard(client) == all).count() as u64,
            away_seconds: passed.away.as_secs_f64(),
            caught_up_seconds: passed.whole.as_secs_f64(),
            memory_before_bytes: memory_before,
            memory_peak_bytes: peak.max(after),
            memory_after_bytes: after,
        };
        let report = self.storm_report(args, load, storm, &passed, &steadied, (&began, &ended));
        self.finish(report, lines)
    }

    /// Opens the clients and the line that publishes; all get a first message, so that they have a position.
    fn gather<'a>(&mut self, lines: &mut Lines, args: &'a StormArgs) -> Result<Crowd<'a>, Error> {
        let (speech, channel) = (Speech::new(args.native.form.form()), args.native.channel.as_str());
        let way = Way::WebSocket(args.path.clone());
        self.join(lines, speech, &way, vec![Plan::default()])?;
        let plan = Plan { channel: Some(channel.into()), back: None };
        let joined = self.join(lines, speech, &way, vec![plan; args.clients as usize])?;
        let base = common_position(channel, &joined)?;
        let rhythm = Rhythm::Window(args.messages + 1);
        let mut load = publish(speech, speech, channel, args.size, base, args.clients as usize, rhythm);
        load.place(PUBLISHER + 1, PUBLISHER);
        load.probe(lines, self.common.timeout)?;
        Ok(Crowd { args, speech, load, joined })
    }

    /// Starts somebody else, who publishes to a channel of the same namespace.
    fn steady(&self, args: &StormArgs) -> Result<Steady, Error> {
        let target = self.target.speaking(args.native.form.form().subprotocol());
        let (args, timeout) = (args.clone(), self.common.timeout);
        Steady::start(target, self.stop.clone(), timeout, move |lines, progress| {
            let speech = Speech::new(args.native.form.form());
            let channel = format!("{}-steady", args.native.channel);
            let plans = [Plan { channel: Some(channel.as_str().into()), back: None }, Plan::default()];
            let mut joining = Joining::new(speech, 0, plans);
            lines.open(std::iter::repeat_n(Way::WebSocket(args.path.clone()), 2), &mut joining, progress)?;
            let joined = joining.finish(lines, timeout)?;
            let every = (1e9 / args.rate) as u64;
            let base = common_position(&channel, &joined[..1])?;
            let mut publish = publish(speech, speech, &channel, args.size, base, 1, Rhythm::Every(every));
            publish.probe(lines, timeout)?;
            Ok(Pair::new(publish, every))
        })
    }

    /// Cuts all clients, publishes, and lets them come back.
    fn pass(&mut self, lines: &mut Lines, crowd: &mut Crowd<'_>) -> Result<Passed, Error> {
        let began = Instant::now();
        let (args, clients) = (crowd.args, crowd.joined.len());
        lines.cut(PUBLISHER + 1..PUBLISHER + 1 + clients);
        let now = lines.now();
        crowd.load.publish(lines, 0, now, args.messages);
        while crowd.load.wording().unanswered() > 0 {
            if began.elapsed() > self.common.timeout || crowd.load.is_dead() {
                return Err(Error::NotJoined("what the clients were to miss was not acknowledged in time".to_owned()));
            }
            self.turn(lines, &mut crowd.load)?;
        }
        let away = began.elapsed();

        let first = lines.len();
        crowd.load.place(first, PUBLISHER);
        let plans = crowd.back();
        let mut returning = Returning { joining: Joining::new(crowd.speech, first, plans), load: &mut crowd.load };
        lines.open(std::iter::repeat_n(Way::WebSocket(args.path.clone()), clients), &mut returning, &mut self.progress)?;
        let mut last = (Instant::now(), returning.load.outstanding());
        let outcome = loop {
            let left = returning.load.outstanding();
            if returning.joining.is_done()? && left == 0 {
                break Outcome::Complete;
            }
            if left != last.1 {
                last = (Instant::now(), left);
            }
            if last.0.elapsed() > self.common.timeout || returning.load.is_dead() {
                break Outcome::Stalled;
            }
            self.turn(lines, &mut returning)?;
        };
        Ok(Passed { outcome, back: returning.joining.into_joined(), away, whole: began.elapsed() })
    }

    /// Whatever still comes is one too many.
    fn linger(&mut self, lines: &mut Lines, load: &mut Publish<Native>) -> Result<(), Error> {
        let began = Instant::now();
        while began.elapsed() < LINGER {
            self.turn(lines, load)?;
        }
        Ok(())
    }

    fn turn<R: Receiver>(&mut self, lines: &mut Lines, receiver: &mut R) -> Result<(), Error> {
        if self.stop.requested() {
            return Err(Error::Interrupted);
        }
        lines.turn(TURN, receiver)
    }

    fn reading(&self) -> Result<Reading, Error> {
        Ok(Reading { at: Instant::now(), server: self.server.cpu_time()?, client: Processes::own().cpu_time()? })
    }

    fn storm_report(
        &self,
        args: &StormArgs,
        load: &mut Publish<Native>,
        storm: Storm,
        passed: &Passed,
        steadied: &Steadied,
        (began, ended): (&Reading, &Reading),
    ) -> Report {
        let mut report = self.blank(passed.outcome);
        report.options = options(&args.native);
        report.options.extend([
            ("clients", json!(args.clients)),
            ("messages", json!(args.messages)),
            ("size", json!(args.size)),
            ("rate", json!(args.rate)),
            ("connect_rate", json!(self.common.connect_rate)),
            ("connect_window", json!(self.common.connect_window)),
        ]);
        // The first message, which gave the clients their position, is not counted.
        let tally = load.tally();
        report.seconds = passed.whole.as_secs_f64();
        report.operation = Some(Operation::Delivery);
        report.operations = tally.operations;
        report.operations_per_second = tally.operations as f64 / report.seconds.max(1e-9);
        report.published = Some(args.messages.into());
        report.payload_bytes = tally.payload_bytes;
        report.faults = tally.faults;
        report.faults.missing += load.outstanding();
        report.faults.add(&steadied.faults);
        report.refusal = load.wording().refusal().map(str::to_owned).or_else(|| steadied.refusal.clone());
        for (phase, [ack, delivery]) in
            steadied.phases.iter().zip([["ack_before", "delivery_before"], ["ack_during", "delivery_during"]])
        {
            let Phase { acks, deliveries } = phase;
            report.latencies.extend([(ack, Latency::of(acks)), (delivery, Latency::of(deliveries))]);
        }
        let nanos = (ended.at - began.at).as_nanos().max(1) as f64;
        let each = |cpu: u64| (report.operations > 0).then(|| cpu as f64 / 1e3 / report.operations as f64);
        let (server, client) = (ended.server.since(&began.server), ended.client.since(&began.client));
        report.server_cost = (!self.server.is_empty()).then(|| ServerCost {
            pids: self.server.pids().to_vec(),
            cpu_us: server as f64 / 1e3,
            cpu_us_per_operation: each(server),
            cpu_percent: server as f64 / nanos * 100.0,
            private_before_bytes: storm.memory_before_bytes,
            private_after_bytes: storm.memory_after_bytes,
            private_peak_bytes: storm.memory_peak_bytes,
        });
        report.client_cost = Some(ClientCost {
            cpu_us: client as f64 / 1e3,
            cpu_us_per_operation: each(client),
            cpu_percent: client as f64 / nanos * 100.0,
        });
        report.storm = Some(storm);
        report
    }
}

impl Crowd<'_> {
    /// How the clients come back: with their sessions, to where they were.
    fn back(&self) -> Vec<Plan> {
        let plan = |(number, joined): (usize, &Joined)| {
            let position = joined.position.map(|mut position| {
                position.offset += u64::from(self.load.heard(number));
                position
            });
            Plan {
                channel: Some(self.args.native.channel.as_str().into()),
                back: position.map(|position| (joined.session, joined.key.clone(), position)),
            }
        };
        self.joined.iter().enumerate().map(plan).collect()
    }
}

impl Receiver for Returning<'_> {
    fn message(&mut self, line: usize, now: u64, binary: bool, payload: &[u8]) {
        let rest = self.joining.hear(line, payload);
        if !rest.is_empty() {
            self.load.message(line, now, binary, rest);
        }
    }

    fn answer(&mut self, line: usize, _now: u64, out: &mut Vec<u8>) {
        self.joining.speak(line, out);
    }

    fn closed(&mut self, line: usize) {
        self.joining.lost(line);
        self.load.closed(line);
    }
}
