//! What the public protocol suites of Engine.IO and Socket.IO require of a server.
//!
//! `cargo run --release --example socketio_contract -- 127.0.0.1:9003 [--eio3]`

use std::time::Duration;

use longwire::{Closed, EngineOptions, Server, Socket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: socketio_contract ADDRESS:PORT [--eio3]")?;
    let options = EngineOptions {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        max_payload: 1_000_000,
        revision_3: arguments.any(|argument| argument == "--eio3"),
        ..EngineOptions::default()
    };
    let server =
        Server::builder().engine_io("/engine.io/", options, echo).configure(|config| config.allowed_origins = vec!["*".into()]);
    println!("listening on {address}");
    Ok(server.run(address)?)
}

async fn echo(mut socket: Socket) -> Result<(), Closed> {
    while let Some(message) = socket.recv().await {
        socket.send(message).await?;
    }
    Ok(())
}
