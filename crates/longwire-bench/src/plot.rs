//! The result as a picture: an SVG written by hand, which follows the reader's light or dark theme.

mod transports;

use std::fmt::Write as _;

use crate::progress::{grouped, short};
use crate::report::{Idle, Latency, Rate, Report, duration};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
const STYLE: &str = "\
svg{--ground:#fff;--ink:#1c2430;--soft:#5b6675;--grid:#e2e6ec;--line:#1463d8;--area:#1463d822}\
@media(prefers-color-scheme:dark){svg{--ground:#12161d;--ink:#e8ecf2;--soft:#9aa6b6;--grid:#2a323e;--line:#6ea8ff;--area:#6ea8ff2b}}\
text{font:13px system-ui,sans-serif;fill:var(--soft)}\
.title{font-size:18px;font-weight:600;fill:var(--ink)}.head{font-size:14px;font-weight:600;fill:var(--ink)}\
.note{fill:var(--ink);paint-order:stroke;stroke:var(--ground);stroke-width:4px}\
.grid{stroke:var(--grid)}.line{fill:none;stroke:var(--line);stroke-width:2;stroke-linejoin:round}\
.area{fill:var(--area)}.dot{fill:var(--line)}";

/// A panel of the plot: where it is, and what it is called.
struct Panel {
    left: f64,
    width: f64,
    title: String,
    x_name: &'static str,
    y_name: &'static str,
}

/// One axis: its range, whether it is logarithmic, and its marks.
struct Axis {
    from: f64,
    to: f64,
    log: bool,
    marks: Vec<(f64, String)>,
}

const TOP: f64 = 116.0;
const BOTTOM: f64 = 380.0;

/// Draws a report.
pub(crate) fn svg(report: &Report) -> String {
    let options = report.options.iter().map(|(name, value)| format!("{name} {}", value.to_string().replace('"', "")));
    let subtitle = [report.server.clone()].into_iter().chain(options).collect::<Vec<_>>().join("  ·  ");
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\"><title>longwire bench {mode}</title><style>{STYLE}</style>\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" style=\"fill:var(--ground)\"/>\
         <text class=\"title\" x=\"28\" y=\"38\">longwire bench {mode}</text><text x=\"28\" y=\"60\">{subtitle}</text>\n",
        mode = report.mode,
        subtitle = escape(&subtitle),
    );
    match (&report.idle, &report.latency_us) {
        _ if report.transports.is_some() => transports::draw(&mut out, report.transports.as_deref().unwrap_or_default()),
        (Some(idle), _) => memory(&mut out, idle),
        (None, Some(found)) => {
            latency(&mut out, found, report.operation.map_or("message", |operation| operation.singular()));
            throughput(&mut out, &report.rates, report.operations_per_second);
        }
        // Of a storm, what the other publisher had to wait.
        (None, None) => {
            if let Some(found) = report.latencies.get("ack_during") {
                latency(&mut out, found, "acknowledgement");
            }
        }
    }
    out.push_str("</svg>\n");
    out
}

