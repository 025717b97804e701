//! The rows of the comparison: the load of each, who takes part, and what Longwire must reach.

use crate::load::DATA_FOLDER;
use crate::servers::Server;

/// Seconds that the load generator waits for an answer at most: the slowest peers need a while for 10,000 deliveries.
const LOAD_TIMEOUT: &str = "120";

/// The native protocol's fan-out, which others are held against.
const CHANNEL_1K: &[&str] = &["channel", "--subscribers", "1000", "--size", "128", "--mode", "saturated", "--window", "32"];

/// One kind of load.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What one operation is, for "CPU per ...".
    pub(crate) operation: &'static str,
    /// The load generator's mode and options.
    pub(crate) load: &'static [&'static str],
    /// The same in the native protocol, for servers that speak that; empty where none takes part.
    pub(crate) native: &'static [&'static str],
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
    /// Microseconds from publishing to delivery.
    Latency,
    /// Seconds until clients that were cut have caught up.
    Storm,
    /// Publications acknowledged per second.
    Rate,
}

impl Measure {
    /// The unit of a row's values, and of how many of them there are.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::Survival | Self::Latency => "µs",
            Self::Memory => "bytes",
            Self::Storm => "seconds",
            Self::Rate => "per second",
        }
    }
}

/// Who takes part in a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrants {
    /// Who offers echo; the two floors are one there.
    Echo,
    /// Who broadcasts plain messages.
    Everyone,
    Only(&'static [Server]),
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
    /// Every message has come, once and in order.
    NothingLost,
    /// At least this many lines, all of them pinged, none of them lost, and no message lost or repeated.
    AllAlive(u64),
    /// From publishing to delivery at most this many times an echo's round trip, in the median.
    TimesEcho(f64),
    /// All clients have caught up with exactly what they missed.
    AllCaughtUp,
    /// The server's memory grows by no more than this many bytes for each client that comes back.
    StormMemory(u64),
    /// Somebody else's publications are acknowledged in the storm within this many times what they take before it.
    StormDelay(f64),
    /// At least this many acknowledgements per second, or as many as the disk can make durable.
    RateOrDisk(f64),
}

impl Row {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    pub(crate) fn admits(&self, server: Server) -> bool {
        match self.entrants {
            Entrants::Echo => server.offers_echo() && server != Server::PlainFloor,
            Entrants::Everyone => server.broadcasts(),
            Entrants::Only(servers) => servers.contains(&server),
        }
    }

    /// Which of our own servers the bounds are about: the last that takes part.
    pub(crate) fn subject(&self) -> Server {
        let is_ours = |server: &Server| server.is_longwire() && self.admits(*server);
        Server::ALL.into_iter().rfind(is_ours).unwrap_or(Server::Longwire)
    }

    /// The peer that has a column of ratios: uWebSockets where it takes part, else the first that does.
    pub(crate) fn rival(&self) -> Server {
        let mut peers = [Server::UWebSockets].into_iter().chain(Server::ALL).filter(|server| server.is_peer());
        peers.find(|server| self.admits(*server)).unwrap_or(Server::UWebSockets)
    }

    /// Measured once, since one measurement takes long and does not depend on the machine's pace.
    pub(crate) fn once(&self) -> bool {
        matches!(self.measure, Measure::Memory | Measure::Survival)
    }

    /// Whether other programs at work make its values worthless. Memory and survival do not depend on the machine's pace.
    pub(crate) fn is_disturbed_by_others(&self) -> bool {
        !matches!(self.measure, Measure::Memory | Measure::Survival)
    }

