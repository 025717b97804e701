//! Order of arrival on one line, and what is wrong with it.

use serde::Serialize;

/// Missing numbers remembered per line, to tell a late message from a repeated one.
const LATE_MAX: usize = 4096;

/// What went wrong with messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Never arrived.
    pub missing: u64,
    /// Arrived again.
    pub repeated: u64,
    /// Arrived after a later one.
    pub disordered: u64,
    /// Wrong length, content or type.
    pub damaged: u64,
    /// Belongs to another line or channel.
    pub misrouted: u64,
    /// Publications that the server refused, or acknowledged wrongly.
    pub refused: u64,
}

impl Faults {
    /// Adds those of another part of the run.
    pub(crate) fn add(&mut self, other: &Faults) {
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.disordered += other.disordered;
        self.damaged += other.damaged;
        self.misrouted += other.misrouted;
        self.refused += other.refused;
    }

    /// All faults.
    pub fn total(&self) -> u64 {
        self.missing + self.repeated + self.disordered + self.damaged + self.misrouted + self.refused
    }
}

/// The next sequence number that a line expects, and the ones that it missed.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) expected: u32,
    late: Vec<u32>,
}

/// How a message fits in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The expected one.
    InOrder,
    /// A later one than expected: the numbers from `first` (inclusive) to this one are missing.
    Early { first: u32 },
    /// One that was counted as missing.
    Late,
    /// One that came before.
    Repeated,
}

impl Sequence {
    /// Takes note of number `sequence`, which must have been sent. Numbers wrap round.
    pub(crate) fn arrive(&mut self, sequence: u32) -> Arrival {
        let ahead = sequence.wrapping_sub(self.expected);
        if ahead == 0 {
            self.expected = sequence.wrapping_add(1);
            return Arrival::InOrder;
        }
        if ahead < 1 << 31 {
            let first = self.expected;
            let room = LATE_MAX.saturating_sub(self.late.len());
            self.late.extend((0..ahead).take(room).map(|step| first.wrapping_add(step)));
            self.expected = sequence.wrapping_add(1);
            return Arrival::Early { first };
        }
        match self.late.iter().position(|&late| late == sequence) {
            Some(at) => {
                self.late.swap_remove(at);
                Arrival::Late
            }
            None => Arrival::Repeated,
        }
    }
}

/// The numbers from `first` up to but not including `end`, also across the wrap.
pub(crate) fn between(first: u32, end: u32) -> impl Iterator<Item = u32> {
    (0..end.wrapping_sub(first)).map(move |step| first.wrapping_add(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_lateness_and_repetition_are_told_apart() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrive(0), Arrival::InOrder);
        assert_eq!(sequence.arrive(3), Arrival::Early { first: 1 });
        assert_eq!(sequence.arrive(2), Arrival::Late);
        assert_eq!(sequence.arrive(2), Arrival::Repeated);
        assert_eq!(sequence.arrive(0), Arrival::Repeated);
        assert_eq!(sequence.arrive(4), Arrival::InOrder);
    }

    #[test]
    fn numbers_wrap_round() {
        let mut sequence = Sequence { expected: u32::MAX, late: Vec::new() };
        assert_eq!(sequence.arrive(1), Arrival::Early { first: u32::MAX });
        assert_eq!(between(u32::MAX, 1).collect::<Vec<_>>(), [u32::MAX, 0]);
        assert_eq!(sequence.arrive(0), Arrival::Late);
        assert_eq!(sequence.arrive(u32::MAX), Arrival::Late);
        assert_eq!(sequence.arrive(2), Arrival::InOrder);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut sequence = Sequence::default();
        sequence.arrive(1_000_000);
        assert_eq!(sequence.late.len(), LATE_MAX);
        sequence.arrive(2_000_000);
        assert_eq!(sequence.late.len(), LATE_MAX);
    }
}
