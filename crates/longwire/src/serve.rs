//! `longwire serve`: the server with its embedded pages.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use longwire::socketio::SocketIo;
use longwire::{
    ApiKeys, Closed, DataDir, DeflateConfig, EngineOptions, Line, LineHandler, Node, Received, Running, Server, Signals,
    Socket, StoreOptions,
};

use crate::demo::Demo;
use crate::folder::Folder;
use crate::options::Options;
use crate::{namespaces, output, pages};

/// Runs the server until it is told to stop.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    output::start_log(&options.log)?;
    let addresses = resolve(options)?;
    let namespaces = namespaces::namespaces(&options.namespaces)?;
    let keys = options.api_keys.items().map_err(|why| format!("api_keys: {why}"))?;
    let keys = match keys {
        [] => ApiKeys::local(),
        keys => ApiKeys::new(keys.iter().map(String::as_str)).map_err(|error| format!("api_keys: {error}"))?,
    };
    let origins = options.allowed_origins.items().map_err(|why| format!("allowed_origins: {why}"))?.to_vec();
    let hosts = options.allowed_hosts.items().map_err(|why| format!("allowed_hosts: {why}"))?.to_vec();
    let proxies = proxies(options)?;
    let folder = options.r#static.0.as_ref().map(|folder| Folder::new(&folder.0)).transpose()?;
    let signals = Signals::catch().map_err(|error| error.to_string())?;
    let demo = Demo::default();
    let running = Server::builder()
        .websocket("/ws", hello)
        .line_handler("/echo", |_| Echo)
        .http(pages::router(folder).merge(demo.router()))
        .health("/healthz")
        .native("/v1/ws")
        .event_streams("/v1/events")
        .http_lines("/v1/http")
        .polls("/v1/poll")
        .socket_io("/socket.io/", SocketIo::channels().engine(|engine| keep_alive(engine, options)))
        .api("/api/v1", keys)
        .configure(|config| configure(config, options))
        .configure(|config| {
            config.namespaces = Arc::new(namespaces);
            (config.allowed_origins, config.allowed_hosts) = (origins, hosts);
            config.trusted_proxies = proxies;
        })
        .start(&addresses[..])
        .map_err(|error| error.to_string())?;
    demo.start(running.node());
    welcome(&running, options);
    running.run_until(signals).map_err(|error| error.to_string())
}

/// The article's example: greets, then answers each text.
async fn hello(mut socket: Socket) -> Result<(), Closed> {
    socket.send("✅ WebSocket 已连接").await?;
    while let Some(message) = socket.recv().await {
        if let Some(text) = message.as_text() {
            socket.send(format!("你发送了：{text}")).await?;
        }
    }
    Ok(())
}

/// Returns every message as it came: something for `longwire bench echo` to measure.
struct Echo;

impl LineHandler for Echo {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.send(message.kind(), message.as_bytes());
    }
}

fn configure(config: &mut longwire::Config, options: &Options) {
    if let Some(shards) = &options.shards.0 {
        config.shards = shards.0;
    }
    if let Some(max) = &options.max_connections.0 {
        if max.0 > config.max_connections {
            let (asked, possible) = (max.0, config.max_connections);
            tracing::warn!(
                asked,
                possible,
                "max_connections is more than this process may open: raise its limit of open files"
            );
        }
        config.max_connections = max.0;
    }
    if let Some(max) = &options.max_polled_lines.0 {
        config.max_polled_lines = max.0;
    }
    config.sessions.parked = options.max_parked_sessions.0.div_ceil(config.shards);
    config.max_connections_per_address = options.max_connections_per_address.0.map(|max| max.0);
    config.limits.max_frame_bytes = options.max_message_size.0;
    config.limits.max_message_bytes = options.max_message_size.0;
    config.limits.max_fragments = options.max_fragments.0;
    config.outbox_bytes = options.max_outbox_size.0;
    if let Some(memory) = &options.memory.0 {
        config.memory = memory.0;
    }
    config.deflate = options.compression.then(DeflateConfig::default);
    config.ping_interval = options.ping_interval.0;
    config.ping_timeout = options.ping_timeout.0;
    config.idle_timeout = options.idle_timeout.0.map(|time| time.0);
    config.write_timeout = options.write_timeout.0;
    config.close_timeout = options.close_timeout.0;
    config.handshake_timeout = options.handshake_timeout.0;
    config.keep_alive_timeout = options.keep_alive_timeout.0;
    config.drain = options.drain.0;
    config.data = options.data_dir.0.as_ref().map(|dir| {
        let options = StoreOptions { fsync: options.fsync.0, ..StoreOptions::default() };
        DataDir { dir: dir.0.clone(), options }
    });
    // Whole seconds: a client that is told 0 would never ping.
    config.sessions.ping = u32::try_from(options.ping_interval.0.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    config.sessions.message_bytes = u32::try_from(options.max_message_size.0).unwrap_or(u32::MAX);
}

/// The proxies that are named.
fn proxies(options: &Options) -> Result<Vec<IpAddr>, String> {
    let named = options.trusted_proxies.items().map_err(|why| format!("trusted_proxies: {why}"))?;
    let address = |text: &String| {
        text.parse()
            .map_err(|_| format!("trusted_proxies: {text:?} is no address: write it as 10.0.0.7, with commas between them"))
    };
    named.iter().map(address).collect()
}

/// Clients of Socket.IO are kept alive as all others are.
fn keep_alive(engine: &mut EngineOptions, options: &Options) {
    engine.ping_interval = options.ping_interval.0;
    engine.ping_timeout = options.ping_timeout.0;
    engine.max_payload = options.max_message_size.0;
}

/// The addresses to listen on, if nobody from outside gets in by accident.
fn resolve(options: &Options) -> Result<Vec<SocketAddr>, String> {
    let listen = &options.listen;
    let addresses: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .map_err(|error| format!("cannot listen on {listen:?}: {error}; write it as HOST:PORT, such as localhost:8000"))?
        .collect();
    if !options.allow_anonymous && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(format!(
            "{listen} can be reached from other machines, and there is no authentication; \
             add --allow-anonymous if anyone who reaches it may connect, or listen on localhost"
        ));
    }
    Ok(addresses)
}

/// The first thing that a new user sees.
fn welcome(running: &Running, options: &Options) {
    let Some(port) = running.addresses().first().map(SocketAddr::port) else { return };
    let host = options.listen.rsplit_once(':').map_or("localhost", |(host, _)| host);
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "localhost" } else { host };
    let node: &Node = running.node();
    // As it was called: it need not be on the path.
    let program = std::env::args().next().unwrap_or_else(|| "longwire".to_owned());
    let who =
        if options.allow_anonymous { "anyone who reaches this machine" } else { "only programs and pages of this machine" };
    output::say(&format!(
        "Longwire {} is listening on {}\n\n  \
         Chat       http://{host}:{port}/chat   open it in two windows\n  \
         AI stream  http://{host}:{port}/demo/stream\n  \
         Compare    http://{host}:{port}/compare   every transport, side by side\n  \
         Try it     http://{host}:{port}/\n  \
         WebSocket  ws://{host}:{port}/ws\n\n\
         {} shards, up to {} connections; {who} can connect.\n\
         A key for its API: {program} key\n\
         Stop with Ctrl-C. All options: {program} --help",
        env!("CARGO_PKG_VERSION"),
        running.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
        node.config().shards,
        node.max_connections(),
    ));
}
