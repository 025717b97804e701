//! What handlers do is heard in their order.
//!
//! What a socket's handlers do is one sequence of steps, whomever a step is for: emitting, acknowledging, joining, leaving, putting out.
//! A publication goes to the home of its channel, and its answer comes back behind its delivery. So when the answer to the last
//! publication before a step is here, all who were to hear it have it before them, and the step is done, in that very place among the
//! deliveries. Publications do not wait for each other, as they all go to one home, which the channels of a namespace share; only
//! where rooms are channels with homes of their own do they wait when the home changes. What changes who hears what is a *fence*: it
//! is done before anything after it is published.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use longwire_core::broker::{Request, Ticket as BrokerTicket};

use super::{QUEUE_MAX, Sent};
use crate::codes;
use crate::node::Flight;
use crate::shard::line::Pauses;
use crate::shard::slab::Key;
use crate::shard::{Act, Shard};
use crate::socketio::{EmitError, Left as Future, Socket, Ticket};

/// In the shard of a ticket: a socket has published this, and its id is about the socket's key.
pub(crate) const PUBLISHED: u16 = 1 << 15;

/// The socket that waits for an answer.
pub(crate) fn published_by(ticket: BrokerTicket) -> Key {
    Key::from_bits(ticket.id.wrapping_sub(1) as usize)
}

/// The steps of one socket's handlers.
#[derive(Default)]
pub(super) struct Sequence {
    /// How many publications are among them, and how many of those are answered. Both go round.
    begun: u32,
    done: u32,
    /// The home of the newest.
    home: u16,
    /// Of a socket that is written down: how many of the things that change it were begun, how many are done, and how many of those are on
    /// the disk. They go round.
    begun_acts: u16,
    done_acts: u16,
    kept_acts: u16,
    /// Those that wait.
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    steps: VecDeque<Next>,
    fences: usize,
    /// About.
    bytes: usize,
}

struct Next {
    step: Step,
    /// How many publications were begun before it.
    behind: u32,
    is_fence: bool,
    /// And how many acts, once it is the first.
    acts: Option<u16>,
}

/// Something that a handler does.
pub(crate) enum Step {
    /// Says something to one client alone.
    Send(Ticket, Sent),
    Publish(Request, Arc<Flight>),
    /// Does something on all shards, in its place among what happens in this channel.
    Act(Arc<str>, Act),
    Join(Ticket, Arc<str>),
    Leave(Ticket, Arc<str>),
    /// Puts a socket out of its namespace.
    PutOut(Ticket),
    /// Closes its whole connection.
    Close(Ticket),
}

impl Step {
    /// The socket that it is for, if it is for one.
    fn target(&self) -> Option<Ticket> {
        match self {
            Self::Send(at, _) | Self::Join(at, _) | Self::Leave(at, _) | Self::PutOut(at) | Self::Close(at) => Some(*at),
            Self::Publish(..) | Self::Act(..) => None,
        }
    }

    /// Whether it is for this socket alone.
    pub(super) fn is_for(&self, at: Ticket) -> bool {
        self.target() == Some(at)
    }

    /// The channel by whose home it goes, if it goes by one.
    fn channel(&self) -> Option<&Arc<str>> {
        match self {
            Self::Publish(request, _) => Some(&request.channel),
            Self::Act(channel, _) => Some(channel),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        let sent = match self {
            Self::Send(_, sent) => sent.bytes(),
            // What is to be published is counted as under way.
            _ => 0,
        };
        size_of::<Next>() + sent
    }
}

impl Sequence {
    /// Whether so much waits that the client is not to say more.
    pub(super) fn is_long(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.steps.len() > QUEUE_MAX)
    }

    /// Takes what waits.
    pub(super) fn take_rest(&mut self) -> impl Iterator<Item = Step> + use<> {
        self.rest.take().into_iter().flat_map(|rest| rest.steps).map(|next| next.step)
    }

