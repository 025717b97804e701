//! A server for one test.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::mpsc;
use std::time::Duration;

use longwire_server::{Error, Running, Server, ServerBuilder};

use super::{BOUND, NEVER, eventually};

/// Ends with the test. Declare it before its clients, so that they are gone by then.
pub(crate) struct TestServer {
    running: Option<Running>,
    pub(crate) address: SocketAddr,
}

/// Starts a server on a free port. No heartbeat and no time-out within a test, unless it configures one.
#[track_caller]
pub(crate) fn serve(shards: usize, build: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    let builder = Server::builder().shards(shards).configure(|config| {
        config.ping_interval = NEVER;
        config.ping_timeout = NEVER;
        config.write_timeout = NEVER;
        config.drain = Duration::ZERO;
    });
    let running = build(builder).start("127.0.0.1:0").expect("start");
    let address = running.addresses()[0];
    TestServer { running: Some(running), address }
}

impl TestServer {
    /// Waits until all connections are gone.
    #[track_caller]
    pub(crate) fn expect_empty(&self) {
        eventually("all connections are gone", || self.node().connections() == 0);
    }

    /// Waits for the end, after a shutdown.
    #[track_caller]
    pub(crate) fn join(mut self) {
        let running = self.running.take().expect("running");
        join_within_bound(running).expect("the end of the server");
    }
}

impl Deref for TestServer {
    type Target = Running;

    fn deref(&self) -> &Running {
        self.running.as_ref().expect("running")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.shutdown();
        // A shard that has panicked fails the test, unless it has failed already.
        if !std::thread::panicking() {
            join_within_bound(running).expect("the end of the server");
        }
    }
}

/// Joins on a thread of its own: a server that does not end fails the test instead of hanging it.
#[track_caller]
pub(crate) fn join_within_bound(running: Running) -> Result<(), Error> {
    let (done, end) = mpsc::channel();
    std::thread::spawn(move || done.send(running.join()));
    end.recv_timeout(BOUND).expect("the server did not end")
}
