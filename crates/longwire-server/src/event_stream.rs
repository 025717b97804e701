//! Channels as a stream of events over HTTP: Server-Sent Events, which a browser's `EventSource` and `curl -N` read, or JSON a line.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::request::Parts;
use http::{Version, header};
use longwire_core::broker::Failure;
use longwire_protocol::{Action, Command as Said, Connect, ErrorCode, Form, SessionId, Subscribe};

use crate::api::{self, Members};
use crate::bridge;
use crate::come_again;
use crate::cursor::{self, Cursor};
use crate::detach::Detach;
use crate::http::{ConnectionPermit, set_write_timeout};
use crate::node::Node;
use crate::places::Permit;
use crate::requests::{self, peer};
use crate::shard::{Adoption, Command, EventFormat, Events, EventsHandler, First, Reading, Requests, Speaks, Spoken};
use crate::upgrade::{self, Gate, may_open};

/// The most channels of one stream: the id of each event has the positions of all.
const CHANNELS_MAX: usize = 32;
/// A client that has lost its stream comes back after so many milliseconds, and up to twice as many.
const RETRY: u64 = 1000;

/// A path that gives event streams.
pub(crate) fn route(gate: Arc<Gate>) -> MethodRouter {
    let preflight = gate.clone();
    get(move |request: Request| {
        let gate = gate.clone();
        async move {
            let (page, reads_events) = (gate.origins.page(request.headers()), come_again::reads_events(request.headers()));
            let mut response = match open(&gate, request) {
                Ok(response) => response,
                Err(refusal) => come_again::told(*refusal, reads_events).await,
            };
            page.may_read(&mut response);
            response
        }
    })
    .options(move |request: Request| {
        let allowed = "Authorization, Last-Event-ID, Cache-Control";
        let response = requests::preflight(&preflight.origins, request.headers(), "GET", allowed);
        async { response }
    })
}

fn open(gate: &Gate, request: Request) -> Result<Response, Box<Response>> {
    let (parts, _) = request.into_parts();
    may_open(gate, &parts.headers)?;
    begin(&gate.node, parts)
}

fn begin(node: &Node, mut parts: Parts) -> Result<Response, Box<Response>> {
    if let Some(answer) = come_again::stay_away(&parts.headers) {
        return Ok(answer);
    }
    let (wants, _) = Wants::of(node, &parts, false).map_err(|failure| Box::new(api::refused(&failure)))?;
    let commands = wants.commands();
    let reading = wants.reading(node, false);
    let channels = wants.channels;
    let retry = come_again::spread(RETRY).map_err(|error| overloaded(&error))?;
    let make = move |events| EventsHandler {
        events,
        channels,
        first: First::Commands { commands, retry },
        keeps_place: false,
        reading,
    };
    stream(node, &mut parts, wants.format, make, None, wants.reader)
}

fn overloaded(error: &std::io::Error) -> Box<Response> {
    sparsely!(WARN, %error, "cannot open a stream");
    Box::new(api::refused(&ErrorCode::Overloaded.into()))
}

/// Answers with a stream, as a line with this handler; with an address, if requests are to reach it. A reader that was here
/// before has had this session.
///
/// # Errors
/// The answer that says that there is no place for it.
pub(crate) fn stream(
    node: &Node,
    parts: &mut Parts,
    format: EventFormat,
    make: impl FnOnce(Events) -> EventsHandler + Send + 'static,
    address: Option<SessionId>,
    reader: Option<SessionId>,
) -> Result<Response, Box<Response>> {
    let permit = match parts.extensions.remove::<ConnectionPermit>() {
        Some(ConnectionPermit(permit)) => permit,
        None => {
            let peer = peer(&parts.extensions);
            let places = &node.0.places;
            let is_bridge = parts.version > Version::HTTP_11 || parts.extensions.get::<Detach>().is_none();
            if is_bridge { places.bridge(peer) } else { places.connection(peer) }.map_err(upgrade::refused)?
        }
    };
    let content_type = match format {
        EventFormat::Sse => "text/event-stream",
        EventFormat::Lines => "application/x-ndjson",
    };
    let body = body(node, parts, format, make, (address, reader), permit).map_err(|error| overloaded(&error))?;
    let mut response = Response::new(body);
    come_again::mark(response.headers_mut(), content_type);
    Ok(response)
}

