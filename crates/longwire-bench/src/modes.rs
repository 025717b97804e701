//! The modes: which lines are opened, which load runs on them, and what goes into the result.

mod native;
mod storm;
mod transports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::args::{AliveArgs, Common, EchoArgs, FanoutArgs, IdleArgs, Interval, Mode, Pace, RoomsArgs, Transport};
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
use crate::relayed::{Events, SocketIo};
use crate::report::{Idle, Latency, LineCounts, Operation, Outcome, Report};
use crate::routes::{Routes, join};
use crate::sequence::Faults;
use crate::way::Way;
use crate::wording::Wording;
use crate::{Error, Stop};

/// Files of a run that are no lines: the standard streams, the readiness set, the timer, what is read and written.
const OTHER_FILES: u64 = 32;
/// Readings of the server's memory while `idle` opens its lines.
const GROWTH_READINGS: u32 = 16;

/// What Socket.IO or an event puts around a message at most, in bytes.
const ENVELOPE_MAX: u32 = 1024;

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
        Mode::Transports(args) => bench.transports(args),
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
struct Publishing {
    interval: Interval,
    transport: Transport,
    routes: Routes,
    size: u32,
    layout: Layout,
    rhythm: Rhythm,
    /// The way of the lines of which nothing is expected.
    idle: Option<Way>,
}

