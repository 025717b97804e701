//! The result of `transports` as bars: a row for each transport, a column for each price.

use std::fmt::Write as _;

use super::{WIDTH, escape};
use crate::report::{TransportCost, duration};

/// Where the names stand, where the columns begin, and how far apart they are.
const NAMES_AT: f64 = 28.0;
const COLUMNS_AT: f64 = 140.0;
const COLUMN: f64 = (WIDTH - COLUMNS_AT) / 4.0;
/// The longest bar; behind it there is room for its number.
const BAR: f64 = 150.0;
const FIRST_ROW: f64 = 120.0;
const ROW: f64 = 44.0;
const THICKNESS: f64 = 16.0;

/// A column: its title, each row's value, the value in words, and a second value that is shown as a line.
struct Column {
    title: &'static str,
    bars: Vec<Option<Bar>>,
}

struct Bar {
    value: f64,
    text: String,
    /// A higher value of the same kind.
    far: Option<f64>,
}

pub(super) fn draw(out: &mut String, costs: &[TransportCost]) {
    for (row, cost) in costs.iter().enumerate() {
        let y = FIRST_ROW + row as f64 * ROW + THICKNESS - 3.0;
        let _ = writeln!(out, "<text class=\"head\" x=\"{NAMES_AT}\" y=\"{y:.0}\">{}</text>", escape(cost.transport));
    }
    for (number, column) in columns(costs).iter().enumerate() {
        column.draw(out, COLUMNS_AT + number as f64 * COLUMN);
    }
}

fn columns(costs: &[TransportCost]) -> [Column; 4] {
    let column = |title, bar: &dyn Fn(&TransportCost) -> Option<Bar>| Column { title, bars: costs.iter().map(bar).collect() };
    let plain = |value: f64, text: String| Bar { value, text, far: None };
    [
        column("Latency p50, line: p99", &|cost| {
            let latency = cost.latency_us.as_ref().filter(|latency| latency.count > 0)?;
            let text = format!("{} / {}", duration(latency.p50), duration(latency.p99));
            Some(Bar { value: latency.p50, text, far: Some(latency.p99) })
        }),
        column("Bytes per message", &|cost| cost.bytes_per_message.map(|bytes| plain(bytes, format!("{bytes:.0}")))),
        column("Requests per message", &|cost| {
            cost.requests_per_message.map(|requests| plain(requests, format!("{requests:.3}")))
        }),
        column("Server CPU per message", &|cost| cost.server_cpu_us_per_message.map(|us| plain(us, duration(us)))),
    ]
}

impl Column {
    fn draw(&self, out: &mut String, x: f64) {
        let _ = writeln!(out, "<text class=\"head\" x=\"{x:.0}\" y=\"94\">{}</text>", self.title);
        let values = self.bars.iter().flatten().flat_map(|bar| [Some(bar.value), bar.far]).flatten();
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        for (row, bar) in self.bars.iter().enumerate() {
            let y = FIRST_ROW + row as f64 * ROW;
            let Some(bar) = bar else {
                let _ = writeln!(out, "<text x=\"{x:.0}\" y=\"{:.0}\">–</text>", y + THICKNESS - 3.0);
                continue;
            };
            // Something is seen of the shortest, too.
            let length = |value: f64| (value / most * BAR).max(1.5);
            let _ = write!(
                out,
                "<rect class=\"dot\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{THICKNESS}\" rx=\"2\"/>",
                length(bar.value)
            );
            if let Some(far) = bar.far {
                let middle = y + THICKNESS / 2.0;
                let _ = write!(out, "<path class=\"line\" d=\"M{x:.0} {middle:.0}h{:.1}v-5v10\"/>", length(far));
            }
            let _ = writeln!(out, "<text class=\"note\" x=\"{x:.0}\" y=\"{:.0}\">{}</text>", y + THICKNESS + 15.0, bar.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_most_and_what_is_missing_has_none() {
        let cost = |bytes| TransportCost { bytes_per_message: bytes, ..TransportCost::of("<sse>") };
        let mut out = String::new();
        draw(&mut out, &[cost(Some(100.0)), cost(Some(200.0)), cost(None)]);
        assert!(out.contains("width=\"75.0\"") && out.contains("width=\"150.0\""), "{out}");
        assert_eq!((out.matches("<rect").count(), out.matches("–</text>").count()), (2, 3 * 4 - 2));
        assert!(out.contains("&lt;sse&gt;"));
    }
}
