//! The thread that owns the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use crate::checkpoint::{self, HARD_PAGES, SOFT_PAGES};
use crate::error::Error;
use crate::file::{self, Identity};
use crate::options::{Fsync, Options};
use crate::read::{self, Kept};
use crate::store::now;
use crate::tables::Tables;
use crate::writer::{Batch, Done, Message, Shared, is_loss};

/// What is written in one transaction, in bytes, about: the more, the longer the first of them waits.
const TRANSACTION_BYTES: usize = 4 << 20;
/// How often it looks for what has expired, and for pages to give back.
const TIDY: Duration = Duration::from_secs(2);
/// Pages that it gives back to the file system at a time.
const GIVE_BACK: i64 = 1024;
/// Free pages that are worth keeping for what comes next: 4 MiB.
const FREE_PAGES: i64 = (4 << 20) / file::PAGE_BYTES as i64;

/// After how many records the length of the write-ahead log is looked at. One writes two or three pages of it, or fewer.
const LOOK: usize = 500;

pub(crate) struct Thread {
    path: PathBuf,
    identity: Identity,
    connection: Connection,
    tables: Tables,
    options: Options,
    shared: Arc<Shared>,
    shards: BTreeMap<usize, Shard>,
    /// Whether commits of the connection wait for the disk, if that is known.
    waits: Option<bool>,
    /// When the oldest commit was made that was not forced onto the disk yet.
    unsynced: Option<Instant>,
    tidied: Instant,
    /// Pages that the write-ahead log had when it was last copied.
    copied: i64,
    /// Records written since the length of the write-ahead log was last looked at.
    written: usize,
    checkpoints: Option<Checkpoints>,
}

struct Shard {
    done: Box<dyn FnMut(Done) + Send>,
    /// After a failure, until it has recovered: the channels of which something was lost.
    lost: Option<BTreeSet<Arc<str>>>,
}

struct Checkpoints {
    ask: Sender<()>,
    running: bool,
    thread: JoinHandle<()>,
}

