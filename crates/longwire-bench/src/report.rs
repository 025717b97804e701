//! The result: as JSON for programs, as a table for people.

mod transports;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::histogram::Histogram;
use crate::progress::grouped;
use crate::sequence::Faults;

pub use transports::TransportCost;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As planned.
    Complete,
    /// Stopped by the user; the figures are those so far.
    Interrupted,
    /// Nothing came from the server for the time-out, or the lines that matter were closed.
    Stalled,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A message sent and returned.
    RoundTrip,
    /// A message received by one subscriber.
    Delivery,
    /// A message published and acknowledged.
    Publication,
}

impl Operation {
    fn plural(self) -> &'static str {
        match self {
            Operation::RoundTrip => "round trips",
            Operation::Delivery => "deliveries",
            Operation::Publication => "publications",
        }
    }

    pub(crate) fn singular(self) -> &'static str {
        match self {
            Operation::RoundTrip => "round trip",
            Operation::Delivery => "delivery",
            Operation::Publication => "publication",
        }
    }
}

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `longwire-bench`.
    pub tool: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The mode's name on the command line.
    pub mode: &'static str,
    /// The server as it was named.
    pub server: String,
    /// The mode's options as they were in force.
    pub options: BTreeMap<&'static str, serde_json::Value>,
    /// How the run ended.
    pub outcome: Outcome,
    /// The measured interval.
    pub seconds: f64,
    /// What is counted; none in `idle`.
    pub operation: Option<Operation>,
    /// How many in the interval.
    pub operations: u64,
    /// The same per second.
    pub operations_per_second: f64,
    /// Messages published in the interval; none in `echo`, `idle` and `publish`.
    pub published: Option<u64>,
    /// Payload bytes received in the interval.
    pub payload_bytes: u64,
    /// Latencies of the interval; none in `idle`.
    pub latency_us: Option<Latency>,
    /// More latencies, by name; the README says which mode has which.
    pub latencies: BTreeMap<&'static str, Latency>,
    /// What happened to the lines.
    pub lines: LineCounts,
    /// What went wrong with messages, over the whole run.
    pub faults: Faults,
    /// What the server used; none without its process id.
    pub server_cost: Option<ServerCost>,
    /// What the load generator used.
    pub client_cost: Option<ClientCost>,
    /// Only in `idle`.
    pub idle: Option<Idle>,
    /// Only in `storm`.
    pub storm: Option<Storm>,
    /// Only in `publish` with `--disk`.
    pub disk: Option<Disk>,
    /// Only in `transports`.
    pub transports: Option<Vec<TransportCost>>,
    /// What the server said when it first refused a publication.
    pub refusal: Option<String>,
    /// How many lines the server closed with which code; 1006 stands for no close frame, 1005 for one without a code. A
    /// server that breaks the protocol counts with the code that this deserves.
    pub close_codes: BTreeMap<u16, u64>,
    /// Operations per slice of the interval.
    pub rates: Vec<Rate>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    /// (share, microseconds) for the plot.
    #[serde(skip)]
    pub(crate) curve: Vec<(f64, f64)>,
}

/// What happened to the lines over the whole run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LineCounts {
    /// Opened.
    pub opened: u64,
    /// Closed by the server, or lost.
    pub closed_by_server: u64,
    /// Seconds it took to open them.
    pub connect_seconds: f64,
    /// Pings answered on all lines.
    pub pings_answered: u64,
    /// Lines that were pinged at least once.
    pub lines_pinged: u64,
}

/// What the server's processes used in the interval.
#[derive(Debug, Clone, Serialize)]
pub struct ServerCost {
    /// The processes.
    pub pids: Vec<u32>,
    /// CPU time, user and kernel, in microseconds.
    pub cpu_us: f64,
    /// The same per operation.
    pub cpu_us_per_operation: Option<f64>,
    /// The same in percent of one core.
    pub cpu_percent: f64,
    /// Private memory (clean and dirty) when the interval began.
    pub private_before_bytes: u64,
    /// The same when it ended.
    pub private_after_bytes: u64,
    /// The most seen; in between, the resident anonymous memory was looked at.
    pub private_peak_bytes: u64,
}

/// What the load generator used in the interval.
#[derive(Debug, Clone, Serialize)]
pub struct ClientCost {
    /// CPU time, user and kernel, in microseconds.
    pub cpu_us: f64,
    /// The same per operation.
    pub cpu_us_per_operation: Option<f64>,
    /// The same in percent of one core.
    pub cpu_percent: f64,
}

