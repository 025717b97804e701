//! How slowly the body of a request may come, whoever reads it: a client that lets it drip holds what reads it.
//!
//! Only the time is counted in which the client is waited for. It has the time that a head has to begin with, and a second more for
//! each [`SLOWEST`] bytes; but it never falls silent for longer than [`LONGEST_SILENCE`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::config::Config;
use crate::patience::LONGEST;

/// Bytes a second below which a body is too slow.
const SLOWEST: f64 = 1024.0;
/// The longest time for which none need come, however much has come before.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Has the body of a request come fast enough, or end with an error that [`is_too_slow`] knows.
pub(crate) fn paced<B>(request: Request<B>, config: &Config) -> Request<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.body().is_end_stream() {
        return request.map(Body::new);
    }
    let pauses = Pauses::default();
    let (mut head, body) = request.into_parts();
    head.extensions.insert(pauses.clone());
    let first = config.handshake_timeout.clamp(Duration::from_millis(1), LONGEST);
    let paced = Paced {
        body,
        left: first,
        most: first.max(LONGEST_SILENCE),
        between: config.keep_alive_timeout.clamp(first, LONGEST),
        pauses,
        waits_since: None,
        sleep: None,
    };
    Request::from_parts(head, Body::new(paced))
}

/// Whether a body has ended with this because it was too slow.
pub(crate) fn is_too_slow(error: &axum::Error) -> bool {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if error.is::<TooSlow>() {
            return true;
        }
        at = error.source();
    }
    false
}

/// For a reader who lets the client pause between one part and the next, as long as between two requests. Requests with a body have it
/// among their extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses(Arc<AtomicBool>);

impl Pauses {
    pub(crate) fn allow(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn are_allowed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that was too slow.
#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the request came too slowly")
    }
}

impl std::error::Error for TooSlow {}

struct Paced<B> {
    body: B,
    /// How long the client may be waited for.
    left: Duration,
    most: Duration,
    between: Duration,
    pauses: Pauses,
    waits_since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B: hyper::body::Body<Data = Bytes> + Unpin> Paced<B> {
    fn came(&mut self, frame: &Frame<Bytes>) {
        let waited = self.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let more = frame.data_ref().map_or(0.0, |data| data.len() as f64 / SLOWEST);
        self.left = (self.left.saturating_sub(waited) + Duration::from_secs_f64(more)).min(self.most);
        if self.pauses.are_allowed() {
            self.left = self.between;
        }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let is_new = self.waits_since.is_none();
        if self.pauses.are_allowed() {
            self.left = self.between;
        }
        let until = *self.waits_since.get_or_insert_with(Instant::now) + self.left;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if is_new {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl<B> hyper::body::Body for Paced<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return if self.is_over(cx) { Poll::Ready(Some(Err(Box::new(TooSlow)))) } else { Poll::Pending };
        };
        if let Some(Ok(frame)) = &frame {
            self.came(frame);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
