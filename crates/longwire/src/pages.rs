//! The pages that the binary serves, embedded in it.

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Pages may load what this server serves and nothing else, and no other site may frame them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Debug)]
struct Page {
    address: &'static str,
    kind: &'static str,
    tag: &'static str,
    body: &'static [u8],
}

const PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The routes of all pages.
pub(crate) fn router() -> Router {
    PAGES.iter().fold(Router::new(), |router, page| {
        router.route(page.address, get(move |headers: HeaderMap| async move { answer(page, &headers) }))
    })
}

fn answer(page: &'static Page, headers: &HeaderMap) -> Response {
    let fixed = [
        (header::ETAG, page.tag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|value| value.split(',')).any(|tag| tag.trim() == page.tag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, page.kind)], page.body).into_response()
}
