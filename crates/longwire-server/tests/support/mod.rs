//! What the tests stand on: a server, a client that can do everything wrong, and ways to hold things up.

mod client;
mod gate;
mod handlers;
mod process;
mod server;

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Frame, HANDSHAKE_KEY, Response, answer, deflate_of, handshake};
pub(crate) use gate::{Gate, Hold, blocker};
pub(crate) use handlers::{EchoLine, commands, commands_line, echo, recorder};
pub(crate) use process::{child, rss};
pub(crate) use server::{TestServer, serve};

/// How long anything may take before a test gives up: far more than it takes on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A time that never comes within a test, so that nothing can be due to it.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The next value, within the bound.
#[track_caller]
pub(crate) fn next<T>(values: &Receiver<T>) -> T {
    values.recv_timeout(BOUND).expect("nothing came within the bound")
}