    /// The load generator's mode and options for a server.
    pub(crate) fn load(&self, server: Server) -> &'static [&'static str] {
        if server.is_native() { self.native } else { self.load }
    }

    /// The same, with what goes for all. A quick run is shorter.
    pub(crate) fn arguments(&self, server: Server, quick: bool) -> Vec<String> {
        let mut arguments: Vec<String> = self.load(server).iter().map(|&argument| argument.to_owned()).collect();
        arguments.extend(["--timeout", LOAD_TIMEOUT].map(str::to_owned));
        let seconds = match self.measure {
            Measure::Cpu | Measure::Rate => {
                if quick {
                    "2"
                } else {
                    "3"
                }
            }
            // So many that one in a hundred is more than a handful.
            Measure::Latency => {
                if quick {
                    "3"
                } else {
                    "10"
                }
            }
            Measure::Memory | Measure::Survival | Measure::Storm => return arguments,
        };
        arguments.extend(["--seconds", seconds].map(str::to_owned));
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
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
        native: &[],
        measure: Measure::Memory,
        entrants: Entrants::Only(&[Server::Longwire]),
        floor: Server::Floor,
        bounds: &[Bound::Absolute(1024.0)],
    },
    Row {
        name: "alive-18k",
        title: "18,000 lines answering pings while 1,000 of them are fanned out to",
        operation: "delivery",
        load: &["alive", "--lines", "18000", "--subscribers", "1000", "--size", "128", "--rate", "20", "--seconds", "60"],
        native: &[],
        measure: Measure::Survival,
        entrants: Entrants::Only(&[Server::Longwire]),
        floor: Server::Floor,
        bounds: &[Bound::AllAlive(18_000)],
    },
    Row {
        name: "channel-1k",
        title: "Fan-out 1 → 1,000 sessions through a channel with history and resume, JSON, beside plain broadcast: 128 B of data, saturated, 32 messages on their way",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "saturated", "--window", "32"],
        native: CHANNEL_1K,
        measure: Measure::Cpu,
        entrants: Entrants::Only(&[Server::Longwire, Server::Channels]),
        floor: Server::Longwire,
        bounds: &[Bound::Times(1.25, Server::Longwire)],
    },
    Row {
        name: "channel-1k-binary",
        title: "The same in the binary form",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "saturated", "--window", "32"],
        native: &[
            "channel",
            "--form",
            "binary",
            "--subscribers",
            "1000",
            "--size",
            "128",
            "--mode",
            "saturated",
            "--window",
            "32",
        ],
        measure: Measure::Cpu,
        entrants: Entrants::Only(&[Server::Longwire, Server::Channels]),
        floor: Server::Longwire,
        bounds: &[Bound::Times(1.25, Server::Longwire)],
    },
    Row {
        name: "channel-single",
        title: "Fan-out 1 → 1,000 sessions through a channel, JSON, beside plain broadcast: 128 B of data, one message at a time",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "single"],
        native: &["channel", "--subscribers", "1000", "--size", "128", "--mode", "single"],
        measure: Measure::Cpu,
        entrants: Entrants::Only(&[Server::Longwire, Server::Channels]),
        floor: Server::Longwire,
        bounds: &[Bound::Times(1.25, Server::Longwire)],
    },
    Row {
        name: "channel-paced",
        title: "Fan-out 1 → 1,000 sessions through a channel, JSON, beside plain broadcast: 128 B of data, 20 messages a second",
        operation: "delivery",
        load: &["fanout", "--subscribers", "1000", "--size", "128", "--mode", "paced", "--rate", "20"],
        native: &["channel", "--subscribers", "1000", "--size", "128", "--mode", "paced", "--rate", "20"],
        measure: Measure::Cpu,
        entrants: Entrants::Only(&[Server::Longwire, Server::Channels]),
        floor: Server::Longwire,
        bounds: &[Bound::Times(1.25, Server::Longwire)],
    },
    Row {
        name: "latency",
        title: "From publishing to delivery on an idle server, 128 B, 100 times a second, and as many echoes in between",
        operation: "delivery",
        load: &[],
        native: &["latency", "--size", "128", "--rate", "100"],
        measure: Measure::Latency,
        entrants: Entrants::Only(&[Server::Channels]),
        floor: Server::Channels,
        bounds: &[Bound::TimesEcho(1.5)],
    },
    Row {
        name: "idle-session",
        title: "Idle lines with a session and a subscription to a channel with a history: growth of private memory from 1,000 to 18,000",
        operation: "line",
        load: &[],
        native: &["idle", "--native", "--from", "1000", "--to", "18000"],
        measure: Measure::Memory,
        entrants: Entrants::Only(&[Server::Channels]),
        floor: Server::Channels,
        bounds: &[Bound::Absolute(1024.0)],
    },
    Row {
        name: "storm",
        title: "10,000 clients are cut at once, miss 100 messages of 128 B, come back as fast as they are let in and resume; somebody else goes on publishing",
        operation: "delivery",
        load: &[],
        native: &[
            "storm",
            "--clients",
            "10000",
            "--messages",
            "100",
            "--size",
            "128",
            "--rate",
            "1000",
            "--before",
            "10",
            "--connect-rate",
            "1000000",
            "--connect-window",
            "256",
        ],
        measure: Measure::Storm,
        entrants: Entrants::Only(&[Server::Channels]),
        floor: Server::Channels,
        bounds: &[Bound::AllCaughtUp, Bound::StormMemory(4096), Bound::StormDelay(2.0)],
    },
    Row {
        name: "durable",
        title: "Publications of 128 B acknowledged when they are on disk: 16 lines, up to 256 on their way on each",
        operation: "publication",
        load: &[],
        native: &[
            "publish",
            "--publishers",
            "16",
            "--window",
            "256",
            "--size",
            "128",
            "--channel",
            "bench-{}",
            "--disk",
            DATA_FOLDER,
        ],
        measure: Measure::Rate,
        entrants: Entrants::Only(&[Server::Durable]),
        floor: Server::Durable,
        bounds: &[Bound::RateOrDisk(50_000.0)],
    },
    Row {
        name: "socketio-fanout",
        title: "Socket.IO over WebSocket, fan-out 1 → 1,000 lines in a room, 128 B, saturated: 32 messages on their way",
        operation: "delivery",
        load: &[
            "fanout",
            "--transport",
            "socketio",
            "--subscribers",
            "1000",
            "--size",
            "128",
            "--mode",
            "saturated",
            "--window",
            "32",
        ],
        native: CHANNEL_1K,
        measure: Measure::Cpu,
        entrants: Entrants::Only(&[
            Server::Channels,
            Server::SocketIo,
            Server::SocketIoNode,
            Server::Socketioxide,
            Server::SocketioxideWorkers,
        ]),
        floor: Server::Channels,
        bounds: &[Bound::Times(1.1, Server::Channels), Bound::BelowEveryPeer, Bound::NothingLost],
    },
    Row {
        name: "socketio-idle",
        title: "Idle Socket.IO lines over WebSocket, each in one room: growth of private memory from 1,000 to 18,000",
        operation: "line",
        load: &["idle", "--transport", "socketio", "--from", "1000", "--to", "18000"],
        native: &[],
        measure: Measure::Memory,
        entrants: Entrants::Only(&[Server::SocketIo, Server::SocketIoNode, Server::Socketioxide, Server::SocketioxideWorkers]),
        floor: Server::SocketIo,
        bounds: &[Bound::Absolute(1536.0), Bound::BelowEveryPeer],
    },
    Row {
        name: "sse-fanout",
        title: "Server-Sent Events, fan-out 1 → 1,000 streams of one channel, 128 B, saturated: 32 messages on their way",
        operation: "delivery",
        load: &[
            "fanout",
            "--transport",
            "sse",
            "--sub-path",
            "/events/bench-{}",
            "--subscribers",
            "1000",
            "--size",
            "128",
            "--mode",
            "saturated",
            "--window",
            "32",
        ],
        native: &[
            "channel",
            "--transport",
            "sse",
            "--subscribers",
            "1000",
            "--size",
            "128",
            "--mode",
            "saturated",
            "--window",
            "32",
        ],
        measure: Measure::Cpu,
        entrants: Entrants::Only(&[Server::Channels, Server::Nchan]),
        floor: Server::Channels,
        bounds: &[Bound::BelowEveryPeer, Bound::NothingLost],
    },
    Row {
        name: "sse-idle",
        title: "Idle event streams of one channel: growth of private memory from 1,000 to 18,000",
        operation: "line",
        load: &["idle", "--transport", "sse", "--path", "/events/idle", "--from", "1000", "--to", "18000"],
        native: &["idle", "--transport", "sse", "--path", "/v1/events?channel=idle", "--from", "1000", "--to", "18000"],
        measure: Measure::Memory,
        entrants: Entrants::Only(&[Server::Channels, Server::Nchan]),
        floor: Server::Channels,
        bounds: &[Bound::Absolute(3072.0), Bound::BelowEveryPeer],
    },
];