impl Bench<'_> {
    fn echo(mut self, args: &EchoArgs) -> Result<Report, Error> {
        let count = args.lines as usize;
        let mut lines = self.lines(count, args.size)?;
        let mut load = Echo::new(Template::new(args.size as usize, args.binary), count, args.depth);
        let ways = std::iter::repeat_n(Way::WebSocket(args.path.clone()), count);
        lines.open(ways, &mut load, &mut self.progress)?;
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
        let size = args.size as usize;
        let transport = args.paths.transport;
        let frame = match transport {
            Transport::WebSocket => Template::new(size, false).frame_len(),
            Transport::SocketIo => SocketIo::new([], size).frame_len(),
            Transport::Sse => Events::new(size).frame_len(),
        };
        let mut options = Options::from([
            ("transport", json!(transport.name())),
            ("subscribers", json!(args.subscribers)),
            ("size", json!(args.size)),
        ]);
        let rhythm = rhythm(args.mode, args.rate, args.window, frame, subscribers, &mut options);
        let publishing = Publishing {
            interval: args.interval.clone(),
            transport,
            routes: Routes::new(&args.paths),
            size: args.size,
            layout: Layout { idle: 0, subscribers, channels: 1 },
            rhythm,
            idle: None,
        };
        self.publish(publishing, options)
    }

    fn rooms(self, args: &RoomsArgs) -> Result<Report, Error> {
        let routes = Routes::new(&args.paths);
        if args.rooms > 1
            && let Some(name) = routes.without_number()
        {
            return Err(Error::Usage(format!("{name}: with several channels it needs {{}} for their number")));
        }
        let options = Options::from([
            ("transport", json!(args.paths.transport.name())),
            ("lines", json!(args.lines)),
            ("rooms", json!(args.rooms)),
            ("size", json!(args.size)),
            ("outstanding", json!(args.outstanding)),
        ]);
        let publishing = Publishing {
            interval: args.interval.clone(),
            transport: args.paths.transport,
            routes,
            size: args.size,
            layout: Layout { idle: 0, subscribers: args.lines as usize, channels: args.rooms as usize },
            rhythm: Rhythm::Window(args.outstanding),
            idle: None,
        };
        self.publish(publishing, options)
    }

    fn alive(self, args: &AliveArgs) -> Result<Report, Error> {
        let Some(idle) = args.lines.checked_sub(args.subscribers) else {
            return Err(Error::Usage("--lines must be --subscribers or more: the subscribers are among them".into()));
        };
        let options = Options::from([
            ("transport", json!(args.paths.transport.name())),
            ("lines", json!(args.lines)),
            ("subscribers", json!(args.subscribers)),
            ("size", json!(args.size)),
            ("rate", json!(args.rate)),
        ]);
        let publishing = Publishing {
            interval: Interval { seconds: args.seconds, warmup: args.warmup },
            transport: args.paths.transport,
            routes: Routes::new(&args.paths),
            size: args.size,
            layout: Layout { idle: idle as usize, subscribers: args.subscribers as usize, channels: 1 },
            rhythm: Rhythm::Every((1e9 / args.rate) as u64),
            idle: Some(idle_way(args.paths.transport, args.path.as_deref(), "idle")),
        };
        self.publish(publishing, options)
    }

    fn publish(self, publishing: Publishing, options: Options) -> Result<Report, Error> {
        let size = publishing.size as usize;
        match publishing.transport {
            Transport::WebSocket => self.publish_as(Template::new(size, false), publishing, options),
            Transport::Sse => self.publish_as(Events::new(size), publishing, options),
            Transport::SocketIo => {
                let rooms = (0..publishing.layout.channels).map(|number| publishing.routes.room(number as u32));
                self.publish_as(SocketIo::new(rooms, size), publishing, options)
            }
        }
    }

    fn publish_as<W: Wording>(mut self, wording: W, publishing: Publishing, options: Options) -> Result<Report, Error> {
        let Publishing { interval, routes, size, layout, rhythm, idle, .. } = publishing;
        let mut load = Publish::new(wording, layout, rhythm, routes);
        let mut lines = self.lines(layout.idle + layout.subscribers + layout.channels, size + ENVELOPE_MAX)?;
        let idle: Vec<Way> = idle.into_iter().flat_map(|way| std::iter::repeat_n(way, layout.idle)).collect();
        lines.open(idle.into_iter(), &mut load, &mut self.progress)?;
        lines.open(load.subscriber_ways().into_iter(), &mut load, &mut self.progress)?;
        lines.open(load.publisher_ways().into_iter(), &mut load, &mut self.progress)?;
        load.probe(&mut lines, self.common.timeout)?;
        let measured = self.drive(&mut load, &mut lines, &interval)?;
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
        let way = match native {
            Some(_) => Way::WebSocket(args.path.clone().unwrap_or_else(|| "/v1/ws".to_owned())),
            None => idle_way(args.transport, args.path.as_deref(), &args.room),
        };
        let channel: Arc<str> = args.of_native.channel.as_str().into();
        let open = |bench: &mut Self, lines: &mut Lines, count: u32| match native {
            Some(speech) => {
                let plan = Plan { channel: Some(channel.clone()), back: None };
                bench.join(lines, speech, &way, vec![plan; count as usize]).map(drop)
            }
            None => lines.open(std::iter::repeat_n(way.clone(), count as usize), &mut Ignore, &mut bench.progress),
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
        report.options.extend([("settle", json!(args.settle.as_secs_f64())), ("path", json!(way.path()))]);
        report.options.insert("transport", json!(args.transport.name()));
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
            transports: None,
            refusal: None,
            close_codes: BTreeMap::new(),
            rates: Vec::new(),
        }
    }

    /// Adds what is known of the lines, and closes them.
    fn finish(&mut self, mut report: Report, mut lines: Lines) -> Result<Report, Error> {
        self.progress.done();
        count_lines(&mut report, &lines);
        lines.close_all()?;
        Ok(report)
    }
}

/// Adds what is known of these lines.
fn count_lines(report: &mut Report, lines: &Lines) {
    let (pings_answered, lines_pinged) = lines.pings();
    for (&code, &count) in lines.closed() {
        *report.close_codes.entry(code).or_default() += count;
    }
    let counts = &mut report.lines;
    counts.opened += lines.len() as u64;
    counts.closed_by_server = report.close_codes.values().sum();
    counts.connect_seconds += lines.connect_time().as_secs_f64();
    counts.pings_answered += pings_answered;
    counts.lines_pinged += lines_pinged;
}

/// The way of a line of which nothing is expected.
fn idle_way(transport: Transport, path: Option<&str>, room: &str) -> Way {
    let path = |default: &str| path.unwrap_or(default).to_owned();
    match transport {
        Transport::WebSocket => Way::WebSocket(path("/sub/idle")),
        Transport::Sse => Way::Events(path("/sub/idle")),
        Transport::SocketIo => Way::SocketIo { path: path("/socket.io/"), first: join(room) },
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
