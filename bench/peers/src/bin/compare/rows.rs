//! The rows of the comparison: the load of each, who takes part, and what Longwire must reach.

use crate::servers::Server;

/// Seconds that the load generator waits for an answer at most: the slowest peers need a while for 10,000 deliveries.
const LOAD_TIMEOUT: &str = "120";

/// One kind of load.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What one operation is, for "CPU per ...".
    pub(crate) operation: &'static str,
    /// The load generator's mode and options.
    pub(crate) load: &'static [&'static str],
    pub(crate) measure: Measure,
    pub(crate) entrants: Entrants,
    /// The floor that ratios refer to.
    pub(crate) floor: Server,
    pub(crate) bounds: &'static [Bound],
}

/// What a row compares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Microseconds of the server's CPU time per operation.
    Cpu,
    /// Bytes of the server's private memory per line.
    Memory,
    /// Lines that stay.
    Survival,
}

/// Who takes part in a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrants {
    /// Who offers echo; the two floors are one there.
    Echo,
    Everyone,
    LongwireOnly,
}

/// What Longwire must reach.
pub(crate) enum Bound {
    /// At most this many times what that server takes.
    Times(f64, Server),
    /// Less than that server takes.
    Below(Server),
    /// At most what the best peer takes.
    AtMostEveryPeer,
    /// Less than the best peer takes.
    BelowEveryPeer,
    /// At most this many of the row's unit.
    Absolute(f64),
    /// At least this many lines, all of them pinged, none of them lost, and no message lost or repeated.
    AllAlive(u64),
}

impl Row {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    pub(crate) fn admits(&self, server: Server) -> bool {
        match self.entrants {
            Entrants::Echo => server.offers_echo() && server != Server::PlainFloor,
            Entrants::Everyone => true,
            Entrants::LongwireOnly => server == Server::Longwire,
        }
    }

    /// Measured once, since one measurement takes long and does not depend on the machine's pace.
    pub(crate) fn once(&self) -> bool {
        self.measure != Measure::Cpu
    }

    /// The load generator's mode and options. A quick run is shorter.
    pub(crate) fn arguments(&self, quick: bool) -> Vec<String> {
        let mut arguments: Vec<String> = self.load.iter().map(|&argument| argument.to_owned()).collect();
        arguments.extend(["--timeout", LOAD_TIMEOUT].map(str::to_owned));
        if self.measure == Measure::Cpu {
            let seconds = if quick { "2" } else { "3" };
            arguments.extend(["--seconds", seconds].map(str::to_owned));
        }
        arguments
    }
}

/// All rows, in the order of the report.
///
/// "Saturated" means 32 messages on their way: uWebSockets joins 32 at most, and what exceeds that in one read it writes one by one.
/// So it is measured at its best; the deep row shows what becomes of each server beyond.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "echo-1",
        title: "Echo, 100 lines × 128 B, one message on its way per line",
        operation: "round trip",
        load: &["echo", "--lines", "100", "--size", "128", "--depth", "1"],
        measure: Measure::Cpu,
        entrants: Entrants::Echo,
        floor: Server::Floor,
        bounds: &[Bound::Times(1.10, Server::Floor), Bound::AtMostEveryPeer],
    },
    Row {
        name: "echo-16",
        title: "Echo, 100 lines × 128 B, sixteen messages on their way per line",
        operation: "round trip",
        load: &["echo", "--lines", "100", "--size", "128", "--depth", "16"],
        measure: Measure::Cpu,
        entrants: Entrants::Echo,
        floor: Server::Floor,
        bounds: &[Bound::Times(1.0, Server::UWebSockets)],
    },
    Row {
        name: "fanout-1k",
        title: "Fan-out 1 → 1,000 lines, 128 B, saturated: 32 messages on their way",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "saturated", "--window", "32"],
        measure: Measure::Cpu,
        entrants: Entrants::Everyone,
        floor: Server::Floor,
        bounds: &[Bound::Times(1.0, Server::UWebSockets), Bound::Times(1.10, Server::Floor)],
    },
    Row {
        name: "fanout-10k",
        title: "Fan-out 1 → 10,000 lines, 128 B, saturated: 32 messages on their way",
        operation: "delivery",
        load: &["fanout", "--subscribers", "10000", "--size", "128", "--mode", "saturated", "--window", "32"],
        measure: Measure::Cpu,
        entrants: Entrants::Everyone,
        floor: Server::Floor,
        bounds: &[Bound::Times(1.0, Server::UWebSockets), Bound::Times(1.10, Server::Floor)],
    },
    Row {
        name: "fanout-1k-deep",
        title: "Fan-out 1 → 1,000 lines, 128 B, a burst: up to 1,024 messages on their way",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "saturated", "--window", "1024"],
        measure: Measure::Cpu,
        entrants: Entrants::Everyone,
        floor: Server::Floor,
        bounds: &[],
    },
    Row {
        name: "fanout-single",
        title: "Fan-out 1 → 1,000 lines, 128 B, one message at a time",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "single"],
        measure: Measure::Cpu,
        entrants: Entrants::Everyone,
        floor: Server::PlainFloor,
        bounds: &[Bound::Times(1.15, Server::PlainFloor), Bound::Below(Server::UWebSockets)],
    },
    Row {
        name: "fanout-paced",
        title: "Fan-out 1 → 1,000 lines, 128 B, 20 messages a second",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "paced", "--rate", "20"],
        measure: Measure::Cpu,
        entrants: Entrants::Everyone,
        floor: Server::PlainFloor,
        bounds: &[Bound::Times(1.15, Server::PlainFloor), Bound::Below(Server::UWebSockets)],
    },
    Row {
        name: "rooms",
        title: "5,000 lines in 500 channels, 128 B, chat-like: one message on its way per channel",
        operation: "delivery",
        load: &["rooms", "--lines", "5000", "--rooms", "500", "--size", "128"],
        measure: Measure::Cpu,
        entrants: Entrants::Everyone,
        floor: Server::Floor,
        bounds: &[Bound::Times(1.10, Server::Floor)],
    },
    Row {
        name: "idle",
        title: "Idle lines of a broadcast channel: growth of private memory from 1,000 to 18,000",
        operation: "line",
        load: &["idle", "--from", "1000", "--to", "18000", "--path", "/sub/idle"],
        measure: Measure::Memory,
        entrants: Entrants::Everyone,
        floor: Server::Floor,
        bounds: &[Bound::Absolute(450.0), Bound::BelowEveryPeer],
    },
    Row {
        name: "idle-handler",
        title: "Idle lines held by an async handler of the library's user, a task for each, 1,000 to 18,000",
        operation: "line",
        load: &["idle", "--from", "1000", "--to", "18000", "--path", "/echo-async"],
        measure: Measure::Memory,
        entrants: Entrants::LongwireOnly,
        floor: Server::Floor,
        bounds: &[Bound::Absolute(1024.0)],
    },
    Row {
        name: "alive-18k",
        title: "18,000 lines answering pings while 1,000 of them are fanned out to",
        operation: "delivery",
        load: &["alive", "--lines", "18000", "--subscribers", "1000", "--size", "128", "--rate", "20", "--seconds", "60"],
        measure: Measure::Survival,
        entrants: Entrants::LongwireOnly,
        floor: Server::Floor,
        bounds: &[Bound::AllAlive(18_000)],
    },
];
