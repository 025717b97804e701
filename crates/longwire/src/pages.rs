//! What is at addresses that nothing else answers: files of the folder, if one is served; the pages that are embedded in the binary;
//! and a word for those who look for something else.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::folder::{Folder, is_known};

/// Pages may load what this server serves and nothing else, and no other site may frame them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The client: pages of other origins may load it as a module.
const CLIENT: &str = "/longwire.js";
/// What a person sees at an address where there is nothing.
const NOTHING: &str = "/nothing";

#[derive(Debug)]
struct Page {
    address: &'static str,
    kind: &'static str,
    tag: &'static str,
    body: &'static [u8],
}

/// In the order of their addresses.
const PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Answers what no other route does.
pub(crate) fn router(folder: Option<Folder>) -> Router {
    Router::new().fallback(move |request: Request| {
        let folder = folder.clone();
        let (head, _) = request.into_parts();
        async move { answer(folder.as_ref(), &head.method, head.uri.path(), &head.headers).await }
    })
}

async fn answer(folder: Option<&Folder>, method: &Method, path: &str, headers: &HeaderMap) -> Response {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads
        && let Some(folder) = folder
        && let Some(response) = folder.answer(path, headers).await
    {
        return response;
    }
    match page_at(path).filter(|page| page.address != NOTHING) {
        Some(page) if reads => serve(page, headers),
        Some(_) => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response(),
        None => nothing(headers),
    }
}

fn page_at(path: &str) -> Option<&'static Page> {
    PAGES.binary_search_by_key(&path, |page| page.address).ok().map(|at| &PAGES[at])
}

fn serve(page: &'static Page, headers: &HeaderMap) -> Response {
    let mut response = match is_known(headers, page.tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, page.kind)], page.body).into_response(),
    };
    let fixed = [
        (header::ETAG, page.tag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let for_others =
        [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin")];
    let for_others = for_others.into_iter().filter(|_| page.address == CLIENT);
    for (name, value) in fixed.into_iter().chain(for_others) {
        response.headers_mut().insert(name, value.parse().expect("visible ASCII"));
    }
    response
}

/// There is nothing: a page for a person, and for a program what the server says to it (an empty 404 is explained there).
fn nothing(headers: &HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_person = accepts.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"));
    let mut response = match page_at(NOTHING).filter(|_| is_person) {
        Some(page) => serve(page, &HeaderMap::new()),
        None => StatusCode::NOT_FOUND.into_response(),
    };
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::VARY, header::ACCEPT.into());
    response
}
