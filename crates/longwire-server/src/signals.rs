//! The signals that ask the process to stop.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::Error;

/// SIGINT and SIGTERM, which no longer end the process but ask a server to stop; and SIGHUP, which does nothing but write a log line,
/// since there is nothing yet that could be read again.
///
/// Catch them before the server starts: whoever supervises the process may ask it to stop as soon as it listens.
///
/// ```no_run
/// # fn example() -> Result<(), longwire_server::Error> {
/// # async fn hello(_: longwire_server::Socket) {}
/// use longwire_server::{Server, Signals};
///
/// let signals = Signals::catch()?;
/// let running = Server::builder().websocket("/ws", hello).start("127.0.0.1:8000")?;
/// println!("listening on {}", running.addresses()[0]);
/// running.run_until(signals)
/// # }
/// ```
#[derive(Debug)]
pub struct Signals {
    runtime: Runtime,
    caught: Caught,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// The system refuses to.
    pub fn catch() -> Result<Self, Error> {
        Self::try_catch().map_err(Error::Io)
    }

    fn try_catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let caught = {
            let _runtime = runtime.enter();
            Caught::new()?
        };
        Ok(Self { runtime, caught })
    }

    /// Waits for the next one that asks to stop.
    pub(crate) fn wait(&mut self) {
        self.runtime.block_on(self.caught.next());
    }

    /// Calls `then` at the next one, unless the returned guard is dropped before.
    pub(crate) fn at_next(self, then: impl FnOnce() + Send + 'static) -> oneshot::Sender<()> {
        let Self { runtime, mut caught } = self;
        let (guard, dropped) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = dropped => {}
                    () = caught.next() => then(),
                }
            });
        });
        guard
    }
}

/// The signals, in whatever runtime they were caught.
#[derive(Debug)]
pub(crate) struct Caught {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Caught {
    /// Catches them from now on, in the runtime that is entered.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one that asks to stop.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => tracing::info!("SIGHUP: there is nothing to read again yet; SIGTERM stops the server"),
            }
        }
    }
}
