//! The command line. Every option is defined here once; the modes share [`Common`].

mod native;
mod transports;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::Error;
use crate::message::HEADER;

pub use native::{ChannelArgs, FormName, LatencyArgs, NativeArgs, PublishArgs, StormArgs};
pub use transports::{Reception, TransportsArgs};

/// The largest message the load generator sends, in bytes. It bounds its own memory too.
const SIZE_MAX: u32 = 64 << 20;

/// Arguments of `longwire bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub mode: Mode,
}

/// What to measure.
#[derive(Debug, Clone, Subcommand)]
pub enum Mode {
    /// Round trips: every line sends messages and waits for them to come back
    Echo(EchoArgs),
    /// One publishing line, many subscribers of one channel
    Fanout(FanoutArgs),
    /// Many small channels, published to in turn, as in a chat
    Rooms(RoomsArgs),
    /// Memory of the server per line that does nothing
    Idle(IdleArgs),
    /// Hold many lines and answer pings while some of them are published to; count what is lost
    Alive(AliveArgs),
    /// As fanout, through a channel of the native protocol
    Channel(ChannelArgs),
    /// From publishing to delivery on an idle server, beside an echo
    Latency(LatencyArgs),
    /// Many clients of a channel are cut at once, and come back for what they missed
    Storm(StormArgs),
    /// Publications acknowledged per second
    Publish(PublishArgs),
    /// One stream received over polling, long polling, SSE, WebSocket and Socket.IO: what each of them takes
    Transports(TransportsArgs),
}

/// Options of every mode.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The server: HOST:PORT or ws://HOST:PORT
    #[arg(value_name = "SERVER", default_value = "127.0.0.1:8000")]
    pub server: String,
    /// Process whose CPU time and memory are measured (repeatable; name child processes too)
    #[arg(long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// Write the result as JSON; "-" writes it to stdout in place of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a plot
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// New lines per second at most
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connect_rate: u32,
    /// Handshakes under way at a time at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connect_window: u32,
    /// Bound of every wait, in seconds: a handshake, an answer, the last deliveries
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Extra request header of the handshake, "Name: value" (repeatable)
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Subprotocol to offer, the preferred one first (repeatable)
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,
}

/// How long to load the server.
#[derive(Debug, Clone, Args)]
pub struct Interval {
    /// Measured interval, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// Load before the measured interval, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_none)]
    pub warmup: Duration,
}

/// Options of `echo`.
#[derive(Debug, Clone, Args)]
pub struct EchoArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    /// Lines to open
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub lines: u32,
    /// Payload of a message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=i64::from(SIZE_MAX)))]
    pub size: u32,
    /// Messages under way per line
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub depth: u32,
    /// Path that returns every message
    #[arg(long, default_value = "/echo", value_parser = path)]
    pub path: String,
    /// Send text messages (the default)
    #[arg(long, conflicts_with = "binary")]
    pub text: bool,
    /// Send binary messages
    #[arg(long)]
    pub binary: bool,
}

/// How the publisher of `fanout` chooses its moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// As fast as the slowest subscriber reads, up to --window messages ahead of it
    Saturated,
    /// The next message when all subscribers have the last one
    Single,
    /// --rate messages a second, whatever the server does
    Paced,
}

/// Over what lines listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Plain WebSocket messages
    #[value(name = "websocket")]
    WebSocket,
    /// Socket.IO over WebSocket
    #[value(name = "socketio")]
    SocketIo,
    /// Server-Sent Events
    Sse,
}

impl Transport {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::SocketIo => "socketio",
            Transport::Sse => "sse",
        }
    }
}

/// Where to subscribe and publish, and over what.
#[derive(Debug, Clone, Args)]
pub struct Paths {
    /// Over what the subscribers listen. With socketio they emit `join`(room), the publishing line emits `pub`(room, text), and `m`(text) comes; with sse the publishing line is a WebSocket
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Transport::WebSocket)]
    pub transport: Transport,
    /// Path that subscribes a line; {} stands for the number of the channel [default: /sub/bench-{}, with --transport socketio /socket.io/]
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub sub_path: Option<String>,
    /// Path whose text messages go to all subscribers; {} as above [default: /pub/bench-{}, with --transport socketio /socket.io/]
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub pub_path: Option<String>,
    /// Room of --transport socketio; {} as above
    #[arg(long, value_name = "NAME", default_value = "bench-{}")]
    pub room: String,
}

