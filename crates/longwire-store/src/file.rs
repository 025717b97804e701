//! The directory and the file in it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::{Error, Trouble};

/// In every file of ours: "LWst".
const APPLICATION: i64 = 0x4c57_7374;
/// Of the tables below. A file with a larger number is not touched.
const VERSION: i64 = 1;
/// How long another program may keep the file locked.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes in a page of the file.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// What a connection keeps in memory of the file, in KiB.
const CACHE_KIB: i64 = 32 * 1024;

/// `publication` and `piece` are in the order of arrival, so that a commit writes few pages however many channels it is of;
/// their indices find what a channel has. In `piece` the row whose `offset` is its `stream` is the beginning of the stream.
/// `channel.epoch` is null where nothing is numbered. Texts in `body` are as `docs/longwire.proto` has them, after a checksum.
const SCHEMA: &str = "
    CREATE TABLE channel (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch INTEGER,
        head INTEGER NOT NULL,
        floor INTEGER NOT NULL
    );
    CREATE TABLE publication (
        id INTEGER PRIMARY KEY,
        channel INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE UNIQUE INDEX publication_by_offset ON publication (channel, offset);
    CREATE TABLE piece (
        id INTEGER PRIMARY KEY,
        channel INTEGER NOT NULL,
        stream INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE UNIQUE INDEX piece_by_offset ON piece (channel, stream, offset);
    CREATE TABLE key (
        channel INTEGER NOT NULL,
        key TEXT NOT NULL,
        offset INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (channel, key)
    ) WITHOUT ROWID;
    CREATE TABLE once (
        channel INTEGER NOT NULL,
        until INTEGER NOT NULL,
        key TEXT NOT NULL,
        epoch INTEGER,
        offset INTEGER,
        PRIMARY KEY (channel, until, key)
    ) WITHOUT ROWID;
    CREATE INDEX once_by_time ON once (until);
    CREATE TABLE synced (
        at INTEGER NOT NULL
    );
    INSERT INTO synced VALUES (0);
";

/// A directory that is ours alone for as long as this lives.
pub(crate) struct Directory {
    pub(crate) database: PathBuf,
    /// The lock goes with it, also if the process is killed.
    _lock: File,
}

impl Directory {
    /// Takes a directory, which is made if it is not there.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        make(path).map_err(|error| Error::io(path, &error))?;
        let lock_path = path.join("longwire.lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|error| Error::io(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { database: path.join("longwire.db"), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::new(Trouble::Locked, path, "")),
            Err(TryLockError::Error(error)) => Err(Error::io(&lock_path, &error)),
        }
    }
}

/// Channels are nobody's business but the server's.
fn make(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens the file, which is made if it is not there, and checks that it is ours.
pub(crate) fn open(path: &Path, max_bytes: Option<u64>) -> Result<Connection, Error> {
    let sqlite = |error| Error::sqlite(path, &error);
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    let (application, version, objects) = connection
        .query_row(
            "SELECT (SELECT * FROM pragma_application_id), (SELECT * FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
        )
        .map_err(sqlite)?;
    match (application, version, objects) {
        (APPLICATION, VERSION, _) => {}
        (0, 0, 0) => create(&mut connection).map_err(sqlite)?,
        (APPLICATION, newer, _) if newer > VERSION => {
            return Err(Error::new(Trouble::Newer, path, format!("it has version {newer}, this is for {VERSION}")));
        }
        _ => return Err(Error::new(Trouble::Foreign, path, "it is another program's SQLite file")),
    }
    if let Some(bytes) = max_bytes {
        let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(sqlite)?;
    }
    // Whether it can be written to must be known now, and not at the first publication.
    connection.execute("UPDATE synced SET at = at", []).map_err(sqlite)?;
    Ok(connection)
}

/// Another connection to the file, which is there.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let set_up = || {
        // Each connection is used by one thread at a time.
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        // When to do that is for us to say.
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        Ok(connection)
    };
    set_up().map_err(|error| Error::sqlite(path, &error))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
