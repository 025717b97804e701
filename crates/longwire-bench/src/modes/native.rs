//! The modes that speak the native protocol: `channel`, `latency`, `publish`. And what `idle --native` and `storm` share with them.

use std::sync::Arc;

use longwire_protocol::Position;
use serde_json::json;

use super::{Bench, OTHER_FILES, Options, raise_file_limit, rhythm};
use crate::acks::Acks;
use crate::args::{ChannelArgs, FormName, LatencyArgs, NativeArgs, PublishArgs, Transport};
use crate::drive::Load;
use crate::line::Ignore;
use crate::lines::Lines;
use crate::native::{Joined, Joining, MESSAGE_MAX, Native, Plan, Publisher, Speech};
use crate::pair::Pair;
use crate::publish::{Layout, Publish, Rhythm};
use crate::report::{Latency, Operation, Report};
use crate::routes::{Routes, of_channel};
use crate::way::Way;
use crate::{Error, disk};

/// What a publication has beside its data, roughly, in bytes: for the default window.
const ENVELOPE: usize = 200;

impl Bench<'_> {
    pub(super) fn channel(mut self, args: &ChannelArgs) -> Result<Report, Error> {
        let subscribers = args.subscribers as usize;
        let mut options = options(&args.native);
        options.extend([("subscribers", json!(args.subscribers)), ("size", json!(args.size))]);
        options.insert("transport", json!(args.transport.name()));
        let frame = args.size as usize + ENVELOPE;
        let rhythm = rhythm(args.mode, args.rate, args.window, frame, subscribers, &mut options);

        let speech = Speech::new(args.native.form.form());
        let heard = match args.transport {
            Transport::WebSocket => (speech, Way::WebSocket(args.path.clone())),
            Transport::Sse if args.native.form == FormName::Json => {
                (Speech::events(), Way::Events(events_path(&args.events_path, &args.native.channel)))
            }
            Transport::Sse => return Err(Error::Usage("event streams are in JSON: leave --form binary out".to_owned())),
            Transport::SocketIo => {
                return Err(Error::Usage(
                    "channel has no --transport socketio: measure it with fanout or transports".to_owned(),
                ));
            }
        };
        let mut lines = self.native_lines(subscribers + 1, &args.native)?;
        let crowd = vec![Plan { channel: Some(args.native.channel.as_str().into()), back: None }; subscribers];
        let joined = self.join(&mut lines, heard.0, &heard.1, crowd)?;
        let base = common_position(&args.native.channel, &joined)?;
        self.join(&mut lines, speech, &Way::WebSocket(args.path.clone()), vec![Plan::default()])?;
        let mut load = publish(speech, heard.0, &args.native.channel, args.size, base, subscribers, rhythm);
        load.probe(&mut lines, self.common.timeout)?;
        load.wording().acks.clear();
        let measured = self.drive(&mut load, &mut lines, &args.interval)?;
        let mut report = self.report(options, Operation::Delivery, measured, lines)?;
        report.latencies.insert("ack", Latency::of(&load.wording().acks));
        report.refusal = load.wording().refusal().map(str::to_owned);
        Ok(report)
    }

    pub(super) fn latency(mut self, args: &LatencyArgs) -> Result<Report, Error> {
        let mut options = options(&args.native);
        options.extend([("size", json!(args.size)), ("rate", json!(args.rate)), ("echo_path", json!(args.echo_path))]);
        let speech = Speech::new(args.native.form.form());
        let every = (1e9 / args.rate) as u64;
        let mut lines = self.native_lines(3, &args.native)?;
        let base = self.join_crowd(&mut lines, speech, &args.path, &args.native.channel, 1)?.0;
        let echo = lines.len();
        lines.open(std::iter::once(Way::WebSocket(args.echo_path.clone())), &mut Ignore, &mut self.progress)?;
        let mut publish = publish(speech, speech, &args.native.channel, args.size, base, 1, Rhythm::Every(every));
        publish.probe(&mut lines, self.common.timeout)?;
        let mut load = Pair::new(publish, every).with_echo(echo, args.size as usize);
        let measured = self.drive(&mut load, &mut lines, &args.interval)?;
        let mut report = self.report(options, Operation::Delivery, measured, lines)?;
        report.latencies.insert("ack", Latency::of(load.acks()));
        report.latencies.extend(load.echoes().map(|echoes| ("echo", Latency::of(echoes))));
        report.refusal = load.refusal();
        Ok(report)
    }

    pub(super) fn acks(mut self, args: &PublishArgs) -> Result<Report, Error> {
        let publishers = args.publishers as usize;
        let mut options = options(&args.native);
        options.extend([("publishers", json!(args.publishers)), ("window", json!(args.window)), ("size", json!(args.size))]);
        let in_all = publishers * args.window as usize;
        let disk =
            args.disk.as_deref().map(|folder| disk::measure(folder, in_all, args.size as usize, args.disk_seconds, self.stop));
        let disk = disk.transpose()?;

        let speech = Speech::new(args.native.form.form());
        let mut lines = self.native_lines(publishers, &args.native)?;
        self.join(&mut lines, speech, &Way::WebSocket(args.path.clone()), vec![Plan::default(); publishers])?;
        let alone = publishers == 1 || args.native.channel.contains("{}");
        let slots = args.window.next_power_of_two() as usize;
        let publishers = (0..args.publishers).map(|number| {
            let channel = of_channel(&args.native.channel, number).into();
            Publisher::new(speech, channel, args.size as usize, None, alone, slots)
        });
        let mut load = Acks::new(publishers.collect(), args.window, args.size as usize);
        let mut measured = self.drive(&mut load, &mut lines, &args.interval)?;
        if load.outstanding() == 0 {
            load.check_offsets(&mut measured.tally.faults);
        }
        let mut report = self.report(options, Operation::Publication, measured, lines)?;
        report.disk = disk;
        report.refusal = load.refusal().map(str::to_owned);
        Ok(report)
    }

    /// Room for `count` lines of the native protocol.
    pub(super) fn native_lines(&self, count: usize, native: &NativeArgs) -> Result<Lines, Error> {
        raise_file_limit(count as u64 + OTHER_FILES)?;
        Lines::new(self.target.speaking(native.form.form().subprotocol()), MESSAGE_MAX, self.stop.clone())
    }

    /// Opens a line for each plan, and joins it.
    pub(super) fn join(
        &mut self,
        lines: &mut Lines,
        speech: Speech,
        way: &Way,
        plans: Vec<Plan>,
    ) -> Result<Vec<Joined>, Error> {
        let ways = std::iter::repeat_n(way.clone(), plans.len());
        let mut joining = Joining::new(speech, lines.len(), plans);
        lines.open(ways, &mut joining, &mut self.progress)?;
        joining.finish(lines, self.common.timeout)
    }

    /// Opens a line for each subscriber, then one to publish. Gives the position that the channel is at, and the subscribers' sessions.
    pub(super) fn join_crowd(
        &mut self,
        lines: &mut Lines,
        speech: Speech,
        path: &str,
        channel: &str,
        subscribers: usize,
    ) -> Result<(Position, Vec<Joined>), Error> {
        let mut plans = vec![Plan { channel: Some(channel.into()), back: None }; subscribers];
        plans.push(Plan::default());
        let mut joined = self.join(lines, speech, &Way::WebSocket(path.to_owned()), plans)?;
        joined.pop();
        Ok((common_position(channel, &joined)?, joined))
    }
}

