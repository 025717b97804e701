//! What is said at the terminal and in the log. Whoever reads it may be gone before us: that is no reason to stop.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Says something on standard output.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Says something on standard error, with our name before it.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "longwire: {text}");
}

/// Begins to log on standard error, with colours if it is a terminal that wants them.
///
/// # Errors
/// One line that says what is wrong with the filter, and what to write.
pub(crate) fn start_log(filter: &str) -> Result<(), String> {
    let filter = log_filter(filter).map_err(|why| format!("log: {why}; write info, or info,longwire_server=debug"))?;
    // https://no-color.org: set, and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Log::default())
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// Standard error; what cannot be written there is forgotten. Our own lines are as many as their places in the code allow; those of the
/// libraries below, which clients can cause as well, are bounded here.
#[derive(Default)]
struct Log {
    libraries: Mutex<Allowance>,
}

/// Lines that libraries may write in a second.
const LIBRARY_LINES: u32 = 10;

/// How many lines were written in a second.
#[derive(Default)]
struct Allowance {
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Allowance {
    /// Whether a line may be written; and how many were not since the last one.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said == LIBRARY_LINES {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Writes one line of the log, or does not.
struct Line {
    is_written: bool,
    /// How many are told of that were left out before it.
    more: u64,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { is_written: true, more: 0 }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Line {
        if line.target().starts_with("longwire") {
            return self.make_writer();
        }
        let may = self.libraries.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        Line { is_written: may.is_some(), more: may.unwrap_or_default() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_written {
            let mut err = io::stderr().lock();
            if self.more > 0 {
                let _ = writeln!(err, "({} lines of libraries were left out here)", std::mem::take(&mut self.more));
            }
            let _ = err.write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
/// The crates that log.
const MODULES: &[&str] = &[
    "longwire",
    "longwire_server",
    "longwire_store",
    "longwire_core",
    "axum",
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "rustix",
    "tokio",
    "tower",
];

/// A level, and levels of modules. What is not named is logged as by default: the filter by itself takes a word that it does not know
/// for a module of that name, and would log nothing else.
fn log_filter(text: &str) -> Result<EnvFilter, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut has_level = false;
    for part in &parts {
        match part.split_once('=') {
            None if is_level(part) => has_level = true,
            None => return Err(format!("{part:?} is no level")),
            Some((_, level)) if !is_level(level) => return Err(format!("{level:?} is no level")),
            Some((module, _)) => {
                let root = module.split(['[', ':']).next().unwrap_or_default();
                if !root.is_empty() && !MODULES.contains(&root) {
                    return Err(format!("nothing is logged by {root:?}, only by {}", MODULES.join(", ")));
                }
            }
        }
    }
    let default = if has_level { "" } else { "info," };
    EnvFilter::try_new(format!("{default}{}", parts.join(","))).map_err(|error| error.to_string())
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_and_levels_of_modules() {
        for (text, filter) in [
            ("info", "info"),
            ("WARN", "warn"),
            ("off", "off"),
            ("longwire_server=debug", "longwire_server=debug,info"),
            ("warn, longwire_server::shard=trace, hyper=off", "longwire_server::shard=trace,hyper=off,warn"),
        ] {
            assert_eq!(log_filter(text).unwrap().to_string(), filter, "{text}");
        }
    }

    #[test]
    fn libraries_write_so_many_lines_a_second_and_what_is_left_out_is_counted() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        let mut take = |times: usize, at: u64| {
            let takes = (0..times).map(|_| allowance.take(now + Duration::from_millis(at)));
            takes.flatten().collect::<Vec<_>>()
        };
        assert_eq!(take(960, 5), [0; LIBRARY_LINES as usize]);
        assert_eq!(take(2, 1005), [950, 0]);
        assert_eq!(take(1, 9000), [0]);
    }

    #[test]
    fn what_would_log_nothing_is_refused() {
        for (text, word) in [
            ("", "\"\""),
            ("nonsense", "nonsense"),
            ("info,", "\"\""),
            ("longwire_server", "longwire_server"),
            ("longwire_sever=debug", "longwire_sever"),
            ("info,longwire_server=loud", "loud"),
        ] {
            let error = log_filter(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
