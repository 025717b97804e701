//! The Longwire server: holds the line open between a product and everyone who uses it.
//!
//! [`Server::builder`] is the way in. A path is handled by an async function of a [`Socket`], or, where a task for each line is
//! too much, by a [`LineHandler`]. Lines subscribe to channels; [`Node::publish`] reaches them from anywhere.
//!
//! Each *shard* is a thread that owns its share of the lines. Within a *tick* it takes what came in, lets handlers react, and
//! writes to each line at most once. `ARCHITECTURE.md` tells the whole journey.

#[macro_use]
mod sparse;

mod allowed;
mod api;
mod bridge;
pub mod codes;
mod come_again;
mod config;
mod cursor;
mod detach;
mod engine_io;
mod error;
mod event_stream;
mod handler;
mod host;
mod http;
mod http2;
mod http_line;
mod listen;
mod local_key;
mod memory;
mod name;
mod node;
mod operator;
mod origin;
mod pace;
mod patience;
mod places;
mod poll;
mod requests;
mod server;
mod shard;
mod signals;
mod socket;
pub mod socketio;
mod turnstile;
mod upgrade;

pub use allowed::BadOrigin;
pub use api::{
    ApiKeys, BadApiKey, Channel, ChannelInfo, ChannelList, ChannelQuery, HistoryPage, HistoryQuery, PresencePage,
    PresenceQuery, Published, Publishing, ROUTES as API_ROUTES, SessionInfo, SessionList, SessionQuery, StatePage, StateQuery,
    Stream,
};
pub use config::{Config, DataDir};
pub use engine_io::EngineOptions;
pub use error::Error;
pub use handler::{Closed, ClosingReply, End, EndedBy, LineHandler, Opening, PublishError};
pub use host::BadHost;
pub use local_key::local_key;
pub use longwire_core::broker::memory::Limits as ChannelLimits;
pub use longwire_core::broker::{Answer, Ask, Failure};
pub use longwire_core::engine::{Anonymous, Authenticator, Identity, SessionOptions};
pub use longwire_core::{BadNamespace, ChannelOptions, Namespaces, Slow, Who};
pub use longwire_protocol::{Data, Epoch, ErrorCode, Member, NotJson, Position, Publication, SessionId};
pub use longwire_store::{Fsync, Options as StoreOptions};
pub use longwire_ws::handshake::deflate::DeflateConfig;
pub use longwire_ws::{CloseCode, Limits, Message as Received, MessageKind, OwnedMessage as Message, Text};
pub use name::ChannelName;
pub use node::Node;
pub use server::{Running, Server, ServerBuilder};
pub use shard::Line;
pub use signals::Signals;
pub use socket::{AsyncHandler, Outcome, Socket, SocketSender};
