//! The modes: which lines are opened, which load runs on them, and what goes into the result.

mod native;
mod storm;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::args::{AliveArgs, Common, EchoArgs, FanoutArgs, IdleArgs, Interval, Mode, Pace, Paths, RoomsArgs};
use crate::cost::Processes;
use crate::drive::{Load, Measured, drive};
use crate::echo::Echo;
use crate::line::{Ignore, Receiver};
use crate::lines::Lines;
use crate::message::Template;
use crate::native::{Plan, Speech};
use crate::opening::Target;
use crate::progress::Progress;
use crate::publish::{Layout, Publish, Rhythm, default_window};
use crate::report::{Idle, Latency, LineCounts, Operation, Outcome, Report};
use crate::sequence::Faults;
use crate::{Error, Stop};

/// Files of a run that are no lines: the standard streams, the readiness set, the timer, what is read and written.
const OTHER_FILES: u64 = 32;
/// Readings of the server's memory while `idle` opens its lines.
const GROWTH_READINGS: u32 = 16;

type Options = BTreeMap<&'static str, Value>;

/// Measures one mode.
pub(crate) fn measure(mode: &Mode, stop: &Stop) -> Result<Report, Error> {
    let common = mode.common();
    let bench = Bench {
        mode: mode.name(),
        common,
        server: Processes::new(&common.pids)?,
        target: Target::new(common)?,
        stop,
        progress: Progress::new(),
    };
    match mode {
        Mode::Echo(args) => bench.echo(args),
        Mode::Fanout(args) => bench.fanout(args),
        Mode::Rooms(args) => bench.rooms(args),
        Mode::Idle(args) => bench.idle(args),
        Mode::Alive(args) => bench.alive(args),
        Mode::Channel(args) => bench.channel(args),
        Mode::Latency(args) => bench.latency(args),
        Mode::Storm(args) => bench.storm(args),
        Mode::Publish(args) => bench.acks(args),
    }
}

struct Bench<'a> {
    mode: &'static str,
    common: &'a Common,
    server: Processes,
    target: Target,
    stop: &'a Stop,
    progress: Progress,
}

/// A load of publishing lines, ready to be set up.
struct Publishing<'a> {
    interval: Interval,
    paths: &'a Paths,
    size: u32,
    layout: Layout,
    rhythm: Rhythm,
    idle_path: &'a str,
}