impl Thread {
    pub(crate) fn new(
        path: PathBuf,
        connection: Connection,
        options: Options,
        shared: Arc<Shared>,
        queue: Sender<Message>,
    ) -> Result<Self, Error> {
        let (ask, asked) = mpsc::channel();
        let database = path.clone();
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || checkpoint::run(&database, &asked, &queue))
            .map_err(|error| Error::io(&path, &error))?;
        let checkpoints = Some(Checkpoints { ask, running: false, thread });
        let (tables, shards) = Default::default();
        let tidied = Instant::now();
        let mut this = Self {
            identity: Identity::of(&path),
            path,
            connection,
            tables,
            options,
            shared,
            shards,
            waits: None,
            unsynced: None,
            tidied,
            copied: 0,
            written: 0,
            checkpoints,
        };
        this.tidy();
        Ok(this)
    }

    /// Does what it is asked, until it is told to stop.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) {
        let mut batches = Vec::new();
        let mut stop = false;
        while !stop {
            let mut next = match messages.recv_timeout(self.pause()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut bytes = 0;
            while let Some(message) = next.take() {
                match message {
                    Message::Batch(batch) => {
                        bytes += batch.bytes;
                        batches.push(batch);
                        if bytes >= TRANSACTION_BYTES {
                            break;
                        }
                    }
                    other => {
                        // What came before it is done before it.
                        self.commit(std::mem::take(&mut batches));
                        stop |= self.do_other(other);
                    }
                }
                next = messages.try_recv().ok();
            }
            self.commit(std::mem::take(&mut batches));
            self.look_after();
        }
        self.close();
    }

    /// Whether it is to stop.
    fn do_other(&mut self, message: Message) -> bool {
        match message {
            Message::Join { shard, done } => drop(self.shards.insert(shard, Shard { done, lost: None })),
            Message::Recover { shard, pending, reply } => {
                let recovered = self.recover(shard, pending);
                // It may have gone meanwhile.
                drop(reply.send(recovered));
            }
            Message::Checkpointed => {
                if let Some(checkpoints) = &mut self.checkpoints {
                    checkpoints.running = false;
                }
                // Most was copied while commits went on: now the rest.
                self.copy_log();
            }
            Message::Stop => return true,
            Message::Batch(_) => {}
        }
        false
    }

    fn pause(&self) -> Duration {
        match (self.unsynced, self.options.fsync) {
            (Some(since), Fsync::Interval(interval)) => interval.saturating_sub(since.elapsed()).min(TIDY),
            _ => TIDY,
        }
    }

    /// Writes batches in one transaction, and says so to their shards.
    fn commit(&mut self, batches: Vec<Batch>) {
        let bytes: usize = batches.iter().map(|batch| batch.bytes).sum();
        let (dead, alive): (Vec<_>, Vec<_>) = batches.into_iter().partition(|batch| self.is_failed(batch.shard));
        dead.iter().for_each(|batch| self.lose(batch));
        if !alive.is_empty() {
            match self.write(&alive) {
                Ok(()) => self.committed(&alive),
                Err(error) => self.failed(&alive, error),
            }
        }
        self.shared.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let sync = self.is_sync_due();
        self.transaction(sync, |connection, tables| {
            for record in batches.iter().flat_map(|batch| &batch.records) {
                tables.write(connection, record)?;
            }
            tables.finish(connection)
        })?;
        self.written += batches.iter().map(|batch| batch.records.len()).sum::<usize>();
        Ok(())
    }

    /// Nothing of it remains if it fails.
    fn transaction(
        &mut self,
        sync: bool,
        write: impl FnOnce(&Connection, &mut Tables) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        self.identity.check(&self.path)?;
        let run = || {
            if self.waits != Some(sync) {
                // In this journal mode, FULL is what makes a commit wait for the disk.
                self.connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
                self.waits = Some(sync);
            }
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write(&transaction, &mut self.tables)?;
            transaction.commit()
        };
        let result = run().map_err(|error| Error::sqlite(&self.path, &error));
        match &result {
            Ok(()) if sync => self.unsynced = None,
            Ok(()) => drop(self.unsynced.get_or_insert_with(Instant::now)),
            Err(_) => {
                self.tables.forget();
                self.reconnect();
            }
        }
        result
    }

    /// If the failed transaction cannot be rolled back, another connection is needed; if there is none, this one is tried again.
    fn reconnect(&mut self) {
        if !self.connection.is_autocommit()
            && self.identity.check(&self.path).is_ok()
            && let Ok(fresh) = file::open(&self.path, self.options.max_bytes)
        {
            self.connection = fresh;
            self.waits = None;
        }
    }

    fn is_sync_due(&self) -> bool {
        match self.options.fsync {
            Fsync::Always => true,
            Fsync::Interval(interval) => self.unsynced.is_some_and(|since| since.elapsed() >= interval),
            Fsync::Never => false,
        }
    }

    fn committed(&mut self, batches: &[Batch]) {
        if let Some(before) = self.shared.set_trouble(None) {
            tracing::info!(before = %before, "the store keeps channels again");
        }
        let newest: BTreeMap<usize, u64> = batches.iter().map(|batch| (batch.shard, batch.token)).collect();
        for (shard, token) in newest {
            if let Some(shard) = self.shards.get_mut(&shard) {
                (shard.done)(Done::Committed { token });
            }
        }
    }

    fn failed(&mut self, batches: &[Batch], error: Error) {
        let error = Arc::new(error);
        self.shared.rest(self.options.rest);
        self.complain(&error);
        for batch in batches {
            self.lose(batch);
        }
        let shards: BTreeSet<usize> = batches.iter().map(|batch| batch.shard).collect();
        for shard in shards {
            if let Some(shard) = self.shards.get_mut(&shard) {
                (shard.done)(Done::Failed { error: error.clone() });
            }
        }
        // The log may have taken the room: once it is copied it begins anew, which may be all that is needed.
        self.copy_log();
    }

    /// Once, as long as it is the same.
    fn complain(&self, error: &Arc<Error>) {
        let before = self.shared.set_trouble(Some(error.clone()));
        if before.is_none_or(|before| before.trouble != error.trouble) {
            tracing::error!(%error, "the store keeps nothing at present");
        }
    }

    fn is_failed(&self, shard: usize) -> bool {
        self.shards.get(&shard).is_some_and(|shard| shard.lost.is_some())
    }

    fn lose(&mut self, batch: &Batch) {
        if let Some(shard) = self.shards.get_mut(&batch.shard) {
            let channels = batch.records.iter().filter(|record| is_loss(record)).map(|record| record.channel().clone());
            shard.lost.get_or_insert_default().extend(channels);
        }
    }

    fn recover(&mut self, shard: usize, pending: Vec<Arc<str>>) -> Result<Vec<Kept>, Error> {
        let Some(shard) = self.shards.get_mut(&shard) else { return Ok(Vec::new()) };
        let lost = shard.lost.get_or_insert_default();
        lost.extend(pending);
        // Reading them may change their rows.
        self.tables.forget();
        let now = now();
        let recovered: Result<Vec<_>, Error> =
            lost.iter().map(|channel| read::channel_named(&self.connection, &self.path, channel, now)).collect();
        if recovered.is_ok() {
            shard.lost = None;
        }
        recovered
    }

    /// Between transactions.
    fn look_after(&mut self) {
        if self.unsynced.is_some() && self.options.fsync != Fsync::Never && self.is_sync_due() {
            self.sync("UPDATE run SET synced = ?1");
        }
        if self.tidied.elapsed() >= TIDY {
            self.tidied = Instant::now();
            self.tidy();
        }
        self.tables.settle();
        self.watch_log();
    }

    /// Forces everything onto the disk, by a commit that waits for it.
    fn sync(&mut self, mark: &'static str) {
        let mark = |connection: &Connection, _: &mut Tables| connection.execute(mark, [now() as i64]).map(drop);
        if let Err(error) = self.transaction(true, mark) {
            self.complain(&Arc::new(error));
            // Not again at once.
            self.unsynced = Some(Instant::now());
        }
    }

    /// Deletes what has expired, and gives the file system back what the file has too much.
    fn tidy(&mut self) {
        if let Err(error) = self.identity.check(&self.path) {
            return self.complain(&Arc::new(error));
        }
        let mut first = self.connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM once WHERE until <= ?1)");
        let expired = first.as_mut().is_ok_and(|first| first.query_row([now() as i64], |row| row.get(0)).unwrap_or(false));
        drop(first);
        let is_loose = self.free_pages().is_ok_and(|(free, all)| free > FREE_PAGES.max(all / 4));
        if !expired && !is_loose {
            return;
        }
        let result = self.transaction(self.options.fsync == Fsync::Always, |connection, tables| {
            if expired {
                tables.expire(connection, now())?;
            }
            if is_loose {
                let mut give_back = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({GIVE_BACK})"))?;
                // It gives back a page at each step.
                let mut steps = give_back.query(())?;
                while steps.next()?.is_some() {}
            }
            Ok(())
        });
        if let Err(error) = result {
            tracing::debug!(%error, "the store could not be tidied");
        }
    }

    /// Pages in the file that nothing is in, and pages in all.
    fn free_pages(&self) -> rusqlite::Result<(i64, i64)> {
        let number = |sql| self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
        Ok((number("PRAGMA freelist_count")?, number("PRAGMA page_count")?))
    }

    /// Keeps the write-ahead log short.
    fn watch_log(&mut self) {
        if self.written < LOOK {
            return;
        }
        self.written = 0;
        let Ok(pages) = checkpoint::log_pages(&self.connection) else { return };
        if pages < self.copied {
            // It has begun anew.
            self.copied = 0;
        }
        let new = pages - self.copied;
        if new > HARD_PAGES {
            self.copy_log();
        } else if new > SOFT_PAGES
            && let Some(checkpoints) = &mut self.checkpoints
            && !checkpoints.running
        {
            checkpoints.running = checkpoints.ask.send(()).is_ok();
        }
    }

    /// Copies what is left to copy, so that the log can begin anew.
    fn copy_log(&mut self) {
        let copied = checkpoint::copy(&self.connection).and_then(|()| checkpoint::log_pages(&self.connection));
        match copied {
            Ok(pages) => self.copied = pages,
            Err(error) => tracing::debug!(%error, "the store's write-ahead log could not be copied"),
        }
    }

    fn close(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.sync("UPDATE run SET synced = ?1, at_risk = 0");
        if let Some(Checkpoints { ask, thread, .. }) = self.checkpoints.take() {
            drop(ask);
            drop(thread.join());
        }
        // The last connection to close would do it as well, but another program may have the file open.
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(%error, "the store's write-ahead log could not be copied");
        }
    }
}