fn latency(out: &mut String, latency: &Latency, what: &str) {
    let panel = Panel {
        left: 92.0,
        width: 350.0,
        title: format!("Latency per {what}"),
        x_name: "share of messages at or below (%)",
        y_name: "latency, logarithmic",
    };
    let Some(&(last, _)) = latency.curve.last() else { return };
    // The share axis is stretched towards 100 %: each step of it is ten times nearer.
    let stretch = |share: f64| -(1.0 - share).log10();
    let names = [(0.0, "0"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99"), (0.99999, "99.999")];
    let end = stretch(last).max(1.0);
    let marks = names.iter().map(|&(share, name)| (stretch(share), name.to_owned()));
    let x = Axis { from: 0.0, to: end, log: false, marks: marks.filter(|mark| mark.0 <= end + 1e-9).collect() };
    let y = log_axis(latency.min, latency.max, round_duration);
    let points: Vec<_> = latency.curve.iter().map(|&(share, us)| (stretch(share), us)).collect();
    panel.draw(out, &x, &y, &points);
    for (share, name, us) in [(0.5, "p50", latency.p50), (0.99, "p99", latency.p99), (0.999, "p99.9", latency.p99_9)] {
        if stretch(share) <= end {
            panel.note(out, &x, &y, (stretch(share), us), &format!("{name} {}", duration(us)));
        }
    }
}

fn throughput(out: &mut String, rates: &[Rate], mean: f64) {
    let panel = Panel {
        left: 560.0,
        width: 372.0,
        title: format!("Throughput: {}/s on average", short(mean)),
        x_name: "time (s)",
        y_name: "operations per second",
    };
    let points: Vec<_> = rates.iter().map(|rate| (rate.at, rate.operations as f64 / rate.seconds.max(1e-9))).collect();
    let Some(&(end, _)) = points.last() else { return };
    let top = points.iter().fold(0.0f64, |top, point| top.max(point.1));
    let x = even_axis(end, |t| t.to_string()).ending_at(end);
    panel.draw(out, &x, &even_axis(top, round_number), &points);
}

fn memory(out: &mut String, idle: &Idle) {
    let panel = Panel {
        left: 112.0,
        width: 800.0,
        title: format!(
            "Private memory of the server: {:.0} bytes per idle line between {} and {} lines",
            idle.bytes_per_line,
            grouped(idle.from),
            grouped(idle.to)
        ),
        x_name: "lines",
        y_name: "private memory",
    };
    let points: Vec<_> = idle.growth.iter().map(|&(lines, bytes)| (lines as f64, bytes as f64)).collect();
    let top = points.iter().fold(0.0f64, |top, point| top.max(point.1));
    let x = even_axis(idle.to as f64, |lines| grouped(lines as u64)).ending_at(idle.to as f64);
    panel.draw(out, &x, &mebibyte_axis(top), &points);
}

impl Panel {
    fn at(&self, x: &Axis, y: &Axis, point: (f64, f64)) -> (f64, f64) {
        (self.left + x.place(point.0) * self.width, BOTTOM - y.place(point.1) * (BOTTOM - TOP))
    }

    fn draw(&self, out: &mut String, x: &Axis, y: &Axis, points: &[(f64, f64)]) {
        let right = self.left + self.width;
        let middle = self.left + self.width / 2.0;
        let _ = writeln!(out, "<text class=\"head\" x=\"{:.0}\" y=\"94\">{}</text>", self.left, escape(&self.title));
        for (value, name) in &y.marks {
            let (_, at) = self.at(x, y, (x.from, *value));
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{:.1} {at:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                self.left,
                self.left - 8.0,
                at + 4.0
            );
        }
        for (value, name) in &x.marks {
            let (at, _) = self.at(x, y, (*value, y.from));
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
                BOTTOM + 20.0
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{middle:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate({:.0} {:.0}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 44.0,
            self.x_name,
            self.left - 76.0,
            (TOP + BOTTOM) / 2.0,
            self.y_name
        );
        let mut path = String::new();
        for (number, &point) in points.iter().enumerate() {
            let (px, py) = self.at(x, y, point);
            let _ = write!(path, "{}{px:.1} {py:.1}", if number == 0 { "M" } else { "L" });
        }
        if let (Some(&first), Some(&last)) = (points.first(), points.last()) {
            let (first, last) = (self.at(x, y, first).0, self.at(x, y, last).0);
            let _ = writeln!(
                out,
                "<path class=\"area\" d=\"{path}L{last:.1} {BOTTOM}L{first:.1} {BOTTOM}Z\"/><path class=\"line\" d=\"{path}\"/>"
            );
        }
    }

    fn note(&self, out: &mut String, x: &Axis, y: &Axis, point: (f64, f64), text: &str) {
        let (px, py) = self.at(x, y, point);
        // Near the right edge the text goes to the left of its point.
        let (anchor, shift) = if px > self.left + self.width - 90.0 { ("end", -8.0) } else { ("start", 8.0) };
        let _ = writeln!(
            out,
            "<circle class=\"dot\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.5\"/>\
             <text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
            px + shift,
            // The curve rises to the right: below it there is room.
            py + 18.0
        );
    }
}

impl Axis {
    /// The same axis, cut off where the values end.
    fn ending_at(mut self, end: f64) -> Axis {
        self.to = end;
        self.marks.retain(|mark| mark.0 <= end);
        self
    }

    /// The place of a value between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        let of = |value: f64| if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        ((of(value) - of(self.from)) / (of(self.to) - of(self.from)).max(1e-12)).clamp(0.0, 1.0)
    }
}

/// A logarithmic axis in steps of 1, 2, 5 (or of 10, when there are many) around the values.
fn log_axis(low: f64, high: f64, name: impl Fn(f64) -> String) -> Axis {
    let low = low.max(0.1);
    let high = high.max(low * 1.1);
    let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let steps: &[f64] = if (high / low).log10() > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade))).collect();
    let from = all.iter().copied().rfind(|&mark| mark <= low).unwrap_or(low);
    let to = all.iter().copied().find(|&mark| mark >= high).unwrap_or(high);
    let marks = all.iter().filter(|&&mark| (from..=to).contains(&mark)).map(|&mark| (mark, name(mark))).collect();
    Axis { from, to, log: true, marks }
}

