//! Engine.IO over HTTP: what the requests of a path mean. `docs/socketio.md` is for those who use it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use longwire_protocol::SessionId;
use longwire_socketio::engine::payload::{self, Content, PayloadLimits};
use longwire_socketio::engine::{
    Abort, Accepted, Data, EncodedPacket, Form, Handshake, Packet, Query, Refusal, Revision, Transport,
};
use longwire_ws::OwnedMessage as Message;

use crate::handler::Opening;
use crate::requests::{self, BadBody};
use crate::shard::{Address, Adoption, Command, Polled, Posted, Requests, Said, Speaks, Spoken};
use crate::upgrade::{self, Gate, MakeHandler, Upgrade, may_open};

/// The settings of an Engine.IO server.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// From one ping to the next, whatever the client says meanwhile: it counts them. Default: 25 s.
    pub ping_interval: Duration,
    /// How long the answer to a ping, or any other sign of life, may take. Default: 20 s.
    pub ping_timeout: Duration,
    /// The longest message, and the longest body of a request, in bytes. Default: 1,000,000.
    pub max_payload: usize,
    /// Whether clients of revision 3 are let in (`socket.io-client` 1 and 2). Default: no.
    pub revision_3: bool,
    /// Whether lines may begin by polling. Default: yes.
    pub polling: bool,
    /// Whether lines may be, and become, WebSockets. Default: yes.
    pub websocket: bool,
}

/// What the application does about the requests that open connections.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) allow: Option<Arc<AllowRequest>>,
    pub(crate) headers: Option<Arc<AddHeaders>>,
}

type AllowRequest = dyn Fn(Opening) -> Pin<Box<dyn Future<Output = Result<(), RequestRefused>> + Send>> + Send + Sync;
type AddHeaders = dyn Fn(&Opening, &mut HeaderMap) + Send + Sync;

/// Why a connection may not begin; its client is told.
#[derive(Clone, Debug)]
pub struct RequestRefused(String);

impl RequestRefused {
    /// With a text for people.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
            revision_3: false,
            polling: true,
            websocket: true,
        }
    }
}

/// An Engine.IO server: its lines, and what handles them.
pub(crate) struct EngineIo {
    pub(crate) gate: Arc<Gate>,
    pub(crate) options: EngineOptions,
    pub(crate) hooks: Hooks,
    /// Its number among the paces of the node.
    pub(crate) pace: u8,
    pub(crate) make: MakeHandler,
}

/// The path of a server.
pub(crate) fn route(server: Arc<EngineIo>) -> MethodRouter {
    any(move |request: Request| {
        let server = server.clone();
        async move { server.answer(request).await }
    })
}

impl EngineIo {
    async fn answer(&self, request: Request) -> Response {
        let page = self.gate.origins.page(request.headers());
        if request.method() == Method::OPTIONS {
            return requests::preflight(&self.gate.origins, request.headers(), "GET, POST", "Content-Type, Authorization");
        }
        let mut response = self.handle(request).await.unwrap_or_else(|response| *response);
        page.may_read(&mut response);
        response
    }

    async fn handle(&self, request: Request) -> Result<Response, Box<Response>> {
        may_open(&self.gate, request.headers())?;
        let EngineOptions { polling, websocket, revision_3, .. } = self.options;
        let accepted = Accepted { polling, websocket, revision_3 };
        // RFC 8441, 5: over HTTP/2 a WebSocket is asked for by CONNECT, in place of GET and Upgrade.
        let over_http2 = request.version() == Version::HTTP_2 && request.method() == Method::CONNECT;
        let method = if over_http2 { Method::GET } else { request.method().clone() };
        let is_upgrade = over_http2 || request.headers().contains_key(header::UPGRADE);
        let text = request.uri().query().unwrap_or_default().to_owned();
        let refuse = |refusal| Box::new(refused(refusal, is_upgrade));
        let query = Query::parse(&text, &accepted).map_err(refuse)?;
        let Some(sid) = query.sid() else {
            let revision = query.check_opening(&method, is_upgrade, &accepted).map_err(refuse)?;
            if query.wants_jsonp() {
                return Err(refuse(Refusal::BadRequest));
            }
            let form = Form::new(revision, Transport::WebSocket, query.wants_base64());
            return self.open(request, form, is_upgrade).await;
        };
        let id = SessionId::parse(sid).ok_or_else(|| refuse(Refusal::SessionIdUnknown))?;
        let revision = query.revision().ok_or_else(|| refuse(Refusal::BadRequest))?;
        query.check_session(Transport::Polling, revision, is_upgrade).map_err(refuse)?;
        if is_upgrade {
            return self.upgrade(request, id, revision).await;
        }
        Ok(match method {
            Method::GET => self.poll(self.address(id, revision, request.extensions())).await,
            Method::POST => self.post(request, id, revision).await,
            _ => status(Abort::Method.status()),
        })
    }

