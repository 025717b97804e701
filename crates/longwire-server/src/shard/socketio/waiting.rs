//! What clients say for which it is too early: too many of their handlers are at work, or a socket is not in its namespace yet. The rest
//! of what they say is heard meanwhile: acks, for which handlers may be waiting, and pongs; and one namespace does not wait for another.

use std::collections::VecDeque;

use longwire_socketio::{Arguments, Json, Namespace as Name};
use longwire_ws::CloseCode;

use super::{Entry, HANDLERS_AT_MOST, HANDLERS_MAX, Stage};
use crate::shard::Shard;
use crate::shard::line::Pauses;
use crate::shard::slab::Key;
use crate::socketio::Reason;

/// What waits on one connection, in its order.
#[derive(Default)]
pub(super) struct Waiting {
    said: VecDeque<(Key, Said)>,
    bytes: usize,
    /// On the shard's list of those that may go on.
    listed: bool,
}

/// What a client has said on one of its sockets.
pub(super) enum Said {
    Event(Option<u64>, Arguments),
    /// That it leaves.
    Left,
    /// That it wants to come again, after it has left.
    Connect(Name, Option<Json>),
}

impl Said {
    /// What it is counted as, in bytes.
    fn cost(&self) -> usize {
        let bytes = match self {
            Self::Event(_, arguments) => {
                arguments.json().len() + arguments.attachments().iter().map(|part| part.len()).sum::<usize>()
            }
            Self::Left | Self::Connect(..) => 0,
        };
        size_of::<(Key, Self)>() + bytes
    }
}

impl super::Connection {
    /// Whether another handler may be called. Those that wait for acks of the client are not at work: they would wait for ever if what
    /// stands before the acks were not taken.
    fn has_room(&self) -> bool {
        let at_work = self.at_work as usize;
        at_work < HANDLERS_MAX || at_work < HANDLERS_AT_MOST && at_work < HANDLERS_MAX + self.acks_owed()
    }

    fn acks_owed(&self) -> usize {
        self.sockets.iter().map(|entry| entry.socket.0.acks.borrow().as_ref().map_or(0, |acks| acks.len())).sum()
    }

    /// Whether something waits for this socket.
    fn waits_for(&self, line: Key) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.said.iter().any(|(at, _)| *at == line))
    }
}

impl Shard {
    /// A client wants to come into a namespace in which it is. If it is about to leave it, that is first.
    pub(super) fn socket_connects_again(&mut self, key: Key, line: Key, name: Name, auth: Option<Json>) {
        let waiting = self.core.connections.get(&key.index).and_then(|connection| connection.waiting.as_ref());
        let last = waiting.and_then(|waiting| {
            let matters = |said: &Said| matches!(said, Said::Left | Said::Connect(..));
            waiting.said.iter().rev().find(|(at, said)| *at == line && matters(said))
        });
        match last {
            Some((_, Said::Left)) => self.socket_said(key, line, Said::Connect(name, auth)),
            _ => self.close(key, CloseCode::POLICY_VIOLATION, "connected already"),
        }
    }

    /// A client has said something on a socket: it is heard at once, or waits its turn.
    pub(super) fn socket_said(&mut self, key: Key, line: Key, said: Said) {
        let Some(connection) = self.core.connections.get(&key.index) else { return };
        let Some(entry) = connection.sockets.iter().find(|entry| entry.line == line) else { return };
        // Whoever does not want to wait for the application's decision need not.
        if matches!((&entry.stage, &said), (Stage::Judged { .. }, Said::Left)) {
            return self.hear(key, line, said);
        }
        let is_ready = self.is_ready(entry, &said, connection.has_room());
        if is_ready && !connection.waits_for(line) {
            return self.hear(key, line, said);
        }
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let waiting = connection.waiting.get_or_insert_default();
        waiting.bytes += said.cost();
        waiting.said.push_back((line, said));
        if waiting.bytes >= self.core.inbox_bytes
            && let Some(line) = self.lines.get_mut(key)
        {
            line.out.paused.add(Pauses::SOCKETS);
        }
    }

