//! Requests that wait for their answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Action, Append, Command, Data, History, Publish, SessionId};

use super::output::{Failure, Output, RequestId};

/// What a user asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Publish. Unless it is ephemeral, it waits for a line, and is sent again after a lost one.
    Publish(Publish),
    /// Append to a stream. With `at` it is sent again after a lost line.
    Append(Append),
    /// Ask a producer to stop.
    Cancel {
        /// Where the stream is.
        channel: Arc<str>,
        /// The offset of its beginning.
        stream: u64,
    },
    /// Look at what was.
    History(History),
    /// Look at who is there.
    Presence {
        /// The channel.
        channel: Arc<str>,
        /// At most so many.
        limit: Option<u32>,
        /// Continue after this session.
        after: Option<SessionId>,
    },
    /// Look at the keys.
    State {
        /// The channel.
        channel: Arc<str>,
        /// At most so many.
        limit: Option<u32>,
        /// Continue after this key.
        after: Option<Box<str>>,
    },
}

impl Request {
    /// Whether it is only for now, and never sent twice.
    pub(super) fn is_ephemeral(&self) -> bool {
        matches!(self, Self::Publish(publish) if publish.ephemeral)
    }

    /// About how many bytes it keeps.
    pub(super) fn cost(&self) -> usize {
        const OVERHEAD: usize = 128;
        let len = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        OVERHEAD
            + match self {
                Self::Publish(publish) => {
                    let tags = publish.tags.iter().flat_map(|tags| tags.iter());
                    publish.channel.len()
                        + publish.data.as_ref().map_or(0, |data: &Data| data.as_bytes().len())
                        + len(&publish.event)
                        + len(&publish.key)
                        + len(&publish.once)
                        + tags.map(|(name, value)| name.len() + value.len()).sum::<usize>()
                }
                Self::Append(append) => append.channel.len() + len(&append.data) + len(&append.reason),
                Self::State { channel, after, .. } => channel.len() + len(after),
                Self::Cancel { channel, .. } | Self::Presence { channel, .. } => channel.len(),
                Self::History(history) => history.channel.len(),
            }
    }

    pub(super) fn into_action(self) -> Action {
        match self {
            Self::Publish(publish) => Action::Publish(publish),
            Self::Append(append) => Action::Append(append),
            Self::Cancel { channel, stream } => Action::Cancel { channel, stream },
            Self::History(history) => Action::History(history),
            Self::Presence { channel, limit, after } => Action::Presence { channel, limit, after },
            Self::State { channel, limit, after } => Action::State { channel, limit, after },
        }
    }
}

/// In the order in which they were made; the first `sent` of them are on the line.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: VecDeque<Waiting>,
    sent: usize,
    bytes: usize,
    made: u64,
}

#[derive(Debug)]
struct Waiting {
    id: RequestId,
    command: Command,
    cost: usize,
    /// When it was first on a line, and how old it was then, as the user has it.
    first_sent: Option<Duration>,
    age: u64,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one that keeps about `cost` bytes.
    pub(super) fn push(&mut self, action: Action, cost: usize) -> RequestId {
        self.made += 1;
        let id = RequestId(self.made);
        self.bytes += cost;
        let age = if let Action::Publish(publish) = &action { publish.age } else { 0 };
        let command = Command { id: None, action };
        self.waiting.push_back(Waiting { id, command, cost, first_sent: None, age });
        id
    }

    /// The next that is not on the line. A publication that was on another says how long ago, so that the server knows whether it would
    /// still know it.
    pub(super) fn next_to_send(&mut self, now: Duration) -> Option<&mut Command> {
        let waiting = self.waiting.get_mut(self.sent)?;
        if let (Some(sent), Action::Publish(publish)) = (waiting.first_sent, &mut waiting.command.action)
            && publish.once.is_some()
        {
            let since = now.saturating_sub(sent).as_nanos().div_ceil(1_000_000);
            publish.age = waiting.age.saturating_add(u64::try_from(since).unwrap_or(u64::MAX));
        }
        Some(&mut waiting.command)
    }

    /// It is on the line now.
    pub(super) fn sent(&mut self, now: Duration) {
        self.waiting[self.sent].first_sent.get_or_insert(now);
        self.sent += 1;
    }

    /// It can never be sent.
    pub(super) fn unsendable(&mut self, max: usize, outputs: &mut VecDeque<Output>) {
        if let Some(waiting) = self.waiting.remove(self.sent) {
            self.bytes -= waiting.cost;
            outputs.push_back(Output::Answer(waiting.id, Err(Failure::TooLarge(max))));
        }
    }

    /// The oldest on the line, which is the one that an answer belongs to.
    pub(super) fn oldest(&self) -> Option<&Action> {
        self.waiting.front().filter(|_| self.sent > 0).map(|waiting| &waiting.command.action)
    }

    /// The oldest on the line is answered.
    pub(super) fn answered(&mut self) -> Option<RequestId> {
        self.sent = self.sent.checked_sub(1)?;
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.cost;
        Some(waiting.id)
    }

    /// The line is lost: what can be sent again waits for the next one.
    pub(super) fn line_lost(&mut self, outputs: &mut VecDeque<Output>) {
        let on_line = std::mem::take(&mut self.sent);
        let mut at = 0;
        self.keep(outputs, &Failure::Unknown, |waiting| {
            at += 1;
            at > on_line || may_repeat(&waiting.command.action)
        });
    }

    /// There is a line again: what was sent too long ago may be unknown to the server's memory of what it has published.
    pub(super) fn line_opened(&mut self, now: Duration, replay_within: Duration, outputs: &mut VecDeque<Output>) {
        self.keep(outputs, &Failure::Unknown, |waiting| {
            let late = waiting.first_sent.is_some_and(|sent| now.saturating_sub(sent) > replay_within);
            !(late && matches!(waiting.command.action, Action::Publish(_)))
        });
    }

    /// There will be no line.
    pub(super) fn stop(&mut self, outputs: &mut VecDeque<Output>) {
        self.sent = 0;
        self.keep(outputs, &Failure::Stopped, |_| false);
    }

    fn keep(&mut self, outputs: &mut VecDeque<Output>, failure: &Failure, mut keep: impl FnMut(&Waiting) -> bool) {
        let bytes = &mut self.bytes;
        self.waiting.retain(|waiting| {
            let keep = keep(waiting);
            if !keep {
                *bytes -= waiting.cost;
                outputs.push_back(Output::Answer(waiting.id, Err(failure.clone())));
            }
            keep
        });
    }

    /// # Panics
    /// If the accounts are wrong.
    pub(super) fn check(&self, on_line: usize) {
        assert_eq!(self.sent, on_line, "requests on the line");
        assert!(self.sent <= self.waiting.len());
        assert_eq!(self.bytes, self.waiting.iter().map(|waiting| waiting.cost).sum::<usize>(), "bytes of requests");
        assert!(self.waiting.iter().zip(self.waiting.iter().skip(1)).all(|(a, b)| a.id < b.id), "order of requests");
    }
}

/// Whether doing it twice is the same as doing it once.
fn may_repeat(action: &Action) -> bool {
    match action {
        Action::Publish(publish) => publish.once.is_some() && !publish.ephemeral,
        Action::Append(append) => append.at.is_some(),
        _ => true,
    }
}
