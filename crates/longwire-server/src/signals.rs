//! The signals that ask the process to stop.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::server::Error;

/// SIGINT and SIGTERM, which no longer end the process but ask a server to stop.
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
    interrupt: Signal,
    terminate: Signal,
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
        let (interrupt, terminate) = {
            let _runtime = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Waits for the next one.
    pub(crate) fn wait(&mut self) {
        let Self { runtime, interrupt, terminate } = self;
        runtime.block_on(next(interrupt, terminate));
    }

    /// Calls `then` at the next one, unless the returned guard is dropped before.
    pub(crate) fn at_next(self, then: impl FnOnce() + Send + 'static) -> oneshot::Sender<()> {
        let Self { runtime, mut interrupt, mut terminate } = self;
        let (guard, dropped) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = dropped => {}
                    () = next(&mut interrupt, &mut terminate) => then(),
                }
            });
        });
        guard
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
