//! Copies pages out of the write-ahead log into the file, beside the writing thread, so that commits do not wait for it.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};

use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::file;
use crate::writer::Message;

/// Pages in the write-ahead log from which on it is worth it: 16 MiB.
pub(crate) const SOFT_PAGES: i64 = (16 << 20) / file::PAGE_BYTES as i64;
/// Pages past which commits wait for it: 64 MiB.
pub(crate) const HARD_PAGES: i64 = 4 * SOFT_PAGES;

/// Pages in the write-ahead log.
pub(crate) fn log_pages(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))
}

/// Copies what can be copied without keeping anyone from reading or writing. If that is all, the log begins anew with the next
/// transaction.
pub(crate) fn copy(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))
}

/// Does so each time that it is asked, and says when it is done, until nobody can ask any more.
pub(crate) fn run(path: &Path, asked: &Receiver<()>, done: &Sender<Message>) {
    let mut connection = None;
    while asked.recv().is_ok() {
        let mut checkpoint = || -> Result<(), Error> {
            let connection = match &mut connection {
                Some(connection) => connection,
                none => none.insert(file::connect(path, OpenFlags::empty())?),
            };
            copy(connection).map_err(|error| Error::sqlite(path, &error))
        };
        if let Err(error) = checkpoint() {
            // The log stays, and grows until the writing thread tries itself.
            tracing::debug!(%error, "the store's write-ahead log could not be copied");
            connection = None;
        }
        if done.send(Message::Checkpointed).is_err() {
            return;
        }
    }
}
