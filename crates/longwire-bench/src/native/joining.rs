//! Sessions: connected, and subscribed to one channel, as soon as their lines are open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longwire_protocol::{Action, Command, Connect, Message, Position, Reply, SessionId, Subscribe};

use super::Speech;
use crate::Error;
use crate::line::Receiver;
use crate::lines::Lines;

/// The ids of the two commands.
const CONNECT: u32 = 1;
const SUBSCRIBE: u32 = 2;

/// What one line is to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The channel to subscribe to.
    pub(crate) channel: Option<Arc<str>>,
    /// The session to take up again, and where it was in the channel.
    pub(crate) back: Option<(SessionId, String, Position)>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) session: SessionId,
    pub(crate) key: String,
    /// The session was taken up again.
    pub(crate) resumed: bool,
    /// What follows comes after this; none without a channel.
    pub(crate) position: Option<Position>,
    /// Whether all that was missed follows.
    pub(crate) recovered: bool,
}

/// Joins lines that are numbered one after the other. What comes behind the last reply on a line is not its business.
#[derive(Debug)]
pub(crate) struct Joining {
    speech: Speech,
    /// The first line.
    first: usize,
    lines: Vec<(Plan, Stage)>,
    /// How many have not joined yet.
    left: usize,
    failure: Option<Error>,
}

#[derive(Debug)]
enum Stage {
    Silent,
    Asked,
    Connected(Joined),
    Joined(Joined),
}

impl Joining {
    /// For the lines from `first` on, one for each plan.
    pub(crate) fn new(speech: Speech, first: usize, plans: impl IntoIterator<Item = Plan>) -> Joining {
        let lines: Vec<_> = plans.into_iter().map(|plan| (plan, Stage::Silent)).collect();
        Joining { speech, first, left: lines.len(), lines, failure: None }
    }

    /// Waits until all have joined.
    pub(crate) fn finish(mut self, lines: &mut Lines, timeout: Duration) -> Result<Vec<Joined>, Error> {
        let began = Instant::now();
        while !self.is_done()? {
            if lines.stop_requested() {
                return Err(Error::Interrupted);
            }
            if began.elapsed() > timeout {
                return Err(self.late());
            }
            lines.turn(Duration::from_millis(20), &mut self)?;
        }
        Ok(self.into_joined())
    }

    /// Whether all have joined.
    pub(crate) fn is_done(&mut self) -> Result<bool, Error> {
        self.failure.take().map_or(Ok(self.left == 0), Err)
    }

    /// The error for when they do not all join in time.
    pub(crate) fn late(&self) -> Error {
        Error::NotJoined(format!("{} sessions were not connected and subscribed in time", self.left))
    }

    /// Those that have joined, in order.
    pub(crate) fn into_joined(self) -> Vec<Joined> {
        let joined = |stage| if let Stage::Joined(joined) = stage { Some(joined) } else { None };
        self.lines.into_iter().filter_map(|(_, stage)| joined(stage)).collect()
    }

    /// Takes the replies off the front of what came on a line. What follows them is left.
    pub(crate) fn hear<'a>(&mut self, line: usize, mut payload: &'a [u8]) -> &'a [u8] {
        let Some((plan, stage)) = line.checked_sub(self.first).and_then(|number| self.lines.get_mut(number)) else {
            return payload;
        };
        while !matches!(stage, Stage::Joined(_)) {
            let Some(piece) = self.speech.split(&mut payload) else { break };
            let connected = if let Stage::Connected(joined) = stage { Some(joined.clone()) } else { None };
            let joined = match (self.speech.read(piece), connected) {
                (Some(Message::Reply(Some(CONNECT), Reply::Connected(connected))), None) => Joined {
                    session: connected.session,
                    key: connected.key,
                    resumed: connected.resumed,
                    position: None,
                    recovered: false,
                },
                (Some(Message::Reply(Some(SUBSCRIBE), Reply::Subscribed(subscribed))), Some(joined)) => {
                    if !subscribed.options.history {
                        let channel = &subscribed.channel;
                        self.failure = Some(Error::Usage(format!(
                            "channel {channel} keeps no history: give one that does with --channel, and its namespace to the server"
                        )));
                    }
                    let recovered = subscribed.recovered == Some(Ok(()));
                    Joined { position: Some(subscribed.position), recovered, ..joined }
                }
                (Some(Message::Reply(_, Reply::Error(error))), _) => {
                    self.failure = Some(Error::NotJoined(format!("the server refused a session: {error}")));
                    return &[];
                }
                (other, _) => {
                    let said = String::from_utf8_lossy(piece).into_owned();
                    let what = other.map_or("no message of the protocol", |_| "no reply to connect and subscribe");
                    self.failure = Some(Error::NotJoined(format!("the server said {said:?}, {what}")));
                    return &[];
                }
            };
            let is_done = plan.channel.is_none() || joined.position.is_some();
            self.left -= usize::from(is_done);
            *stage = if is_done { Stage::Joined(joined) } else { Stage::Connected(joined) };
        }
        payload
    }

    /// Says on a line that is just open what is to be said.
    pub(crate) fn speak(&mut self, line: usize, out: &mut Vec<u8>) {
        let Some((plan, stage)) = line.checked_sub(self.first).and_then(|number| self.lines.get_mut(number)) else { return };
        if !matches!(stage, Stage::Silent) {
            return;
        }
        *stage = Stage::Asked;
        // A stream was asked with its request.
        if self.speech.is_events() {
            return;
        }
        let (session, key, since) = plan.back.clone().map(|(id, key, at)| (Some(id), Some(key), Some(at))).unwrap_or_default();
        let connect = Action::Connect(Connect { session, key, ..Connect::default() });
        let mut commands = vec![Command { id: Some(CONNECT), action: connect }];
        if let Some(channel) = plan.channel.clone() {
            let subscribe = Subscribe { channel, since, ..Subscribe::default() };
            commands.push(Command { id: Some(SUBSCRIBE), action: Action::Subscribe(subscribe) });
        }
        self.speech.say(&commands, out);
    }

    /// A line that is closed before it has joined ends the attempt.
    pub(crate) fn lost(&mut self, line: usize) {
        let Some((_, stage)) = line.checked_sub(self.first).and_then(|number| self.lines.get(number)) else { return };
        if !matches!(stage, Stage::Joined(_)) {
            let text = "the server closed a line before its session was connected and subscribed: see its log".to_owned();
            self.failure.get_or_insert(Error::NotJoined(text));
        }
    }
}

impl Receiver for Joining {
    fn message(&mut self, line: usize, _now: u64, _binary: bool, payload: &[u8]) {
        self.hear(line, payload);
    }

    fn answer(&mut self, line: usize, _now: u64, out: &mut Vec<u8>) {
        self.speak(line, out);
    }

    fn closed(&mut self, line: usize) {
        self.lost(line);
    }
}
