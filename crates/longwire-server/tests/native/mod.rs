//! The native protocol (`docs/protocol.md`) over real sockets.

pub(crate) mod client;
mod endings;
mod malformed;
mod mixed;
mod order;
mod paging;
mod resuming;
mod sessions;
mod slow;
mod transcripts;

use std::sync::Arc;

use longwire_server::{ChannelOptions, Config, Namespaces, ServerBuilder, Who};

use crate::support::{TestServer, serve};
use client::{Native, connect, session_id};

/// A server whose namespaces are those of the transcripts, with what `change` changes.
#[track_caller]
fn serve_native(shards: usize, change: impl FnOnce(&mut Config)) -> TestServer {
    serve_also(shards, change, |builder| builder)
}

/// As [`serve_native`], with more paths.
#[track_caller]
fn serve_also(
    shards: usize,
    change: impl FnOnce(&mut Config),
    more: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> TestServer {
    serve(shards, |builder| {
        let builder = builder.native("/v1/ws").configure(|config| {
            config.namespaces = namespaces(transcript_namespaces());
            config.sessions.subscriptions = 8;
            change(config);
        });
        more(builder)
    })
}

/// The namespaces that `conformance/protocol/README.md` asks for.
fn transcript_namespaces() -> Vec<(&'static str, ChannelOptions)> {
    let none = ChannelOptions::default;
    let history = || ChannelOptions { history_size: 100, ..none() };
    vec![
        ("chat", ChannelOptions { presence: true, joins: true, ..history() }),
        ("state", ChannelOptions { state_keys: 100, ..history() }),
        ("ai", ChannelOptions { streams: true, ..history() }),
        ("live", none()),
        ("news", ChannelOptions { publish: Who::Nobody, ..history() }),
        ("small", ChannelOptions { history_size: 2, state_keys: 2, message_bytes: 64, ..none() }),
    ]
}

fn namespaces(all: Vec<(&'static str, ChannelOptions)>) -> Arc<Namespaces> {
    Arc::new(Namespaces::new(all.into_iter().map(|(name, options)| (name.to_owned(), options))).expect("options"))
}
