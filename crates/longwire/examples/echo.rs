//! Returns every message as it came, at `/echo`.
//!
//! `cargo run --release --example echo -- 127.0.0.1:9001 [shards]`

use longwire::{Closed, DeflateConfig, Server, Socket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: echo ADDRESS:PORT [SHARDS]")?;
    let mut server = Server::builder().websocket("/echo", echo).configure(|config| {
        config.deflate = Some(DeflateConfig::default());
        config.limits.max_message_bytes = 64 << 20;
        config.limits.max_frame_bytes = 64 << 20;
        config.limits.max_fragments = 100_000;
    });
    if let Some(shards) = arguments.next() {
        server = server.shards(shards.parse()?);
    }
    Ok(server.run(address)?)
}

async fn echo(mut socket: Socket) -> Result<(), Closed> {
    while let Some(message) = socket.recv().await {
        socket.send(message).await?;
    }
    Ok(())
}
