//! The result of `transports`: the price of each way to receive the same stream.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Latency, duration};
use crate::sequence::Faults;

/// What it took to receive the stream in one way.
#[derive(Debug, Clone, Serialize)]
pub struct TransportCost {
    /// Its name on the command line; `none` when nobody listened, which is what publishing takes by itself.
    pub transport: &'static str,
    /// Why it was not measured, or not to the end.
    pub failure: Option<String>,
    /// Messages received by all listeners, over the whole run.
    pub messages: u64,
    /// From publishing to receiving, in the interval.
    pub latency_us: Option<Latency>,
    /// HTTP requests, those that opened lines included, over the whole run.
    pub requests: u64,
    /// The same per message received.
    pub requests_per_message: Option<f64>,
    /// Bytes that the listeners wrote to their sockets, over the whole run.
    pub bytes_sent: u64,
    /// Bytes that they read.
    pub bytes_received: u64,
    /// Both per message received.
    pub bytes_per_message: Option<f64>,
    /// What went wrong with messages.
    pub faults: Faults,
    /// The server's CPU time in the interval per message received, with what publishing took; none without its process id.
    pub server_cpu_us_per_message: Option<f64>,
}

impl TransportCost {
    /// One that is not measured yet.
    pub(crate) fn of(transport: &'static str) -> TransportCost {
        TransportCost {
            transport,
            failure: None,
            messages: 0,
            latency_us: None,
            requests: 0,
            requests_per_message: None,
            bytes_sent: 0,
            bytes_received: 0,
            bytes_per_message: None,
            faults: Faults::default(),
            server_cpu_us_per_message: None,
        }
    }
}

/// The table for people, a line for each transport.
pub(super) fn table(costs: &[TransportCost]) -> String {
    let mut text = format!(
        "  {:<14}{:>12}{:>12}{:>15}{:>18}{:>8}{:>20}\n",
        "", "latency p50", "p99", "bytes/message", "requests/message", "lost", "server CPU/message"
    );
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for cost in costs {
        let latency = cost.latency_us.as_ref().filter(|latency| latency.count > 0);
        let is_received = cost.messages > 0;
        let _ = writeln!(
            text,
            "  {:<14}{:>12}{:>12}{:>15}{:>18}{:>8}{:>20}",
            cost.transport,
            shown(latency.map(|latency| duration(latency.p50))),
            shown(latency.map(|latency| duration(latency.p99))),
            shown(cost.bytes_per_message.map(|bytes| format!("{bytes:.0}"))),
            shown(cost.requests_per_message.map(|requests| format!("{requests:.3}"))),
            shown(is_received.then(|| cost.faults.missing.to_string())),
            shown(cost.server_cpu_us_per_message.map(duration)),
        );
    }
    for cost in costs {
        if let Some(why) = &cost.failure {
            let _ = writeln!(text, "  {}: {why}", cost.transport);
        }
        let other = cost.faults.total() - cost.faults.missing;
        if other > 0 {
            let _ = writeln!(text, "  {}: {}", cost.transport, super::faults(&cost.faults));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;

    #[test]
    fn the_table_has_a_line_for_each_and_says_what_went_wrong() {
        let mut histogram = Histogram::new();
        histogram.record(503_000_000);
        let measured = TransportCost {
            messages: 200,
            latency_us: Some(Latency::of(&histogram)),
            requests_per_message: Some(0.05),
            bytes_per_message: Some(214.2),
            faults: Faults { missing: 3, repeated: 1, ..Faults::default() },
            server_cpu_us_per_message: Some(120.0),
            ..TransportCost::of("polling")
        };
        let refused = TransportCost { failure: Some("404".into()), ..TransportCost::of("socketio") };
        let text = table(&[measured, refused]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["polling", "503.0", "ms", "503.0", "ms", "214", "0.050", "3", "120", "µs"]);
        assert_eq!(lines[2], ["socketio", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(lines[3].join(" "), "polling: 3 missing, 1 repeated");
        assert_eq!(lines[4].join(" "), "socketio: 404");
    }
}
