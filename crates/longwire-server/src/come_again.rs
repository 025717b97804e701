//! What an `EventSource` is answered where others are refused. By the standard (WHATWG HTML, 9.2.3) it gives up for ever at any status but
//! 200, and comes back after a stream that has ended; at 204 it stays away. So what passes is told it in a stream that ends at once, and
//! only what stays is told by a status.

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use longwire_ws::CloseCode;
use serde_json::{Value, json};

/// The id of the last event of a stream whose client is not to come back: it comes back with that, and is told to stay away.
pub(crate) const NEVER: &str = "never";
/// Who is refused comes back after so many milliseconds, and up to twice as many.
const RETRY: u64 = 3000;
/// The most bytes of a refusal's own body.
const BODY_MAX: usize = 16 * 1024;

/// Whether a request with these headers is one of an `EventSource`, or of what works like it.
pub(crate) fn reads_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.to_ascii_lowercase().contains("text/event-stream"))
}

/// The answer to one that was told not to come back.
pub(crate) fn stay_away(headers: &HeaderMap) -> Option<Response> {
    let is_told = headers.get("Last-Event-ID").is_some_and(|id| id == NEVER);
    is_told.then(|| StatusCode::NO_CONTENT.into_response())
}

/// The refusal as it is, or, if it passes and `reads_events`, a stream that says so and ends.
pub(crate) async fn told(refusal: Response, reads_events: bool) -> Response {
    let (parts, body) = refusal.into_parts();
    let passes = parts.status.is_server_error() || parts.headers.contains_key(header::RETRY_AFTER);
    if !reads_events || !passes {
        return Response::from_parts(parts, body);
    }
    let error = to_bytes(body, BODY_MAX).await.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let error = error.and_then(|mut body| body.get_mut("error").map(Value::take)).unwrap_or_default();
    let reason = error["message"].as_str().unwrap_or("try again later");
    let close = json!({"type": "close", "code": CloseCode::TRY_AGAIN_LATER.value(), "reason": reason, "error": error});
    let event = format!("retry: {}\n\nevent: close\ndata: {close}\n\n", spread(RETRY).unwrap_or(RETRY));
    let mut response = Response::new(Body::from(event));
    mark(response.headers_mut(), "text/event-stream");
    response
}

/// The headers of an answer that is a stream.
pub(crate) fn mark(headers: &mut HeaderMap, content_type: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // A proxy that collects answers would collect for ever.
    headers.insert("X-Accel-Buffering", HeaderValue::from_static("no"));
}

/// A time between so long and twice as long, so that not all come back at once.
pub(crate) fn spread(millis: u64) -> std::io::Result<u64> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    Ok(millis + u64::from(u16::from_le_bytes(random)) * millis / u64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error;
    use crate::places::Refusal;
    use crate::upgrade::refused;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[tokio::test]
    async fn what_passes_is_a_stream_that_ends_and_what_stays_is_a_status() {
        for (refusal, code) in
            [(Refusal::Full, "too_many_connections"), (Refusal::Address, "too_many_connections_from_address")]
        {
            let told = told(*refused(refusal), true).await;
            assert_eq!(
                (told.status(), &told.headers()[header::CONTENT_TYPE]),
                (StatusCode::OK, &"text/event-stream".parse().unwrap())
            );
            let text = String::from_utf8(to_bytes(told.into_body(), BODY_MAX).await.unwrap().into()).unwrap();
            let (retry, event) = text.split_once("\n\n").unwrap();
            let retry: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
            assert!((RETRY..=2 * RETRY).contains(&retry), "{retry}");
            let data = event.strip_prefix("event: close\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!((&data["code"], &data["error"]["code"]), (&json!(1013), &json!(code)));
            assert!(data["reason"].as_str().unwrap().contains("later"), "{data}");
        }
        let full = || *refused(Refusal::Full);
        assert_eq!(told(full(), false).await.status(), 503, "others know what a status is");
        for status in [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
            assert_eq!(told(error(status, "no", "no"), true).await.status(), status);
        }
    }

    #[test]
    fn an_event_source_is_known_by_what_it_accepts_and_by_its_last_id() {
        assert!(reads_events(&headers("accept", "text/event-stream")));
        assert!(reads_events(&headers("accept", "application/json, Text/Event-Stream;q=0.9")));
        assert!(!reads_events(&headers("accept", "*/*")) && !reads_events(&HeaderMap::new()));
        assert_eq!(stay_away(&headers("last-event-id", NEVER)).unwrap().status(), 204);
        assert!(stay_away(&headers("last-event-id", "0000000a:7")).is_none());
        assert!(crate::cursor::parse(NEVER, 1).is_none(), "no position is taken for it");
    }
}
