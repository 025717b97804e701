//! HTTP on a shard: what is not a WebSocket, and the way to become one.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::Service as _;

use crate::limiter::Permit;

/// The most bytes of a request's head; hyper answers 431 past it.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves HTTP/1.1 connections on the thread of whoever calls it.
#[derive(Clone)]
pub(crate) struct Http {
    router: Router,
    head_timeout: Duration,
}

/// The connection's place under the limits, for the line that it may become.
#[derive(Clone)]
pub(crate) struct ConnectionPermit(pub(crate) Arc<Permit>);

impl Http {
    pub(crate) fn new(router: Router, head_timeout: Duration) -> Self {
        let router = router
            .fallback(|| async { error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address") })
            .method_not_allowed_fallback(|| async {
                error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address does not take this method; see Allow")
            });
        Self { router, head_timeout }
    }

    /// Speaks HTTP on a connection until it ends, is upgraded, or its client takes too long over a request.
    pub(crate) fn serve(&self, stream: TcpStream, permit: Arc<Permit>) {
        let peer = stream.peer_addr().ok();
        let stream = match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, "cannot take over a connection"),
        };
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectionPermit(permit.clone()));
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            router.clone().call(request)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            // Some old clients do not find a header in lower case.
            .title_case_headers(true);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP connection ended");
            }
        });
    }
}

/// A JSON error with a stable code.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
