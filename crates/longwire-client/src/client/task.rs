//! The task of a client: between the session, its line and its users.

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use longwire_protocol::{Form, Reply};
use longwire_ws::CloseCode;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::builder::TokenSource;
use super::shared::{AnswerTo, Core, Progress, Shared, StreamKey};
use crate::error::{End, Error};
use crate::session::{Failure, Output, RequestId, State, Stopped, SubscriptionId};
use crate::websocket::{Waited, WebSocket, WebSocketBuilder};
use crate::{Message, session::Event};

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) opening: WebSocketBuilder,
    pub(super) tokens: Option<TokenSource>,
    pub(super) line: Line,
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

/// The line as the task has it.
pub(super) enum Line {
    None,
    Opening(Pin<Box<dyn Future<Output = Result<WebSocket, Error>> + Send>>),
    Open(WebSocket, Form),
}

/// What has happened to a line.
enum Happened {
    Opened(WebSocket, Form),
    NotOpened(Error),
    Message(Message),
    Lost(Option<u16>),
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
                token = maybe(&mut self.token) => {
                    self.token = None;
                    self.shared.core().session.token(self.shared.now(), token);
                }
                () = shared.changed.notified() => {}
                () = async { match wake { Some(wake) => sleep_until(wake).await, None => pending().await } } => {}
            }
        }
        if let Line::Open(line, _) = std::mem::replace(&mut self.line, Line::None) {
            line.close(CloseCode::NORMAL, "").await;
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
            Happened::Opened(line, form) => {
                core.trouble = None;
                core.session.line_opened(now, form);
                drop(core);
                self.line = Line::Open(line, form);
            }
            Happened::Message(message) => core.session.line_message(now, message.as_bytes()),
            Happened::NotOpened(error) => {
                core.trouble = Some(error.to_string());
                core.session.line_lost(now, None);
                drop(core);
                self.line = Line::None;
            }
            Happened::Lost(code) => {
                core.session.line_lost(now, code);
                drop(core);
                self.line = Line::None;
            }
            Happened::Room => {}
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
                Output::Open => self.line = Line::open(self.opening.clone()),
                // A stopped client closes its line at the end of the task.
                Output::Close(_) if core.session.is_stopped() => {}
                Output::Close(code) => self.close(code),
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

    fn close(&mut self, code: u16) {
        if let (Line::Open(line, _), Some(code)) = (std::mem::replace(&mut self.line, Line::None), CloseCode::new(code)) {
            tokio::spawn(line.close(code, ""));
        }
    }

    /// As much as the line takes.
    fn transmit(&mut self) {
        self.crowded = false;
        let Line::Open(line, form) = &self.line else { return };
        loop {
            let mut core = self.shared.core();
            let Some(place) = line.try_reserve() else {
                self.crowded = true;
                return;
            };
            let Some(bytes) = core.session.transmit(self.shared.now()) else { break };
            drop(core);
            place.send(match form {
                Form::Json => String::from_utf8(bytes).unwrap_or_default().into(),
                Form::Binary => bytes.into(),
            });
        }
    }
}

impl Line {
    fn open(builder: WebSocketBuilder) -> Self {
        Self::Opening(Box::pin(builder.connect()))
    }

    /// What happens next. Cancelling it loses nothing.
    async fn next(&mut self, reads: bool, crowded: bool) -> Happened {
        match self {
            Self::None => pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(line) => match Form::from_subprotocol(line.established().subprotocol.as_deref()) {
                    Some(form) => Happened::Opened(line, form),
                    None => Happened::NotOpened(Error::Closed),
                },
                Err(error) => Happened::NotOpened(error),
            },
            Self::Open(line, _) => match line.wait(reads, crowded).await {
                Waited::Message(message) => Happened::Message(message),
                Waited::Room => Happened::Room,
                Waited::Ended => Happened::Lost(match line.end() {
                    Some(End::Closed(frame)) => frame.map(|frame| frame.code.value()),
                    _ => None,
                }),
            },
        }
    }
}

impl Core {
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
