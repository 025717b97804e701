//! Holds a shard, or a handler, until a test lets it go on.

use std::sync::{Arc, Condvar, Mutex};

use longwire_server::{Line, LineHandler, Received};
use tokio::sync::Semaphore;

use super::BOUND;

/// Stops a shard's thread: a handler enters and does not come out before the gate is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    entered: usize,
    open: bool,
}

impl Gate {
    /// Called on the thread that is to be held.
    pub(crate) fn enter(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.entered += 1;
        changed.notify_all();
        let _ = changed.wait_timeout_while(state, BOUND, |state| !state.open).unwrap();
    }

    /// Waits until so many stand in the gate.
    #[track_caller]
    pub(crate) fn wait_entered(&self, count: usize) {
        let (state, changed) = &*self.0;
        let (state, waited) = changed.wait_timeout_while(state.lock().unwrap(), BOUND, |state| state.entered < count).unwrap();
        assert!(!waited.timed_out(), "{} of {count} in the gate", state.entered);
    }

    /// Lets all go on.
    pub(crate) fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().open = true;
        changed.notify_all();
    }
}

/// Makes handlers that hold their shard when a message comes.
pub(crate) fn blocker(gate: &Gate) -> impl Fn(&longwire_server::Opening) -> Blocker + Send + Sync + 'static {
    let gate = gate.clone();
    move |_| Blocker(gate.clone())
}

pub(crate) struct Blocker(Gate);

impl LineHandler for Blocker {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        self.0.enter();
        line.send(message.kind(), message.as_bytes());
    }
}

/// Holds async handlers, without their shard.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Semaphore>);

impl Hold {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Waits until it is released.
    pub(crate) async fn wait(&self) {
        let _ = self.0.acquire().await;
    }

    pub(crate) fn release(&self) {
        self.0.close();
    }
}
