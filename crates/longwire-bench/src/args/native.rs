//! Options of the modes that speak the native protocol.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use longwire_protocol::{CHANNEL_MAX, Form};

use super::{Common, HEADER, Interval, Pace, Transport, path, rate, seconds, seconds_or_none};

/// The most bytes of data that a channel's publication may have here: a channel takes 64 KiB unless it is told otherwise.
pub(super) const DATA_MAX: i64 = 1 << 20;

/// How the native protocol is spoken.
#[derive(Debug, Clone, Args)]
pub struct NativeArgs {
    /// Form of the protocol's messages
    #[arg(long, value_enum, default_value_t = FormName::Json)]
    pub form: FormName,
    /// Channel to use, with its namespace; nobody else may publish to it meanwhile
    #[arg(long, value_name = "NAME", default_value = "bench", value_parser = channel)]
    pub channel: String,
}

/// The protocol's forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormName {
    /// JSON, in text messages
    Json,
    /// Protocol Buffers, in binary messages
    Binary,
}

impl FormName {
    /// The form itself.
    pub fn form(self) -> Form {
        match self {
            FormName::Json => Form::Json,
            FormName::Binary => Form::Binary,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FormName::Json => "json",
            FormName::Binary => "binary",
        }
    }
}

/// Options of `channel`.
#[derive(Debug, Clone, Args)]
pub struct ChannelArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub native: NativeArgs,
    /// Path of the native protocol
    #[arg(long, default_value = "/v1/ws", value_parser = path)]
    pub path: String,
    /// Over what the subscribers listen: websocket are sessions, sse are event streams, whose form is JSON
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Transport::WebSocket)]
    pub transport: Transport,
    /// Path of the event streams
    #[arg(long, value_name = "PATH", default_value = "/v1/events", value_parser = path)]
    pub events_path: String,
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers: u32,
    /// Data of a publication, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=DATA_MAX))]
    pub size: u32,
    /// When to publish
    #[arg(long, value_enum, default_value_t = Pace::Saturated)]
    pub mode: Pace,
    /// Publications per second of --mode paced
    #[arg(long, value_name = "N", default_value = "20", value_parser = rate)]
    pub rate: f64,
    /// Publications ahead of the slowest subscriber at most [default: 16; fewer when a line's would be over 192 KiB, or all over 256 MiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub window: Option<u32>,
}

/// Options of `latency`.
#[derive(Debug, Clone, Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub native: NativeArgs,
    /// Path of the native protocol
    #[arg(long, default_value = "/v1/ws", value_parser = path)]
    pub path: String,
    /// Path that returns every message
    #[arg(long, default_value = "/echo", value_parser = path)]
    pub echo_path: String,
    /// Data of a publication, and payload of an echo, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=DATA_MAX))]
    pub size: u32,
    /// Publications per second, and as many echoes between them
    #[arg(long, value_name = "N", default_value = "100", value_parser = rate)]
    pub rate: f64,
}

/// Options of `storm`.
#[derive(Debug, Clone, Args)]
pub struct StormArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub native: NativeArgs,
    /// Path of the native protocol
    #[arg(long, default_value = "/v1/ws", value_parser = path)]
    pub path: String,
    /// Clients that are cut and come back
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: u32,
    /// Publications that each of them misses
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub messages: u32,
    /// Data of a publication, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=DATA_MAX))]
    pub size: u32,
    /// Publications per second of somebody else, to another channel, before and during the storm
    #[arg(long, value_name = "N", default_value = "200", value_parser = rate)]
    pub rate: f64,
    /// How long before the storm that is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub before: Duration,
}

/// Options of `publish`.
#[derive(Debug, Clone, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub native: NativeArgs,
    /// Path of the native protocol
    #[arg(long, default_value = "/v1/ws", value_parser = path)]
    pub path: String,
    /// Lines that publish; {} in --channel stands for the number of the line
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Publications of one line that wait for their acknowledgement at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub window: u32,
    /// Data of a publication, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=DATA_MAX))]
    pub size: u32,
    /// Before that, append to a file in this folder and sync it, to see what the disk can do
    #[arg(long, value_name = "FOLDER")]
    pub disk: Option<PathBuf>,
    /// For how long, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds_or_none)]
    pub disk_seconds: Duration,
}

pub(super) fn channel(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > CHANNEL_MAX || text.chars().any(char::is_control) {
        return Err(format!("must have 1 to {CHANNEL_MAX} bytes without control characters"));
    }
    Ok(text.to_owned())
}
