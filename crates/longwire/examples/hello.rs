//! The smallest server: greets, then answers each text. `cargo run --release --example hello`
use longwire::{Closed, Server, Socket};

fn main() -> Result<(), longwire::Error> {
    Server::builder().websocket("/ws", hello).run("127.0.0.1:8000")
}

async fn hello(mut socket: Socket) -> Result<(), Closed> {
    socket.send("✅ WebSocket 已连接").await?;
    while let Some(message) = socket.recv().await {
        if let Some(text) = message.as_text() {
            socket.send(format!("你发送了：{text}")).await?;
        }
    }
    Ok(())
}
