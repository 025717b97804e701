//! Channels by polling: one answer with what has happened, at once or when there is something.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use longwire_protocol::{ErrorCode, SessionId};

use crate::api;
use crate::event_stream::Wants;
use crate::node::Node;
use crate::requests::{self, preflight};
use crate::shard::{
    Address, Adoption, Command, EventFormat, Events, EventsHandler, First, Once, Polled, Reading, Requests, Speaks, is_of,
    says_missed,
};
use crate::upgrade::{Gate, may_open};

/// How long a poll waits if it does not say, and how long it may, in seconds.
const WAIT: u32 = 25;
const WAIT_MAX: u32 = 60;

/// A path that is polled.
pub(crate) fn route(gate: Arc<Gate>) -> MethodRouter {
    let before = gate.clone();
    get(move |request: Request| {
        let gate = gate.clone();
        async move {
            let (parts, _) = request.into_parts();
            let page = gate.origins.page(&parts.headers);
            let mut response = answer(&gate, &parts).await.unwrap_or_else(|refusal| *refusal);
            page.may_read(&mut response);
            response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag"));
            response
        }
    })
    .options(move |request: Request| {
        let response = preflight(&before.origins, request.headers(), "GET", "Authorization, If-None-Match, Cache-Control");
        async { response }
    })
}

async fn answer(gate: &Gate, parts: &Parts) -> Result<Response, Box<Response>> {
    may_open(gate, &parts.headers)?;
    let node = &gate.node;
    let (wants, wait) = Wants::of(node, parts, true).map_err(|failure| Box::new(api::refused(&failure)))?;
    // Who does not know yet where it is in a channel wants to know.
    let is_new = wants.channels.iter().any(|(_, cursor)| cursor.is_none());
    let wait = if is_new { 0 } else { wait.unwrap_or(WAIT).min(WAIT_MAX) };
    let id = open(node, parts, wants, wait > 0)?;
    let at = Address { id, revision: None, number: None, arrival: node.arrival() };
    let (lines, cursor) = match requests::poll(node, at, Some(wait.max(1))).await {
        Polled::Once { lines, cursor } => (lines, cursor),
        _ => return Err(Box::new(api::refused(&ErrorCode::Overloaded.into()))),
    };
    let cursor = String::from_utf8_lossy(&cursor);
    // What has another tag is not what the client has, even if nothing has happened: from now on it is somebody.
    let tags = parts.headers.get_all(header::IF_NONE_MATCH);
    let has_it = tags.iter().any(|tags| tags.to_str().is_ok_and(|tags| tags.contains(&*cursor) || tags.trim() == "*"));
    Ok(said(&lines, &cursor, has_it))
}

/// A line that gives one answer.
fn open(node: &Node, parts: &Parts, wants: Wants, waits: bool) -> Result<SessionId, Box<Response>> {
    let permit = requests::admit(node, parts)?;
    let reading = wants.reading(node, true);
    // Where its session is most often.
    let known = wants.reader.map(|session| usize::from(session.shard())).filter(|shard| *shard < node.shards());
    let id = requests::new_address(known.unwrap_or_else(|| node.shard_for_upgrade()))
        .map_err(|_| Box::new(api::refused(&ErrorCode::Overloaded.into())))?;
    let events = Events { format: EventFormat::Lines, chunked: false, many: None };
    let first = First::Commands { commands: wants.commands(), retry: 0 };
    let channels = wants.channels;
    let stays = matches!(reading, Reading::Stays { .. });
    let requests = Requests::once(id, Once::new(channels.len(), waits, stays));
    let adoption = Adoption {
        fd: None,
        read: Bytes::new(),
        speaks: Speaks::Events(events),
        requests: Some(requests),
        handler: Box::new(move || {
            Box::new(EventsHandler { events, channels, first, keeps_place: true, reading }) as Box<dyn crate::LineHandler>
        }),
        permit,
    };
    node.mailbox(usize::from(id.shard())).push(Command::Adopt(Box::new(adoption)));
    Ok(id)
}

/// The answer, of the messages that came, each on a line; `has_it` if the client has what it says when there are none.
fn said(lines: &[u8], cursor: &str, has_it: bool) -> Response {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let news: Vec<&[u8]> =
        lines.filter(|line| !is_of(line, "connected")).filter(|line| !is_of(line, "subscribed") || says_missed(line)).collect();
    let mut response = if let Some(refused) = news.iter().find(|line| is_of(line, "error")) {
        let mut response = Response::new(Body::from([*refused, b"\n"].concat()));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    } else if news.is_empty() && has_it {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let messages = news.join(&b","[..]);
        let body = [b"{\"since\":\"", cursor.as_bytes(), b"\",\"messages\":[", &messages, b"]}\n"].concat();
        Response::new(Body::from(body))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // To be asked for each time, with the tag.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{cursor}\"")) {
        headers.insert(header::ETAG, tag);
    }
    response
}