impl Bench<'_> {
    fn echo(mut self, args: &EchoArgs) -> Result<Report, Error> {
        let count = args.lines as usize;
        let mut lines = self.lines(count, args.size)?;
        let mut load = Echo::new(Template::new(args.size as usize, args.binary), count, args.depth);
        let paths = std::iter::repeat_n(args.path.clone(), count);
        lines.open(paths, &mut load, &mut self.progress)?;
        let measured = self.drive(&mut load, &mut lines, &args.interval)?;
        let options = [
            ("lines", json!(args.lines)),
            ("size", json!(args.size)),
            ("depth", json!(args.depth)),
            ("type", json!(if args.binary { "binary" } else { "text" })),
        ];
        self.report(options.into(), Operation::RoundTrip, measured, lines)
    }

    fn fanout(self, args: &FanoutArgs) -> Result<Report, Error> {
        let subscribers = args.subscribers as usize;
        let frame = Template::new(args.size as usize, false).frame_len();
        let mut options = Options::from([("subscribers", json!(args.subscribers)), ("size", json!(args.size))]);
        let rhythm = rhythm(args.mode, args.rate, args.window, frame, subscribers, &mut options);
        let publishing = Publishing {
            interval: args.interval.clone(),
            paths: &args.paths,
            size: args.size,
            layout: Layout { idle: 0, subscribers, channels: 1 },
            rhythm,
            idle_path: "",
        };
        self.publish(&publishing, options)
    }

    fn rooms(self, args: &RoomsArgs) -> Result<Report, Error> {
        for path in [&args.paths.sub_path, &args.paths.pub_path] {
            if args.rooms > 1 && !path.contains("{}") {
                return Err(Error::Usage(format!("{path}: with several channels the path needs {{}} for their number")));
            }
        }
        let options = Options::from([
            ("lines", json!(args.lines)),
            ("rooms", json!(args.rooms)),
            ("size", json!(args.size)),
            ("outstanding", json!(args.outstanding)),
        ]);
        let publishing = Publishing {
            interval: args.interval.clone(),
            paths: &args.paths,
            size: args.size,
            layout: Layout { idle: 0, subscribers: args.lines as usize, channels: args.rooms as usize },
            rhythm: Rhythm::Window(args.outstanding),
            idle_path: "",
        };
        self.publish(&publishing, options)
    }

    fn alive(self, args: &AliveArgs) -> Result<Report, Error> {
        let Some(idle) = args.lines.checked_sub(args.subscribers) else {
            return Err(Error::Usage("--lines must be --subscribers or more: the subscribers are among them".into()));
        };
        let options = Options::from([
            ("lines", json!(args.lines)),
            ("subscribers", json!(args.subscribers)),
            ("size", json!(args.size)),
            ("rate", json!(args.rate)),
        ]);
        let publishing = Publishing {
            interval: Interval { seconds: args.seconds, warmup: args.warmup },
            paths: &args.paths,
            size: args.size,
            layout: Layout { idle: idle as usize, subscribers: args.subscribers as usize, channels: 1 },
            rhythm: Rhythm::Every((1e9 / args.rate) as u64),
            idle_path: &args.path,
        };
        self.publish(&publishing, options)
    }

    fn publish(mut self, publishing: &Publishing<'_>, options: Options) -> Result<Report, Error> {
        let layout = publishing.layout;
        let template = Template::new(publishing.size as usize, false);
        let mut load = Publish::new(template, layout, publishing.rhythm, publishing.paths);
        let mut lines = self.lines(layout.idle + layout.subscribers + layout.channels, publishing.size)?;
        let idle = std::iter::repeat_n(publishing.idle_path.to_owned(), layout.idle);
        lines.open(idle, &mut load, &mut self.progress)?;
        lines.open(load.sub_paths().into_iter(), &mut load, &mut self.progress)?;
        lines.open(load.pub_paths().into_iter(), &mut load, &mut self.progress)?;
        load.probe(&mut lines, self.common.timeout)?;
        let measured = self.drive(&mut load, &mut lines, &publishing.interval)?;
        self.report(options, Operation::Delivery, measured, lines)
    }

    fn idle(mut self, args: &IdleArgs) -> Result<Report, Error> {
        if self.server.is_empty() {
            return Err(Error::Usage("idle measures the server's memory: give its process id with --pid".into()));
        }
        if args.from >= args.to {
            return Err(Error::Usage("--to must be more than --from".into()));
        }
        let native = args.native.then(|| Speech::new(args.of_native.form.form()));
        let mut lines = match native {
            Some(_) => self.native_lines(args.to as usize, &args.of_native)?,
            None => self.lines(args.to as usize, 0)?,
        };
        let path = args.path.as_deref().unwrap_or(if args.native { "/v1/ws" } else { "/sub/idle" });
        let channel: Arc<str> = args.of_native.channel.as_str().into();
        let open = |bench: &mut Self, lines: &mut Lines, count: u32| match native {
            Some(speech) => {
                let plan = Plan { channel: Some(channel.clone()), back: None };
                bench.join(lines, speech, path, vec![plan; count as usize]).map(drop)
            }
            None => lines.open(std::iter::repeat_n(path.to_owned(), count as usize), &mut Ignore, &mut bench.progress),
        };
        let began = Instant::now();
        open(&mut self, &mut lines, args.from)?;
        self.settle(&mut lines, &mut Ignore, args.settle)?;
        let private_from = self.server.private_bytes()?;

        let mut growth = vec![(u64::from(args.from), private_from)];
        let mut opened = args.from;
        for reading in 1..=GROWTH_READINGS {
            let until = args.from + (u64::from(args.to - args.from) * u64::from(reading) / u64::from(GROWTH_READINGS)) as u32;
            open(&mut self, &mut lines, until - opened)?;
            opened = until;
            if reading < GROWTH_READINGS {
                growth.push((u64::from(opened), self.server.private_bytes()?));
            }
        }
        self.settle(&mut lines, &mut Ignore, args.settle)?;
        let private_to = self.server.private_bytes()?;
        growth.push((u64::from(args.to), private_to));

        let mut report = self.blank(Outcome::Complete);
        report.options.extend([("settle", json!(args.settle.as_secs_f64())), ("path", json!(path))]);
        if args.native {
            report.options.extend(native::options(&args.of_native));
        }
        report.seconds = began.elapsed().as_secs_f64();
        report.idle = Some(Idle {
            from: args.from.into(),
            to: args.to.into(),
            private_from_bytes: private_from,
            private_to_bytes: private_to,
            bytes_per_line: (private_to as f64 - private_from as f64) / f64::from(args.to - args.from),
            growth,
        });
        self.finish(report, lines)
    }

    /// Keeps the lines for a while, answering pings.
    fn settle<R: Receiver>(&mut self, lines: &mut Lines, receiver: &mut R, length: Duration) -> Result<(), Error> {
        let began = Instant::now();
        while began.elapsed() < length {
            if self.stop.requested() {
                return Err(Error::Interrupted);
            }
            lines.turn(Duration::from_millis(50), receiver)?;
            self.progress.running("settling", began.elapsed(), length, 0.0, lines.open_count());
        }
        Ok(())
    }

    /// Room for `count` lines with messages of `size` bytes.
    fn lines(&self, count: usize, size: u32) -> Result<Lines, Error> {
        raise_file_limit(count as u64 + OTHER_FILES)?;
        Lines::new(self.target.clone(), size as usize, self.stop.clone())
    }

    fn drive<L: Load>(&mut self, load: &mut L, lines: &mut Lines, interval: &Interval) -> Result<Measured, Error> {
        drive(load, lines, interval, self.common.timeout, &self.server, &mut self.progress)
    }

    fn report(mut self, options: Options, operation: Operation, measured: Measured, lines: Lines) -> Result<Report, Error> {
        let Measured { outcome, seconds, tally, rates, server_cost, client_cost } = measured;
        let mut report = self.blank(outcome);
        report.options = options;
        report.seconds = seconds;
        report.operation = Some(operation);
        report.operations = tally.operations;
        report.operations_per_second = tally.operations as f64 / seconds.max(1e-9);
        report.published = (operation == Operation::Delivery).then_some(tally.sent);
        report.payload_bytes = tally.payload_bytes;
        report.latency_us = Some(Latency::of(&tally.latency));
        report.faults = tally.faults;
        report.rates = rates;
        report.server_cost = server_cost;
        report.client_cost = Some(client_cost);
        self.finish(report, lines)
    }

    fn blank(&self, outcome: Outcome) -> Report {
        Report {
            tool: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            mode: self.mode,
            server: self.common.server.clone(),
            options: Options::new(),
            outcome,
            seconds: 0.0,
            operation: None,
            operations: 0,
            operations_per_second: 0.0,
            published: None,
            payload_bytes: 0,
            latency_us: None,
            latencies: BTreeMap::new(),
            lines: LineCounts::default(),
            faults: Faults::default(),
            server_cost: None,
            client_cost: None,
            idle: None,
            storm: None,
            disk: None,
            refusal: None,
            close_codes: BTreeMap::new(),
            rates: Vec::new(),
        }
    }

    /// Adds what is known of the lines, and closes them.
    fn finish(&mut self, mut report: Report, mut lines: Lines) -> Result<Report, Error> {
        self.progress.done();
        let (pings_answered, lines_pinged) = lines.pings();
        report.close_codes = lines.closed().clone();
        report.lines = LineCounts {
            opened: lines.len() as u64,
            closed_by_server: report.close_codes.values().sum(),
            connect_seconds: lines.connect_time().as_secs_f64(),
            pings_answered,
            lines_pinged,
        };
        lines.close_all()?;
        Ok(report)
    }
}

/// How a publishing line chooses its moments, noted in the options.
fn rhythm(mode: Pace, rate: f64, window: Option<u32>, frame: usize, subscribers: usize, options: &mut Options) -> Rhythm {
    let (name, rhythm) = match mode {
        Pace::Saturated => {
            let window = window.unwrap_or_else(|| default_window(frame, subscribers));
            options.insert("window", json!(window));
            ("saturated", Rhythm::Window(window))
        }
        Pace::Single => ("single", Rhythm::Window(1)),
        Pace::Paced => {
            options.insert("rate", json!(rate));
            ("paced", Rhythm::Every((1e9 / rate) as u64))
        }
    };
    options.insert("mode", json!(name));
    rhythm
}

/// Raises the soft limit of open files to the hard one when it is too low.
fn raise_file_limit(needed: u64) -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum
        && maximum < needed
    {
        return Err(Error::FileLimit { needed, limit: maximum });
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(|error| Error::io("the limit of open files cannot be raised")(error.into()))
}
