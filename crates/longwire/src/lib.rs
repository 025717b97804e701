//! **Longwire keeps the line open** between a product and everyone who uses it: permanent connections to browsers, apps and
//! agents, with messages pushed in milliseconds.
//!
//! ```no_run
//! use longwire::{Closed, Server, Socket};
//!
//! fn main() -> Result<(), longwire::Error> {
//!     Server::builder().websocket("/ws", hello).run("127.0.0.1:8000")
//! }
//!
//! async fn hello(mut socket: Socket) -> Result<(), Closed> {
//!     socket.send("✅ WebSocket 已连接").await?;
//!     while let Some(message) = socket.recv().await {
//!         if let Some(text) = message.as_text() {
//!             socket.send(format!("你发送了：{text}")).await?;
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The browser's side is `new WebSocket("ws://localhost:8000/ws")`.

pub use longwire_server::*;
/// The protocol by itself, without sockets.
pub use longwire_ws as ws;

/// The examples of the README and of `docs/`, compiled as this crate's own.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../README.zh-CN.md")]
    struct ReadmeInChinese;
    #[doc = include_str!("../../../docs/library.md")]
    struct Library;
    #[doc = include_str!("../../../docs/websocket.md")]
    struct WebSocket;
    #[doc = include_str!("../../../docs/socketio.md")]
    struct SocketIo;
    #[doc = include_str!("../../../docs/chat.md")]
    struct Chat;
    #[doc = include_str!("../../../docs/configuration.md")]
    struct Configuration;
}
