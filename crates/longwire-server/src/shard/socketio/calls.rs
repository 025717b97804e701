//! What handlers do, between the two halves of a tick, when nobody holds the shard's state.

use longwire_ws::CloseCode;

use super::{Entry, HANDLERS_MAX, Stage};
use crate::shard::slab::Key;
use crate::shard::{self, Shard};
use crate::socketio::Future;

/// What handlers are to do, once the shard is not at work.
pub(crate) struct Call {
    connection: Key,
    run: Box<dyn FnOnce() -> Option<Future>>,
}

impl Shard {
    /// Has a handler called once the shard is not at work.
    pub(super) fn call(&mut self, connection: Key, run: impl FnOnce() -> Option<Future> + 'static) {
        self.core.calls.push_back(Call { connection, run: Box::new(run) });
    }

    /// A handler is at work. A client that keeps too many busy is not read meanwhile.
    fn handler_began(&mut self, connection: Key) {
        if let Some(at) = self.core.connections.get_mut(&connection.index) {
            at.at_work += 1;
            if at.at_work >= HANDLERS_MAX
                && let Some(line) = self.lines.get_mut(connection)
            {
                line.out.paused = true;
            }
        }
    }

    fn handler_ended(&mut self, connection: Key) {
        let Some(at) = self.core.connections.get_mut(&connection.index) else { return };
        at.at_work = at.at_work.saturating_sub(1);
        if at.at_work + 1 == HANDLERS_MAX {
            self.resume_client(connection);
        }
    }

    /// Reads a client again, unless there is still something to wait for.
    pub(super) fn resume_client(&mut self, key: Key) {
        let Some(connection) = self.core.connections.get(&key.index) else { return };
        let is_ready = |entry: &Entry| matches!(entry.stage, Stage::Open) && !entry.sequence.is_long();
        if connection.at_work < HANDLERS_MAX && connection.sockets.iter().all(is_ready) {
            self.resume(key);
        }
    }
}

impl Call {
    /// Calls the handler; what it leaves to do goes on as a task.
    pub(in crate::shard) fn run(self) {
        let Self { connection, run } = self;
        let left = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(left) => left,
            Err(_) => {
                shard::with(|shard| shard.close(connection, CloseCode::INTERNAL_ERROR, "handler failed"));
                return;
            }
        };
        if let Some(left) = left {
            shard::with(|shard| shard.handler_began(connection));
            tokio::task::spawn_local(async move {
                let _at_work = AtWork(connection);
                left.await;
            });
        }
    }
}

/// Counts a handler as at work until it ends, however it does.
struct AtWork(Key);

impl Drop for AtWork {
    fn drop(&mut self) {
        shard::try_with(|shard| {
            shard.handler_ended(self.0);
            shard.wake_driver();
        });
    }
}
