//! What handlers do, between the two halves of a tick, when nobody holds the shard's state.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use longwire_ws::CloseCode;

use crate::shard::slab::Key;
use crate::shard::{self, Shard};
use crate::socketio::Left as Future;

/// What handlers are to do, once the shard is not at work.
pub(crate) struct Call {
    connection: Key,
    run: Box<dyn FnOnce() -> Option<Future>>,
}

impl Shard {
    /// Has a handler called once the shard is not at work. It counts as at work from now on.
    pub(super) fn call(&mut self, connection: Key, run: impl FnOnce() -> Option<Future> + 'static) {
        if let Some(at) = self.core.connections.get_mut(&connection.index) {
            at.at_work += 1;
        }
        self.core.calls.push_back(Call { connection, run: Box::new(run) });
    }

    /// The handlers to be called now.
    pub(in crate::shard) fn take_calls(&mut self) -> impl Iterator<Item = Call> + use<> {
        self.hear_waiting();
        std::mem::take(&mut self.core.calls).into_iter()
    }

    pub(in crate::shard) fn handler_ended(&mut self, connection: Key) {
        // Another connection may have come to the place of one that is over.
        if self.lines.contains(connection)
            && let Some(at) = self.core.connections.get_mut(&connection.index)
        {
            at.at_work = at.at_work.saturating_sub(1);
            self.may_go_on(connection);
        }
    }

    fn handler_panicked_in(&mut self, connection: Key) {
        self.close(connection, CloseCode::INTERNAL_ERROR, "handler failed");
        self.wake_driver();
    }
}

impl Call {
    /// Calls the handler; what it leaves to do goes on as a task. The connection, if it leaves nothing.
    pub(in crate::shard) fn run(self) -> Option<Key> {
        let Self { connection, run } = self;
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(None) => return Some(connection),
            Ok(Some(left)) => {
                tokio::task::spawn_local(async move {
                    let _at_work = AtWork(connection);
                    if caught(left).await.is_err() {
                        shard::with(|shard| shard.handler_panicked_in(connection));
                    }
                });
            }
            Err(_) => {
                shard::with(|shard| shard.handler_panicked_in(connection));
                return Some(connection);
            }
        }
        None
    }
}

/// What a future gives; or, as an error, that it has panicked.
pub(super) async fn caught<T>(mut future: Pin<Box<dyn std::future::Future<Output = T>>>) -> std::thread::Result<T> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
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
