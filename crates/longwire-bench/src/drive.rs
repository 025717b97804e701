//! One measured run of a load: warm-up, the measured interval, the last deliveries.

use std::time::Duration;

use crate::Error;
use crate::args::Interval;
use crate::cost::{CpuTime, Processes};
use crate::line::Receiver;
use crate::lines::Lines;
use crate::progress::Progress;
use crate::report::{ClientCost, Outcome, Rate, ServerCost};
use crate::tally::Tally;

/// Slices of the measured interval in the result.
const SLICES: u64 = 40;
/// Longest wait for the server before the clock is looked at.
const TURN: Duration = Duration::from_millis(20);
/// How long it must be quiet at the end before what has been overtaken counts as missing.
const LATE: Duration = Duration::from_millis(500);
/// How often the server's memory is looked at during the measured interval.
const MEMORY_EVERY: u64 = 250_000_000;

/// Something that keeps a server busy.
pub(crate) trait Load: Receiver {
    /// Sends what is due now, and sets the alarm for what is due later.
    fn pump(&mut self, lines: &mut Lines) -> Result<(), Error>;
    /// Sends nothing more.
    fn finish(&mut self);
    /// Messages that are sent and still expected.
    fn outstanding(&self) -> u64;
    /// Nothing can come any more: the lines that matter are gone.
    fn is_dead(&self) -> bool;
    /// What was counted.
    fn tally(&mut self) -> &mut Tally;
    /// The measured interval begins.
    fn begin(&mut self) {
        self.tally().restart();
    }
}

/// What a run came to.
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// The interval's counts, with the faults of the whole run.
    pub(crate) tally: Tally,
    pub(crate) rates: Vec<Rate>,
    pub(crate) server_cost: Option<ServerCost>,
    pub(crate) client_cost: ClientCost,
}

struct Reading {
    at: u64,
    server: CpuTime,
    client: CpuTime,
}

struct Run<'a, L> {
    load: &'a mut L,
    lines: &'a mut Lines,
    server: &'a Processes,
    client: Processes,
    progress: &'a mut Progress,
    timeout: Duration,
    /// When the last operation was seen, and how many there were then.
    last: (u64, u64),
}

/// Runs `load` on `lines`. A run that is cut short still gives what was counted so far.
pub(crate) fn drive<L: Load>(
    load: &mut L,
    lines: &mut Lines,
    interval: &Interval,
    timeout: Duration,
    server: &Processes,
    progress: &mut Progress,
) -> Result<Measured, Error> {
    let last = (lines.now(), 0);
    let mut run = Run { load, lines, server, client: Processes::own(), progress, timeout, last };
    let mut outcome = run.warm_up(interval.warmup)?;

    let private_before = server.private_bytes()?;
    run.load.begin();
    run.last = (run.lines.now(), 0);
    let began = run.read()?;
    let mut rates = Vec::new();
    let mut peak = private_before;
    if outcome == Outcome::Complete {
        outcome = run.measure(began.at, interval.seconds, &mut rates, &mut peak)?;
    }
    let ended = run.read()?;
    let mut tally = run.load.tally().clone();
    let private_after = server.private_bytes()?;

    run.load.finish();
    if outcome == Outcome::Complete {
        outcome = run.drain()?;
    }
    tally.faults = run.load.tally().faults;
    // What an interrupted run was still waiting for is not missing.
    if outcome != Outcome::Interrupted {
        tally.faults.missing += run.load.outstanding();
    }
    progress.done();

    let nanos = ended.at - began.at;
    let share = |cpu: u64| cpu as f64 / nanos.max(1) as f64 * 100.0;
    let each = |cpu: u64| (tally.operations > 0).then(|| cpu as f64 / 1e3 / tally.operations as f64);
    let (server_cpu, client_cpu) = (ended.server.since(&began.server), ended.client.since(&began.client));
    Ok(Measured {
        outcome,
        seconds: nanos as f64 / 1e9,
        rates,
        server_cost: (!server.is_empty()).then(|| ServerCost {
            pids: server.pids().to_vec(),
            cpu_us: server_cpu as f64 / 1e3,
            cpu_us_per_operation: each(server_cpu),
            cpu_percent: share(server_cpu),
            private_before_bytes: private_before,
            private_after_bytes: private_after,
            private_peak_bytes: peak.max(private_after),
        }),
        client_cost: ClientCost {
            cpu_us: client_cpu as f64 / 1e3,
            cpu_us_per_operation: each(client_cpu),
            cpu_percent: share(client_cpu),
        },
        tally,
    })
}

