//! Events between a client's task and the user of a subscription.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longwire_protocol::Position;
use tokio::sync::Notify;

use crate::session::Event;

/// Events that wait for one user. From [`FULL`](Self::FULL) on the task takes no more of them in, so that there are never more than
/// that and what one message of the line brings.
#[derive(Debug)]
pub(super) struct Feed {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    ended: bool,
    /// The task waits until half of it is free.
    full: bool,
    /// How far the user has come.
    position: Option<Position>,
    wants_state: bool,
    /// Where a snapshot of the keys belongs, of which some are still to come.
    snapshot: Option<Position>,
}

impl Feed {
    pub(super) const FULL: usize = 256;

    pub(super) fn new(position: Option<Position>, wants_state: bool) -> Self {
        Self { waiting: Mutex::new(Waiting { position, wants_state, ..Waiting::default() }), arrived: Notify::new() }
    }

    /// Says whether it is full now.
    pub(super) fn push(&self, event: Event) -> bool {
        let mut waiting = self.lock();
        waiting.ended |= matches!(event, Event::Ended(_));
        waiting.events.push_back(event);
        waiting.full |= waiting.events.len() >= Self::FULL;
        let full = waiting.full;
        drop(waiting);
        self.arrived.notify_one();
        full
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.arrived.notify_one();
    }

    pub(super) fn is_full(&self) -> bool {
        self.lock().full
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.lock().position
    }

    /// The next event, and whether there is room again since.
    pub(super) async fn next(&self) -> Option<(Event, bool)> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(event) = waiting.events.pop_front() {
                    let room = waiting.full && waiting.events.len() <= Self::FULL / 2;
                    waiting.full &= !room;
                    waiting.passed(&event);
                    return Some((event, room));
                }
                if waiting.ended {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The user has got this one.
    fn passed(&mut self, event: &Event) {
        match event {
            // Whoever begins again from here is to get the whole snapshot, so that it counts from its end.
            Event::Subscribed(now) | Event::Missed(_, now) if self.wants_state && now.options.state => {
                self.snapshot = Some(now.position);
            }
            Event::Subscribed(now) | Event::Missed(_, now) => self.position = Some(now.position),
            Event::State { done: true, .. } => self.position = self.snapshot.take(),
            Event::Publication(publication) if publication.offset > 0 => self.advance(publication.offset),
            Event::Append(piece) => self.advance(piece.offset),
            Event::Gap(offset) => self.advance(*offset),
            _ => {}
        }
    }

    fn advance(&mut self, offset: u64) {
        if let Some(position) = &mut self.position {
            position.offset = offset;
        }
    }
}
