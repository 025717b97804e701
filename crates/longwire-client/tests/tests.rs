//! The client over real sockets.

mod client;
mod native;
mod support;
mod websocket;