impl<L: Load> Run<'_, L> {
    fn read(&self) -> Result<Reading, Error> {
        Ok(Reading { at: self.lines.now(), server: self.server.cpu_time()?, client: self.client.cpu_time()? })
    }

    fn warm_up(&mut self, length: Duration) -> Result<Outcome, Error> {
        let began = self.lines.now();
        loop {
            let elapsed = self.lines.now() - began;
            if elapsed >= length.as_nanos() as u64 {
                return Ok(Outcome::Complete);
            }
            self.show("warming", elapsed, length);
            if let Some(outcome) = self.step()? {
                return Ok(outcome);
            }
        }
    }

    fn measure(&mut self, began: u64, length: Duration, rates: &mut Vec<Rate>, peak: &mut u64) -> Result<Outcome, Error> {
        let length_ns = length.as_nanos() as u64;
        let slice = (length_ns / SLICES).max(1);
        let (mut slice_at, mut counted, mut memory_at) = (0, 0, MEMORY_EVERY);
        loop {
            let elapsed = self.lines.now() - began;
            let over = elapsed >= length_ns;
            if elapsed >= slice_at + slice || over {
                let operations = self.load.tally().operations;
                let seconds = (elapsed - slice_at) as f64 / 1e9;
                rates.push(Rate { at: elapsed as f64 / 1e9, seconds, operations: operations - counted });
                (slice_at, counted) = (elapsed, operations);
            }
            if over {
                return Ok(Outcome::Complete);
            }
            if elapsed >= memory_at && !self.server.is_empty() {
                *peak = (*peak).max(self.server.anonymous_bytes()?);
                memory_at = elapsed + MEMORY_EVERY;
            }
            self.show("measuring", elapsed, length);
            if let Some(outcome) = self.step()? {
                return Ok(outcome);
            }
        }
    }

    /// Waits for what is outstanding, and for what may only be late; gives up when nothing has come for the time-out.
    fn drain(&mut self) -> Result<Outcome, Error> {
        let mut seen = (self.lines.now(), self.load.tally().operations);
        self.last = seen;
        loop {
            let may_be_late = self.load.tally().faults.missing > 0 && self.lines.now() - seen.0 < LATE.as_nanos() as u64;
            if self.load.outstanding() == 0 && !may_be_late {
                return Ok(Outcome::Complete);
            }
            if let Some(outcome) = self.step()? {
                return Ok(outcome);
            }
            let operations = self.load.tally().operations;
            if operations != seen.1 {
                seen = (self.lines.now(), operations);
            }
        }
    }

    /// One turn; says so when the run has to end.
    fn step(&mut self) -> Result<Option<Outcome>, Error> {
        if self.lines.stop_requested() {
            return Ok(Some(Outcome::Interrupted));
        }
        self.load.pump(self.lines)?;
        self.lines.turn(TURN, self.load)?;
        let (now, operations) = (self.lines.now(), self.load.tally().operations);
        if operations != self.last.1 || self.load.outstanding() == 0 {
            self.last = (now, operations);
        }
        let stalled = now - self.last.0 > self.timeout.as_nanos() as u64;
        Ok((stalled || self.load.is_dead()).then_some(Outcome::Stalled))
    }

    fn show(&mut self, what: &str, elapsed: u64, length: Duration) {
        let rate = self.load.tally().operations as f64 / (elapsed as f64 / 1e9).max(1e-3);
        self.progress.running(what, Duration::from_nanos(elapsed), length, rate, self.lines.open_count());
    }
}
