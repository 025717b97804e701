//! The native protocol over HTTP requests, request by request.

mod ends;
mod requests;
mod streams;

use longwire_protocol::Data;
use longwire_server::{ChannelOptions, Namespaces, Running, ServerBuilder};
use std::sync::Arc;

use crate::support::{LINES, TestServer, serve, within_bound};

fn build(builder: ServerBuilder) -> ServerBuilder {
    let all = [
        ("chat", ChannelOptions { presence: true, history_size: 1000, ..ChannelOptions::default() }),
        ("live", ChannelOptions::default()),
    ];
    let namespaces = Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options");
    builder.http_lines(LINES).native("/v1/ws").configure(|config| {
        config.namespaces = Arc::new(namespaces);
        // What is waited for at the end of a server by lines that nobody polls for any more.
        config.close_timeout = std::time::Duration::from_secs(1);
    })
}

#[track_caller]
fn serve_lines(shards: usize) -> TestServer {
    serve(shards, build)
}

#[track_caller]
fn publish(server: &Running, channel: &str, data: &str) {
    within_bound(async { server.node().channel(channel).publish(Data::from(data)).await }).expect("published");
}

/// How many sessions there are, with a line or without.
fn sessions(server: &Running) -> usize {
    within_bound(async { server.node().sessions().await }).expect("sessions").sessions.len()
}