/// Memory per idle line.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// Lines at the first reading.
    pub from: u64,
    /// Lines at the second reading.
    pub to: u64,
    /// The server's private memory with `from` lines.
    pub private_from_bytes: u64,
    /// The same with `to` lines.
    pub private_to_bytes: u64,
    /// Growth per line.
    pub bytes_per_line: f64,
    /// (lines, bytes) while the lines were opened, for the plot.
    #[serde(skip)]
    pub(crate) growth: Vec<(u64, u64)>,
}

/// Clients that were cut at once and came back.
#[derive(Debug, Clone, Serialize)]
pub struct Storm {
    /// How many.
    pub clients: u64,
    /// Publications that each of them missed.
    pub messages: u64,
    /// Sessions that were taken up again.
    pub resumed: u64,
    /// Subscriptions that the server said were recovered.
    pub recovered: u64,
    /// Clients that have got exactly what they missed, in order.
    pub caught_up: u64,
    /// Seconds from the cut until what they missed was published and acknowledged; then they began to come back.
    pub away_seconds: f64,
    /// Seconds from the cut until all had caught up.
    pub caught_up_seconds: f64,
    /// The server's resident anonymous memory with all clients, before the cut; 0 without its process id.
    pub memory_before_bytes: u64,
    /// The most from the cut until all had caught up, looked at a hundred times a second.
    pub memory_peak_bytes: u64,
    /// The same when all had caught up.
    pub memory_after_bytes: u64,
}

/// What a disk can do: a batch appended to a file with one write, then one fdatasync, again and again.
#[derive(Debug, Clone, Serialize)]
pub struct Disk {
    /// Records of one batch.
    pub batch: u64,
    /// Bytes of a record.
    pub record_bytes: u64,
    /// Batches synced.
    pub syncs: u64,
    /// Records per second.
    pub records_per_second: f64,
    /// How long one write and fdatasync took.
    pub sync_us: Latency,
}

/// Operations in a slice of the interval.
#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    /// The slice's end, in seconds from the beginning of the interval.
    pub at: f64,
    /// The slice's length in seconds.
    pub seconds: f64,
    /// Operations in it.
    pub operations: u64,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram) -> Latency {
        let us = |nanos: u64| nanos as f64 / 1e3;
        let at = |share| us(histogram.quantile(share));
        // From 0 to 99.999 %, evenly on the plot's scale, as far as there are values to tell the points apart.
        let steps = (0..=100).map(|step| 1.0 - 10f64.powf(f64::from(step) / -20.0));
        let told_apart = steps.take_while(|share| (1.0 - share) * histogram.count() as f64 >= 1.0);
        Latency {
            count: histogram.count(),
            min: us(histogram.min()),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: us(histogram.max()),
            curve: told_apart.map(|share| (share, at(share))).collect(),
        }
    }
}

impl Latency {
    fn text(&self) -> String {
        let values = [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99.9", self.p99_9), ("max", self.max)];
        values.map(|(name, us)| format!("{name} {}", duration(us))).join("   ")
    }
}

impl Storm {
    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let [clients, resumed, recovered, caught_up] =
            [self.clients, self.resumed, self.recovered, self.caught_up].map(grouped);
        row("clients", format!("{clients} cut; {resumed} resumed, {recovered} recovered, {caught_up} caught up"));
        row("caught up", format!("{:.2} s after the cut, {:.2} s of that away", self.caught_up_seconds, self.away_seconds));
        let [before, peak, after] = [self.memory_before_bytes, self.memory_peak_bytes, self.memory_after_bytes].map(size);
        row("memory of storm", format!("{before} before, {peak} at most, {after} after"));
    }
}

