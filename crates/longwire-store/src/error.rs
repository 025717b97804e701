//! What can be wrong with a store.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode as Sqlite;

/// A kind of trouble, and thereby what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Another server has the directory.
    Locked,
    /// The file is not of a Longwire store.
    Foreign,
    /// The file was written by a newer version.
    Newer,
    /// There is no room left: on the disk, or within `max_bytes`.
    Full,
    /// The directory or the file may not be written to.
    ReadOnly,
    /// The file is damaged.
    Corrupt,
    /// Another program keeps the file from being written to.
    Busy,
    /// A batch does not go with what is in the file. Nothing of it was kept.
    Conflict,
    /// The disk, or the path to it, fails.
    Io,
    /// The file, or its write-ahead log, was deleted, moved or replaced under the running server.
    Gone,
}

impl Trouble {
    /// What to do about it, for the one who runs the server.
    fn advice(self) -> &'static str {
        match self {
            Self::Locked => "another server uses this directory: stop it, or choose another directory",
            Self::Foreign => "the file is not of a Longwire store: choose another directory, or move the file away",
            Self::Newer => "the file was written by a newer version of Longwire: use that version, or another directory",
            Self::Full => "there is no room left: free some on the disk, or allow the store more",
            Self::ReadOnly => "it cannot be written to: mend its permissions, or mount it writable",
            Self::Corrupt => "the file is damaged: restore a backup, or move it away to begin anew",
            Self::Busy => "another program keeps the file locked: close it",
            Self::Conflict => "a batch contradicts what is in the file",
            Self::Io => "the disk fails: look at the system's log",
            Self::Gone => {
                "it was deleted, moved or replaced while the server runs: put it back, or restart the server to begin with what is there"
            }
        }
    }
}

/// Why a store could not be opened, read or written.
#[derive(Clone, Debug)]
pub struct Error {
    /// Which kind.
    pub trouble: Trouble,
    /// The directory or the file that it is about.
    pub path: PathBuf,
    /// What SQLite or the operating system says of it; may be empty.
    pub message: Box<str>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.trouble.advice())?;
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn new(trouble: Trouble, path: &Path, message: impl Into<Box<str>>) -> Self {
        Self { trouble, path: path.to_owned(), message: message.into() }
    }

    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let trouble = match error.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Trouble::ReadOnly,
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Trouble::Full,
            _ => Trouble::Io,
        };
        Self::new(trouble, path, error.to_string())
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let trouble = match error.sqlite_error_code() {
            Some(Sqlite::DiskFull) => Trouble::Full,
            Some(Sqlite::ReadOnly | Sqlite::PermissionDenied | Sqlite::CannotOpen) => Trouble::ReadOnly,
            Some(Sqlite::DatabaseCorrupt) => Trouble::Corrupt,
            Some(Sqlite::NotADatabase) => Trouble::Foreign,
            Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => Trouble::Busy,
            Some(Sqlite::ConstraintViolation) => Trouble::Conflict,
            Some(_) => Trouble::Io,
            // SQLite itself was content: the file has something in it that this version never writes.
            None => Trouble::Corrupt,
        };
        Self::new(trouble, path, error.to_string())
    }
}
