//! Sockets over a restart: on a durable node it is written down which sockets may come back, and to what.
//!
//! They are the keys of a channel that has its home on the sockets' shard: a socket's id, with its secret, its channels and where it
//! came into them. How far it is its client says.

use std::sync::Arc;

use longwire_core::broker::{Answer, Ask, Event, Request, Ticket as BrokerTicket};
use longwire_core::{ChannelOptions, Who};
use longwire_protocol::{Data, Publish, SessionId};
use serde::{Deserialize, Serialize};

use super::places::Joined;
use crate::node::Node;
use crate::shard::Shard;
use crate::shard::home::Told;

/// The namespace of the channels in which sockets are kept.
pub(crate) const KEPT_SOCKETS: &str = "io-sockets";
/// Sockets that are read in one go.
const PAGE: usize = 1000;

/// What is written down of a socket.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: Box<str>,
    /// Milliseconds.
    keep: u64,
    joined: Joined,
}

/// The options of that namespace, for so many sockets of a shard.
pub(crate) fn options(sockets: usize) -> ChannelOptions {
    ChannelOptions { state_keys: sockets, subscribe: Who::Nobody, publish: Who::Nobody, ..ChannelOptions::default() }
}

/// The channel of that namespace whose home is a shard.
fn channel(node: &Node, shard: usize) -> Arc<str> {
    let names = (0_u32..).map(|number| format!("{KEPT_SOCKETS}:{shard}.{number}"));
    names.into_iter().find(|name| node.home(name) == shard).unwrap_or_default().into()
}

impl Shard {
    /// Sockets of an earlier run may come back.
    pub(in crate::shard) fn restore_sockets(&mut self) {
        if !self.keeps_sockets() {
            return;
        }
        let channel = channel(&self.core.node, self.core.index);
        let mut after = None;
        loop {
            let ask = Ask::State { limit: PAGE, after: after.take() };
            let request = Request { channel: channel.clone(), ticket: BrokerTicket { shard: 0, id: 1 }, ask };
            let now = self.core.now();
            self.core.channels.home.submit(now, request, None);
            let Some(Told::Event(Event::Answer(_, Ok(Answer::State { entries, more, .. })))) =
                self.core.channels.home.next().map(|said| said.what)
            else {
                return;
            };
            for entry in &entries {
                let id = entry.rare.as_ref().and_then(|rare| rare.key.as_deref());
                let kept = entry.data.as_ref().and_then(|data| serde_json::from_slice::<Kept>(data.as_bytes()).ok());
                after = id.map(Into::into);
                if let Some((id, Kept { key, keep, joined })) = id.and_then(SessionId::parse).zip(kept) {
                    self.engine(|engine, _| engine.restore(id, &key, (Box::new(joined), keep)));
                }
            }
            if !more || after.is_none() {
                return;
            }
        }
    }

    /// Writes down what has changed, once a tick.
    pub(in crate::shard) fn save_sockets(&mut self) {
        let lines = self.core.places.take_unsaved();
        if lines.is_empty() || !self.keeps_sockets() {
            return;
        }
        for line in lines {
            let kept = self.core.places.with(line, |member| {
                let (id, (keep, key)) = (member.id?, member.recovery.as_deref()?.clone());
                let kept = Kept { key, keep, joined: member.joined.clone() };
                Some((id, serde_json::to_vec(&kept).ok()?))
            });
            if let Some((id, kept)) = kept.flatten() {
                self.keep_socket(id, Some(Data::Json(kept.into())));
            }
        }
    }

    /// Those whose sessions are over do not come back.
    pub(in crate::shard) fn forget_kept_socket(&mut self, id: SessionId) {
        if self.keeps_sockets() {
            self.keep_socket(id, None);
        }
    }

    fn keep_socket(&mut self, id: SessionId, kept: Option<Data>) {
        // Where it was born, so that whoever comes with its id finds it after a restart.
        let shard = usize::from(id.shard());
        if shard >= self.core.node.shards() {
            return;
        }
        let channel = channel(&self.core.node, shard);
        let mut publish = Publish::new(channel.clone(), Data::Json(bytes::Bytes::new()));
        publish.key = Some(id.to_string().into());
        publish.remove = kept.is_none();
        publish.data = kept;
        let request =
            Request { channel, ticket: BrokerTicket::default(), ask: Ask::Publish { publish: Box::new(publish), from: None } };
        let (node, index) = (self.core.node.clone(), self.core.index);
        node.post(index, &mut self.core.channels.inbox, request, None);
    }

    fn keeps_sockets(&self) -> bool {
        let config = self.core.node.config();
        config.data.is_some() && config.namespaces.of(&format!("{KEPT_SOCKETS}:0")).is_some_and(|options| options.has_state())
    }
}
