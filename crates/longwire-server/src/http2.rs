//! HTTP/2 on a shard (RFC 9113), with prior knowledge: what its clients may have open, make the server hold, and wait for.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use crate::config::Config;
use crate::detach::Connection;
use crate::http::MAX_HEAD_BYTES;
use crate::patience::LONGEST;
use crate::turnstile::Turnstile;

/// Requests, event streams and WebSockets that a connection may have open. Those beyond it are refused (`REFUSED_STREAM`).
const MAX_STREAMS: u32 = 100;
/// What a client may send on a stream before somebody reads it.
const STREAM_WINDOW: u32 = 32 << 10;
/// And on all streams of a connection: those that are not read leave room for the others. The `h2` crate closes a connection that has
/// sent some 250 bytes less than half of this many times over in small frames that wait, so one stream of small messages has to fit.
const CONNECTION_WINDOW: u32 = 2 << 20;
/// What a stream may hold that the connection does not take.
const MAX_SEND_BYTES: usize = 64 << 10;
/// Streams that the client has reset before anybody has looked at them; with more the connection is closed, as is one on which so many
/// streams were reset for the client's errors (CVE-2023-44487 and its kind).
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 1024;

/// Speaks HTTP/2 on connections of a shard.
#[derive(Clone)]
pub(crate) struct Http2 {
    ping_interval: Duration,
    ping_timeout: Duration,
    /// A connection on which there was no request yet is asked to end after so long, or a little longer.
    head_timeout: Duration,
    /// And one on which there is none any more. Each is dropped after as long again.
    idle_timeout: Duration,
    /// How long the connections may take to end with the server.
    patience: Duration,
    /// Says to all connections, each of which has a receiver, that the server ends.
    finish: watch::Sender<bool>,
    /// Until when they are waited for.
    until: Option<Instant>,
}

impl Http2 {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            ping_interval: config.ping_interval.min(LONGEST),
            ping_timeout: config.ping_timeout.min(LONGEST),
            head_timeout: config.handshake_timeout.min(LONGEST),
            idle_timeout: config.keep_alive_timeout.min(LONGEST),
            patience: config.close_timeout.min(LONGEST),
            finish: watch::Sender::new(false),
            until: None,
        }
    }

    /// See [`Http::is_finished`](crate::http::Http::is_finished).
    pub(crate) fn is_finished(&mut self) -> bool {
        let until = *self.until.get_or_insert_with(|| {
            self.finish.send_replace(true);
            Instant::now() + self.patience
        });
        self.finish.receiver_count() == 0 || Instant::now() >= until
    }

    /// Serves a connection until it ends, or is idle for too long.
    pub(crate) async fn speak<S>(self, connection: Connection, service: S, turnstile: Rc<Turnstile>) -> hyper::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
        Streams: Http2ServerConnExec<S::Future, Body>,
    {
        let streams = Streams { turnstile, count: Rc::default() };
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_SEND_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            .keep_alive_interval(self.ping_interval)
            .keep_alive_timeout(self.ping_timeout)
            .serve_connection(TokioIo::new(connection), service);
        let mut connection = pin!(connection);
        let mut finish = self.finish.subscribe();
        let (mut is_ending, mut quiet_since) = (false, Instant::now());
        loop {
            let finishing = async {
                // The sender is in `self`.
                let _ = finish.wait_for(|finish| *finish).await;
            };
            tokio::select! {
                ended = &mut connection => return ended,
                () = finishing, if !is_ending => {}
                () = tokio::time::sleep(self.head_timeout.min(self.idle_timeout)) => {
                    let patience = if streams.count.ever.get() { self.idle_timeout } else { self.head_timeout };
                    if !streams.were_quiet() {
                        quiet_since = Instant::now();
                    }
                    if quiet_since.elapsed() < patience {
                        continue;
                    }
                    if is_ending {
                        return Ok(());
                    }
                }
            }
            (is_ending, quiet_since) = (true, Instant::now());
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Runs the streams of a connection as tasks, which pass the turnstile like connections.
#[derive(Clone)]
pub(crate) struct Streams {
    turnstile: Rc<Turnstile>,
    count: Rc<Count>,
}

#[derive(Default)]
struct Count {
    open: Cell<usize>,
    /// One was opened since the last look.
    opened: Cell<bool>,
    /// Or before.
    ever: Cell<bool>,
}

impl Streams {
    /// Whether there was none since the last time that this was asked.
    fn were_quiet(&self) -> bool {
        !self.count.opened.replace(false) && self.count.open.get() == 0
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.count.opened.set(true);
        self.count.ever.set(true);
        let open = Open::new(self.count.clone());
        tokio::task::spawn_local(self.turnstile.clone().pass(async move {
            stream.await;
            drop(open);
        }));
    }
}

/// A stream that is open.
struct Open(Rc<Count>);

impl Open {
    fn new(count: Rc<Count>) -> Self {
        count.open.update(|open| open + 1);
        Self(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.update(|open| open - 1);
    }
}
