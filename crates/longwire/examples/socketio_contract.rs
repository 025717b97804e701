//! What the public protocol suites of Engine.IO and Socket.IO require of a server.
//!
//! `cargo run --release --example socketio_contract -- 127.0.0.1:9003 [--eio3] [--compression] [--takeover]`
//!
//! With `--compression` clients may compress what they send, with `--takeover` each message on top of those before.

use std::time::Duration;

use longwire::socketio::{Ack, Arguments, Socket, SocketIo, Value};
use longwire::{Closed, DeflateConfig, EngineOptions, Server, Socket as Line};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: socketio_contract ADDRESS:PORT [--eio3] [--compression] [--takeover]";
    let address = arguments.next().ok_or(usage)?;
    let options: Vec<String> = arguments.collect();
    let has = |option: &str| options.iter().any(|word| word == option);
    let engine = EngineOptions {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        max_payload: 1_000_000,
        revision_3: has("--eio3"),
        ..EngineOptions::default()
    };
    let io = SocketIo::new()
        .engine(|options| *options = engine.clone())
        .connect_timeout(Duration::from_secs(1))
        .namespace("/", |root| {
            root.on_connect(|socket: Socket| greet(&socket))
                .on("message", |socket: Socket, arguments: Arguments, _: Ack| {
                    socket.emit("message-back", arguments.without_name());
                })
                .on("message-with-ack", |_: Socket, arguments: Arguments, ack: Ack| ack.send(arguments.without_name()))
        })
        .namespace("/custom", |custom| custom.on_connect(|socket: Socket| greet(&socket)));
    let takeover = has("--takeover");
    let deflate = (takeover || has("--compression")).then(|| DeflateConfig {
        client_no_context_takeover: !takeover,
        server_no_context_takeover: !takeover,
        ..DeflateConfig::default()
    });
    let running = Server::builder()
        .engine_io("/engine.io/", engine, echo)
        .socket_io("/socket.io/", io)
        .configure(|config| {
            config.allowed_origins = vec!["*".into()];
            config.deflate = deflate;
        })
        .start(&address)?;
    println!("listening on {address}");
    Ok(running.run_until(longwire::Signals::catch()?)?)
}

fn greet(socket: &Socket) {
    socket.emit("auth", (socket.auth::<Value>().unwrap_or_default(),));
}

async fn echo(mut line: Line) -> Result<(), Closed> {
    while let Some(message) = line.recv().await {
        line.send(message).await?;
    }
    Ok(())
}
