//! The task of a client: between the session, its line and its users.

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use longwire_protocol::Reply;
use longwire_ws::CloseCode;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::builder::TokenSource;
use super::shared::{AnswerTo, Core, Progress, Shared, StreamKey};
use crate::Message;
use crate::error::Error;
use crate::session::{Climber, Event, Failure, Output, RequestId, State, Stopped, SubscriptionId};
use crate::transport::{Routes, Transport, Wire};
use crate::websocket::Waited;

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) routes: Routes,
    pub(super) tokens: Option<TokenSource>,
    pub(super) line: Line,
    /// To a better transport, beside the line.
    pub(super) climber: Line,
    pub(super) token: Option<Pin<Box<dyn Future<Output = Option<String>> + Send>>>,
    /// Feeds that have no room at the moment, and whether the server was told to stop them.
    pub(super) full: BTreeSet<(SubscriptionId, Aside)>,
    /// The session has more to say than the line takes at the moment.
    pub(super) crowded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aside {
    No,
    Yes,
}

/// A line as the task has it.
pub(super) enum Line {
    None,
    Opening(Transport, Pin<Box<dyn Future<Output = Result<Wire, String>> + Send>>),
    Open(Wire),
}

/// What has happened to a line.
enum Happened {
    Opened(Wire),
    /// Why, for people.
    NotOpened(String),
    Message(Message),
    /// It is alive.
    Heard,
    Lost(Option<u16>, String),
    /// It takes more again.
    Room,
}

impl Task {
    pub(super) async fn run(mut self) {
        loop {
            let stopped = self.turn();
            if stopped {
                break;
            }
            self.transmit();
            let wake = self.shared.core().session.timeout().map(|time| self.shared.at(time));
            let reads = self.full.iter().all(|(_, aside)| *aside == Aside::Yes);
            let (shared, crowded) = (self.shared.clone(), self.crowded);
            tokio::select! {
                happened = self.line.next(reads, crowded) => self.happened(happened),
                happened = self.climber.next(true, false) => self.climbing(happened),
                token = maybe(&mut self.token) => {
                    self.token = None;
                    self.shared.core().session.token(self.shared.now(), token);
                }
                () = shared.changed.notified() => {}
                () = async { match wake { Some(wake) => sleep_until(wake).await, None => pending().await } } => {}
            }
        }
        if let Line::Open(wire) = std::mem::replace(&mut self.line, Line::None) {
            wire.close().await;
        }
        self.shared.core().feeds.values().for_each(|feed| feed.end());
        // Only now, so that whoever waits for the end knows that the line is closed.
        let why = self.shared.core().stopped.clone().unwrap_or(Stopped::ByUser);
        self.shared.state.send_replace(State::Stopped(why));
        self.shared.room.notify_waiters();
    }

    fn happened(&mut self, happened: Happened) {
        let now = self.shared.now();
        let mut core = self.shared.core();
        match happened {
            Happened::Opened(wire) => {
                core.trouble = None;
                core.session.line_opened(now, wire.form());
                drop(core);
                self.line = Line::Open(wire);
            }
            Happened::Message(message) => {
                core.session.line_message(now, message.as_bytes());
                if let (Some(interval), Line::Open(wire)) = (core.session.ping_interval(), &mut self.line) {
                    wire.expect_silence(interval);
                }
            }
            Happened::Heard => core.session.line_heard(now),
            Happened::NotOpened(why) => {
                let transport = core.session.transport();
                core.not_opened(transport, &why);
                core.session.line_lost(now, None);
                drop(core);
                self.line = Line::None;
            }
            Happened::Lost(code, why) => {
                if !core.session.is_connected() {
                    let transport = core.session.transport();
                    core.not_opened(transport, &why);
                }
                core.session.line_lost(now, code);
                drop(core);
                self.line = Line::None;
            }
            Happened::Room => {}
        }
    }

    /// What has happened to the second line.
    fn climbing(&mut self, happened: Happened) {
        let now = self.shared.now();
        let mut core = self.shared.core();
        match happened {
            Happened::Opened(mut wire) => {
                if let Some(connect) = core.session.climber_opened(wire.form())
                    && let Some(place) = wire.try_reserve()
                {
                    place.send(connect);
                }
                drop(core);
                self.climber = Line::Open(wire);
            }
            Happened::Message(message) => {
                if core.session.climber_message(now, message.as_bytes()) {
                    drop(core);
                    // The server ends the first one by itself.
                    self.line = std::mem::replace(&mut self.climber, Line::None);
                }
            }
            Happened::NotOpened(_) | Happened::Lost(..) => {
                core.session.climber_lost(now);
                drop(core);
                self.climber = Line::None;
            }
            Happened::Heard | Happened::Room => {}
        }
    }