    /// What waits, from first to last.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Step> {
        self.rest.iter().flat_map(|rest| &rest.steps).map(|next| &next.step)
    }

    /// Something that changes the socket was begun.
    pub(super) fn begin_act(&mut self) {
        self.begun_acts = self.begun_acts.wrapping_add(1);
    }

    /// The oldest of those is done.
    pub(super) fn act_is_done(&mut self) {
        if self.done_acts != self.begun_acts {
            self.done_acts = self.done_acts.wrapping_add(1);
        }
    }

    pub(super) fn acts_are_done(&self) -> bool {
        self.begun_acts == self.done_acts
    }

    pub(super) fn done_acts(&self) -> u16 {
        self.done_acts
    }

    pub(super) fn acts_are_kept(&mut self, acts: u16) {
        self.kept_acts = acts;
    }

    /// Whether all that changed it is on the disk.
    pub(super) fn is_kept(&self) -> bool {
        self.begun_acts == self.kept_acts
    }

    /// The next step, if its turn has come.
    fn next(&mut self) -> Option<Step> {
        let rest = self.rest.as_mut()?;
        let Some(Next { step, behind, is_fence, acts }) = rest.steps.front_mut() else {
            self.rest = None;
            return None;
        };
        if let Step::Send(..) = step {
            let acts = *acts.get_or_insert(self.begun_acts);
            if acts.wrapping_sub(self.kept_acts) as i16 > 0 {
                return None;
            }
        }
        // What goes to a home is in order there.
        let waits = *is_fence || step.channel().is_none();
        if waits && behind.wrapping_sub(self.done) as i32 > 0 {
            return None;
        }
        let Next { step, is_fence, .. } = rest.steps.pop_front()?;
        rest.fences -= usize::from(is_fence);
        rest.bytes -= step.bytes();
        Some(step)
    }
}

impl Shard {
    /// Does something in its turn: behind all that the handlers of the socket that does it, or else of the socket that it is for, have
    /// done before.
    ///
    /// # Errors
    /// More waits for its turn than may wait for a client. It is not done.
    pub(crate) fn step(&mut self, by: Option<Ticket>, step: Step) -> Result<(), EmitError> {
        let by = by.filter(|by| self.entry(*by).is_some()).or(step.target());
        let home = step.channel().map(|channel| self.core.node.home(channel) as u16);
        let most = self.core.burst_bytes();
        let keeps = self.core.places.keep();
        let Some((by, entry)) = by.and_then(|by| Some((by, self.entry(by)?))) else {
            return self.do_step(None, step);
        };
        let sequence = &mut entry.sequence;
        // What is said behind something that changes the socket waits for the disk, and what is published behind that for it.
        let is_answer = keeps && matches!(step, Step::Send(..));
        let is_unkept = is_answer && !sequence.is_kept();
        let is_fence = match home {
            Some(home) => home != sequence.home && sequence.begun != sequence.done,
            None if is_answer => is_unkept || sequence.rest.as_ref().is_some_and(|rest| rest.fences > 0),
            None => !matches!(step, Step::Send(..)),
        };
        let waits = match &sequence.rest {
            Some(rest) => home.is_none() || is_fence || rest.fences > 0,
            None => is_unkept || sequence.begun != sequence.done && (home.is_none() || is_fence),
        };
        let bytes = sequence.rest.as_ref().map_or(0, |rest| rest.bytes);
        if waits && bytes > most {
            return Err(EmitError::Full);
        }
        let behind = sequence.begun;
        if matches!(step, Step::Publish(..)) {
            sequence.begun = behind.wrapping_add(1);
        }
        sequence.home = home.unwrap_or(sequence.home);
        if !waits {
            return self.do_step(Some(by), step);
        }
        let rest = sequence.rest.get_or_insert_default();
        rest.fences += usize::from(is_fence);
        rest.bytes += step.bytes();
        rest.steps.push_back(Next { step, behind, is_fence, acts: None });
        if sequence.is_long()
            && let Some(line) = self.lines.get_mut(by.connection)
        {
            line.out.paused.add(Pauses::SOCKETS);
        }
        Ok(())
    }

