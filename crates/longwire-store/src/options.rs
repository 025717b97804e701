//! How a store keeps what it is given.

use std::time::Duration;

/// When what was written is forced out of the operating system's memory onto the disk.
///
/// Whatever is chosen, what was reported as committed survives the end of the process, `kill -9` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is reported as committed. It survives a power cut.
    Always,
    /// At most so long after it was reported as committed: a power cut may take that much with it, from the end.
    Interval(Duration),
    /// When SQLite must, so that the file stays whole, and otherwise whenever the operating system likes: a power cut may take
    /// minutes with it, from the end.
    Never,
}

/// How a store keeps what it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// When it is forced onto the disk. Default: once a second.
    pub fsync: Fsync,
    /// The largest that the database file may get, in bytes; past it the store is full. Default: as large as there is room.
    pub max_bytes: Option<u64>,
    /// What may wait to be written, in bytes, about; past it batches are refused. Default: 64 MiB.
    pub queue_bytes: usize,
    /// For how long no batch is taken after one has failed. Default: a second.
    pub rest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: Fsync::Interval(Duration::from_secs(1)),
            max_bytes: None,
            queue_bytes: 64 << 20,
            rest: Duration::from_secs(1),
        }
    }
}
