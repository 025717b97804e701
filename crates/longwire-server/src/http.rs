//! HTTP on a shard: what is not a WebSocket, and the way to become one.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::ext::Protocol;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::Service as _;

use crate::come_again;
use crate::detach::{Connection, Detach};
use crate::http2::Http2;
use crate::node::{Arrival, Node};
use crate::pace;
use crate::patience::{self, Answer, Patience};
use crate::places::Permit;
use crate::shard::Place;
use crate::turnstile::Turnstile;
use crate::upgrade;

/// The most bytes of a request's head; hyper answers 431 past it.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves HTTP/1.1 and HTTP/2 connections on the thread of whoever calls it.
#[derive(Clone)]
pub(crate) struct Http {
    router: Router,
    node: Node,
    /// Tells clients how long they may keep a connection.
    keep_alive: HeaderValue,
    http2: Http2,
}

/// The connection's place under the limits, for the line that it may become. Requests of HTTP/2 have none: what opens there is not
/// all of the connection, and takes a place of its own.
#[derive(Clone)]
pub(crate) struct ConnectionPermit(pub(crate) Arc<Permit>);

impl Http {
    pub(crate) fn new(router: Router, node: Node) -> Self {
        let config = node.config();
        let seconds = config.keep_alive_timeout.as_secs();
        let keep_alive = HeaderValue::try_from(format!("timeout={seconds}")).unwrap_or(HeaderValue::from_static(""));
        let http2 = Http2::new(config);
        Self { router, node, keep_alive, http2 }
    }

