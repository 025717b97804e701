//! Which lines can be read or written: the seam to the operating system (epoll, through mio).
//!
//! Edge-triggered: each line is watched for both directions from the start, and an event comes when something changes. Whoever
//! stops before a read or write would block must come back by itself.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::slab::Key;

/// The most lines that one look reports.
pub(super) const MAX_EVENTS: usize = 1024;

pub(crate) struct Poller {
    poll: Poll,
    events: Events,
}

/// What happened to a line.
#[derive(Clone, Copy)]
pub(crate) struct Readiness {
    pub(crate) key: Key,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its direction, or both.
    pub(crate) closed: bool,
    /// The connection has failed: nothing of it is left to be read.
    pub(crate) broken: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(MAX_EVENTS) })
    }

    /// Watches a line. It is forgotten when its descriptor is closed.
    pub(crate) fn watch(&self, fd: &OwnedFd, key: Key) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(key.to_bits()), interest)
    }

    /// Watches a line that was watched as another.
    pub(crate) fn watch_as(&self, fd: &OwnedFd, key: Key) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(&mut SourceFd(&fd.as_raw_fd()), Token(key.to_bits()), interest)
    }

    /// Looks without waiting. True if there may be more than was reported.
    pub(crate) fn look(&mut self) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(self.events.iter().count() == MAX_EVENTS),
        }
    }

    /// What the last look found.
    pub(crate) fn readiness(&self) -> impl Iterator<Item = Readiness> {
        self.events.iter().map(|event| Readiness {
            key: Key::from_bits(event.token().0),
            readable: event.is_readable(),
            writable: event.is_writable(),
            closed: event.is_read_closed() || event.is_error(),
            broken: event.is_error(),
        })
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
