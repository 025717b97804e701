//! HTTP on a shard: what is not a WebSocket, and the way to become one.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::Service as _;

use crate::config::Config;
use crate::detach::{Connection, Detach};
use crate::limiter::Permit;
use crate::turnstile::Turnstile;

/// The most bytes of a request's head; hyper answers 431 past it.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves HTTP/1.1 connections on the thread of whoever calls it.
#[derive(Clone)]
pub(crate) struct Http {
    router: Router,
    head_timeout: Duration,
    write_timeout: Duration,
}

/// The connection's place under the limits, for the line that it may become.
#[derive(Clone)]
pub(crate) struct ConnectionPermit(pub(crate) Arc<Permit>);

impl Http {
    pub(crate) fn new(router: Router, config: &Config) -> Self {
        Self { router, head_timeout: config.handshake_timeout, write_timeout: config.write_timeout }
    }

    /// Speaks HTTP on a connection until it ends, is upgraded, or its client takes too long over a request.
    pub(crate) fn serve(&self, stream: TcpStream, permit: Arc<Permit>, turnstile: &Rc<Turnstile>) {
        let http = self.clone();
        tokio::task::spawn_local(turnstile.clone().pass(async move {
            if let Err(error) = http.speak(stream, permit).await {
                tracing::debug!(%error, "HTTP connection ended");
            }
        }));
    }

    async fn speak(self, stream: TcpStream, permit: Arc<Permit>) -> Result<(), Box<dyn std::error::Error>> {
        let peer = stream.peer_addr().ok();
        // A client that does not take its answer is the system's to drop: hyper would wait for ever.
        set_write_timeout(&stream, Some(self.write_timeout))?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let router = self.router;
        let detach = Detach::default();
        let way_out = detach.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectionPermit(permit.clone()));
            request.extensions_mut().insert(way_out.clone());
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            let answer = router.clone().call(request);
            async move { answer.await.map(explained) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            // Some old clients do not find a header in lower case.
            .title_case_headers(true);
        Ok(builder.serve_connection(TokioIo::new(Connection::new(stream, detach)), service).with_upgrades().await?)
    }
}

/// How long a connection may take nothing of what is sent to it.
pub(crate) fn set_write_timeout<S: AsFd>(socket: &S, timeout: Option<Duration>) -> io::Result<()> {
    // Milliseconds; 0 stands for the system's own time-out.
    let timeout = timeout.map(|timeout| timeout.clamp(Duration::from_millis(1), Duration::from_hours(24)));
    socket2::SockRef::from(socket).set_tcp_user_timeout(timeout)
}

/// Says in the body what a bare 404 or 405 means: those are axum's own, or as short as them. An application's fallback stays
/// what it is.
fn explained(response: Response) -> Response {
    let is_bare = response.body().size_hint().exact() == Some(0) && !response.headers().contains_key(header::CONTENT_TYPE);
    let body = match response.status() {
        StatusCode::NOT_FOUND if is_bare => error_body("not_found", "there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED if is_bare => {
            error_body("method_not_allowed", "this address does not take this method; see Allow")
        }
        _ => return response,
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Response::from_parts(parts, body.into())
}

/// A JSON error with a stable code.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], error_body(code, message)).into_response()
}

const JSON: &str = "application/json";

/// The JSON of all errors.
pub(crate) fn error_body(code: &str, message: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
}
