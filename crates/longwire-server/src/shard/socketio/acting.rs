//! What handlers, and others, do with the sockets of a shard.

use std::sync::Arc;

use longwire_core::broker::{Ask, Request, Ticket as BrokerTicket};
use longwire_protocol::{Action as Asked, Command as Said, Epoch, Position, SessionId};
use longwire_socketio::{Arguments, Packet};

use super::{Body, ENTER, QUEUE_MAX, Says, Sent};
use crate::codes;
use crate::shard::Shard;
use crate::shard::slab::Key;
use crate::socketio::{Action, Reason, Selection, Ticket, publication};

/// The upper half of the tickets of what sockets publish.
pub(crate) const PUBLISHED: u32 = u32::MAX;

/// What is known of a socket elsewhere.
pub(crate) type Found = (SessionId, Vec<Arc<str>>, Option<serde_json::Value>);

impl Shard {
    fn entry(&mut self, at: Ticket) -> Option<&mut super::Entry> {
        self.core.connections.get_mut(&at.connection.index)?.at(at.line)
    }

    /// Emits an event to one socket: where clients may come back, as a publication of its own channel.
    pub(crate) fn emit_to_socket(&mut self, at: Ticket, event: &str, arguments: &Arguments, volatile: bool) {
        if volatile && self.lines.get_mut(at.connection).is_some_and(|line| !line.out.outbox.is_empty()) {
            return;
        }
        let Some(entry) = self.entry(at).filter(|entry| entry.form.alone.is_some() && !volatile) else {
            return self.send_to_socket(at, Sent::Event(Body::of_event(event, arguments)));
        };
        let channel = entry.socket.0.space.own(entry.socket.id());
        let ask = publication(&channel, event, arguments, std::collections::BTreeMap::new(), false);
        self.publish_from_socket(at, &channel, &ask);
    }