    /// Lets the session have its time, and does what it wants; says whether it has stopped.
    fn turn(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut core = shared.core();
        let now = shared.now();
        if self.full.iter().any(|(_, aside)| *aside == Aside::No) {
            core.session.line_held(now);
        }
        core.session.time(now);
        while let Some(output) = core.session.poll() {
            match output {
                Output::Open => self.line = Line::open(core.session.transport(), &self.routes),
                // A stopped client closes its line at the end of the task.
                Output::Close(_) if core.session.is_stopped() => {}
                Output::Close(code) => {
                    if let Line::Opening(transport, _) = self.line {
                        core.not_opened(transport, &Error::Timeout.to_string());
                    }
                    self.line.give_up(code);
                }
                Output::Token => self.token = self.tokens.as_ref().map(|source| source()),
                Output::State(State::Stopped(why)) => core.stopped = Some(why),
                Output::State(state) => {
                    shared.state.send_if_modified(|now| std::mem::replace(now, state.clone()) != state);
                }
                Output::Event(id, event) => self.deliver(&mut core, id, event),
                Output::Answer(id, answer) => {
                    core.answer(id, answer);
                    shared.room.notify_one();
                }
                Output::Cancel { channel, stream } => core.progress(&(channel, stream), |progress| progress.cancel = true),
            }
        }
        while let Some(output) = core.session.poll_climber() {
            match output {
                Climber::Open(transport) => self.climber = Line::open(transport, &self.routes),
                Climber::Close => self.climber.give_up(CloseCode::NORMAL.value()),
            }
        }
        self.make_room(&mut core);
        core.session.is_stopped()
    }

    fn deliver(&mut self, core: &mut Core, id: SubscriptionId, event: Event) {
        let ended = matches!(event, Event::Ended(_));
        let Some(feed) = core.feeds.get(&id) else { return };
        if feed.push(event) && !self.full.contains(&(id, Aside::Yes)) {
            self.full.insert((id, Aside::No));
        }
        if ended {
            core.feeds.remove(&id);
        }
    }

    /// While a feed is full nothing is read, so that the server notices. But whoever waits for an answer at that moment would wait for
    /// ever, for it stands behind what there is no room for: then the server is to stop the subscription, which is taken up again
    /// from its position.
    fn make_room(&mut self, core: &mut Core) {
        for (id, aside) in std::mem::take(&mut self.full) {
            let Some(feed) = core.feeds.get(&id) else { continue };
            match (feed.is_full(), aside) {
                (false, Aside::Yes) => core.session.take_up(id),
                (false, Aside::No) => {}
                (true, Aside::No) if core.session.awaits_answers() => {
                    core.session.set_aside(id);
                    self.full.insert((id, Aside::Yes));
                }
                (true, _) => drop(self.full.insert((id, aside))),
            }
        }
    }

    /// As much as the line takes.
    fn transmit(&mut self) {
        self.crowded = false;
        let Line::Open(wire) = &mut self.line else { return };
        loop {
            let mut core = self.shared.core();
            let Some(place) = wire.try_reserve() else {
                self.crowded = true;
                return;
            };
            let Some(bytes) = core.session.transmit(self.shared.now()) else { break };
            drop(core);
            place.send(bytes);
        }
    }
}

impl Line {
    fn open(transport: Transport, routes: &Routes) -> Self {
        Self::Opening(transport, Box::pin(Wire::open(transport, routes.clone())))
    }

    /// Closes it, or stops opening it.
    fn give_up(&mut self, code: u16) {
        if let (Self::Open(wire), Some(code)) = (std::mem::replace(self, Self::None), CloseCode::new(code)) {
            wire.give_up(code);
        }
    }

    /// What happens next. Cancelling it loses nothing.
    async fn next(&mut self, reads: bool, crowded: bool) -> Happened {
        match self {
            Self::None => pending().await,
            Self::Opening(_, opening) => opening.await.map_or_else(Happened::NotOpened, Happened::Opened),
            Self::Open(wire) => match wire.wait(reads, crowded).await {
                Waited::Message(message) => Happened::Message(message),
                Waited::Heard => Happened::Heard,
                Waited::Room => Happened::Room,
                Waited::Ended => {
                    let (code, why) = wire.end();
                    Happened::Lost(code, why)
                }
            },
        }
    }
}

impl Core {
    /// The line could not be opened, or was of no use.
    fn not_opened(&mut self, transport: Transport, why: &str) {
        self.trouble = Some(match transport {
            Transport::WebSocket => why.to_owned(),
            other => format!("{other}: {why}"),
        });
    }

    fn answer(&mut self, id: RequestId, answer: Result<Reply, Failure>) {
        match self.answers.remove(&id) {
            // Whoever does not wait any more need not be told.
            Some(AnswerTo::Asker(asker)) => drop(asker.send(answer)),
            Some(AnswerTo::Beginner(asker)) => {
                let mut key = None;
                // From now on the producer can be told to stop, even before it knows that it has begun.
                let progress = if let Ok(Reply::Published { channel, position: Some(position), .. }) = &answer {
                    let (sender, receiver) = watch::channel(Progress::default());
                    let stream = (channel.clone(), position.offset);
                    self.streams.insert(stream.clone(), sender);
                    key = Some(stream);
                    Some(receiver)
                } else {
                    None
                };
                if asker.send((answer, progress)).is_err()
                    && let Some(key) = key
                {
                    self.streams.remove(&key);
                }
            }
            Some(AnswerTo::Producer(key)) => self.progress(&key, |progress| match answer {
                Ok(Reply::Appended { cancel, .. }) => progress.cancel |= cancel,
                Ok(_) => {}
                Err(failure) => drop(progress.failure.get_or_insert(failure)),
            }),
            None => {}
        }
    }

    fn progress(&mut self, key: &StreamKey, change: impl FnOnce(&mut Progress)) {
        if let Some(sender) = self.streams.get(key) {
            sender.send_modify(change);
        }
    }
}

async fn maybe<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