impl Report {
    /// The result for people, several lines.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<18}{value}");
        };
        self.rows(&mut row);
        if let Some(costs) = &self.transports {
            text.push_str(&transports::table(costs));
        }
        let options = self.options.iter().map(|(name, value)| format!("{name} {}", plain(value)));
        let title = format!("{} {}  ({})", self.mode, self.server, options.collect::<Vec<_>>().join(", "));
        let ending = match self.outcome {
            Outcome::Complete => "",
            Outcome::Interrupted => "  Interrupted: the figures are those so far.\n",
            Outcome::Stalled => {
                "  Stalled: nothing came from the server for --timeout seconds, or the lines that matter were closed.\n"
            }
        };
        format!("{title}\n{text}{ending}")
    }

    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let lines = &self.lines;
        row("lines", format!("{} opened in {:.2} s", grouped(lines.opened), lines.connect_seconds));
        if let Some(operation) = self.operation {
            let rate = grouped(self.operations_per_second.round() as u64);
            row(operation.plural(), format!("{} in {:.2} s: {rate} per second", grouped(self.operations), self.seconds));
        }
        if let Some(published) = self.published {
            row("published", format!("{} messages", grouped(published)));
        }
        let latency = self.latency_us.iter().map(|latency| ("latency", latency));
        for (name, latency) in latency.chain(self.latencies.iter().map(|(name, latency)| (*name, latency))) {
            if latency.count > 0 {
                row(&name.replace('_', " "), latency.text());
            }
        }
        if let Some(storm) = &self.storm {
            storm.rows(row);
        }
        if let Some(disk) = &self.disk {
            let (rate, batch) = (grouped(disk.records_per_second.round() as u64), grouped(disk.batch));
            row("disk", format!("{rate} records per second, {batch} synced at a time: {}", disk.sync_us.text()));
        }
        if let Some(idle) = &self.idle {
            let private = |name: &str, lines: u64, bytes: u64| (name.to_owned(), lines, bytes);
            for (name, lines, bytes) in
                [private("private memory", idle.from, idle.private_from_bytes), private("", idle.to, idle.private_to_bytes)]
            {
                row(&name, format!("{} with {} lines", size(bytes), grouped(lines)));
            }
            row("per idle line", format!("{:.0} bytes", idle.bytes_per_line));
        }
        if let Some(cost) = &self.server_cost {
            let each = self.each(cost.cpu_us_per_operation);
            row("server CPU", format!("{:.0} % of a core{each}", cost.cpu_percent));
            let (before, after) = (size(cost.private_before_bytes), size(cost.private_after_bytes));
            row("server memory", format!("{before} before, {after} after, {} at most", size(cost.private_peak_bytes)));
        }
        if let Some(cost) = &self.client_cost {
            row("own CPU", format!("{:.0} % of a core{}", cost.cpu_percent, self.each(cost.cpu_us_per_operation)));
        }
        if lines.pings_answered > 0 {
            let (pings, pinged) = (grouped(lines.pings_answered), grouped(lines.lines_pinged));
            row("pings", format!("{pings} answered, {pinged} lines were pinged"));
        }
        if lines.closed_by_server > 0 {
            let codes = self.close_codes.iter().map(|(code, count)| format!("{} with {code}", grouped(*count)));
            row("closed by server", codes.collect::<Vec<_>>().join(", "));
        }
        row("faults", faults(&self.faults));
        if let Some(refusal) = &self.refusal {
            row("first refusal", refusal.clone());
        }
    }

    fn each(&self, cpu_us: Option<f64>) -> String {
        match (self.operation, cpu_us) {
            (Some(operation), Some(each)) => format!(", {each:.2} µs per {}", operation.singular()),
            _ => String::new(),
        }
    }
}

fn faults(faults: &Faults) -> String {
    let kinds = [
        ("missing", faults.missing),
        ("repeated", faults.repeated),
        ("disordered", faults.disordered),
        ("damaged", faults.damaged),
        ("misrouted", faults.misrouted),
        ("refused", faults.refused),
    ];
    let found: Vec<_> =
        kinds.iter().filter(|kind| kind.1 > 0).map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Microseconds in a unit that reads well.
pub(crate) fn duration(us: f64) -> String {
    match us {
        us if us >= 999_500.0 => format!("{:.2} s", us / 1e6),
        us if us >= 9_995.0 => format!("{:.1} ms", us / 1e3),
        us if us >= 999.5 => format!("{:.2} ms", us / 1e3),
        us => format!("{us:.0} µs"),
    }
}

/// Bytes in a unit that reads well.
pub(crate) fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1024.0 * 1024.0 * 1024.0 => format!("{:.2} GiB", b / (1024.0 * 1024.0 * 1024.0)),
        b if b >= 1024.0 * 1024.0 => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
        b => format!("{:.1} KiB", b / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_well() {
        assert_eq!(duration(7.4), "7 µs");
        assert_eq!(duration(1_234.0), "1.23 ms");
        assert_eq!(duration(12_345.0), "12.3 ms");
        assert_eq!(duration(2_000_000.0), "2.00 s");
        assert_eq!(size(512), "0.5 KiB");
        assert_eq!(size(3 << 20), "3.0 MiB");
        assert_eq!(size(3 << 30), "3.00 GiB");
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(faults(&Faults::default()), "none");
        let found = Faults { missing: 1200, damaged: 1, ..Faults::default() };
        assert_eq!(faults(&found), "1,200 missing, 1 damaged");
        assert_eq!(found.total(), 1201);
    }

    #[test]
    fn the_latency_curve_ends_where_the_values_do() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.record(us * 1000));
        let latency = Latency::of(&histogram);
        assert_eq!(latency.count, 1000);
        assert!((latency.p99 / 990.0 - 1.0).abs() < 0.01);
        let last = latency.curve.last().unwrap().0;
        assert!((0.99..0.9995).contains(&last), "{last}");
        assert!(latency.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(Latency::of(&Histogram::new()).curve.is_empty());
    }
}