/// Options of `fanout`.
#[derive(Debug, Clone, Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub paths: Paths,
    /// Lines that listen
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers: u32,
    /// Payload of a message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=i64::from(SIZE_MAX)))]
    pub size: u32,
    /// When to publish
    #[arg(long, value_enum, default_value_t = Pace::Saturated)]
    pub mode: Pace,
    /// Messages per second of --mode paced
    #[arg(long, value_name = "N", default_value = "20", value_parser = rate)]
    pub rate: f64,
    /// Messages ahead of the slowest subscriber at most [default: 16; fewer when a line's would be over 192 KiB, or all over 256 MiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub window: Option<u32>,
}

/// Options of `rooms`.
#[derive(Debug, Clone, Args)]
pub struct RoomsArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub interval: Interval,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub paths: Paths,
    /// Lines that listen, dealt over the channels in turn
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub lines: u32,
    /// Channels; each has one publishing line more
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rooms: u32,
    /// Payload of a message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=i64::from(SIZE_MAX)))]
    pub size: u32,
    /// Messages of one channel under way at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub outstanding: u32,
}

/// Options of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Lines at the first reading
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub from: u32,
    /// Lines at the second reading
    #[arg(long, value_name = "N", default_value_t = 18_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub to: u32,
    /// What the lines are
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Transport::WebSocket)]
    pub transport: Transport,
    /// Path of the lines [default: /sub/idle, with --native /v1/ws, with --transport socketio /socket.io/]
    #[arg(long, value_parser = path)]
    pub path: Option<String>,
    /// Room that each line of --transport socketio joins; none if it is empty
    #[arg(long, value_name = "NAME", default_value = "idle")]
    pub room: String,
    /// Each line has a session and a subscription of the native protocol
    #[arg(long, conflicts_with = "transport")]
    pub native: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub of_native: NativeArgs,
    /// Quiet time before each reading, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds_or_none)]
    pub settle: Duration,
}

/// Options of `alive`.
#[derive(Debug, Clone, Args)]
pub struct AliveArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub paths: Paths,
    /// Measured interval, in seconds: longer than the server's ping interval and time-out together
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub seconds: Duration,
    /// Load before the measured interval, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_none)]
    pub warmup: Duration,
    /// Lines in all, the subscribers included
    #[arg(long, value_name = "N", default_value_t = 18_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub lines: u32,
    /// Lines that listen to the channel that is published to
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers: u32,
    /// Payload of a message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(HEADER as i64..=i64::from(SIZE_MAX)))]
    pub size: u32,
    /// Messages per second
    #[arg(long, value_name = "N", default_value = "20", value_parser = rate)]
    pub rate: f64,
    /// Path of the other lines [default: /sub/idle, with --transport socketio /socket.io/, where they join the room "idle"]
    #[arg(long, value_parser = path)]
    pub path: Option<String>,
}

impl Mode {
    /// The options that every mode has.
    pub fn common(&self) -> &Common {
        match self {
            Mode::Echo(args) => &args.common,
            Mode::Fanout(args) => &args.common,
            Mode::Rooms(args) => &args.common,
            Mode::Idle(args) => &args.common,
            Mode::Alive(args) => &args.common,
            Mode::Channel(args) => &args.common,
            Mode::Latency(args) => &args.common,
            Mode::Storm(args) => &args.common,
            Mode::Publish(args) => &args.common,
            Mode::Transports(args) => &args.common,
        }
    }

    /// The mode's name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Echo(_) => "echo",
            Mode::Fanout(_) => "fanout",
            Mode::Rooms(_) => "rooms",
            Mode::Idle(_) => "idle",
            Mode::Alive(_) => "alive",
            Mode::Channel(_) => "channel",
            Mode::Latency(_) => "latency",
            Mode::Storm(_) => "storm",
            Mode::Publish(_) => "publish",
            Mode::Transports(_) => "transports",
        }
    }
}