    /// What a socket has published is in its channel, and delivered here.
    pub(in crate::shard) fn socket_published(&mut self, line: Key) {
        let by = Ticket { connection: self.connection_of(line), line };
        let Some(entry) = self.entry(by) else { return };
        let sequence = &mut entry.sequence;
        if sequence.begun != sequence.done {
            sequence.done = sequence.done.wrapping_add(1);
        }
        self.go_on(by);
    }

    /// Does the steps of a socket whose turn has come.
    pub(super) fn go_on(&mut self, by: Ticket) {
        if self.entry(by).is_none_or(|entry| entry.sequence.rest.is_none()) {
            return;
        }
        while let Some(step) = self.entry(by).and_then(|entry| entry.sequence.next()) {
            self.do_late_step(Some(by), step);
        }
        self.resume_client(by.connection);
    }

    /// It is the turn of a step that had to wait for it. Nobody can be told any more that there is no room: its client is slow.
    pub(super) fn do_late_step(&mut self, by: Option<Ticket>, step: Step) {
        let target = step.target();
        if self.do_step(by, step).is_err()
            && let Some(at) = target
        {
            self.close(at.connection, codes::SLOW_READER, codes::reason(codes::SLOW_READER));
        }
    }

    /// It is the turn of a step.
    pub(super) fn do_step(&mut self, by: Option<Ticket>, step: Step) -> Result<(), EmitError> {
        if let Some(target) = step.target()
            && by != Some(target)
            && self.entry(target).is_some()
        {
            // It is behind what its own handlers have done, too.
            return self.step(Some(target), step);
        }
        match step {
            Step::Send(at, sent) => self.send_to_socket(at, &sent)?,
            Step::Publish(mut request, flight) => {
                if let Some(by) = by {
                    let id = (by.line.to_bits() as u64).wrapping_add(1);
                    request.ticket = BrokerTicket { shard: self.core.index as u16 | PUBLISHED, id };
                }
                let (node, index) = (self.core.node.clone(), self.core.index);
                node.post(index, &mut self.core.channels.inbox, request, Some(flight));
            }
            Step::Act(channel, act) => {
                let (node, index) = (self.core.node.clone(), self.core.index);
                node.post_act(index, &mut self.core.channels.inbox, channel, act);
            }
            Step::Join(at, channel) => self.enter_room(at, &channel),
            Step::Leave(at, channel) => self.exit_room(at, &channel),
            Step::PutOut(at) => self.put_out(at),
            Step::Close(at) => self.close_connection(at),
        }
        self.wake_driver();
        Ok(())
    }
}

thread_local! {
    static AT_WORK: Cell<Option<Ticket>> = const { Cell::new(None) };
}

/// The socket whose handler is at work on this thread, if one is.
pub(crate) fn at_work() -> Option<Ticket> {
    AT_WORK.get()
}

/// Has what a handler does be known as done by its socket.
pub(super) fn by(socket: &Socket, handler: impl FnOnce() -> Option<Future>) -> Option<Future> {
    let ticket = socket.0.ticket.get();
    let left = within(ticket, handler)?;
    Some(Box::pin(By { ticket, left }))
}

/// What an async handler has left to do.
struct By {
    ticket: Option<Ticket>,
    left: Future,
}

impl std::future::Future for By {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        within(self.ticket, || self.left.as_mut().poll(cx))
    }
}

fn within<T>(ticket: Option<Ticket>, act: impl FnOnce() -> T) -> T {
    /// Puts the one before back, even after a panic.
    struct Before(Option<Ticket>);
    impl Drop for Before {
        fn drop(&mut self) {
            AT_WORK.set(self.0);
        }
    }
    let _before = Before(AT_WORK.replace(ticket));
    act()
}