/// A body that a shard writes: by itself if the connection can leave hyper, else through a task that carries it.
fn body(
    node: &Node,
    parts: &mut Parts,
    format: EventFormat,
    make: impl FnOnce(Events) -> EventsHandler + Send + 'static,
    (address, reader): (Option<SessionId>, Option<SessionId>),
    permit: Arc<Permit>,
) -> std::io::Result<Body> {
    let detach = parts.extensions.remove::<Detach>().filter(|_| parts.version <= Version::HTTP_11);
    let chunked = detach.is_some() && parts.version == Version::HTTP_11;
    let events = Events { format, chunked, many: None };
    let adopter = node.clone();
    let adopt = move |fd| {
        let handler = Box::new(move || Box::new(make(events)) as Box<dyn crate::LineHandler>);
        let requests = address.map(|address| Requests::new(address, Spoken::Native));
        // Who was here before is best known where that was.
        let shard = address.or(reader).map_or_else(|| adopter.shard_for_upgrade(), |id| id.shard().into());
        let speaks = Speaks::Events(events);
        let adoption = Adoption { fd: Some(fd), read: Bytes::new(), speaks, requests, handler, permit };
        adopter.mailbox(shard).push(Command::Adopt(Box::new(adoption)));
    };
    let Some(detach) = detach else {
        let (line, body) = bridge::body()?;
        adopt(line);
        return Ok(body);
    };
    // Who takes nothing for so long is not there.
    let patience = node.config().ping_timeout;
    Ok(detach.body(move |stream| {
        let ready = stream.into_std().and_then(|stream| {
            stream.set_nodelay(true)?;
            set_write_timeout(&stream, Some(patience))?;
            Ok(stream)
        });
        match ready {
            Ok(stream) => adopt(stream.into()),
            Err(error) => sparsely!(DEBUG, %error, "an event stream was lost before it began"),
        }
    }))
}

/// What a request asks for.
pub(crate) struct Wants {
    format: EventFormat,
    pub(crate) channels: Vec<(Arc<str>, Option<Cursor>)>,
    last: Option<u32>,
    token: Option<String>,
    /// Who it says that it is.
    pub(crate) reader: Option<SessionId>,
}

