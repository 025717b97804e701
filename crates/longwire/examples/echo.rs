//! Returns every message as it came, at `/echo`.
//!
//! `cargo run --release --example echo -- 127.0.0.1:9001 [shards]`

use longwire::{DeflateConfig, Limits, Line, LineHandler, Received, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: echo ADDRESS:PORT [SHARDS]")?;
    let mut server = Server::builder().line_handler("/echo", |_| Echo).configure(|config| {
        config.deflate = Some(DeflateConfig::default());
        config.limits = Limits { max_frame_bytes: 64 << 20, max_message_bytes: 64 << 20, max_fragments: 100_000 };
    });
    if let Some(shards) = arguments.next() {
        server = server.shards(shards.parse()?);
    }
    Ok(server.run(address)?)
}

/// Called by the line's shard for each message: no task, no copy.
struct Echo;

impl LineHandler for Echo {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.send(message.kind(), message.as_bytes());
    }
}