/// An axis from zero with about five marks at round values.
fn even_axis(high: f64, name: impl Fn(f64) -> String) -> Axis {
    let step = round_up(high.max(1e-3) / 5.0);
    let count = (high / step * 0.999_999).ceil().max(1.0);
    // Rounded, so that 3 x 0.1 reads 0.3.
    let marks = (0..=count as u32).map(|mark| (f64::from(mark) * step * 1e6).round() / 1e6);
    Axis { from: 0.0, to: count * step, log: false, marks: marks.map(|mark| (mark, name(mark))).collect() }
}

fn mebibyte_axis(high: f64) -> Axis {
    const MEBIBYTE: f64 = 1024.0 * 1024.0;
    let axis = even_axis(high / MEBIBYTE, |mark| format!("{mark} MiB"));
    let marks = axis.marks.into_iter().map(|(mark, name)| (mark * MEBIBYTE, name));
    Axis { marks: marks.collect(), to: axis.to * MEBIBYTE, from: 0.0, log: false }
}

/// A mark of a latency axis: 1, 2 or 5 times a power of ten microseconds.
fn round_duration(us: f64) -> String {
    let trimmed = |value: f64| (value * 1e6).round() / 1e6;
    match us {
        us if us >= 1e6 => format!("{} s", trimmed(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", trimmed(us / 1e3)),
        us => format!("{} µs", trimmed(us)),
    }
}

/// A mark of a rate axis.
fn round_number(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{}M", n / 1e6),
        n if n >= 1e3 => format!("{}k", n / 1e3),
        n => n.to_string(),
    }
}

/// The next larger 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power).find(|&step| step >= value * 0.999_999).unwrap_or(power * 10.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_cover_the_values() {
        let axis = even_axis(4.9, |value| value.to_string());
        assert_eq!(axis.marks.iter().map(|mark| mark.1.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5"]);
        let axis = even_axis(0.25, |value| value.to_string());
        assert_eq!((axis.marks[1].1.as_str(), axis.marks[3].1.as_str()), ("0.05", "0.15"));
        assert_eq!(even_axis(3.0004, |value| value.to_string()).ending_at(3.0004).marks.len(), 4);
        assert_eq!([2e7, 5e3, 0.2].map(round_duration), ["20 s", "5 ms", "0.2 µs"]);
        assert_eq!([2e7, 5e3, 0.2].map(round_number), ["20M", "5k", "0.2"]);
        let axis = log_axis(37.0, 180.0, |value| format!("{value}"));
        assert_eq!((axis.from, axis.to), (20.0, 200.0));
        assert_eq!(axis.marks.len(), 4);
        assert_eq!(log_axis(0.0, 0.0, duration).marks.len(), 2);
    }

    #[test]
    fn places_are_within_the_panel() {
        let axis = log_axis(10.0, 1000.0, duration);
        assert_eq!((axis.place(10.0), axis.place(1000.0), axis.place(0.0)), (0.0, 1.0, 0.0));
        assert!((axis.place(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn text_from_outside_is_escaped() {
        assert_eq!(escape("<a>&b"), "&lt;a&gt;&amp;b");
    }
}
