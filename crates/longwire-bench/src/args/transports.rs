//! Options of `transports`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::native::{DATA_MAX, channel};
use super::{Common, HEADER, Interval, path, rate, seconds, seconds_or_none};

/// How a stream of publications is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reception {
    /// A request each --poll-every seconds
    Polling,
    /// A request that waits until there is something
    LongPolling,
    /// Server-Sent Events
    Sse,
    /// The native protocol over WebSocket
    #[value(name = "websocket")]
    WebSocket,
    /// Socket.IO over WebSocket
    #[value(name = "socketio")]
    SocketIo,
}

impl Reception {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Reception; 5] =
        [Reception::Polling, Reception::LongPolling, Reception::Sse, Reception::WebSocket, Reception::SocketIo];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Reception::Polling => "polling",
            Reception::LongPolling => "long-polling",
            Reception::Sse => "sse",
            Reception::WebSocket => "websocket",
            Reception::SocketIo => "socketio",
        }
    }
}

/// Options of `transports`.
#[derive(Debug, Clone, Args)]
pub struct TransportsArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    /// What to measure, one after another [default: all]
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    pub transports: Vec<Reception>,
    /// Channel to use, with its namespace, which must keep a history; nobody else may publish to it meanwhile
    #[arg(long, value_name = "NAME", default_value = "bench", value_parser = channel)]
    pub channel: String,
    /// Publications per second
    #[arg(long, value_name = "N", default_value = "20", value_parser = rate)]
    pub rate: f64,
    /// Data of a publication, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=DATA_MAX))]
    pub size: u32,
    /// Clients that receive the stream, each on its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub listeners: u32,
    /// Seconds from one request of polling to the next
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub poll_every: Duration,
    /// Seconds that a request of long polling waits at most
    #[arg(long, value_name = "SECONDS", default_value = "25", value_parser = seconds_or_none)]
    pub wait: Duration,
    /// Path of the native protocol, which is also how is published
    #[arg(long, value_name = "PATH", default_value = "/v1/ws", value_parser = path)]
    pub path: String,
    /// Path of the event streams
    #[arg(long, value_name = "PATH", default_value = "/v1/events", value_parser = path)]
    pub events_path: String,
    /// Path of the polls
    #[arg(long, value_name = "PATH", default_value = "/v1/poll", value_parser = path)]
    pub poll_path: String,
    /// Path of Socket.IO
    #[arg(long, value_name = "PATH", default_value = "/socket.io/", value_parser = path)]
    pub socketio_path: String,
}
