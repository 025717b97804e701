//! The server over real sockets, against peers that keep no rule. One binary, a module for each matter.

mod api;
mod backpressure;
mod channels;
mod closing;
mod crowd;
mod durable;
mod echoing;
mod embedding;
mod endings;
mod engine_io;
mod event_streams;
mod heartbeats;
mod http;
mod http2;
mod http_lines;
mod limits;
mod native;
mod opening;
mod order;
mod polls;
mod publishing;
mod rules;
mod shutdown;
mod slow_readers;
mod socketio;
mod support;
