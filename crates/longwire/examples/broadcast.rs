//! Passes each text that comes on a line to `/pub/NAME` on to all lines of `/sub/NAME`.
//!
//! `cargo run --release --example broadcast -- 127.0.0.1:9002 [shards]`

use std::sync::Arc;

use longwire::{Closed, DeflateConfig, Limits, Line, LineHandler, Message, Received, Server, Socket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: broadcast ADDRESS:PORT [SHARDS]")?;
    let mut server = Server::builder()
        .line_handler("/sub/{name}", |opening| Listener(channel(opening.param("name"))))
        .line_handler("/pub/{name}", |opening| Publisher(channel(opening.param("name"))))
        .line_handler("/echo", |_| Echo)
        .websocket("/echo-async", echo)
        .configure(|config| {
            config.deflate = Some(DeflateConfig::default());
            config.limits = Limits { max_frame_bytes: 64 << 20, max_message_bytes: 64 << 20, max_fragments: 100_000 };
        });
    if let Some(shards) = arguments.next() {
        server = server.shards(shards.parse()?);
    }
    Ok(server.run(address)?)
}

fn channel(name: Option<&str>) -> Arc<str> {
    name.unwrap_or_default().into()
}

/// Only listens. A [`LineHandler`] is called by its shard, so a line costs no task.
struct Listener(Arc<str>);

impl LineHandler for Listener {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.subscribe(&self.0);
    }
}

struct Publisher(Arc<str>);

impl LineHandler for Publisher {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        if let Some(text) = message.as_str()
            && let Err(overloaded) = line.publish(self.0.clone(), Message::from(text))
        {
            line.close(longwire::CloseCode::TRY_AGAIN_LATER, &overloaded.to_string());
        }
    }
}

/// Called by the line's shard for each message: no task, no copy.
struct Echo;

impl LineHandler for Echo {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.send(message.kind(), message.as_bytes());
    }
}

/// The same as a task for each line: what most people write, and what the benchmark compares with the above.
async fn echo(mut socket: Socket) -> Result<(), Closed> {
    while let Some(message) = socket.recv().await {
        socket.send(message).await?;
    }
    Ok(())
}
