//! Events that clients are to acknowledge: one client's, and those of many at once.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longwire_socketio::{Arguments, Packet};
use tokio::sync::{mpsc, oneshot};

use super::broadcast::{Broadcast, EmitError, Selection, event_of, logged};
use super::socket::{Socket, SocketState};
use super::{IntoArguments, Ticket};
use crate::shard::{self, Shard};

/// Acks that one socket may owe.
const ACKS_MAX: usize = 10_000;
/// The bytes of all answers to one event for many.
const ANSWERS_MAX: usize = 64 << 20;

/// What a socket owes, by the numbers of acks.
pub(crate) type Acks = HashMap<u64, Waits>;

/// Who waits for an ack.
pub(crate) enum Waits {
    One(oneshot::Sender<Arguments>),
    /// Together with the answers of others.
    Many {
        socket: String,
        answers: mpsc::UnboundedSender<(String, Arguments)>,
        bytes: Arc<AtomicUsize>,
    },
}

/// Why an event was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// Not in time.
    TimedOut,
    /// The client has gone.
    Disconnected,
    /// So much waits for the client that it was not asked.
    Full,
}

/// What clients have answered to an event for many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The id of each socket that has answered, with its answer, in the order in which they came.
    pub answers: Vec<(String, Arguments)>,
    /// The ids of those that have not: not in time, or they have gone.
    pub missing: Vec<String>,
}

impl Socket {
    /// Emits an event that the client is to acknowledge within this time.
    ///
    /// # Errors
    /// It has not, or has gone.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        arguments: impl IntoArguments,
        within: Duration,
    ) -> Result<Arguments, AckError> {
        let ticket = self.0.ticket.get().ok_or(AckError::Disconnected)?;
        let Ok(arguments) = event_of(event, arguments).inspect_err(|error| logged(event, Err(error.clone()))) else {
            return Err(AckError::Disconnected);
        };
        self.0.space.tell_outgoing_event(Some(self), event, &arguments);
        let (sender, answer) = oneshot::channel();
        let id = self.0.expect(Waits::One(sender)).ok_or(AckError::TimedOut)?;
        let packet = Packet::Event { namespace: self.0.namespace.clone(), id: Some(id), arguments };
        if let Err(error) = shard::with(|shard| shard.send_packet(ticket, packet)).unwrap_or(Err(EmitError::Gone)) {
            self.0.took(id);
            return Err(if error == EmitError::Full { AckError::Full } else { AckError::Disconnected });
        }
        let answer = tokio::time::timeout(within, answer).await;
        self.0.took(id);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AckError::Disconnected),
            Err(_) => Err(AckError::TimedOut),
        }
    }
}

impl Broadcast {
    /// Emits an event that each client is to acknowledge, and waits for the last of them, or for this time. Those that have lost their
    /// line are not asked; those for whom too much waits are not asked either, and have not answered. Of all answers to one event 64 MiB
    /// are kept; who answers beyond that has not.
    ///
    /// # Errors
    /// It cannot be emitted, or the node stops.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        arguments: impl IntoArguments,
        within: Duration,
    ) -> Result<Answers, EmitError> {
        let arguments = event_of(event, arguments)?;
        self.space.tell_outgoing_event(None, event, &arguments);
        let selection = self.selection().map_err(|_| EmitError::Gone)?;
        let (sender, mut answers) = mpsc::unbounded_channel();
        let bytes = Arc::<AtomicUsize>::default();
        let until = tokio::time::Instant::now() + within;
        let asked = self.each(move |shard| shard.ask_sockets(&selection, &arguments, &sender, &bytes)).await;
        let mut missing: BTreeSet<String> = asked.map_err(|_| EmitError::Gone)?.into_iter().flatten().collect();
        let mut all = Answers::default();
        // Each socket that has not answered holds an end of the channel for as long as it may.
        while let Ok(Some((socket, answer))) = tokio::time::timeout_at(until, answers.recv()).await {
            missing.remove(&socket);
            all.answers.push((socket, answer));
            if missing.is_empty() {
                break;
            }
        }
        all.missing = missing.into_iter().collect();
        Ok(all)
    }
}

impl Shard {
    /// Has the sockets here that are meant asked; their ids.
    fn ask_sockets(
        &mut self,
        selection: &Selection,
        arguments: &Arguments,
        answers: &mpsc::UnboundedSender<(String, Arguments)>,
        bytes: &Arc<AtomicUsize>,
    ) -> Vec<String> {
        let mut asked = Vec::new();
        for (at, socket) in self.sockets_of(selection) {
            let id = socket.id().to_owned();
            let waits = Waits::Many { socket: id.clone(), answers: answers.clone(), bytes: bytes.clone() };
            asked.push(id);
            if let Some(id) = socket.0.expect(waits) {
                let packet =
                    Packet::Event { namespace: socket.0.namespace.clone(), id: Some(id), arguments: arguments.clone() };
                if self.say_in_turn(at, packet).is_err() {
                    // Nor will it answer.
                    socket.0.took(id);
                }
            }
        }
        asked
    }

    /// The sockets here that are meant.
    fn sockets_of(&mut self, selection: &Selection) -> Vec<(Ticket, Socket)> {
        self.selected(selection).into_iter().filter_map(|at| Some((at, self.socket_at(at)?))).collect()
    }
}

impl SocketState {
    /// The number of an ack that somebody waits for from now on; none, if the socket owes too many.
    fn expect(&self, waits: Waits) -> Option<u64> {
        let id = self.next_ack.get();
        let mut acks = self.acks.borrow_mut();
        let acks = acks.get_or_insert_default();
        acks.retain(|_, waits| !waits.is_given_up());
        if acks.len() >= ACKS_MAX {
            return None;
        }
        acks.insert(id, waits);
        self.next_ack.set(id + 1);
        Some(id)
    }

    /// The one who waits for an ack, if any does.
    pub(crate) fn took(&self, id: u64) -> Option<Waits> {
        let mut acks = self.acks.borrow_mut();
        let waits = acks.as_mut()?.remove(&id);
        if acks.as_ref().is_some_and(|acks| acks.is_empty()) {
            *acks = None;
        }
        waits
    }
}

impl Waits {
    /// The client has answered.
    pub(crate) fn answer(self, answer: Arguments) {
        match self {
            Self::One(waits) => drop(waits.send(answer)),
            Self::Many { socket, answers, bytes } => {
                let parts: usize = answer.attachments().iter().map(|part| part.len()).sum();
                let size = answer.json().len() + parts + 64;
                if bytes.fetch_add(size, Ordering::Relaxed) + size <= ANSWERS_MAX {
                    drop(answers.send((socket, answer)));
                }
            }
        }
    }

    fn is_given_up(&self) -> bool {
        match self {
            Self::One(waits) => waits.is_closed(),
            Self::Many { answers, .. } => answers.is_closed(),
        }
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the client has not acknowledged in time",
            Self::Disconnected => "the client has gone",
            Self::Full => "more waits for the client than may wait",
        })
    }
}

impl std::error::Error for AckError {}
