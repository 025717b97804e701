//! How long a client of HTTP/1.1 may take over the head of a request, and how long it may be between two requests: two different
//! things, since those who keep connections to use them again keep them for a minute, and lose a request that meets the end of one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// The longest time that a timer is set to, whatever is configured.
pub(crate) const LONGEST: Duration = Duration::from_hours(24);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The rest of a request's head; of the first one all of it.
    Head,
    /// Somebody else: a request is being answered.
    Answer,
    /// The next request.
    Request,
}

/// Says that a request of a connection is being answered, until it is dropped.
pub(crate) struct Answering(Shared);

/// What the connection and its requests know of each other.
#[derive(Clone)]
pub(crate) struct Shared(Arc<AtomicU8>);

/// Of one connection.
pub(crate) struct Patience {
    head: Duration,
    between: Duration,
    shared: Shared,
    /// What `sleep` is for.
    last: Waits,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(head: Duration, between: Duration) -> Self {
        let shared = Shared(Arc::new(AtomicU8::new(Waits::Head as u8)));
        Self { head: head.min(LONGEST), between: between.min(LONGEST), shared, last: Waits::Answer, sleep: None }
    }

    pub(crate) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Something has come from the client.
    pub(crate) fn heard(&self) {
        // If it waited for the next request, that has begun.
        if self.shared.waits() == Waits::Request {
            self.shared.set(Waits::Head);
        }
    }

    /// The client takes something, perhaps of an answer that is long: its time begins anew.
    pub(crate) fn said(&mut self) {
        self.last = Waits::Answer;
    }

    /// Nothing comes: whether that was so for too long. It is asked again when it may be.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = self.shared.waits();
        let time = match waits {
            Waits::Answer => {
                self.said();
                return false;
            }
            Waits::Head => self.head,
            Waits::Request => self.between,
        };
        let until = Instant::now() + time;
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if waits != self.last {
                    sleep.as_mut().reset(until);
                }
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(until))),
        };
        self.last = waits;
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl Shared {
    /// A request has come.
    pub(crate) fn answering(&self) -> Answering {
        self.set(Waits::Answer);
        Answering(self.clone())
    }

    fn waits(&self) -> Waits {
        match self.0.load(Ordering::Relaxed) {
            at if at == Waits::Head as u8 => Waits::Head,
            at if at == Waits::Request as u8 => Waits::Request,
            _ => Waits::Answer,
        }
    }

    fn set(&self, waits: Waits) {
        self.0.store(waits as u8, Ordering::Relaxed);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Waits::Request);
    }
}

/// The body of an answer, at whose end the connection waits for the next request.
pub(crate) struct Answer {
    pub(crate) body: Body,
    pub(crate) _answering: Answering,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