    /// Begins a connection, if the application does not mind.
    async fn open(&self, request: Request, form: Form, is_upgrade: bool) -> Result<Response, Box<Response>> {
        let Hooks { allow, headers } = &self.hooks;
        let asked = (allow.is_some() || headers.is_some()).then(|| opening_of(&request));
        if let (Some(allow), Some(asked)) = (allow, &asked) {
            let judged = allow(asked.clone()).await;
            judged.map_err(|RequestRefused(why)| Box::new(refused_with(Refusal::Forbidden, is_upgrade, &why)))?;
        }
        let mut response =
            if is_upgrade { self.open_websocket(request, form).await? } else { self.open_polling(request, form).await? };
        if let (Some(add), Some(asked)) = (headers, &asked) {
            // What the answer has already is what makes it one.
            let mut more = HeaderMap::new();
            add(asked, &mut more);
            let mut name = None;
            for (next, value) in more {
                name = next.or(name);
                if let Some(name) =
                    name.as_ref().filter(|name| **name == header::SET_COOKIE || !response.headers().contains_key(*name))
                {
                    response.headers_mut().append(name.clone(), value);
                }
            }
        }
        Ok(response)
    }

    async fn open_websocket(&self, request: Request, form: Form) -> Result<Response, Box<Response>> {
        let node = self.gate.node.clone();
        let shard = node.shard_for_upgrade();
        let id = requests::new_address(shard).map_err(|_| Box::new(status(StatusCode::SERVICE_UNAVAILABLE)))?;
        let open = self.opening(id, false);
        let (make, pace) = (self.make.clone(), self.pace);
        let adopt = move |Upgrade { fd, read, deflate, opening, permit }| {
            let speaks = Speaks::Engine { form, pace, open, id, deflate };
            let handler = Box::new(move || make(opening));
            let adoption = Adoption { fd: Some(fd), read, speaks, requests: None, handler, permit };
            node.mailbox(shard).push(Command::Adopt(Box::new(adoption)));
        };
        upgrade::open(&self.gate, request, adopt).await
    }

    async fn open_polling(&self, request: Request, form: Form) -> Result<Response, Box<Response>> {
        let (parts, _) = request.into_parts();
        let permit = requests::admit(&self.gate.node, &parts)?;
        let node = &self.gate.node;
        let shard = node.shard_for_upgrade();
        let id = requests::new_address(shard).map_err(|_| Box::new(status(StatusCode::SERVICE_UNAVAILABLE)))?;
        let open = self.opening(id, self.options.websocket);
        let speaks = Speaks::Engine { form, pace: self.pace, open, id, deflate: None };
        let spoken = Spoken::Engine { revision: form.revision, base64: form.base64 };
        let (make, opening) = (self.make.clone(), opening(parts));
        let adoption = Adoption {
            fd: None,
            read: Bytes::new(),
            speaks,
            requests: Some(Requests::new(id, spoken)),
            handler: Box::new(move || make(opening)),
            permit,
        };
        node.mailbox(shard).push(Command::Adopt(Box::new(adoption)));
        let at = Address { id, revision: Some(form.revision), number: None, arrival: node.arrival() };
        Ok(self.poll(at).await)
    }

    /// The packet that opens a session.
    fn opening(&self, id: SessionId, upgrades_to_websocket: bool) -> EncodedPacket {
        let EngineOptions { ping_interval, ping_timeout, max_payload, .. } = self.options;
        let sid = id.to_string().into();
        Handshake { sid, upgrades_to_websocket, ping_interval, ping_timeout, max_payload }.encode()
    }

    async fn upgrade(&self, request: Request, id: SessionId, revision: Revision) -> Result<Response, Box<Response>> {
        let node = self.gate.node.clone();
        let (sender, speaks) = tokio::sync::oneshot::channel();
        requests::tell(&node, id, move |shard| {
            let _ = sender.send(shard.revision_of(id));
        });
        match speaks.await.ok().flatten() {
            None => return Err(Box::new(refused(Refusal::SessionIdUnknown, true))),
            Some(spoken) if spoken != revision => return Err(Box::new(refused(Refusal::BadRequest, true))),
            // If there is one already, it is closed: that one is not wanted is no mistake of the request.
            Some(_) => {}
        }
        let adopt = move |Upgrade { fd, read, deflate, permit, .. }| {
            let speaks = Speaks::Candidate { revision, of: id, deflate };
            let handler = Box::new(|| Box::new(Nobody) as Box<dyn crate::LineHandler>);
            let adoption = Adoption { fd: Some(fd), read, speaks, requests: None, handler, permit };
            node.mailbox(usize::from(id.shard())).push(Command::Adopt(Box::new(adoption)));
        };
        upgrade::open(&self.gate, request, adopt).await
    }

