//! One line on stderr that says how far it is; nothing when stderr is no terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);
const BAR: usize = 24;

#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    terminal: bool,
    last: Instant,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { shown: false, terminal: std::io::stderr().is_terminal(), last: Instant::now() }
    }

    /// For a thread beside the one that shows something.
    pub(crate) fn silent() -> Progress {
        Progress { terminal: false, ..Progress::new() }
    }

    pub(crate) fn opening(&mut self, open: usize, wanted: usize) {
        if self.is_due() {
            let share = open as f64 / wanted.max(1) as f64;
            self.draw("opening", share, &format!("{} of {} lines", grouped(open as u64), grouped(wanted as u64)));
        }
    }

    /// `rate` is in operations per second.
    pub(crate) fn running(&mut self, what: &str, elapsed: Duration, total: Duration, rate: f64, lines: usize) {
        if self.is_due() {
            let (elapsed, total) = (elapsed.as_secs_f64(), total.as_secs_f64());
            let rest = format!("{elapsed:.1} of {total:.1} s  {}/s  {} lines", short(rate), grouped(lines as u64));
            self.draw(what, elapsed / total.max(1e-9), &rest);
        }
    }

    /// Clears the line.
    pub(crate) fn done(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.shown = false;
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.terminal && self.last.elapsed() >= EVERY;
        if due {
            self.last = Instant::now();
        }
        due
    }

    fn draw(&mut self, what: &str, share: f64, rest: &str) {
        self.shown = true;
        let mut err = std::io::stderr().lock();
        // A progress line that cannot be written is no reason to stop.
        let _ = write!(err, "\r\x1b[K{what:<9} {} {rest}", bar(share));
        let _ = err.flush();
    }
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(BAR - full))
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate in three digits or so: 950, 24.1k, 2.05M.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n >= 999_500.0 => format!("{:.2}M", n / 1e6),
        n if n >= 9_950.0 => format!("{:.1}k", n / 1e3),
        n if n >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(short(19.96), "20.0");
        assert_eq!(short(950.4), "950");
        assert_eq!(short(24_100.0), "24.1k");
        assert_eq!(short(2_049_000.0), "2.05M");
    }

    #[test]
    fn the_bar_stays_in_its_frame() {
        assert_eq!(bar(-1.0), format!("[{}]", " ".repeat(BAR)));
        assert_eq!(bar(0.5), format!("[{}{}]", "=".repeat(BAR / 2), " ".repeat(BAR / 2)));
        assert_eq!(bar(7.0), format!("[{}]", "=".repeat(BAR)));
    }
}
