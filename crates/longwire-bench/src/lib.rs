//! A load generator for servers of WebSockets, Socket.IO and Server-Sent Events: round trips, fan-out, many small channels, memory
//! per idle line, and many lines held alive; and, of the native protocol of Longwire, channels, their latency, the return of many
//! clients at once, publications acknowledged, and what it takes to receive a channel over each transport.
//!
//! One thread with one readiness set drives all lines, so that one core of load faces one core of server. Frames are encoded
//! once, nothing is allocated in the steady state, and still every message is checked: its length, its content, its order.
//! The server's CPU time and private memory are read from `/proc` (Linux) when its process id is given.
//!
//! It is what `longwire bench` runs; [`measure`] gives the same as a value. See the README for the modes and the result.

mod acks;
mod args;
mod cost;
mod disk;
mod drive;
mod echo;
mod error;
mod events;
mod histogram;
mod http;
mod line;
mod lines;
mod message;
mod modes;
mod native;
mod opening;
mod pair;
mod plot;
mod ports;
mod progress;
mod publish;
mod relayed;
mod report;
mod routes;
mod scan;
mod sequence;
mod steady;
mod stream;
mod tally;
mod way;
mod wording;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use args::{
    AliveArgs, BenchArgs, ChannelArgs, Common, EchoArgs, FanoutArgs, FormName, IdleArgs, Interval, LatencyArgs, Mode,
    NativeArgs, Pace, Paths, PublishArgs, Reception, RoomsArgs, StormArgs, Transport, TransportsArgs,
};
pub use error::Error;
pub use report::{
    ClientCost, Disk, Idle, Latency, LineCounts, Operation, Outcome, Rate, Report, ServerCost, Storm, TransportCost,
};
pub use sequence::Faults;

/// Asks a run to end early with the figures so far, from another thread such as one that waits for Ctrl-C.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the run within a fraction of a second.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run is to end.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Measures, and writes the result where the arguments say. Nothing ends it early; see [`run_until`].
///
/// # Errors
/// When nothing could be measured, or the result could not be written.
pub fn run(args: BenchArgs) -> Result<(), Error> {
    run_until(args, &Stop::default())
}

/// [`run`] that ends early, with the figures so far, when `stop` is requested.
///
/// # Errors
/// As [`run`]; [`Error::Interrupted`] when it was stopped before anything was measured.
pub fn run_until(args: BenchArgs, stop: &Stop) -> Result<(), Error> {
    let BenchArgs { mode } = args;
    let report = measure(&mode, stop)?;
    let common = mode.common();
    if let Some(path) = &common.plot {
        write(path, &plot::svg(&report))?;
    }
    let json = || serde_json::to_string_pretty(&report).expect("a report has only string keys") + "\n";
    match &common.json {
        Some(path) if path == Path::new("-") => return print(&json()),
        Some(path) => write(path, &json())?,
        None => {}
    }
    print(&report.table())
}

/// Measures one mode and gives the result.
///
/// # Errors
/// When nothing could be measured.
pub fn measure(mode: &Mode, stop: &Stop) -> Result<Report, Error> {
    modes::measure(mode, stop)
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("{} cannot be written", path.display())))
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io("the result cannot be printed"))
}
