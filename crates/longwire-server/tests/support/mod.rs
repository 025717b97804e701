//! What the tests stand on: a server, a client that can do everything wrong, and ways to hold things up.

mod client;
mod gate;
mod handlers;
mod http;
mod process;
mod server;

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

pub(crate) use client::{Client, HANDSHAKE_KEY, Response, answer, deflate_of, frame_of, handshake, piece_of};
pub(crate) use gate::{Gate, Hold, blocker};
pub(crate) use handlers::{EchoLine, commands, commands_line, echo, recorder};
pub(crate) use http::{Http, HttpLine, LINES, body_of, lines_of};
pub(crate) use process::{child, rss};
pub(crate) use server::{TestServer, join_within_bound, serve};

/// How long anything may take before a test gives up: far more than it takes on a busy machine. Less than the 16 s after which a
/// shard's wheel looks at every line, which would hide a wake-up that was lost.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

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

/// What a future gives, within the bound.
#[track_caller]
pub(crate) fn within_bound<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(BOUND, future).await }).expect("not within the bound")
}