    /// Speaks HTTP on a connection until it ends, is upgraded, or its client takes too long over a request.
    pub(crate) fn serve(&self, stream: TcpStream, place: Place, arrival: Arrival, turnstile: &Rc<Turnstile>) {
        let (http, streams) = (self.clone(), turnstile.clone());
        tokio::task::spawn_local(turnstile.clone().pass(async move {
            let trial = match &place {
                Place::Trial(trial) => Some(trial.clone()),
                Place::Permit(_) => None,
            };
            let places = http.node.0.places.clone();
            let mut speaking = pin!(http.speak(stream, place, arrival, streams));
            let ended = match trial {
                None => speaking.await,
                Some(trial) => {
                    let mut over = pin!(trial.over());
                    let ended = poll_fn(|cx| match over.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(Ok(())),
                        Poll::Pending => speaking.as_mut().poll(cx),
                    });
                    let ended = ended.await;
                    places.trial_ends(&trial);
                    ended
                }
            };
            if let Err(error) = ended {
                sparsely!(DEBUG, %error, "HTTP connection ended");
            }
        }));
    }

    /// Whether nobody waits for the end of an answer any more, at the end of the server. The first question has the clients of HTTP/2
    /// asked to come to an end; how long they may take is bounded.
    pub(crate) fn is_finished(&mut self) -> bool {
        self.http2.is_finished()
    }

    async fn speak(
        self,
        stream: TcpStream,
        place: Place,
        arrival: Arrival,
        turnstile: Rc<Turnstile>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let place = Rc::new(RefCell::new(place));
        let peer = stream.peer_addr().ok();
        // A client that does not take its answer is the system's to drop: hyper would wait for ever.
        let config = self.node.config();
        set_write_timeout(&stream, Some(config.write_timeout))?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let detach = Detach::default();
        let patience = Patience::new(config.handshake_timeout, config.keep_alive_timeout);
        let shared = patience.shared();
        let connection = TokioIo::new(Connection::new(stream, detach.clone(), patience));
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The connection has a time-out of its own, since this one does not tell those who say half of something from those who say
            // nothing. But without one hyper does not look for the next request after an answer, until something comes.
            .header_read_timeout(patience::LONGEST)
            .max_buf_size(MAX_HEAD_BYTES)
            // Some old clients do not find a header in lower case.
            .title_case_headers(true);
        let (http, own, way_out) = (self.clone(), place.clone(), detach.clone());
        // When the first request was sent is known by the connection's coming, however late this shard gets to read it.
        let first = Cell::new(Some(arrival));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let answering = shared.answering();
            request.extensions_mut().insert(way_out.clone());
            if let Some(arrival) = first.take() {
                request.extensions_mut().insert(arrival);
            }
            let answer = http.answer(request, peer, &own);
            // Those who may stay do so only while there is room.
            let stays = matches!(*own.borrow(), Place::Permit(_)) && !http.node.0.places.is_scarce();
            let (node, keep_alive) = (http.node.clone(), http.keep_alive.clone());
            async move {
                let Ok(mut response) = answer.await;
                say_how_long(&mut response, &node, keep_alive, stays);
                Ok::<_, Infallible>(response.map(|body| Answer { body, _answering: answering }))
            }
        });
        let ended = builder.serve_connection(connection, service).with_upgrades().await;
        let Some(connection) = detach.http2() else { return Ok(ended?) };
        let http = self.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            like_http1(&mut request);
            http.answer(request, peer, &place)
        });
        // Boxed, since few connections are of HTTP/2, and all would have room for it.
        Box::pin(self.http2.speak(connection, service, turnstile)).await?;
        Ok(())
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: Option<SocketAddr>,
        place: &RefCell<Place>,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let asks_a_proxy = request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none();
        let refusal = if asks_a_proxy {
            Some(error(StatusCode::NOT_IMPLEMENTED, "not_a_proxy", "this server makes no connections to others"))
        } else {
            self.node.0.origins.hosts().refusal(&request)
        };
        let refusal = refusal.or_else(|| self.take_place(&mut request, peer, &mut place.borrow_mut()).map(|refusal| *refusal));
        let answer = match refusal {
            None => Ok(self.router.clone().call(pace::paced(request, self.node.config()))),
            Some(refusal) => {
                let page = self.node.0.origins.page(request.headers());
                Err(Box::new((refusal, come_again::reads_events(request.headers()), page)))
            }
        };
        async {
            match answer {
                Ok(answer) => answer.await.map(explained),
                Err(refused) => {
                    let (refusal, reads_events, page) = *refused;
                    let mut response = come_again::told(refusal, reads_events).await;
                    if reads_events {
                        page.may_read(&mut response);
                    }
                    Ok(response)
                }
            }
        }
    }

    /// Gives the request the connection's place. If it has none, what is always answered is, and everything else if there is a place now.
    fn take_place(
        &self,
        request: &mut Request<Incoming>,
        peer: Option<SocketAddr>,
        place: &mut Place,
    ) -> Option<Box<Response>> {
        let node = &self.node.0;
        if let Place::Trial(trial) = place {
            if node.always.answers(request) {
                trial.is_useful();
                return None;
            }
            match node.places.connection(peer.map(|peer| peer.ip())) {
                Ok(permit) => {
                    node.places.trial_ends(trial);
                    *place = Place::Permit(permit);
                }
                Err(refusal) => {
                    let (_, code, why) = refusal.answer();
                    sparsely!(INFO, code, path = request.uri().path(), "a request is refused: {why}");
                    return Some(upgrade::refused(refusal));
                }
            }
        }
        // Of a connection with many streams each takes a place of its own.
        if let Place::Permit(permit) = place
            && request.version() != Version::HTTP_2
        {
            request.extensions_mut().insert(ConnectionPermit(permit.clone()));
        }
        None
    }
}

/// Says whether the connection stays after an answer, and for how long.
fn say_how_long(response: &mut Response, node: &Node, keep_alive: HeaderValue, stays: bool) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let headers = response.headers_mut();
    if node.is_stopping() || !stays {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        headers.insert(HeaderName::from_static("keep-alive"), keep_alive);
    }
}

/// Our routes inside of somebody's application, which may speak HTTP/2.
pub(crate) fn embedded(router: Router, node: &Node) -> Router {
    let node = node.clone();
    router.layer(axum::middleware::map_request(move |mut request: axum::extract::Request| {
        like_http1(&mut request);
        let request = pace::paced(request, node.config());
        async { request }
    }))
}

/// Has a request of HTTP/2 look like one of HTTP/1.1, which is what the rest of the server, and its handlers, know.
fn like_http1<B>(request: &mut Request<B>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    // RFC 9113, 8.3.1: :authority has the place of Host, and if both are there it counts.
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = path.clone().into();
    }
    // RFC 9113, 8.2.3: cookies may come one by one, and are to be joined before anybody else sees them.
    let cookies: Vec<_> = request.headers().get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        request.headers_mut().insert(header::COOKIE, joined);
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
