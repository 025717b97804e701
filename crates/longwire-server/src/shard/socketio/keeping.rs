//! Sockets over a restart: on a durable node it is written down which sockets may come back, and to what.
//!
//! They are the keys of a channel that has its home on the sockets' shard: a socket's id, with its secret, its channels and where it
//! came into them. How far it is its client says.
//!
//! What a client is answered waits until that is written down: that it is connected, and what its handlers say behind joining, leaving and
//! noting something.

use std::sync::Arc;

use longwire_core::broker::{Answer, Ask, Event, Failure, Request, Ticket as BrokerTicket};
use longwire_core::{ChannelOptions, Who};
use longwire_protocol::{Data, Publish, SessionId};
use serde::{Deserialize, Serialize};

use super::places::Joined;
use super::{Says, Stage};
use crate::node::Node;
use crate::shard::Shard;
use crate::shard::closing::complain;
use crate::shard::home::Told;
use crate::socketio::Ticket;

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

/// In the shard of a ticket: what a socket is was written down, and its id is the number of that.
pub(crate) const KEPT: u16 = 1 << 14;

/// What is being written down of a socket.
pub(crate) struct Keep {
    at: Ticket,
    id: SessionId,
    /// As many of what it has done are in it.
    covers: u16,
}

/// Whether a node writes down its sockets.
pub(crate) fn keeps_sockets(node: &Node) -> bool {
    let config = node.config();
    config.data.is_some() && config.namespaces.of(&format!("{KEPT_SOCKETS}:0")).is_some_and(|options| options.has_state())
}

impl Shard {
    /// Sockets of an earlier run may come back.
    pub(in crate::shard) fn restore_sockets(&mut self) {
        if !self.core.places.keep() {
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
        if lines.is_empty() || !self.core.places.keep() {
            return;
        }
        for line in lines {
            let kept = self.core.places.with(line, |member| {
                let (id, (keep, key)) = (member.id?, member.recovery.as_deref()?.clone());
                let kept = Kept { key, keep, joined: member.joined.to_keep() };
                Some((id, serde_json::to_vec(&kept).ok()?))
            });
            let Some(at) = self.lines.key_at(line) else { continue };
            let at = Ticket { connection: self.connection_of(at), line: at };
            let Some(entry) = self.entry(at).filter(|entry| matches!(entry.stage, Stage::Keeping { .. } | Stage::Open)) else {
                continue;
            };
            let covers = entry.sequence.done_acts();
            if let Some((id, kept)) = kept.flatten() {
                self.core.next_keep += 1;
                let number = self.core.next_keep;
                self.core.keeps.insert(number, Keep { at, id, covers });
                let ticket = BrokerTicket { shard: self.core.index as u16 | KEPT, id: number };
                self.keep_socket(id, Some(Data::Json(kept.into())), ticket);
            }
        }
    }

    /// What a socket was is on the disk, or cannot be written there.
    pub(in crate::shard) fn socket_kept(&mut self, number: u64, failure: Option<&Failure>) {
        let Some(Keep { at, id, covers }) = self.core.keeps.remove(&number) else { return };
        if let Some(failure) = failure {
            complain("a socket is not written down, and will not come back over a restart", failure.code.name());
        }
        let Some(entry) = self.entry(at).filter(|entry| entry.socket.id().as_bytes() == id.text()) else { return };
        entry.sequence.acts_are_kept(covers);
        let (settled, says) = (entry.sequence.is_kept(), entry.form.says);
        if settled && !self.core.places.has_changed(at.line.index) {
            self.core.places.forget_left(at.line.index);
        }
        let Some(entry) = self.entry(at) else { return };
        if let Stage::Keeping { recovered, .. } = entry.stage {
            self.open_socket(at.connection, at.line, recovered);
        }
        // The answers first: what comes of a channel follows the answer to its subscription.
        self.go_on(at);
        if says == Says::Pushes && self.entry(at).is_some_and(|entry| entry.sequence.is_kept()) {
            self.engine(|engine, ways| engine.release(at.line.index, ways));
        }
    }

    /// Those whose sessions are over do not come back.
    pub(in crate::shard) fn forget_kept_socket(&mut self, id: SessionId) {
        if self.core.places.keep() {
            self.keep_socket(id, None, BrokerTicket::default());
        }
    }

    fn keep_socket(&mut self, id: SessionId, kept: Option<Data>, ticket: BrokerTicket) {
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
        let request = Request { channel, ticket, ask: Ask::Publish { publish: Box::new(publish), from: None } };
        let (node, index) = (self.core.node.clone(), self.core.index);
        node.post(index, &mut self.core.channels.inbox, request, None);
    }
}
