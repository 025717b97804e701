//! What is counted while a load runs.

use crate::histogram::Histogram;
use crate::sequence::Faults;

/// Counts of a load. All but the faults begin anew with the measured interval.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Round trips, deliveries or publications.
    pub(crate) operations: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Payload bytes received.
    pub(crate) payload_bytes: u64,
    /// Nanoseconds from sending to receiving.
    pub(crate) latency: Histogram,
    pub(crate) faults: Faults,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally { operations: 0, sent: 0, payload_bytes: 0, latency: Histogram::new(), faults: Faults::default() }
    }

    /// Begins the measured interval.
    pub(crate) fn restart(&mut self) {
        (self.operations, self.sent, self.payload_bytes) = (0, 0, 0);
        self.latency.clear();
    }

    #[inline]
    pub(crate) fn operation(&mut self, bytes: usize) {
        self.operations += 1;
        self.payload_bytes += bytes as u64;
    }
}
