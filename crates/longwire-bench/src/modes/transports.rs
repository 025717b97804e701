//! `transports`: the same stream over one transport after another, so that the server's CPU time is that of one.

use std::time::{Duration, Instant};

use serde_json::json;

use super::native::events_path;
use super::{Bench, OTHER_FILES, Options, raise_file_limit};
use crate::Error;
use crate::args::{FormName, Reception, TransportsArgs};
use crate::drive::Measured;
use crate::lines::Lines;
use crate::native::{MESSAGE_MAX, Plan, Publisher, Speech};
use crate::report::{Latency, Operation, Outcome, Report, TransportCost};
use crate::stream::{Reach, Stream};
use crate::way::Way;

impl Bench<'_> {
    pub(super) fn transports(mut self, args: &TransportsArgs) -> Result<Report, Error> {
        let wanted = if args.transports.is_empty() { Reception::ALL.to_vec() } else { args.transports.clone() };
        raise_file_limit(u64::from(args.listeners) + 1 + OTHER_FILES)?;
        let began = Instant::now();
        let mut report = self.blank(Outcome::Complete);
        report.options = options(args);
        report.operation = Some(Operation::Delivery);
        let mut costs = Vec::new();
        // First with nobody who listens: what is more than that, the listeners have taken.
        for reception in [None].into_iter().chain(wanted.into_iter().map(Some)) {
            if report.outcome == Outcome::Interrupted {
                break;
            }
            match self.receive(reception, args, &mut report) {
                Ok(cost) => costs.push(cost),
                // Not every server has them all. Without the publisher's session there is nothing.
                Err(error) if reception.is_some() && is_of_transport(&error) => {
                    costs.push(TransportCost { failure: Some(error.to_string()), ..TransportCost::of(name(reception)) });
                }
                Err(error) => return Err(error),
            }
        }
        report.seconds = began.elapsed().as_secs_f64();
        report.operations_per_second = report.operations as f64 / report.seconds;
        report.transports = Some(costs);
        self.progress.done();
        Ok(report)
    }

    /// Measures one of them, or none.
    fn receive(
        &mut self,
        reception: Option<Reception>,
        args: &TransportsArgs,
        report: &mut Report,
    ) -> Result<TransportCost, Error> {
        let reach = reach(args);
        let speech = Speech::json();
        let target = self.target.speaking(FormName::Json.form().subprotocol());
        let mut lines = Lines::new(target, MESSAGE_MAX, self.stop.clone())?;
        let (count, size) = (args.listeners as usize, args.size as usize);
        let interval = (1e9 / args.rate) as u64;
        let mut stream = Stream::new(reception, &reach, self.target.clone(), 0, count, size, interval);
        if let Some(reception) = reception {
            self.listen(reception, &reach, &mut lines, &mut stream)?;
        }
        let publishing = lines.len();
        self.join(&mut lines, speech, &Way::WebSocket(args.path.clone()), vec![Plan::default()])?;
        // More wait for their acknowledgement only when the server does not answer at all.
        let publisher = Publisher::new(speech, args.channel.as_str().into(), size, None, true, 1 << 16);
        stream.publish_with(publishing, publisher);
        let measured = self.drive(&mut stream, &mut lines, &args.interval)?;

        let cost = cost(name(reception), &stream, &lines, &measured);
        report.outcome = worse(report.outcome, measured.outcome);
        report.operations += measured.tally.operations;
        report.payload_bytes += measured.tally.payload_bytes;
        report.published = Some(report.published.unwrap_or(0) + measured.tally.sent);
        report.faults.add(&measured.tally.faults);
        super::count_lines(report, &lines);
        lines.close_all()?;
        Ok(cost)
    }

    /// Opens the listeners' lines, and waits until all are where the channel is.
    fn listen(&mut self, reception: Reception, reach: &Reach, lines: &mut Lines, stream: &mut Stream) -> Result<(), Error> {
        let way = reach.way(reception);
        let count = stream.lines().len();
        if matches!(reception, Reception::Sse | Reception::WebSocket) {
            let speech = if reception == Reception::Sse { Speech::events() } else { Speech::json() };
            let plan = Plan { channel: Some(reach.channel.as_str().into()), back: None };
            self.join(lines, speech, &way, vec![plan; count])?;
            stream.joined();
            return Ok(());
        }
        lines.open(std::iter::repeat_n(way.clone(), count), stream, &mut self.progress)?;
        let began = Instant::now();
        while !stream.is_ready() {
            if let Some(why) = stream.failure() {
                return Err(Error::NotReceived(why));
            }
            if began.elapsed() > self.common.timeout {
                return Err(Error::NotReceived(format!("no answer from {} in time", way.path())));
            }
            if lines.stop_requested() {
                return Err(Error::Interrupted);
            }
            stream.poll(lines);
            lines.turn(Duration::from_millis(20), stream)?;
        }
        Ok(())
    }
}

/// Whether a server that lacks one transport, or offers it in another way, fails like this.
fn is_of_transport(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused { .. }
            | Error::BadHandshake { .. }
            | Error::HandshakeTimeout { .. }
            | Error::NotConnected { .. }
            | Error::NotJoined(_)
            | Error::NotReceived(_)
    )
}

fn cost(name: &'static str, stream: &Stream, lines: &Lines, measured: &Measured) -> TransportCost {
    let (requests, messages) = stream.counts();
    let traffic = lines.traffic(stream.lines());
    let each = |sum: u64| (messages > 0).then(|| sum as f64 / messages as f64);
    // With nobody who receives them it is what publishing each took.
    let per = if stream.lines().is_empty() { measured.tally.sent } else { measured.tally.operations };
    let cpu = measured.server_cost.as_ref().filter(|_| per > 0).map(|cost| cost.cpu_us / per as f64);
    TransportCost {
        failure: stream.failure(),
        messages,
        latency_us: (messages > 0).then(|| Latency::of(&measured.tally.latency)),
        requests,
        requests_per_message: each(requests),
        bytes_sent: traffic.sent,
        bytes_received: traffic.received,
        bytes_per_message: each(traffic.sent + traffic.received),
        faults: measured.tally.faults,
        server_cpu_us_per_message: cpu,
        ..TransportCost::of(name)
    }
}

fn worse(one: Outcome, other: Outcome) -> Outcome {
    if one == Outcome::Complete { other } else { one }
}

fn name(reception: Option<Reception>) -> &'static str {
    reception.map_or("none", Reception::name)
}

fn reach(args: &TransportsArgs) -> Reach {
    Reach {
        events_path: events_path(&args.events_path, &args.channel),
        // It names its channel in the same way.
        poll_path: events_path(&args.poll_path, &args.channel),
        socketio_path: args.socketio_path.clone(),
        native_path: args.path.clone(),
        channel: args.channel.clone(),
        wait: args.wait.as_secs(),
        every: args.poll_every.as_nanos() as u64,
    }
}

fn options(args: &TransportsArgs) -> Options {
    Options::from([
        ("channel", json!(args.channel)),
        ("rate", json!(args.rate)),
        ("size", json!(args.size)),
        ("listeners", json!(args.listeners)),
        ("poll_every", json!(args.poll_every.as_secs_f64())),
        ("wait", json!(args.wait.as_secs())),
    ])
}