    /// Whether a socket can be told what its client says.
    fn is_ready(&self, entry: &Entry, said: &Said, has_room: bool) -> bool {
        match said {
            _ if !matches!(entry.stage, Stage::Open) => false,
            Said::Event(..) if !entry.namespace.is_of_channels => has_room,
            // The engine may have enough to do with what came before.
            _ => !self.lines.get(entry.line).is_some_and(|line| line.out.paused.has(Pauses::HANDLER)),
        }
    }

    fn hear(&mut self, key: Key, line: Key, said: Said) {
        match said {
            Said::Event(id, arguments) => self.socket_event(key, line, id, arguments),
            Said::Left => self.socket_leaves(key, line, Reason::ClientLeft),
            Said::Connect(name, auth) => self.socket_connects(key, name, auth),
        }
    }

    /// Something has happened for which what waits on a connection may have waited.
    pub(in crate::shard) fn may_go_on(&mut self, key: Key) {
        if let Some(connection) = self.core.connections.get_mut(&key.index)
            && let Some(waiting) = &mut connection.waiting
            && !waiting.listed
        {
            waiting.listed = true;
            self.core.may_go_on.push(key);
        }
    }

    /// Hears what has waited, as far as there is room for it now.
    pub(super) fn hear_waiting(&mut self) {
        for key in std::mem::take(&mut self.core.may_go_on) {
            if let Some(waiting) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.waiting.as_mut())
            {
                waiting.listed = false;
            }
            while let Some((line, said)) = self.next_waiting(key) {
                self.hear(key, line, said);
            }
            self.resume_client(key);
        }
    }

    /// The first of what waits that can be heard now.
    fn next_waiting(&mut self, key: Key) -> Option<(Key, Said)> {
        let connection = self.connection(key)?;
        let waiting = connection.waiting.as_ref()?;
        let has_room = connection.has_room();
        let mut held: Vec<Key> = Vec::new();
        let at = waiting.said.iter().position(|(line, said)| {
            if held.contains(line) {
                return false;
            }
            let entry = connection.sockets.iter().find(|entry| entry.line == *line);
            // What is for a socket that has gone does not wait.
            let is_ready = entry.is_none_or(|entry| self.is_ready(entry, said, has_room));
            if !is_ready {
                held.push(*line);
            }
            is_ready
        })?;
        let connection = self.core.connections.get_mut(&key.index)?;
        let waiting = connection.waiting.as_mut()?;
        let next = waiting.said.remove(at)?;
        waiting.bytes -= next.1.cost();
        if waiting.said.is_empty() {
            connection.waiting = None;
        }
        Some(next)
    }

    /// Before a connection ends: what its client has said is heard, however many handlers are at work.
    pub(super) fn hear_rest(&mut self, key: Key) {
        let Some(waiting) = self.core.connections.get_mut(&key.index).and_then(|connection| connection.waiting.take()) else {
            return;
        };
        for (line, said) in waiting.said {
            let is_open = self.connection(key).is_some_and(|connection| {
                connection.sockets.iter().any(|entry| entry.line == line && matches!(entry.stage, Stage::Open))
            });
            if is_open && !matches!(said, Said::Connect(..)) {
                self.hear(key, line, said);
            }
        }
    }

    /// A socket has gone, and what has waited for it goes with it.
    pub(super) fn forget_waiting(&mut self, key: Key, line: Key) {
        let Some(connection) = self.core.connections.get_mut(&key.index) else { return };
        let Some(waiting) = &mut connection.waiting else { return };
        waiting.said.retain(|(at, said)| *at != line || matches!(said, Said::Connect(..)));
        waiting.bytes = waiting.said.iter().map(|(_, said)| said.cost()).sum();
        if waiting.said.is_empty() {
            connection.waiting = None;
        }
    }

    /// Reads a client again, unless there is still something to wait for.
    pub(in crate::shard) fn resume_client(&mut self, key: Key) {
        let may_read = self.connection(key).is_none_or(|connection| {
            connection.waiting.as_ref().is_none_or(|waiting| waiting.bytes <= self.core.inbox_bytes / 2)
                && connection.sockets.iter().all(|entry| !entry.sequence.is_long())
        });
        if may_read {
            self.resume(key, Pauses::SOCKETS);
        }
    }
}
