//! Requests for a line that has an address: they go to its shard, wherever they arrive, and wait for its answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use longwire_protocol::SessionId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::node::{Arrival, Node};
use crate::origin::OriginPolicy;
use crate::pace::is_too_slow;
use crate::places::Permit;
use crate::shard::{Address, Command, Letter, Polled, Posted, Said, Shard};

/// A new address, of a line on a shard.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn new_address(shard: usize) -> std::io::Result<SessionId> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    Ok(SessionId::new(u16::try_from(shard).unwrap_or(u16::MAX), random))
}

/// Waits for what a line has to say, at most so many seconds. If this is given up, so is the line: what it has said meanwhile is lost.
pub(crate) async fn poll(node: &Node, at: Address, wait: Option<u32>) -> Polled {
    let (sender, answer) = oneshot::channel();
    if !tell(node, at.id, move |shard| shard.poll(at, wait, sender)) {
        return Polled::Unknown;
    }
    let mut untaken = Untaken { node, id: at.id, is_so: true };
    let polled = answer.await.unwrap_or(Polled::Unknown);
    untaken.is_so = false;
    polled
}

/// When a request came, in the order of all.
pub(crate) fn arrival(node: &Node, extensions: &Extensions) -> Arrival {
    extensions.get::<Arrival>().copied().unwrap_or_else(|| node.arrival())
}

/// Gives a new line what its client says first.
pub(crate) fn begin(node: &Node, id: SessionId, said: Vec<Said>) {
    tell(node, id, move |shard| shard.begin(id, said));
}

/// Gives a line what its client says, and waits until it has taken it.
pub(crate) async fn post(node: &Node, at: Address, said: Vec<Said>) -> Posted {
    let (sender, answer) = oneshot::channel();
    if !tell(node, at.id, move |shard| shard.post(at, said, sender)) {
        return Posted::Unknown;
    }
    answer.await.unwrap_or(Posted::Unknown)
}

/// Ends a line, as its client.
pub(crate) async fn delete(node: &Node, id: SessionId) -> Posted {
    let (sender, answer) = oneshot::channel();
    if !tell(node, id, move |shard| shard.delete(id, sender)) {
        return Posted::Unknown;
    }
    answer.await.unwrap_or(Posted::Unknown)
}

/// Ends a line whose client has said what cannot be read.
pub(crate) fn fail(node: &Node, id: SessionId, reason: &'static str) {
    tell(node, id, move |shard| shard.post_failed(id, reason));
}

/// Has the shard of an address do something; false if there is no such shard.
pub(crate) fn tell(node: &Node, id: SessionId, act: impl FnOnce(&mut Shard) + Send + 'static) -> bool {
    let shard = usize::from(id.shard());
    let is_there = shard < node.shards();
    if is_there {
        node.mailbox(shard).push(Command::Letters(vec![Letter::Act(Box::new(act))]));
    }
    is_there
}

/// Tells the line of a poll that nobody takes its answer any more.
struct Untaken<'a> {
    node: &'a Node,
    id: SessionId,
    is_so: bool,
}

impl Drop for Untaken<'_> {
    fn drop(&mut self) {
        if self.is_so {
            let id = self.id;
            tell(self.node, id, move |shard| shard.poll_aborted(id));
        }
    }
}

/// A body that cannot be had.
pub(crate) enum BadBody {
    TooLong,
    TooSlow,
    CutOff,
}

/// The whole body of a request, of at most so many bytes. It may come as slowly as [`pace`](crate::pace) lets it, and then is a sign of
/// life of the line that it is for.
///
/// # Errors
/// It is longer, slower, or was cut off.
pub(crate) async fn body(node: &Node, mut body: Body, most: usize, line: Option<SessionId>) -> Result<Bytes, BadBody> {
    let mut told: Option<Instant> = None;
    let (mut whole, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let slow_or_cut = |error| if is_too_slow(&error) { BadBody::TooSlow } else { BadBody::CutOff };
        let frame = frame.map_err(slow_or_cut)?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        if length <= most {
            whole.extend_from_slice(data);
        } else if length > most.saturating_mul(READ_PAST) {
            return Err(BadBody::TooLong);
        } else {
            whole = Vec::new();
        }
        if let Some(id) = line
            && told.is_none_or(|told| told.elapsed() >= TELL_EACH)
            && !hyper::body::Body::is_end_stream(&body)
        {
            told = Some(Instant::now());
            tell(node, id, move |shard| shard.post_arrives(id));
        }
    }
    if length > most { Err(BadBody::TooLong) } else { Ok(whole.into()) }
}

/// How often a line is told that something for it arrives.
const TELL_EACH: Duration = Duration::from_secs(1);

/// Of a body that is too long so many times the bound is read and thrown away: most clients read an answer only once they have
/// written all.
const READ_PAST: usize = 4;

/// The answer to a page that asks what it may send.
pub(crate) fn preflight(origins: &OriginPolicy, headers: &HeaderMap, methods: &'static str, allowed: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if origins.allows(headers) {
        // A header that nobody looks at does no harm.
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        origins.page(headers).may_read(&mut response);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static(allowed)));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// A place for a line that lives between requests.
///
/// # Errors
/// The answer that says that there is none.
pub(crate) fn admit(node: &Node, parts: &Parts) -> Result<Arc<Permit>, Box<Response>> {
    node.0.places.line(client(node, parts)).map_err(crate::upgrade::refused)
}

/// The address of whoever has sent a request.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
}

/// The address of whoever has had a request sent. A proxy on this machine, or one that is named, says for whom it asks: what stands last
/// was added by itself. Whoever asks from here, and says so untruly, takes nothing from anybody.
fn client(node: &Node, parts: &Parts) -> Option<IpAddr> {
    let peer = peer(&parts.extensions)?;
    if !node.0.places.speaks_for_others(peer) {
        return Some(peer);
    }
    let forwarded = parts.headers.get_all("x-forwarded-for").iter().next_back().and_then(|list| list.to_str().ok());
    let last = forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    Some(last.unwrap_or(peer))
}