impl Common {
    /// `HOST:PORT` as given, without scheme and path: what the `Host` header says.
    pub fn authority(&self) -> Result<&str, Error> {
        let text = self.server.as_str();
        if text.starts_with("wss://") || text.starts_with("https://") {
            return Err(Error::Usage(format!(
                "{text}: the load generator speaks plain ws:// only; point it at the server behind the TLS proxy"
            )));
        }
        let text = text.strip_prefix("ws://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        match text.split_once('/') {
            None | Some((_, "")) => Ok(text.trim_end_matches('/')),
            Some(_) => {
                Err(Error::Usage(format!("{text}: give the server as HOST:PORT, and the path with --path or --sub-path")))
            }
        }
    }

    /// Resolves the server's address; IPv4 goes first where a name has both.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        let authority = self.authority()?;
        let mut found: Vec<SocketAddr> = authority
            .to_socket_addrs()
            .map_err(|e| Error::Usage(format!("{authority}: {e}; give the server as HOST:PORT, such as 127.0.0.1:8000")))?
            .collect();
        found.sort_by_key(|address| !address.is_ipv4());
        found.first().copied().ok_or_else(|| Error::Usage(format!("{authority} has no address")))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match seconds_or_none(text)? {
        Duration::ZERO => Err("must be more than 0 seconds".into()),
        duration => Ok(duration),
    }
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number of seconds, such as 5 or 0.5".to_string())?;
    if !(0.0..=86_400.0).contains(&value) {
        return Err("must be between 0 and 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(value))
}

fn rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number of messages per second".to_string())?;
    if !(0.01..=1_000_000.0).contains(&value) {
        return Err("must be between 0.01 and 1000000 messages per second".into());
    }
    Ok(value)
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with /".into());
    }
    if text.bytes().any(|byte| byte <= b' ' || byte >= 127) {
        return Err("must be plain ASCII without spaces; percent-encode the rest".into());
    }
    Ok(text.to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must have the form \"Name: value\"")?;
    let (name, value) = (name.trim(), value.trim());
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("the name must be a header name, such as Authorization".into());
    }
    if value.bytes().any(|byte| byte < b' ' || byte == 127) {
        return Err("the value must have no control characters".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> Result<Mode, clap::Error> {
        Cli::try_parse_from(std::iter::once("bench").chain(line.split(' '))).map(|cli| cli.bench.mode)
    }

    #[test]
    fn definitions_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn echo_has_the_documented_defaults() {
        let Mode::Echo(args) = parse("echo").unwrap() else { panic!("not echo") };
        assert_eq!((args.lines, args.size, args.depth, args.path.as_str()), (100, 128, 1, "/echo"));
        assert_eq!(args.common.server, "127.0.0.1:8000");
        assert!(!args.binary);
        assert_eq!(args.interval.seconds, Duration::from_secs(5));
    }

    #[test]
    fn options_follow_the_mode_and_repeat() {
        let mode = parse("fanout ws://127.0.0.1:9001/ --pid 7 --pid 8 --mode paced --rate 0.5 --seconds 0.25").unwrap();
        assert_eq!(mode.common().pids, [7, 8]);
        assert_eq!(mode.common().address().unwrap(), "127.0.0.1:9001".parse().unwrap());
        let Mode::Fanout(args) = mode else { panic!("not fanout") };
        assert_eq!((args.mode, args.rate), (Pace::Paced, 0.5));
        assert_eq!(args.interval.seconds, Duration::from_millis(250));
    }

    #[test]
    fn bad_values_are_refused() {
        for line in [
            "echo --size 15",
            "echo --depth 0",
            "echo --path echo",
            "echo --seconds 0",
            "echo --text --binary",
            "fanout --mode sometimes",
            "fanout --rate -1",
            "rooms --rooms 0",
            "idle --to 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(header("no colon").is_err());
        assert!(header("two words: x").is_err());
        assert!(header("X: a\r\nb").is_err());
        assert_eq!(header("Authorization:Bearer x").unwrap(), ("Authorization".into(), "Bearer x".into()));
    }

    #[test]
    fn a_server_with_path_or_tls_is_refused_with_a_reason() {
        let common = |server: &str| parse(&format!("echo {server}")).unwrap().common().clone();
        assert!(common("wss://127.0.0.1:1").address().is_err());
        assert!(common("127.0.0.1:1/echo").address().unwrap_err().to_string().contains("--path"));
        assert!(common("127.0.0.1").address().is_err());
        assert_eq!(common("[::1]:5").address().unwrap(), "[::1]:5".parse().unwrap());
    }
}
