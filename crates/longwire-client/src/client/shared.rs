//! What a client's task and its users share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longwire_protocol::{Reply, Subscribe};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::feed::Feed;
use super::slept::Slept;
use crate::error::Error;
use crate::session::{Failure, Request, RequestId, Session, State, Stopped, SubscriptionId};

pub(super) struct Shared {
    core: Mutex<Core>,
    start: Instant,
    slept: Slept,
    /// Wakes the task: the user wants something, or has room again.
    pub(super) changed: Notify,
    /// Wakes those who wait until the session takes another request, one for each that is answered.
    pub(super) room: Notify,
    pub(super) state: watch::Sender<State>,
}

/// Locked for moments only, never while waiting.
pub(super) struct Core {
    pub(super) session: Session,
    pub(super) answers: BTreeMap<RequestId, AnswerTo>,
    pub(super) feeds: BTreeMap<SubscriptionId, Arc<Feed>>,
    /// Streams that this client produces.
    pub(super) streams: BTreeMap<StreamKey, watch::Sender<Progress>>,
    /// Why the last line could not be opened.
    pub(super) trouble: Option<String>,
    /// Why there will be no other line.
    pub(super) stopped: Option<Stopped>,
}

/// Channel, and offset of the beginning.
pub(super) type StreamKey = (Arc<str>, u64);
pub(super) type Answer = Result<Reply, Failure>;

/// Who gets an answer.
pub(super) enum AnswerTo {
    /// One who waits for it.
    Asker(oneshot::Sender<Answer>),
    /// The producer of a stream that begins with it; it gets the stream's progress too.
    Beginner(oneshot::Sender<(Answer, Option<watch::Receiver<Progress>>)>),
    /// The producer of a stream, at its next call.
    Producer(StreamKey),
}

/// What a producer is told about its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Someone wants it to stop.
    pub(super) cancel: bool,
    /// A piece was not taken.
    pub(super) failure: Option<Failure>,
}

/// Ends the client when the last handle to it goes.
pub(super) struct Handle(pub(super) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.core().session.close();
        self.0.changed.notify_one();
    }
}

impl Shared {
    pub(super) fn new(mut session: Session) -> Self {
        session.start(Duration::ZERO);
        let core = Core {
            session,
            answers: BTreeMap::new(),
            feeds: BTreeMap::new(),
            streams: BTreeMap::new(),
            trouble: None,
            stopped: None,
        };
        Self {
            core: Mutex::new(core),
            start: Instant::now(),
            slept: Slept::default(),
            changed: Notify::new(),
            room: Notify::new(),
            state: watch::Sender::new(State::Connecting),
        }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's time: it goes on while the machine sleeps, as the server's does.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed() + self.slept.time()
    }

    /// The moment of the session's time.
    pub(super) fn at(&self, time: Duration) -> Instant {
        self.start + time.saturating_sub(self.slept.time())
    }

    pub(super) fn error(&self, failure: Failure) -> Error {
        Error::from_failure(failure, || match &*self.state.borrow() {
            State::Stopped(why) => why.clone(),
            _ => Stopped::ByUser,
        })
    }

    pub(super) fn subscribe(&self, wants: Subscribe) -> Result<(SubscriptionId, Arc<Feed>), Error> {
        let feed = Arc::new(Feed::new(wants.since, wants.state));
        let mut core = self.core();
        if core.session.is_stopped() {
            return Err(self.error(Failure::Stopped));
        }
        let id = core.session.subscribe(wants).map_err(Error::Refused)?;
        core.feeds.insert(id, feed.clone());
        drop(core);
        self.changed.notify_one();
        Ok((id, feed))
    }

    pub(super) fn unsubscribe(&self, id: SubscriptionId) {
        let mut core = self.core();
        core.session.unsubscribe(id);
        core.feeds.remove(&id);
        drop(core);
        self.changed.notify_one();
    }

    /// Asks, once there is room for it.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Error> {
        let (asker, answer) = oneshot::channel();
        self.submit(request, AnswerTo::Asker(asker)).await?;
        answer.await.unwrap_or(Err(Failure::Stopped)).map_err(|failure| self.error(failure))
    }

    /// Hands a request over, once there is room for it.
    pub(super) async fn submit(&self, request: Request, to: AnswerTo) -> Result<(), Error> {
        loop {
            let room = self.room.notified();
            {
                let mut core = self.core();
                if core.session.has_room() || core.session.is_stopped() {
                    let id = core.session.request(request).map_err(|failure| self.error(failure))?;
                    core.answers.insert(id, to);
                    if core.session.has_room() {
                        self.room.notify_one();
                    }
                    break;
                }
            }
            room.await;
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Hands a request over if there is room; nobody waits for its answer.
    pub(super) fn try_submit(&self, request: Request) {
        let _ = self.core().session.request(request);
        self.changed.notify_one();
    }
}
