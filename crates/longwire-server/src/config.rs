//! What a node may be told.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longwire_core::Namespaces;
use longwire_core::broker::memory::Limits as ChannelLimits;
use longwire_core::engine::{Anonymous, Authenticator, SessionOptions};
use longwire_store::Options as StoreOptions;
use longwire_ws::Limits;
use longwire_ws::handshake::deflate::DeflateConfig;

use crate::memory::default_budget;
use crate::node::MAX_SHARDS;

/// The settings of a node. Every limit bounds what one client, or all of them, can make the server hold or wait for.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shards: threads that each own their share of the lines, 1 to 64. Default: one a core.
    pub shards: usize,
    /// Frames and messages from clients. Default: 1 MiB a message in 1,024 fragments.
    pub limits: Limits,
    /// Compression, if it is to be offered. Default: none, since it costs more CPU than small messages save.
    pub deflate: Option<DeflateConfig>,
    /// Subprotocols to choose from.
    pub subprotocols: Vec<String>,
    /// A line from which nothing came for so long is pinged. Default: 25 s.
    pub ping_interval: Duration,
    /// And closed with 3000 if nothing comes for so long after the ping. Default: 20 s.
    pub ping_timeout: Duration,
    /// A line without a message from the client for so long is closed with 3001. Default: never.
    pub idle_timeout: Option<Duration>,
    /// A line that takes no byte for so long while some wait is dropped. Default: 20 s.
    pub write_timeout: Duration,
    /// How long to wait for the client's part of the closing handshake. Default: 5 s.
    pub close_timeout: Duration,
    /// How long a client may take over the head of an HTTP request, and over its body. Default: 10 s.
    pub handshake_timeout: Duration,
    /// For how long an HTTP connection may be without a request. Longer than proxies keep connections that they do not use, which is
    /// often a minute: a request that meets the end of its connection is lost. Default: 75 s.
    pub keep_alive_timeout: Duration,
    /// What may wait for one line, in bytes. A subscriber for whom more would wait, in a namespace that closes slow ones, may be behind by
    /// sixteen times as much for a moment (2 MiB at least), as long as it takes half of this bound in each two seconds, and all lines that are behind
    /// have no more than [`in_flight_bytes`](Self::in_flight_bytes); past that it is closed with 3002. Default: 1 MiB.
    pub outbox_bytes: usize,
    /// What may wait for a handler before its line is no longer read, in bytes. Default: 64 KiB.
    pub inbox_bytes: usize,
    /// Publications, and questions with their answers, on their way between shards, in bytes; past it publishing is refused, and from
    /// half of it on the shards read nothing until they have caught up. Default: 64 MiB.
    pub in_flight_bytes: usize,
    /// Connections in all, whatever they are doing; a line over HTTP/2 counts as two, since it takes two descriptors. Default: what the
    /// process may open, less what it needs itself, which bounds any number given here as well. Beyond it a few are still heard, for as
    /// long as it takes to say why not: the server's health, its API, and requests of lines that are there are answered. When four of
    /// five are taken an address that has more than its share of them is refused (429), and connections do not stay after an answer.
    pub max_connections: usize,
    /// Lines in all that have no connection of their own: those over HTTP requests, and polls. A quarter of them may be such of which it is
    /// not known yet whether anybody listens; those beyond it go, and all do after [`handshake_timeout`](Self::handshake_timeout).
    /// Default: as many as connections.
    pub max_polled_lines: usize,
    /// Connections from one address. Default: no limit, since behind a proxy all clients have the proxy's.
    pub max_connections_per_address: Option<usize>,
    /// Proxies on other machines that connect for many: they have no share of their own, and what they say last in `X-Forwarded-For`
    /// is believed, as it is of this machine. Default: none.
    pub trusted_proxies: Vec<IpAddr>,
    /// What channels can do, by namespace. Default: one for all, without any history.
    pub namespaces: Arc<Namespaces>,
    /// Where channels are kept on disk. Default: nowhere, they live as long as the node.
    pub data: Option<DataDir>,
    /// How many channels there may be, and for how long a numbering is kept.
    pub channels: ChannelLimits,
    /// What may be kept in memory because of clients, in bytes, about: channels, their histories, values of keys, idempotency keys, and
    /// who is there. At the bound, what would make more be kept is refused with [`ErrorCode::MemoryFull`](crate::ErrorCode::MemoryFull); what
    /// is kept stays. A session may have as much kept as a quarter of what is free. Default: half of the memory of the machine or
    /// the container, at least 256 MiB.
    pub memory: usize,
    /// Sessions of clients that speak the native protocol.
    pub sessions: SessionOptions,
    /// Knows what their tokens are good for. Default: anyone is let in, as nobody in particular.
    pub authenticator: Arc<dyn Authenticator>,
    /// Origins whose pages may connect, as `https://example.com`; `*` for all. Pages of this machine always may while the
    /// server listens on loopback. One that no page can have, as `example.com`, is an error at the start.
    pub allowed_origins: Vec<String>,
    /// Names under which the server is asked, as `chat.example.com`, beside those of this machine and of the allowed origins; `*` for
    /// any. While it listens on loopback only, a request for another name is answered 403: it could be that of a page whose name
    /// resolves to this machine.
    pub allowed_hosts: Vec<String>,
    /// Over how long the lines are closed at a shutdown, so that their clients do not come back all at once. Default: 5 s.
    pub drain: Duration,
}

/// Where and how channels are kept on disk.
#[derive(Clone, Debug)]
pub struct DataDir {
    /// The directory, of this node alone.
    pub dir: PathBuf,
    /// How.
    pub options: StoreOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from).min(MAX_SHARDS),
            limits: Limits::default(),
            deflate: None,
            subprotocols: Vec::new(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            idle_timeout: None,
            write_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            outbox_bytes: 1 << 20,
            inbox_bytes: 64 << 10,
            in_flight_bytes: 64 << 20,
            max_connections: default_max_connections(),
            max_polled_lines: default_max_connections(),
            trusted_proxies: Vec::new(),
            max_connections_per_address: None,
            namespaces: Arc::default(),
            data: None,
            channels: ChannelLimits::default(),
            memory: default_budget(),
            sessions: SessionOptions::default(),
            authenticator: Arc::new(Anonymous),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            drain: Duration::from_secs(5),
        }
    }
}

/// The least and the most descriptors that are left for what comes and goes: connections on trial or being refused, files that are
/// served, the store's.
const SPARE_DESCRIPTORS: (usize, usize) = (16, 192);

/// What the process may open.
fn descriptor_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    usize::try_from(limit.maximum.or(limit.current).unwrap_or(1 << 20)).unwrap_or(usize::MAX)
}

fn default_max_connections() -> usize {
    descriptors_for_clients(0)
}

/// Descriptors that are left for clients beside so many that the process has open itself.
fn descriptors_for_clients(open: usize) -> usize {
    let limit = descriptor_limit();
    let (least, most) = SPARE_DESCRIPTORS;
    limit.saturating_sub(open + (limit / 8).clamp(least, most)).max(1)
}

/// As many as are left for clients now that the process has open what it needs.
pub(crate) fn descriptors_left() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count);
    descriptors_for_clients(open)
}