impl Wants {
    /// And how many seconds it waits, if it is a poll and says so.
    pub(crate) fn of(node: &Node, parts: &Parts, polls: bool) -> Result<(Self, Option<u32>), Failure> {
        let mut members = Members::of_query(parts.uri.query().unwrap_or_default())?;
        members.are_of(if polls { "a poll" } else { "an event stream" });
        let wait = if polls { members.u32("wait")? } else { None };
        let one = members.text("channel")?;
        let many = members.text("channels")?;
        let since = members.text("since")?;
        let last = members.u32("last")?;
        let token = members.text("token")?;
        let format = members.text("format")?;
        members.finish()?;

        let bad = |message: String| Failure::new(ErrorCode::BadValue, message);
        let accepts_lines = || {
            parts
                .headers
                .get(header::ACCEPT)
                .and_then(|accept| accept.to_str().ok())
                .is_some_and(|accept| accept.contains("ndjson"))
        };
        let format = match format.as_deref() {
            Some("sse") => EventFormat::Sse,
            Some("ndjson") => EventFormat::Lines,
            Some(other) => return Err(bad(format!("format is sse or ndjson, not {other}"))),
            None if accepts_lines() => EventFormat::Lines,
            None => EventFormat::Sse,
        };
        let names = one.as_deref().into_iter().chain(many.as_deref().into_iter().flat_map(|many| many.split(',')));
        let mut channels: Vec<(Arc<str>, Option<Cursor>)> = names.map(|name| (name.into(), None)).collect();
        if !(1..=CHANNELS_MAX).contains(&channels.len()) {
            return Err(bad(format!(
                "name a channel, as ?channel=chat:lobby, or up to {CHANNELS_MAX} with commas, as ?channels=a,b"
            )));
        }
        let mut reader = None;
        // What a browser says when it comes back is newer than what the page once asked for.
        let last_id = parts.headers.get("Last-Event-ID").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty() && !polls);
        if let Some(since) = last_id.or(since.as_deref()) {
            let cursors;
            (cursors, reader) = cursor::parse(since, channels.len()).ok_or_else(|| {
                bad("since and Last-Event-ID are EPOCH:OFFSET for each channel, with commas, or nothing between them".into())
            })?;
            channels.iter_mut().zip(cursors).for_each(|((_, at), cursor)| *at = cursor);
        } else if polls && parts.headers.contains_key(header::IF_NONE_MATCH) {
            let tags = parts.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
            // Whoever asks with a tag that is not ours would lose its place, and not know it.
            let cursors;
            (cursors, reader) = cursor::of_tags(tags, channels.len())
                .ok_or_else(|| bad("If-None-Match has no ETag of an answer to a poll of these channels".into()))?;
            channels.iter_mut().zip(cursors).for_each(|((_, at), cursor)| *at = cursor);
        }
        let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = bearer.map(str::to_owned).or(token.map(|token| token.into_owned()));
        let reader = reader.filter(|reader| node.seal().is_ours(*reader)).map(|reader| reader.session);
        let wants = Self { format, channels, last, token, reader };
        wants.check(node)?;
        Ok((wants, wait))
    }

    /// What it does where it is known who is there. A poll that no other came before only looks, and need not be followed by another; so does
    /// each where sessions are not kept between them.
    pub(crate) fn reading(&self, node: &Node, polls: bool) -> Reading {
        let config = node.config();
        let is_known = |channel: &str| config.namespaces.of(channel).is_some_and(|options| options.presence);
        match (self.channels.iter().any(|(channel, _)| is_known(channel)), self.reader) {
            (false, _) => Reading::Alone,
            (true, None) if polls => Reading::Looks,
            (true, _) if polls && config.sessions.keep == 0 => Reading::Looks,
            (true, before) => Reading::Stays { before, briefly: polls },
        }
    }

    /// What is wrong is better said with a status than in an event.
    fn check(&self, node: &Node) -> Result<(), Failure> {
        let config = node.config();
        config.authenticator.authenticate(self.token.as_deref())?;
        for (at, (channel, _)) in self.channels.iter().enumerate() {
            let subscribe = Action::Subscribe(self.subscribe(at));
            subscribe.check().map_err(|refused| Failure::new(refused.code, refused.message))?;
            if config.namespaces.of(channel).is_none() {
                return Err(ErrorCode::UnknownNamespace.into());
            }
            if self.channels[..at].iter().any(|(other, _)| other == channel) {
                return Err(Failure::new(ErrorCode::AlreadySubscribed, format!("{channel} is named twice")));
            }
        }
        Ok(())
    }

    fn subscribe(&self, at: usize) -> Subscribe {
        let (channel, cursor) = &self.channels[at];
        let (since, after) = cursor.clone().map_or((None, None), |Cursor { since, after }| (Some(since), after));
        Subscribe { channel: channel.clone(), since, last: self.last, state: true, after, members: false }
    }

    /// What a client of the protocol would say.
    pub(crate) fn commands(&self) -> Vec<u8> {
        let connect = Action::Connect(Connect { token: self.token.clone(), ..Connect::default() });
        let subscribes = (0..self.channels.len()).map(|at| Action::Subscribe(self.subscribe(at)));
        let mut commands = Vec::new();
        for (id, action) in (1..).zip(std::iter::once(connect).chain(subscribes)) {
            Form::Json.push_command(&Said { id: Some(id), action }, &mut commands);
        }
        commands
    }
}
