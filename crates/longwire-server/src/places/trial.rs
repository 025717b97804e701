//! Connections for which there is no place. A few are let in all the same, until it is known what they are for: a question about the
//! server's health, its operator, and what somebody asks for whose line is there already, are answered on a full server, too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use longwire_protocol::SessionId;
use tokio::sync::Notify;

/// The most there are at a time, of as many as a sixteenth of the descriptors.
const MOST: usize = 64;

/// How many connections may be on trial beside so many places.
pub(super) fn room(places: usize) -> usize {
    (places / 16).clamp(4, MOST)
}

/// Those there are, in the order of their coming.
#[derive(Debug)]
pub(super) struct Trials {
    room: AtomicUsize,
    open: Mutex<VecDeque<Arc<Trial>>>,
}

/// A connection without a place.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// It has asked for something that is always answered.
    is_useful: AtomicBool,
    /// It is to make room for another.
    over: Notify,
}

impl Trials {
    pub(super) fn new(room: usize) -> Self {
        Self { room: AtomicUsize::new(room), open: Mutex::default() }
    }

    pub(super) fn set_room(&self, room: usize) {
        self.room.store(room, Ordering::Relaxed);
    }

    /// One more. If there are too many the oldest goes that has not said yet what it wants; none is let in if all have.
    pub(super) fn begin(&self) -> Option<Arc<Trial>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= self.room.load(Ordering::Relaxed) {
            let useless = open.iter().position(|trial| !trial.is_useful.load(Ordering::Relaxed))?;
            if let Some(trial) = open.remove(useless) {
                trial.over.notify_one();
            }
        }
        let trial = Arc::new(Trial::default());
        open.push_back(trial.clone());
        Some(trial)
    }

    pub(super) fn end(&self, trial: &Arc<Trial>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| !Arc::ptr_eq(other, trial));
    }
}

impl Trial {
    /// What it has asked for is answered.
    pub(crate) fn is_useful(&self) {
        self.is_useful.store(true, Ordering::Relaxed);
    }

    /// Waits until the place is needed for another.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

/// What is answered on a full server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Always {
    /// Whether the server is well.
    pub(crate) health: Vec<String>,
    /// What the operator asks.
    pub(crate) api: Vec<String>,
    /// Where lines over HTTP are, each below it by its name.
    pub(crate) lines: Vec<String>,
    /// Where Engine.IO is.
    pub(crate) engines: Vec<String>,
}

impl Always {
    /// Whether a request is for one of these.
    pub(crate) fn answers<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        let below = |bases: &[String]| {
            bases.iter().find_map(|base| path.strip_prefix(base.as_str())?.strip_prefix('/').map(str::to_owned))
        };
        let is_engine = || {
            let path = path.trim_end_matches('/');
            self.engines.iter().any(|engine| engine.trim_end_matches('/') == path)
        };
        let has_sid = || {
            let query = request.uri().query().unwrap_or_default();
            let sid = query.split('&').find_map(|member| member.strip_prefix("sid="));
            sid.is_some_and(|sid| SessionId::parse(sid).is_some())
        };
        self.health.iter().any(|health| health == path)
            || below(&self.api).is_some()
            || below(&self.lines).is_some_and(|line| SessionId::parse(&line).is_some())
            || is_engine() && has_sid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_unless_it_is_useful() {
        let trials = Trials::new(2);
        let (first, second) = (trials.begin().unwrap(), trials.begin().unwrap());
        first.is_useful();
        let third = trials.begin().unwrap();
        let open = || trials.open.lock().unwrap().iter().cloned().collect::<Vec<_>>();
        assert!(open().iter().zip([&first, &third]).all(|(open, trial)| Arc::ptr_eq(open, trial)));
        third.is_useful();
        assert!(trials.begin().is_none());
        // One that has made room ends once more, on its own.
        trials.end(&second);
        trials.end(&first);
        assert!(trials.begin().is_some());
        assert_eq!(open().len(), 2);
    }

    #[test]
    fn only_what_cannot_wait_is_always_answered() {
        let of = |path: &str| vec![path.to_owned()];
        let always = Always { health: of("/healthz"), api: of("/api/v1"), lines: of("/v1/http"), engines: of("/socket.io/") };
        let id = SessionId::new(0, [7; 10]);
        for (target, answered) in [
            ("/healthz".to_owned(), true),
            ("/healthz/x".to_owned(), false),
            ("/".to_owned(), false),
            ("/api/v1/sessions".to_owned(), true),
            ("/v1/http".to_owned(), false),
            ("/v1/http?stream=sse".to_owned(), false),
            ("/v1/http/nonsense".to_owned(), false),
            (format!("/v1/http/{id}?wait=5"), true),
            ("/socket.io/?EIO=4&transport=polling".to_owned(), false),
            (format!("/socket.io/?EIO=4&transport=polling&sid={id}"), true),
            (format!("/socket.io?EIO=4&transport=polling&sid={id}"), true),
            (format!("/v1/ws?sid={id}"), false),
        ] {
            assert_eq!(always.answers(&Request::get(&target).body(()).unwrap()), answered, "{target}");
        }
    }
}
