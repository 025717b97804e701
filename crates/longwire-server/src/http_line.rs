//! The native protocol over HTTP requests: commands by `POST`, messages by a stream or by long polls. See `docs/http-lines.md`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use longwire_core::broker::Failure;
use longwire_protocol::{ErrorCode, SessionId};
use longwire_socketio::engine::PacketKind;
use longwire_ws::OwnedMessage as Message;

use crate::api::{self, Members};
use crate::come_again;
use crate::event_stream;
use crate::http::error;
use crate::node::Node;
use crate::requests::{self, BadBody, preflight};
use crate::shard::{
    Address, Adoption, Command, EventFormat, EventsHandler, First, NativeHandler, Polled, Posted, Reading, Requests, Said,
    Speaks, Spoken,
};
use crate::upgrade::{Gate, may_open};

/// How long a poll waits if it does not say, and how long it may, in seconds.
const WAIT: u32 = 25;
const WAIT_MAX: u32 = 60;

/// Below the path where such lines are.
pub(crate) fn router(gate: Arc<Gate>) -> Router {
    let new = get(begin).post(begin).options(before);
    let old = get(go_on).post(go_on).delete(go_on).options(before);
    Router::new().route("/", new).route("/{line}", old).with_state(gate)
}

async fn begin(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    answered(&gate, request, None).await
}

async fn go_on(State(gate): State<Arc<Gate>>, Path(line): Path<String>, request: Request) -> Response {
    answered(&gate, request, Some(line)).await
}

async fn before(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    preflight(&gate.origins, request.headers(), "GET, POST, DELETE", "Content-Type")
}

async fn answered(gate: &Gate, request: Request, line: Option<String>) -> Response {
    let (page, reads_events) = (gate.origins.page(request.headers()), come_again::reads_events(request.headers()));
    let answer = async {
        may_open(gate, request.headers())?;
        let post = request.method() == http::Method::POST;
        match line {
            None if post => open(gate, request).await,
            None => stream(gate, request),
            Some(line) => {
                let id = SessionId::parse(&line).ok_or_else(unknown)?;
                if post {
                    say(gate, request, id).await
                } else if request.method() == http::Method::DELETE {
                    posted(requests::delete(&gate.node, id).await)
                } else {
                    let query = request.uri().query().map(str::to_owned);
                    poll(gate, query.as_deref(), id).await
                }
            }
        }
    };
    let mut response = match answer.await {
        Ok(response) => response,
        Err(refusal) => come_again::told(*refusal, reads_events).await,
    };
    page.may_read(&mut response);
    response
}