/// The position that all were told; there must be one at least.
pub(super) fn common_position(channel: &str, joined: &[Joined]) -> Result<Position, Error> {
    let first = joined.first().and_then(|joined| joined.position);
    first.filter(|_| joined.iter().all(|joined| joined.position == first)).ok_or_else(|| {
        Error::Usage(format!("somebody else publishes to channel {channel}: name one of its own with --channel"))
    })
}

/// One publisher behind its subscribers, in the channel that is at `base`.
pub(super) fn publish(
    speech: Speech,
    heard: Speech,
    channel: &str,
    size: u32,
    base: Position,
    subscribers: usize,
    rhythm: Rhythm,
) -> Publish<Native> {
    let native = Native::new(speech, heard, Arc::from(channel), size as usize, base, rhythm.slots());
    let layout = Layout { idle: 0, subscribers, channels: 1 };
    Publish::new(native, layout, rhythm, Routes::of_channel(channel))
}

/// The path of an event stream of this channel.
pub(super) fn events_path(path: &str, channel: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}channel={}", query_value(channel))
}

/// A value as it stands in a query (RFC 3986 section 2.3).
pub(super) fn query_value(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(super) fn options(native: &NativeArgs) -> Options {
    [("form", json!(native.form.name())), ("channel", json!(native.channel))].into()
}
