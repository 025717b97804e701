//! A client for Longwire on tokio: channels that never lose a message, and the raw WebSocket below them.
//!
//! ```no_run
//! # async fn example() -> Result<(), longwire_client::Error> {
//! use longwire_client::{Client, Event};
//!
//! let client = Client::builder("ws://localhost:8000").connect()?;
//! let mut lobby = client.subscribe("chat:lobby")?;
//! client.publish("chat:lobby", "你好").await?;
//! while let Some(event) = lobby.next().await {
//!     match event {
//!         Event::Publication(publication) => println!("{}: {:?}", publication.offset, publication.data),
//!         Event::Missed(reason, _) => println!("something is missing: {reason:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] keeps the line open: when it is lost, it comes back by itself, goes on where each subscription was, and publishes what
//! has not been published. Where a network lets no WebSocket through, the line goes over HTTP, as an answer that does not end or as
//! long polls, with the same order and the same promises, and back to the WebSocket when it can: see [`Transport`] and
//! [`ClientBuilder::transports`]. [`session`] is the same without sockets and clock, and [`WebSocket`] a single line for messages of
//! any kind.

mod client;
mod error;
pub mod session;
mod transport;
pub mod websocket;

pub use client::{
    Client, ClientBuilder, ConnectionStates, HistoryPage, HistoryRange, PresencePage, Producer, Published, StatePage,
    SubscribeOptions, Subscription,
};
pub use error::{End, Error};
/// What the protocol is made of.
pub use longwire_protocol as protocol;
pub use longwire_protocol::{Data, ErrorCode, Form, Position, Publish};
pub use longwire_ws::handshake::deflate::DeflateConfig;
pub use longwire_ws::{CloseCode, Limits, MessageKind, OwnedMessage as Message, Text};
pub use session::{Event, Lost, State, Stopped};
pub use transport::Transport;
pub use websocket::{WebSocket, WebSocketBuilder};
