//! The store, as the server has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::OpenFlags;

use crate::error::Error;
use crate::file::{self, Directory};
use crate::options::{Fsync, Options};
use crate::read::{self, Kept};
use crate::thread::Thread;
use crate::writer::{Done, Message, Shared, Writer};

/// A directory in which channels are kept. When it is dropped, all batches that wait are written and forced onto the disk.
pub struct Store {
    queue: Sender<Message>,
    shared: Arc<Shared>,
    shards: AtomicUsize,
    thread: Option<JoinHandle<()>>,
    directory: Directory,
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// If it is not ours to use, or cannot be used; see [`Trouble`](crate::Trouble).
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let directory = Directory::take(dir.as_ref())?;
        let mut connection = file::open(&directory.database, options.max_bytes)?;
        file::begin(&mut connection, &directory.database, options.fsync != Fsync::Always)?;
        let shared = Arc::new(Shared::new(&directory.database, options.queue_bytes));
        let (queue, messages) = mpsc::channel();
        let mut thread = Thread::new(directory.database.clone(), connection, options, shared.clone(), queue.clone())?;
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || thread.run(&messages))
            .map_err(|error| Error::io(&directory.database, &error))?;
        Ok(Self { queue, shared, shards: AtomicUsize::new(0), thread: Some(thread), directory })
    }

    /// Reads all channels that were kept, one after the other, in one pass over the file, for as long as `each` says to go on. It can be done on a thread of its own;
    /// what is written meanwhile is not seen.
    ///
    /// # Errors
    /// If the list of channels cannot be read. A channel that cannot be read is no reason; see [`Kept::records`].
    pub fn restore(&self, each: impl FnMut(Kept) -> bool) -> Result<(), Error> {
        let path = &self.directory.database;
        read::all(&file::connect(path, OpenFlags::empty())?, path, now(), each)
    }

    /// An end of the store for another shard. `done` is called from the store's thread, and must not wait.
    pub fn writer(&self, done: impl FnMut(Done) + Send + 'static) -> Writer {
        let shard = self.shards.fetch_add(1, Ordering::AcqRel);
        drop(self.queue.send(Message::Join { shard, done: Box::new(done) }));
        Writer { shard, queue: self.queue.clone(), shared: self.shared.clone() }
    }

    /// Why the last transaction failed; nothing if it did not.
    pub fn trouble(&self) -> Option<Arc<Error>> {
        self.shared.trouble()
    }

    /// Of batches that wait to be written, about.
    pub fn waiting_bytes(&self) -> usize {
        self.shared.waiting_bytes.load(Ordering::Acquire)
    }

    /// The database file.
    pub fn path(&self) -> PathBuf {
        self.directory.database.clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.queue.send(Message::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