    fn address(&self, id: SessionId, revision: Revision, extensions: &http::Extensions) -> Address {
        Address { id, revision: Some(revision), number: None, arrival: requests::arrival(&self.gate.node, extensions) }
    }

    async fn poll(&self, at: Address) -> Response {
        match requests::poll(&self.gate.node, at, None).await {
            Polled::Body(content, body) => text(content, body),
            Polled::Nothing | Polled::Once { .. } | Polled::Unknown => refused(Refusal::SessionIdUnknown, false),
            Polled::Mistaken => refused(Refusal::BadRequest, false),
            Polled::Overlap => status(Abort::PollOverlap.status()),
        }
    }

    async fn post(&self, request: Request, id: SessionId, revision: Revision) -> Response {
        let node = &self.gate.node;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let content = Content::from_content_type(kind);
        let max_bytes = self.options.max_payload;
        let at = self.address(id, revision, request.extensions());
        let body = match requests::body(node, request.into_body(), max_bytes, Some(id)).await {
            Ok(body) => body,
            // The session stays: were it ended here, its poll could be answered first, and the client would not be told why.
            Err(BadBody::TooLong) => return status(StatusCode::PAYLOAD_TOO_LARGE),
            Err(BadBody::TooSlow) => {
                requests::fail(node, id, "a post took too long");
                return status(StatusCode::REQUEST_TIMEOUT);
            }
            Err(BadBody::CutOff) => {
                requests::fail(node, id, "a post was cut off");
                return status(StatusCode::BAD_REQUEST);
            }
        };
        let said = match said(revision, content, &body, max_bytes) {
            Ok(said) => said,
            Err(error) => {
                requests::fail(node, id, "what was posted is no payload");
                return status(error.status());
            }
        };
        match requests::post(node, at, said).await {
            Posted::Taken => text(Content::Text, Bytes::from_static(b"ok")),
            Posted::Unknown => refused(Refusal::SessionIdUnknown, false),
            Posted::Overlap => status(Abort::PostOverlap.status()),
            Posted::Mistaken => refused(Refusal::BadRequest, false),
            Posted::Wrong => status(StatusCode::BAD_REQUEST),
        }
    }
}

/// Who handles a WebSocket that is no transport yet: what it says is looked at before.
struct Nobody;

impl crate::LineHandler for Nobody {}

/// What a body says.
fn said(revision: Revision, content: Content, body: &[u8], max_bytes: usize) -> Result<Vec<Said>, payload::PayloadError> {
    let limits = PayloadLimits { max_bytes, ..PayloadLimits::default() };
    let said = |packet: Packet<'_>| Said {
        kind: packet.kind(),
        message: match packet.data() {
            Data::Text(text) => Message::from(*text),
            Data::Binary(bytes) => Message::from(Bytes::copy_from_slice(bytes)),
        },
    };
    payload::decode(revision, content, body, &limits)?.map(|packet| packet.map(said)).collect()
}

fn opening_of(request: &Request) -> Opening {
    let peer = request.extensions().get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|info| info.0);
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    Opening { uri, headers, peer, subprotocol: None, params: Vec::new() }
}

fn opening(parts: Parts) -> Opening {
    let peer = parts.extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|info| info.0);
    Opening { uri: parts.uri, headers: parts.headers, peer, subprotocol: None, params: Vec::new() }
}

fn refused(refusal: Refusal, is_upgrade: bool) -> Response {
    refused_with(refusal, is_upgrade, refusal.message())
}

fn refused_with(refusal: Refusal, is_upgrade: bool, message: &str) -> Response {
    let (body, kind) = if is_upgrade {
        (message.to_owned(), "text/plain; charset=UTF-8")
    } else {
        (refusal.body_with(message), "application/json")
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = if is_upgrade { StatusCode::BAD_REQUEST } else { refusal.status() };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    // So that nobody takes it for an address where there is nothing.
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Content::Text.content_type()));
    response
}

fn text(content: Content, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
