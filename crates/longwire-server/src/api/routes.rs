//! Every method and path of the HTTP API, and the way from a request to its answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::body::Body as _;
use longwire_core::broker::Failure;
use longwire_protocol::ErrorCode;

use super::access::Access;
use super::answer;
use super::batch::Batch;
use super::command::Kind;
use super::execute::{Output, execute};
use super::members::{Members, bad_message};
use crate::node::Node;
use crate::pace::Pauses;
use crate::requests::{self, BadBody};

/// Every method and path of the server API, below the path at which it is mounted.
pub const ROUTES: &[(&str, &str)] = &{
    let mut routes = [("", ""); ENDPOINTS.len()];
    let mut at = 0;
    while at < ENDPOINTS.len() {
        routes[at] = (ENDPOINTS[at].0, ENDPOINTS[at].1);
        at += 1;
    }
    routes
};

const ENDPOINTS: &[(&str, &str, Endpoint)] = &[
    ("POST", "/publish", Endpoint::Body(Kind::PUBLISH)),
    ("POST", "/publish/many", Endpoint::Body(Kind::PUBLISH_MANY)),
    ("POST", "/append", Endpoint::Body(Kind::APPEND)),
    ("POST", "/cancel", Endpoint::Body(Kind::CANCEL)),
    ("GET", "/history", Endpoint::Query(Kind::HISTORY)),
    ("GET", "/presence", Endpoint::Query(Kind::PRESENCE)),
    ("GET", "/state", Endpoint::Query(Kind::STATE)),
    ("PUT", "/state", Endpoint::Body(Kind::SET)),
    ("DELETE", "/state", Endpoint::Query(Kind::REMOVE)),
    ("GET", "/channels", Endpoint::Query(Kind::CHANNELS)),
    ("GET", "/sessions", Endpoint::Query(Kind::SESSIONS)),
    ("POST", "/disconnect", Endpoint::Body(Kind::DISCONNECT)),
    ("POST", "/unsubscribe", Endpoint::Body(Kind::UNSUBSCRIBE)),
    ("POST", "/batch", Endpoint::Batch),
];

/// Where the members of a command stand.
#[derive(Clone, Copy)]
enum Endpoint {
    Body(Kind),
    Query(Kind),
    Batch,
}

/// What all requests have in common.
pub(crate) struct Api {
    pub(crate) node: Node,
    pub(crate) access: Access,
}

/// The API, below any path.
pub(crate) fn router(api: Api) -> Router {
    let api = Arc::new(api);
    let mut router = Router::new();
    for (method, path, endpoint) in ENDPOINTS {
        let api = api.clone();
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let filter = MethodFilter::try_from(method).expect("one of the usual methods");
        let serve = move |request: Request| {
            let api = api.clone();
            async move { api.serve(*endpoint, request).await.unwrap_or_else(|failure| refused(&failure)) }
        };
        router = router.route(path, on(filter, serve));
    }
    router
        .method_not_allowed_fallback(|| async { refused(&ErrorCode::MethodNotAllowed.into()) })
        .fallback(|| async { refused(&ErrorCode::NotFound.into()) })
}

impl Api {
    async fn serve(&self, endpoint: Endpoint, request: Request) -> Result<Response, Failure> {
        let (head, body) = request.into_parts();
        self.access.check(&head).await?;
        if self.node.is_stopping() {
            return Err(Failure::new(ErrorCode::Overloaded, "the server is shutting down: try again soon"));
        }
        let query = head.uri.query().unwrap_or_default();
        let once = once(&head.headers)?;
        let command = match endpoint {
            Endpoint::Batch => {
                // Who has a key may say its commands as they come up.
                head.extensions.get::<Pauses>().inspect(|pauses| pauses.allow());
                return self.batch(query, &head.headers, body);
            }
            Endpoint::Query(kind) => kind.read(Members::of_query(query)?, once)?,
            Endpoint::Body(kind) => {
                is_of_type(&head.headers, &["application/json"])?;
                // One place for a command's members.
                Members::of_query(query)?.finish()?;
                kind.read(Members::of_json(&self.whole(body).await?)?, once)?
            }
        };
        let output = execute(&self.node, command).await?;
        Ok(answered(StatusCode::OK, &Ok(output)))
    }

    fn batch(&self, query: &str, headers: &HeaderMap, body: Body) -> Result<Response, Failure> {
        is_of_type(headers, &["application/x-ndjson", "application/ndjson", "application/jsonl"])?;
        let mut members = Members::of_query(query)?;
        members.are_of("batch");
        let errors_only = match members.text("results")?.as_deref() {
            None | Some("all") => false,
            Some("errors") => true,
            Some(_) => return Err(members.wrong("results", "all or errors")),
        };
        members.finish()?;
        let results = Batch { line_bytes: self.body_bytes(), errors_only }.run(self.node.clone(), body);
        let mut response = Response::new(Body::new(results));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(response)
    }

    /// A body as a whole, if it is short enough and comes in time.
    async fn whole(&self, body: Body) -> Result<Bytes, Failure> {
        let most = self.body_bytes();
        let too_large = || Failure::new(ErrorCode::TooLarge, format!("the body of a request has at most {most} bytes"));
        if body.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        requests::body(&self.node, body, most, None).await.map_err(|bad| match bad {
            BadBody::TooSlow => ErrorCode::RequestTimeout.into(),
            BadBody::TooLong => too_large(),
            BadBody::CutOff => bad_message("the body ended before it was complete"),
        })
    }

    /// The longest body, and the longest line of a batch.
    fn body_bytes(&self) -> usize {
        self.node.config().limits.max_message_bytes
    }
}

/// The idempotency key of a request's head.
fn once(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(once) = headers.get("idempotency-key") else { return Ok(None) };
    once.to_str().map(Some).map_err(|_| Failure::new(ErrorCode::BadValue, "the header Idempotency-Key must be visible ASCII"))
}

/// Browsers send other pages' forms without asking, but not of these types.
fn is_of_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Failure> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if types.iter().any(|kind| given.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    let message = format!("send this with 'Content-Type: {}', not {given:?}", types[0]);
    Err(Failure::new(ErrorCode::UnsupportedMediaType, message))
}

/// An error as JSON, with its status.
pub(crate) fn refused(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answered(status, &Err(failure.clone()));
    let headers = response.headers_mut();
    match failure.code {
        ErrorCode::Unauthorized => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        ErrorCode::Overloaded => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
        _ => {}
    }
    response
}

fn answered(status: StatusCode, result: &Result<Output, Failure>) -> Response {
    let mut json = Vec::new();
    answer::push(result, None, &mut json);
    json.push(b'\n');
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
