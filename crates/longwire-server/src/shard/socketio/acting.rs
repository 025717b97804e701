//! What is done with the sockets of a shard, by their handlers and by others.

use std::sync::Arc;

use longwire_core::broker::{Request, Ticket as BrokerTicket};
use longwire_protocol::{Action as Asked, Command as Said, Epoch, Position, SessionId};
use longwire_socketio::{Arguments, Json, Packet};

use super::order::Step;
use super::places::Joined;
use super::{Body, ENTER, Noted, Says, Sent};
use crate::codes;
use crate::shard::slab::Key;
use crate::shard::{Shard, at_work};
use crate::socketio::{Action, EmitError, Handshake, JoinError, Reason, Selection, Socket, SocketState, Ticket, publication};

/// What is known of a socket elsewhere.
pub(crate) struct Found {
    pub(crate) id: SessionId,
    pub(crate) channels: Vec<Arc<str>>,
    pub(crate) data: Option<Box<Noted>>,
    pub(crate) handshake: Handshake,
    pub(crate) auth: Option<Json>,
}

impl Shard {
    pub(super) fn entry(&mut self, at: Ticket) -> Option<&mut super::Entry> {
        self.core.connections.get_mut(&at.connection.index)?.at(at.line)
    }

    /// Emits an event to one socket: where clients may come back, as a publication of its own channel.
    pub(crate) fn emit_to_socket(
        &mut self,
        at: Ticket,
        event: &str,
        arguments: &Arguments,
        volatile: bool,
    ) -> Result<(), EmitError> {
        if volatile && !self.lines.get_mut(at.connection).is_some_and(|line| line.takes_at_once()) {
            return Ok(());
        }
        let by = at_work().or(Some(at));
        let Some(entry) = self.entry(at).filter(|entry| entry.form.alone.is_some() && !volatile) else {
            return self.step(by, Step::Send(at, Sent::Event(Body::of_event(event, arguments))));
        };
        let channel = entry.socket.0.space.own(entry.socket.id());
        if self.core.node.is_overloaded() {
            return Err(EmitError::Full);
        }
        let ask = publication(&channel, event, arguments, std::collections::BTreeMap::new(), false);
        let request = Request { channel, ticket: BrokerTicket::default(), ask };
        let flight = self.core.node.flight(&request);
        self.step(by, Step::Publish(request, flight))
    }

    /// Sends a packet to one socket.
    pub(crate) fn send_packet(&mut self, at: Ticket, packet: Packet) -> Result<(), EmitError> {
        if matches!(packet, Packet::Event { id: Some(_), .. }) {
            // The handler that waits for the ack makes room for another.
            self.may_go_on(at.connection);
        }
        self.step(at_work().or(Some(at)), Step::Send(at, Sent::Packet(packet)))
    }

