//! A home whose channels are still being read from the store: what it is asked waits.
//!
//! The server listens before its channels are read, so that it can say that it is there. One thread reads them all, in one pass
//! over the file, and gives them to their homes in batches; a home takes in a batch a tick.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use longwire_core::broker::Request;
use longwire_store::{Error as StoreError, Kept, Store};

use super::{Act, Command};
use crate::node::{Flight, Node};

/// Channels of a batch: it takes a home about a millisecond.
const BATCH_CHANNELS: usize = 250;
/// Batches that wait for a home. The reader waits, too, when there are more.
const BATCHES: usize = 2;
/// What waits for the channels of a home. What is asked beyond it is refused.
const WAITING_MAX: usize = 20_000;

/// What the reader gives a home.
pub(crate) enum Batch {
    Channels(Vec<Kept>),
    /// That was all. Without it nobody may believe that.
    End,
}

/// How a home gets its channels.
pub(crate) struct Loading {
    batches: Receiver<Batch>,
    waiting: Vec<Waiting>,
}

/// What waits, in the order in which it came.
pub(super) enum Waiting {
    Request(Request, Option<Arc<Flight>>),
    Act(Arc<str>, Act),
}

/// What has come of the channels.
pub(super) enum Loaded {
    Nothing,
    Batch(Vec<Kept>),
    /// That was all.
    End(Vec<Waiting>),
}

impl Loading {
    /// The second one is for [`load`].
    pub(crate) fn new() -> (Self, SyncSender<Batch>) {
        let (sender, batches) = mpsc::sync_channel(BATCHES);
        (Self { batches, waiting: Vec::new() }, sender)
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    pub(super) fn next(&mut self) -> Loaded {
        match self.batches.try_recv() {
            Ok(Batch::Channels(channels)) => Loaded::Batch(channels),
            Ok(Batch::End) => Loaded::End(std::mem::take(&mut self.waiting)),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Loaded::Nothing,
        }
    }
}

/// Reads all channels, and gives each to its home, whose end of a [`Loading`] is in `homes` by its number.
///
/// # Errors
/// The system has no thread for it. The thread ends with an error if the list of channels cannot be read; then the node stops.
pub(crate) fn load(
    node: Node,
    store: Weak<Store>,
    homes: Vec<SyncSender<Batch>>,
) -> io::Result<JoinHandle<Result<(), StoreError>>> {
    std::thread::Builder::new().name("longwire-load".to_owned()).spawn(move || {
        let Some(store) = store.upgrade() else { return Ok(()) };
        let begun = std::time::Instant::now();
        let mut reader = Reader { batches: homes.iter().map(|_| Vec::new()).collect(), homes, node, channels: 0 };
        let result = store.restore(|kept| reader.take(kept));
        drop(store);
        match &result {
            Ok(()) => {
                let seconds = begun.elapsed().as_secs_f64();
                tracing::debug!(channels = reader.channels, seconds, "the channels are read");
                reader.end();
            }
            Err(error) => {
                tracing::error!(%error, "the channels cannot be read: shutting down");
                reader.node.shutdown();
            }
        }
        result
    })
}

struct Reader {
    node: Node,
    homes: Vec<SyncSender<Batch>>,
    /// For each home, what it is to get next.
    batches: Vec<Vec<Kept>>,
    channels: usize,
}

impl Reader {
    /// Whether to go on.
    fn take(&mut self, kept: Kept) -> bool {
        self.channels += 1;
        let home = self.node.home(&kept.channel);
        self.batches[home].push(kept);
        self.batches[home].len() < BATCH_CHANNELS || self.send_channels(home)
    }

    /// Nothing else is to be read for a server that stops.
    fn send_channels(&mut self, home: usize) -> bool {
        let channels = std::mem::take(&mut self.batches[home]);
        self.send(home, Batch::Channels(channels)) && !self.node.is_stopping()
    }

    fn end(&mut self) {
        for home in 0..self.homes.len() {
            let _ = self.send_channels(home) && self.send(home, Batch::End);
        }
    }

    /// Waits until there is room for it. Not if the home is gone.
    fn send(&self, home: usize, batch: Batch) -> bool {
        let sent = self.homes[home].send(batch).is_ok();
        self.node.mailbox(home).push(Command::Load);
        sent
    }
}
