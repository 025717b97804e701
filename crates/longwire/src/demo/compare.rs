//! What the page `/compare` receives over every transport: a number, five times a second, as long as somebody looks; and what only the
//! server can measure for it.

use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use longwire::{Data, Node};
use tokio::time::MissedTickBehavior;

/// It is of the namespace `default`, which has the history that the transports resume from.
const CHANNEL: &str = "compare";
/// The time between two numbers.
const EVERY: Duration = Duration::from_millis(200);
/// A page asks every two seconds. When none has for so long, nobody looks any more.
const LOOKED_AT_FOR: Duration = Duration::from_secs(10);

/// The numbers of one server.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    node: Arc<OnceLock<Node>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Until when somebody looks; `None` while nothing publishes.
    until: Option<Instant>,
    /// The last number that was published.
    last: u64,
}

impl Numbers {
    /// Once `node` is set, they are published in its channel.
    pub(super) fn new(node: Arc<OnceLock<Node>>) -> Self {
        Self { node, state: Arc::default() }
    }

    /// The route by which pages look.
    pub(super) fn router(&self) -> Router {
        let numbers = self.clone();
        let look = move |method, uri, headers| async move { numbers.look(&method, &uri, &headers) };
        Router::new().route("/demo/compare/server", get(look))
    }

    /// Somebody looks: there are numbers for a while. The answer has the server's clock (milliseconds since 1970), the processor time
    /// that its process has used (microseconds; null where the system does not tell), and the bytes of the request's head.
    fn look(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
        let Some(node) = self.node.get() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
        if self.extend(Instant::now()) {
            tokio::spawn(self.clone().publish(node.clone()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as f64 / 1000.0;
        let body = serde_json::json!({
            "now": now,
            "cpu": processor_time().map(|time| time.as_micros() as u64),
            "head": head_bytes(method, uri, headers),
            "channel": CHANNEL,
            "every": EVERY.as_millis() as u64,
        });
        let head = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        (head, body.to_string()).into_response()
    }

    /// True if there is nobody yet who publishes.
    fn extend(&self, now: Instant) -> bool {
        self.state().until.replace(now + LOOKED_AT_FOR).is_none()
    }

    /// The next number, unless nobody looks any more.
    fn next(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        if state.until.is_none_or(|until| until <= now) {
            state.until = None;
            return None;
        }
        state.last += 1;
        Some(state.last)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(self, node: Node) {
        let channel = node.channel(CHANNEL);
        let mut clock = tokio::time::interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some(number) = self.next(Instant::now()) {
            clock.tick().await;
            let data = Data::json(format!(r#"{{"n":{number}}}"#)).expect("this is JSON");
            match channel.publish(data).await {
                Ok(_) => {}
                // Nobody has heard it: the next one is the same.
                Err(failure) if failure.code.retry() => self.state().last -= 1,
                Err(failure) => {
                    tracing::debug!(%failure, "there can be no numbers to compare transports with");
                    self.state().until = None;
                    return;
                }
            }
        }
    }
}

/// How many bytes the head of an HTTP/1.1 request has with these headers.
fn head_bytes(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let line = method.as_str().len() + 1 + uri.path_and_query().map_or(1, |path| path.as_str().len()) + " HTTP/1.1\r\n".len();
    let headers = headers.iter().map(|(name, value)| name.as_str().len() + ": ".len() + value.len() + "\r\n".len());
    line + headers.sum::<usize>() + "\r\n".len()
}

/// The processor time that all threads of this process have used, as Linux counts it for each.
fn processor_time() -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        // A thread that has ended meanwhile is none any more.
        let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        sum += Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_numbers_while_somebody_looks() {
        let (numbers, start) = (Numbers::new(Arc::default()), Instant::now());
        assert_eq!(numbers.next(start), None, "nobody looks");
        assert!(numbers.extend(start), "the first one begins");
        assert!(!numbers.extend(start + EVERY), "the second finds it going on");
        assert_eq!(numbers.next(start + LOOKED_AT_FOR), Some(1));
        assert_eq!(numbers.next(start + LOOKED_AT_FOR + EVERY), None, "nobody has looked for too long");
        assert!(numbers.extend(start + 2 * LOOKED_AT_FOR));
        assert_eq!(numbers.next(start + 2 * LOOKED_AT_FOR), Some(2), "no number comes twice");
    }

    #[test]
    fn a_head_is_as_long_as_it_is_on_the_wire() {
        let head = "GET /a?b=c HTTP/1.1\r\nhost: localhost:8000\r\naccept: */*\r\n\r\n";
        let headers = [(header::HOST, "localhost:8000"), (header::ACCEPT, "*/*")];
        let headers = headers.into_iter().map(|(name, value)| (name, value.parse().expect("a value"))).collect();
        assert_eq!(head_bytes(&Method::GET, &Uri::from_static("/a?b=c"), &headers), head.len());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_takes_processor_time() {
        let before = processor_time().expect("Linux tells");
        let end = Instant::now() + Duration::from_millis(30);
        while Instant::now() < end {
            std::hint::black_box(before);
        }
        assert!(processor_time().expect("Linux tells") > before);
    }
}
