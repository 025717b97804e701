//! The directory and the file in it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::{Error, Trouble};

/// In every file of ours: "LWst".
const APPLICATION: i64 = 0x4c57_7374;
/// Of the tables below. A file with a larger number is not touched.
const VERSION: i64 = 1;
/// How long a predecessor may take to be gone: a killed process keeps its locks for a moment, and so does a process that is being
/// started by one that has just closed a store.
const LEAVING: Duration = Duration::from_secs(1);
/// How long another program may keep the file locked.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes in a page of the file.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// What a connection keeps in memory of the file, in KiB.
const CACHE_KIB: i64 = 32 * 1024;

/// `publication` and `piece` are in the order of arrival, so that a commit writes few pages however many channels it is of;
/// their indices find what a channel has. In `piece` the row whose `offset` is its `stream` is the beginning of the stream.
/// `channel.epoch` is null where nothing is numbered. `run` has one row: during which run of the operating system the file was
/// last opened, whether the end of that run may have taken commits with it, and when all was last forced onto the disk. What is
/// in `body` says the module `body`.
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
    CREATE TABLE run (
        boot TEXT NOT NULL,
        at_risk INTEGER NOT NULL,
        synced INTEGER NOT NULL
    );
    INSERT INTO run VALUES ('', 0, 0);
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
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { database: path.join("longwire.db"), _lock: lock }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LEAVING => thread::sleep(LEAVING / 50),
                Err(TryLockError::WouldBlock) => return Err(Error::new(Trouble::Locked, path, "")),
                Err(TryLockError::Error(error)) => return Err(Error::io(&lock_path, &error)),
            }
        }
    }
}

/// Which files a store writes to. One that was deleted or replaced under it can be written to as before, and nothing of that is
/// found again; so this is looked at before each transaction, which takes about two microseconds.
#[derive(PartialEq, Eq)]
pub(crate) struct Identity([Option<(u64, u64)>; 2]);

impl Identity {
    /// Of the database and its write-ahead log, both of which are there.
    pub(crate) fn of(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Self([number(database), number(Path::new(&log))])
    }

    /// # Errors
    /// [`Trouble::Gone`].
    pub(crate) fn check(&self, database: &Path) -> Result<(), Error> {
        if *self == Self::of(database) { Ok(()) } else { Err(Error::new(Trouble::Gone, database, "")) }
    }
}

/// What the file system knows a file by.
#[cfg(unix)]
fn number(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn number(path: &Path) -> Option<(u64, u64)> {
    path.exists().then_some((0, 0))
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
    connection.execute("UPDATE run SET synced = synced", []).map_err(sqlite)?;
    Ok(connection)
}

/// Notes that the file is in use. `at_risk` is whether commits are reported before the disk has them.
///
/// If they were before, and the operating system has gone down meanwhile without the file having been closed, some may be lost
/// that clients have seen. Then all channels get new epochs, so that no client takes what comes now for what it has had.
pub(crate) fn begin(connection: &mut Connection, path: &Path, at_risk: bool) -> Result<(), Error> {
    let begin = |connection: &mut Connection| {
        connection.pragma_update(None, "synchronous", "FULL")?;
        let boot = boot();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?));
        let (before, was_at_risk) = transaction.query_row("SELECT boot, at_risk FROM run", [], row)?;
        let is_lossy = was_at_risk && before != boot;
        if is_lossy {
            transaction.execute_batch(
                "UPDATE channel SET epoch = 1 + abs(random() % 4294967295) WHERE epoch IS NOT NULL;
                UPDATE once SET epoch = (SELECT epoch FROM channel WHERE id = once.channel) WHERE epoch IS NOT NULL",
            )?;
        }
        transaction.execute("UPDATE run SET boot = ?1, at_risk = ?2", (boot, at_risk))?;
        transaction.commit()?;
        Ok(is_lossy)
    };
    let is_lossy = begin(connection).map_err(|error| Error::sqlite(path, &error))?;
    if is_lossy {
        tracing::warn!(
            "the system went down while the store was open: the newest publications may be lost, and clients are told"
        );
    }
    Ok(())
}

/// What identifies this run of the operating system. Where that cannot be known, no two are the same, to be on the safe side.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| format!("{:?} {}", SystemTime::now(), std::process::id()), |id| id.trim().to_owned())
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