    /// Answers a client. There is no way to leave an answer out: a client for which there is no room is closed.
    pub(crate) fn acknowledge(&mut self, at: Ticket, packet: Packet) {
        if self.send_packet(at, packet).is_err() {
            self.close(at.connection, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
    }

    /// Does something with a socket in its turn.
    pub(crate) fn step_of(&mut self, at: Ticket, step: Step) {
        if self.step(at_work().or(Some(at)), step).is_err() {
            self.close(at.connection, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
    }

    /// Has a socket join a room in its turn, if it may be in one more.
    pub(crate) fn join_room(&mut self, at: Ticket, channel: &Arc<str>) -> Result<(), JoinError> {
        self.may_join(at, channel)?;
        self.step_of(at, Step::Join(at, channel.clone()));
        Ok(())
    }

    fn may_join(&mut self, at: Ticket, channel: &Arc<str>) -> Result<(), JoinError> {
        let Some(connection) = self.core.connections.get_mut(&at.connection.index) else { return Err(JoinError::Disconnected) };
        let limit = connection.server.max_rooms;
        let entry = connection.at(at.line).ok_or(JoinError::Disconnected)?;
        // Beside the rooms there is the channel of all, and perhaps its own.
        let most = limit.saturating_add(1 + usize::from(entry.form.alone.is_some()));
        let about_to = entry.sequence.waiting().count();
        let joined = self.core.places.with(at.line.index, |member| member.joined.channels().count()).unwrap_or_default();
        if joined + about_to < most {
            return Ok(());
        }
        let channels = self.channels_of_socket(at).unwrap_or_default();
        if channels.len() < most || channels.contains(channel) { Ok(()) } else { Err(JoinError::TooMany { limit }) }
    }

    /// Has a socket leave a room in its turn.
    pub(crate) fn leave_room(&mut self, at: Ticket, channel: &Arc<str>) {
        self.step_of(at, Step::Leave(at, channel.clone()));
    }

    /// What was said to one socket goes to its client, behind all that it has been told so far.
    ///
    /// # Errors
    /// There is no room for an event.
    pub(super) fn send_to_socket(&mut self, at: Ticket, sent: &Sent) -> Result<(), EmitError> {
        let Some(form) = self.entry(at).map(|entry| entry.form) else { return Ok(()) };
        self.deal_to(at.line);
        self.push_sent(at.connection, form, sent)
    }

    /// What was delivered to a socket's rooms so far goes to it.
    fn deal_to(&mut self, line: Key) {
        self.engine(|engine, ways| engine.deal_to(line.index, ways));
    }

    pub(super) fn enter_room(&mut self, at: Ticket, channel: &Arc<str>) {
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
            self.core.places.joined(at.line.index, channel, nowhere, false);
            self.begin_act(at);
            self.enter(at.line, channel.clone());
        }
    }

    pub(super) fn exit_room(&mut self, at: Ticket, channel: &Arc<str>) {
        let Some(entry) = self.entry(at) else { return };
        let recovers = entry.form.alone.is_some();
        // Its own is where it is told what is for it alone.
        if *channel == entry.socket.0.space.own(entry.socket.id()) {
            return;
        }
        // What has not been dealt out it would not get any more.
        self.deal_to(at.line);
        self.core.places.left(at.line.index, channel);
        if recovers {
            self.begin_act(at);
            let action = Asked::Unsubscribe { channel: channel.clone() };
            self.engine(|engine, ways| engine.command(at.line.index, Said { id: Some(ENTER), action }, ways));
        } else {
            let core = &mut self.core;
            let (engine, inbox) = (&mut core.channels.engine, &mut core.channels.inbox);
            let (node, index) = (&core.node, core.index);
            engine.unsubscribe_plain(at.line.index, channel, |request| node.post(index, inbox, request, None));
        }
    }

    /// A socket that is written down is about to change: what it says then waits until that is on the disk.
    fn begin_act(&mut self, at: Ticket) {
        if self.core.places.is_kept(at.line.index)
            && let Some(entry) = self.entry(at)
        {
            entry.sequence.begin_act();
        }
    }

    /// A socket that is written down has been changed.
    fn is_changed(&mut self, at: Ticket) {
        // What is under way will be written down with this.
        let is_waited_for = self.core.places.has_changed(at.line.index);
        let Some(entry) = self.entry(at).filter(|entry| entry.sequence.acts_are_done()) else { return };
        if !is_waited_for || entry.sequence.is_kept() {
            self.begin_act(at);
            if let Some(entry) = self.entry(at) {
                entry.sequence.act_is_done();
            }
        }
    }

    /// A socket's answer to its client about a channel is there. It waits for the disk.
    pub(in crate::shard) fn answer_when_kept(&mut self, line: Key, frames: Vec<u8>) {
        let at = Ticket { connection: self.connection_of(line), line };
        self.begin_act(at);
        if let Some(entry) = self.entry(at) {
            entry.sequence.act_is_done();
        }
        self.do_late_step(None, Step::Send(at, Sent::Encoded(frames)));
    }

    /// The channels that a socket is in, as its handlers know it: what waits for its turn is done.
    pub(crate) fn channels_of_socket(&mut self, at: Ticket) -> Option<Vec<Arc<str>>> {
        let mut channels: Vec<Arc<str>> =
            self.core.places.with(at.line.index, |member| member.joined.channels().cloned().collect())?;
        let by = at_work().filter(|by| *by != at);
        for sequence in [Some(at), by].into_iter().flatten() {
            for step in self.entry(sequence).into_iter().flat_map(|entry| entry.sequence.waiting()) {
                match step {
                    Step::Join(of, channel) if *of == at && !channels.contains(channel) => channels.push(channel.clone()),
                    Step::Leave(of, channel) if *of == at => channels.retain(|known| known != channel),
                    _ => {}
                }
            }
        }
        Some(channels)
    }

    pub(crate) fn set_socket_data(&mut self, at: Ticket, data: Box<Noted>) {
        self.core.places.with(at.line.index, |member| member.joined.data = Some(data));
        self.is_changed(at);
        self.core.places.is_unsaved(at.line.index);
    }

    pub(crate) fn socket_data(&mut self, at: Ticket) -> Option<Box<Noted>> {
        self.core.places.with(at.line.index, |member| member.joined.data.clone()).flatten()
    }

    /// Puts a socket out of its namespace, and tells its client.
    pub(super) fn put_out(&mut self, at: Ticket) {
        let Some(entry) = self.entry(at) else { return };
        let packet = Packet::Disconnect { namespace: entry.socket.0.namespace.clone() };
        let form = entry.form.form;
        self.deal_to(at.line);
        self.push_packet(at.connection, form, &packet);
        self.socket_leaves(at.connection, at.line, Reason::ServerPutOut);
    }

    /// Puts all sockets of a connection out, so that none comes back by itself, and closes it.
    pub(super) fn close_connection(&mut self, at: Ticket) {
        let Some(connection) = self.core.connections.get(&at.connection.index) else { return };
        let lines: Vec<_> = connection.sockets.iter().map(|entry| entry.line).collect();
        for line in lines {
            let of = Ticket { line, ..at };
            if line != at.line {
                self.say_what_waits(of);
            }
            self.put_out(of);
        }
        self.close(at.connection, longwire_ws::CloseCode::NORMAL, "");
    }

    /// What waits for its turn to be said to a client is said, as its socket is about to go.
    fn say_what_waits(&mut self, at: Ticket) {
        let Some(entry) = self.entry(at) else { return };
        let rest: Vec<_> = entry.sequence.take_rest().collect();
        for step in rest {
            match step {
                step @ Step::Send(..) if step.is_for(at) => self.do_late_step(Some(at), step),
                step if step.is_for(at) => {}
                step => self.do_late_step(None, step),
            }
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
            self.say_what_waits(at);
            self.put_out(at);
            return true;
        }
        if connection != line {
            self.close(connection, codes::of(code), code.text());
        }
        connection != line
    }

    pub(crate) fn socket_at(&mut self, at: Ticket) -> Option<Socket> {
        Some(self.entry(at)?.socket.clone())
    }

    /// Says something to one client behind what its own handlers have done, while it is done for many.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn say_in_turn(&mut self, at: Ticket, packet: Packet) -> Result<(), EmitError> {
        self.do_step(None, Step::Send(at, Sent::Packet(packet)))
    }

    /// The sockets here that are meant.
    pub(crate) fn select_sockets(&mut self, selection: &Selection) -> Vec<Found> {
        self.selected(selection)
            .into_iter()
            .filter_map(|at| {
                let entry = self.core.connections.get_mut(&at.connection.index)?.at(at.line)?;
                let SocketState { handshake, auth, .. } = &*entry.socket.0;
                let found = |member: &mut super::places::Member| {
                    let Joined { data, .. } = &member.joined;
                    let channels = member.joined.channels().cloned().collect();
                    let (handshake, auth) = ((**handshake).clone(), auth.clone());
                    Some(Found { id: member.id?, channels, data: data.clone(), handshake, auth })
                };
                self.core.places.with(at.line.index, found).flatten()
            })
            .collect()
    }

    /// Does something with the sockets here that are meant; how many there were.
    pub(crate) fn act_on_sockets(&mut self, selection: &Selection, action: &Action) -> usize {
        // They hear what was emitted before.
        self.engine(|engine, ways| engine.deal(ways));
        let selected = self.selected(selection);
        for at in &selected {
            match action {
                Action::Join(channels) => {
                    let joined = channels.iter().try_for_each(|channel| {
                        self.may_join(*at, channel)?;
                        self.enter_room(*at, channel);
                        Ok::<(), JoinError>(())
                    });
                    if let Err(error) = joined {
                        sparsely!(WARN, %error, "a socket does not join a room");
                    }
                }
                Action::Leave(channels) => channels.iter().for_each(|channel| self.exit_room(*at, channel)),
                Action::PutOut | Action::Close => {
                    self.say_what_waits(*at);
                    if matches!(action, Action::Close) { self.close_connection(*at) } else { self.put_out(*at) }
                }
            }
        }
        selected.len()
    }

    pub(crate) fn selected(&self, selection: &Selection) -> Vec<Ticket> {
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
