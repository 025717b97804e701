//! What other threads ask of a shard: values in a queue.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use crate::shard::Command;

/// The one lock that a shard takes, once a tick. What is in the queue is bounded by those who put it there: connections by the
/// connection limit, questions to channels by what each line may ask at a time, and all of them with what they carry by the node's
/// budget for what is in flight.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    commands: Vec<Command>,
    /// The shard has ended: what still comes is dropped.
    closed: bool,
    /// The shard's driver, if it waits.
    driver: Option<Waker>,
}

impl Mailbox {
    pub(crate) fn push(&self, command: Command) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.commands.push(command);
        let driver = queue.driver.take();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Drops what has come and what still comes: nobody is left to take it.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.commands);
        drop(queue);
        drop(left);
    }

    /// Swaps what has come for an empty buffer.
    pub(crate) fn take(&self, empty: &mut Vec<Command>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut self.lock().commands, empty);
    }

    /// Ready once there is something to take.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.lock();
        if !queue.commands.is_empty() {
            return Poll::Ready(());
        }
        match &mut queue.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            None => queue.driver = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