/// A new line, whose messages are polled for.
async fn open(gate: &Gate, request: Request) -> Result<Response, Box<Response>> {
    let node = &gate.node;
    let (parts, body) = request.into_parts();
    let permit = requests::admit(node, &parts)?;
    let said = said(gate, body, None).await.map_err(|(_, refusal)| refusal)?;
    let id = new_address(gate)?;
    let adoption = Adoption {
        fd: None,
        read: Bytes::new(),
        speaks: Speaks::WebSocket(None),
        requests: Some(Requests::new(id, Spoken::Native)),
        handler: Box::new(|| Box::new(NativeHandler::json()) as Box<dyn crate::LineHandler>),
        permit,
    };
    node.mailbox(usize::from(id.shard())).push(Command::Adopt(Box::new(adoption)));
    requests::begin(node, id, said);
    let body = format!(r#"{{"line":"{id}"}}"#);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// A new line, whose messages are the answer.
fn stream(gate: &Gate, request: Request) -> Result<Response, Box<Response>> {
    let (mut parts, _) = request.into_parts();
    if let Some(answer) = come_again::stay_away(&parts.headers) {
        return Ok(answer);
    }
    let mut members = members(parts.uri.query())?;
    let format = members.text("stream").map_err(refused)?;
    let format = match format.as_deref() {
        Some("ndjson") => EventFormat::Lines,
        Some("sse") => EventFormat::Sse,
        _ => {
            let must = "a line begins with POST, or as a stream: ?stream=ndjson or ?stream=sse";
            return Err(refused(Failure::new(ErrorCode::BadValue, must)));
        }
    };
    members.finish().map_err(refused)?;
    let id = new_address(gate)?;
    let make = move |events| EventsHandler {
        events,
        channels: Vec::new(),
        first: First::Address(id),
        keeps_place: false,
        reading: Reading::Alone,
    };
    event_stream::stream(&gate.node, &mut parts, format, make, Some(id), None)
}

async fn say(gate: &Gate, request: Request, id: SessionId) -> Result<Response, Box<Response>> {
    let mut members = members(request.uri().query())?;
    let number = members.u32("n").map_err(refused)?;
    members.finish().map_err(refused)?;
    match said(gate, request.into_body(), Some(id)).await {
        Ok(said) => posted(requests::post(&gate.node, native(&gate.node, id, number), said).await),
        Err((why, refusal)) => {
            // What a client has said must not be missing in the middle.
            requests::fail(&gate.node, id, why);
            Err(refusal)
        }
    }
}

async fn poll(gate: &Gate, query: Option<&str>, id: SessionId) -> Result<Response, Box<Response>> {
    let mut members = members(query)?;
    let wait = members.u32("wait").map_err(refused)?.unwrap_or(WAIT).min(WAIT_MAX);
    let number = members.u32("n").map_err(refused)?;
    members.finish().map_err(refused)?;
    let mut response = match requests::poll(&gate.node, native(&gate.node, id, number), Some(wait)).await {
        Polled::Body(_, body) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            response
        }
        Polled::Nothing => StatusCode::NO_CONTENT.into_response(),
        Polled::Overlap => return Err(overlap()),
        Polled::Once { .. } | Polled::Unknown | Polled::Mistaken => return Err(unknown()),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The commands in a request's body, or why there are none.
async fn said(gate: &Gate, body: Body, line: Option<SessionId>) -> Result<Vec<Said>, (&'static str, Box<Response>)> {
    let most = gate.node.config().limits.max_message_bytes;
    let body = requests::body(&gate.node, body, most, line).await.map_err(|bad| match bad {
        BadBody::TooLong => {
            let message = format!("a body is at most {most} bytes long");
            ("a post was too long", refused(Failure::new(ErrorCode::TooLarge, message)))
        }
        BadBody::TooSlow => ("a post took too long", refused(ErrorCode::RequestTimeout)),
        BadBody::CutOff => ("a post was cut off", refused(Failure::new(ErrorCode::BadMessage, "the body was cut off"))),
    })?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| ("a post was not UTF-8", refused(Failure::new(ErrorCode::BadMessage, "the body is not UTF-8"))))?;
    let message = (!text.is_empty()).then(|| Message::from(text));
    Ok(message.map(|message| Said { kind: PacketKind::Message, message }).into_iter().collect())
}

fn native(node: &Node, id: SessionId, number: Option<u32>) -> Address {
    Address { id, revision: None, number: number.map(u64::from), arrival: node.arrival() }
}

fn posted(posted: Posted) -> Result<Response, Box<Response>> {
    match posted {
        Posted::Taken => Ok(StatusCode::NO_CONTENT.into_response()),
        Posted::Unknown | Posted::Mistaken => Err(unknown()),
        Posted::Overlap | Posted::Wrong => Err(overlap()),
    }
}

fn new_address(gate: &Gate) -> Result<SessionId, Box<Response>> {
    requests::new_address(gate.node.shard_for_upgrade()).map_err(|_| refused(ErrorCode::Overloaded))
}

fn members(query: Option<&str>) -> Result<Members<'_>, Box<Response>> {
    let mut members = Members::of_query(query.unwrap_or_default()).map_err(refused)?;
    members.are_of("a line over HTTP");
    Ok(members)
}

fn refused(failure: impl Into<Failure>) -> Box<Response> {
    Box::new(api::refused(&failure.into()))
}

fn unknown() -> Box<Response> {
    Box::new(error(StatusCode::NOT_FOUND, "unknown_line", "there is no such line any more: begin a new one"))
}

fn overlap() -> Box<Response> {
    Box::new(error(StatusCode::CONFLICT, "overlap", "two requests of a kind at a time: the line is lost, begin a new one"))
}
