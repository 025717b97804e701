//! The client over real sockets.

mod client;
mod native;
mod proxy;
mod streams;
mod support;
mod transports;
mod websocket;