    /// Sends something to one socket, behind what it has published before.
    pub(crate) fn send_to_socket(&mut self, at: Ticket, sent: Sent) {
        let most = self.core.outbox_bytes / 16 + QUEUE_MAX;
        let Some(entry) = self.entry(at) else { return };
        if entry.in_flight > 0 || !entry.queue.is_empty() {
            let behind = entry.published.wrapping_add(entry.in_flight);
            entry.queue.push_back((behind, sent));
            let length = entry.queue.len();
            if length > most {
                self.close(at.connection, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
            } else if length > QUEUE_MAX
                && let Some(line) = self.lines.get_mut(at.connection)
            {
                line.out.paused = true;
            }
            return;
        }
        let form = entry.form;
        self.push_sent(at.connection, form, &sent);
        self.wake_driver();
    }

    /// Publishes for a socket, whose further packets wait until it is in its channel. False if the socket has gone.
    pub(crate) fn publish_from_socket(&mut self, at: Ticket, channel: &Arc<str>, ask: &Ask) -> bool {
        let Some(entry) = self.entry(at) else { return false };
        entry.in_flight += 1;
        let id = u64::from(PUBLISHED) << 32 | u64::from(at.line.index);
        let ticket = BrokerTicket { shard: self.core.index as u16, id };
        let request = Request { channel: channel.clone(), ticket, ask: ask.clone() };
        let flight = self.core.node.flight(&request);
        let (node, index) = (self.core.node.clone(), self.core.index);
        node.post(index, &mut self.core.channels.inbox, request, Some(flight));
        self.wake_driver();
        true
    }

    /// What a socket has published is in its channel, and delivered here.
    pub(in crate::shard) fn socket_published(&mut self, line: u32) {
        let Some(line) = self.lines.key_at(line) else { return };
        let key = self.connection_of(line);
        let at = Ticket { connection: key, line };
        let Some(entry) = self.entry(at) else { return };
        if entry.in_flight == 0 {
            return;
        }
        entry.in_flight -= 1;
        entry.published = entry.published.wrapping_add(1);
        let (published, form) = (entry.published, entry.form);
        let is_next = |(behind, _): &(u32, Sent)| behind.wrapping_sub(published) as i32 <= 0;
        if !entry.queue.front().is_some_and(is_next) {
            return;
        }
        // What was published comes first.
        self.engine(|engine, ways| engine.deal(ways));
        while let Some(entry) = self.entry(at)
            && entry.queue.front().is_some_and(is_next)
            && let Some((_, sent)) = entry.queue.pop_front()
        {
            self.push_sent(key, form, &sent);
        }
        self.resume_client(key);
    }

    pub(crate) fn join_room(&mut self, at: Ticket, channel: &Arc<str>) {
        let Some(entry) = self.entry(at) else { return };
        let recovers = entry.form.alone.is_some();
        if self.core.places.is_in(at.line.index, channel) {
            return;
        }
        if !recovers {
            self.enter_plainly(at.line, channel);
        } else {
            // Where it came in its channel says.
            let nowhere = Position { epoch: Epoch::NONE, offset: 0 };
            self.core.places.joined(at.line.index, channel, nowhere);
            self.enter(at.line, channel.clone());
        }
        self.wake_driver();
    }

    pub(crate) fn leave_room(&mut self, at: Ticket, channel: &Arc<str>) {
        let Some(entry) = self.entry(at) else { return };
        let recovers = entry.form.alone.is_some();
        self.core.places.left(at.line.index, channel);
        if recovers {
            let action = Asked::Unsubscribe { channel: channel.clone() };
            self.engine(|engine, ways| engine.command(at.line.index, Said { id: Some(ENTER), action }, ways));
        } else {
            let core = &mut self.core;
            let (engine, inbox) = (&mut core.channels.engine, &mut core.channels.inbox);
            let (node, index) = (&core.node, core.index);
            engine.unsubscribe_plain(at.line.index, channel, |request| node.post(index, inbox, request, None));
        }
        self.wake_driver();
    }

    pub(crate) fn channels_of_socket(&mut self, at: Ticket) -> Option<Vec<Arc<str>>> {
        self.core.places.with(at.line.index, |member| member.joined.channels().cloned().collect())
    }

    pub(crate) fn set_socket_data(&mut self, at: Ticket, data: serde_json::Value) {
        self.core.places.with(at.line.index, |member| member.joined.data = Some(Box::new(data)));
        self.core.places.is_unsaved(at.line.index);
    }

    pub(crate) fn socket_data(&mut self, at: Ticket) -> Option<serde_json::Value> {
        self.core.places.with(at.line.index, |member| member.joined.data.as_deref().cloned()).flatten()
    }

    /// Puts a socket out of its namespace, and tells its client.
    pub(crate) fn put_out(&mut self, at: Ticket) {
        let Some(entry) = self.entry(at) else { return };
        let packet = Packet::Disconnect { namespace: entry.socket.0.namespace.clone() };
        let form = entry.form.form;
        self.push_packet(at.connection, form, &packet);
        self.socket_leaves(at.connection, at.line, Reason::ServerPutOut);
        self.wake_driver();
    }

    pub(crate) fn close_connection(&mut self, at: Ticket) {
        if self.core.connections.contains_key(&at.connection.index) {
            self.close(at.connection, longwire_ws::CloseCode::NORMAL, "");
            self.wake_driver();
        }
    }

    /// The engine wants a socket's line closed. True if that was a socket's, and just that is over.
    pub(in crate::shard) fn close_socket(&mut self, line: Key, code: longwire_protocol::CloseCode) -> bool {
        let connection = self.connection_of(line);
        let at = Ticket { connection, line };
        if self.entry(at).is_none() {
            return false;
        }
        if code == longwire_protocol::CloseCode::Disconnected {
            self.put_out(at);
            return true;
        }
        if connection != line {
            self.close(connection, codes::of(code), code.text());
        }
        connection != line
    }

    /// The sockets here that are meant.
    pub(crate) fn select_sockets(&mut self, selection: &Selection) -> Vec<Found> {
        self.selected(selection)
            .into_iter()
            .filter_map(|at| {
                let found = |member: &mut super::places::Member| {
                    Some((member.id?, member.joined.channels().cloned().collect(), member.joined.data.as_deref().cloned()))
                };
                self.core.places.with(at.line.index, found).flatten()
            })
            .collect()
    }

    /// Does something with the sockets here that are meant; how many there were.
    pub(crate) fn act_on_sockets(&mut self, selection: &Selection, action: &Action) -> usize {
        let selected = self.selected(selection);
        for at in &selected {
            match action {
                Action::Join(channel) => self.join_room(*at, channel),
                Action::Leave(channel) => self.leave_room(*at, channel),
                Action::PutOut => self.put_out(*at),
                Action::Close => self.close_connection(*at),
            }
        }
        selected.len()
    }

    fn selected(&self, selection: &Selection) -> Vec<Ticket> {
        let Selection { space, to, except } = selection;
        let is_meant = |line: Key| {
            let is_named = |names: &[String]| {
                self.core.places.with(line.index, |member| names.iter().any(|name| member.is_named(name))).unwrap_or(false)
            };
            (to.is_empty() || is_named(to)) && !is_named(except)
        };
        let all = self.core.connections.values().flat_map(|connection| &connection.sockets);
        all.filter(|entry| matches!(entry.stage, super::Stage::Open) && entry.form.says == Says::Events)
            .filter(|entry| entry.socket.0.space.name == space.name && is_meant(entry.line))
            .filter_map(|entry| entry.socket.0.ticket.get())
            .collect()
    }
}
