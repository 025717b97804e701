//! A shard's end of the store.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use longwire_core::broker::memory::Record;
use longwire_protocol::Publication;

use crate::error::{Error, Trouble};
use crate::read::Kept;

/// What a shard is told of its batches, in their order.
#[derive(Clone, Debug)]
pub enum Done {
    /// All batches up to the one with this token are kept, as far as [`Fsync`](crate::Fsync) says.
    Committed {
        /// As it was given to [`Writer::commit`].
        token: u64,
    },
    /// No batch that was not yet reported as committed is kept, also none that is still on its way: call [`Writer::recover`].
    /// Said once; there is nothing more until then.
    Failed {
        /// Why.
        error: Arc<Error>,
    },
}

/// A batch that the store does not take now: there is no room for it to wait, or the store rests after a failure. Nothing of it
/// is kept. Its owner can add to it, and try again.
#[derive(Debug)]
pub struct Refused(pub Vec<Record>);

/// Whether what a batch comes with has to wait until it is committed. It need not if it only says what is not kept any more:
/// should that be lost, more is kept than need be.
pub fn must_wait(records: &[Record]) -> bool {
    records.iter().any(|record| !matches!(record, Record::Trim { .. } | Record::Gone { .. }))
}

/// A shard's end of the store.
pub struct Writer {
    pub(crate) shard: usize,
    pub(crate) queue: Sender<Message>,
    pub(crate) shared: Arc<Shared>,
}

/// What the writing thread is asked.
pub(crate) enum Message {
    /// There is another shard.
    Join {
        shard: usize,
        done: Box<dyn FnMut(Done) + Send>,
    },
    Batch(Batch),
    Recover {
        shard: usize,
        pending: Vec<Arc<str>>,
        reply: Sender<Result<Vec<Kept>, Error>>,
    },
    /// All pages were copied out of the write-ahead log that could be.
    Checkpointed,
    Stop,
}

pub(crate) struct Batch {
    pub(crate) shard: usize,
    pub(crate) token: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) bytes: usize,
}

/// What shards look at and the writing thread writes.
pub(crate) struct Shared {
    path: PathBuf,
    /// Of batches that wait, about.
    pub(crate) waiting_bytes: AtomicUsize,
    pub(crate) queue_bytes: usize,
    /// Milliseconds after `began` until which no batch is taken.
    resting_until: AtomicU64,
    began: Instant,
    /// Why the last transaction failed; nothing if it did not.
    trouble: Mutex<Option<Arc<Error>>>,
    pub(crate) stopped: AtomicBool,
}

impl Shared {
    pub(crate) fn new(path: &Path, queue_bytes: usize) -> Self {
        Self {
            path: path.to_owned(),
            waiting_bytes: AtomicUsize::new(0),
            queue_bytes,
            resting_until: AtomicU64::new(0),
            began: Instant::now(),
            trouble: Mutex::new(None),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn rest(&self, duration: Duration) {
        let until = self.began.elapsed() + duration;
        self.resting_until.store(until.as_millis() as u64, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) < self.queue_bytes
            && !self.stopped.load(Ordering::Acquire)
            && match self.resting_until.load(Ordering::Acquire) {
                0 => true,
                until => self.began.elapsed().as_millis() as u64 >= until,
            }
    }

    pub(crate) fn trouble(&self) -> Option<Arc<Error>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the last transaction went; what was noted before.
    pub(crate) fn set_trouble(&self, error: Option<Arc<Error>>) -> Option<Arc<Error>> {
        if error.is_none() {
            self.resting_until.store(0, Ordering::Release);
        }
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), error)
    }
}

impl Writer {
    /// Whether a batch would be taken now. If not, nothing should be published: it could not be kept.
    pub fn is_ready(&self) -> bool {
        self.shared.is_ready()
    }

    /// Has records kept, or lost, together. Never waits: what becomes of them is told as a [`Done`] with the same token, which
    /// must be larger than the one before.
    ///
    /// # Errors
    /// The records, if they are not taken; see [`Writer::is_ready`]. A batch is taken whole even if it is larger than the room.
    pub fn commit(&mut self, records: Vec<Record>, token: u64) -> Result<(), Refused> {
        if !self.is_ready() {
            return Err(Refused(records));
        }
        let bytes = records.iter().map(weight).sum();
        self.shared.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        let batch = Batch { shard: self.shard, token, records, bytes };
        self.queue.send(Message::Batch(batch)).map_err(|mpsc::SendError(message)| match message {
            Message::Batch(batch) => Refused(batch.records),
            _ => Refused(Vec::new()),
        })
    }

    /// After [`Done::Failed`]: what the store has of every channel that a batch was about that is not kept. `pending` are records
    /// that were not given to [`Writer::commit`] yet; they are lost, too. Afterwards batches are taken again, if the store does
    /// not rest.
    ///
    /// Waits for the writing thread, which by then has little to do but read.
    ///
    /// # Errors
    /// If the store cannot be read. It can be tried again; until then no batch is kept.
    pub fn recover(&mut self, pending: &[Record]) -> Result<Vec<Kept>, Error> {
        let (reply, answer) = mpsc::channel();
        let pending = pending.iter().filter(|record| is_loss(record)).map(|record| record.channel().clone()).collect();
        let asked = self.queue.send(Message::Recover { shard: self.shard, pending, reply });
        let gone = || Error::new(Trouble::Io, &self.shared.path, "the store was closed");
        asked.map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// Why the last transaction failed; nothing if it did not.
    pub fn trouble(&self) -> Option<Arc<Error>> {
        self.shared.trouble()
    }
}

/// Whether memory and disk disagree if a record is lost.
pub(crate) fn is_loss(record: &Record) -> bool {
    !matches!(record, Record::Trim { .. })
}

/// What a record takes while it waits, in bytes, about.
fn weight(record: &Record) -> usize {
    let data = |publication: &Publication| publication.data.as_ref().map_or(0, |data| data.as_bytes().len());
    let more = match record {
        Record::Publication(publication) => data(publication),
        Record::Piece(piece) => piece.data.as_ref().map_or(0, |data| data.len()),
        Record::Key { publication, .. } => publication.as_ref().map_or(0, |publication| data(publication)),
        _ => 0,
    };
    256 + more
}
