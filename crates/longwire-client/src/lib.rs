//! A WebSocket client for Longwire, and for any server of RFC 6455, on tokio.
//!
//! ```no_run
//! # async fn example() -> Result<(), longwire_client::Error> {
//! use longwire_client::Client;
//!
//! let mut line = Client::connect("ws://localhost:8000/ws").await?;
//! line.send("你好").await?;
//! while let Some(message) = line.recv().await {
//!     println!("{message:?}");
//! }
//! println!("closed: {:?}", line.end());
//! # Ok(())
//! # }
//! ```
//!
//! Each line has a task of its own, which answers pings and sends them whether or not the user is receiving at the moment.

mod connect;
mod error;
mod line;

pub use connect::ClientBuilder;
pub use error::{End, Error};
pub use line::Client;
pub use longwire_ws::handshake::deflate::DeflateConfig;
pub use longwire_ws::{CloseCode, Limits, MessageKind, OwnedMessage as Message, Text};
