//! Polling and long polling a channel over HTTP: a position in, publications and the new position out.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use crate::http::Head;
use crate::opening::shown;

/// One client that polls.
#[derive(Debug, Clone)]
pub(super) struct Poll {
    /// The path, with the channel in its query.
    path: String,
    /// Seconds that a request may wait.
    wait: u64,
    /// Nanoseconds from one request to the next; none when the next one goes out as soon as there is an answer.
    every: Option<u64>,
    /// Where it is; none before the first answer.
    since: Option<String>,
    etag: Option<String>,
    /// When the next request is due.
    due: u64,
    /// Whether one waits for its answer.
    asked: bool,
}

/// What the server answers.
#[derive(Deserialize)]
struct Page {
    since: String,
    /// Messages of the native protocol. A server that only tells publications may say so.
    #[serde(alias = "publications")]
    messages: Vec<Value>,
}

impl Poll {
    /// Begins at the channel's present.
    pub(super) fn new(path: String, wait: u64, every: Option<u64>) -> Poll {
        Poll { path, wait, every, since: None, etag: None, due: 0, asked: false }
    }

    /// Whether it knows where it is.
    pub(super) fn is_ready(&self) -> bool {
        self.since.is_some()
    }

    /// When the next request is due; none while one waits.
    pub(super) fn due(&self) -> Option<u64> {
        (!self.asked).then_some(self.due)
    }

    /// The next request, made with what makes the beginning of a request out of a path.
    pub(super) fn request(&mut self, now: u64, head: impl FnOnce(&str) -> String) -> String {
        self.asked = true;
        // The rhythm is kept, and what was missed of it is not made up for.
        self.due = self.every.map_or(0, |every| (self.due + every).max(now));
        let mut path = format!("{}&wait={}", self.path, self.wait);
        // A position has nothing that a query would have to escape.
        let _ = self.since.iter().try_for_each(|since| write!(path, "&since={since}"));
        let mut request = head(&path);
        request.push_str("Accept: application/json\r\n");
        let _ = self.etag.iter().try_for_each(|etag| write!(request, "If-None-Match: {etag}\r\n"));
        request.push_str("\r\n");
        request
    }

    /// Takes a response. Gives the messages in it, or what the server said in place of them.
    pub(super) fn answer(&mut self, response: &[u8]) -> Result<Vec<Value>, String> {
        self.asked = false;
        let head = Head::read(response).ok().flatten().ok_or("the answer to a poll is none")?;
        let body = &response[head.len..];
        match head.status {
            200 => {
                let page: Page = serde_json::from_slice(body)
                    .map_err(|error| format!("the answer to a poll is no page: {error}: {}", shown(body)))?;
                (self.since, self.etag) = (Some(page.since), head.etag);
                Ok(page.messages)
            }
            204 | 304 => Ok(Vec::new()),
            status => Err(format!("the server answered a poll with HTTP status {status}: {}", shown(body))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: &str, etag: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\n{etag}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn positions_go_round_and_the_rhythm_is_kept() {
        let mut poll = Poll::new("/v1/poll?channel=c".into(), 0, Some(1000));
        let head = |path: &str| format!("GET {path} HTTP/1.1\r\n");
        assert_eq!((poll.due(), poll.is_ready()), (Some(0), false));
        assert_eq!(poll.request(10, head), "GET /v1/poll?channel=c&wait=0 HTTP/1.1\r\nAccept: application/json\r\n\r\n");
        assert_eq!(poll.due(), None, "one request at a time");
        let page = r#"{"since":"5d1c80a2:1","messages":[]}"#;
        assert_eq!(poll.answer(&response("200 OK", "ETag: \"x\"\r\n", page)), Ok(vec![]));
        assert_eq!((poll.due(), poll.is_ready()), (Some(1000), true));
        let request = poll.request(1100, head);
        assert!(request.starts_with("GET /v1/poll?channel=c&wait=0&since=5d1c80a2:1 HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("If-None-Match: \"x\"\r\n\r\n"), "{request}");
        assert_eq!(poll.answer(&response("304 Not Modified", "", "")), Ok(vec![]));
        assert_eq!(poll.due(), Some(2000), "late once, not always");
        poll.request(9000, head);
        let page = r#"{"since":"5d1c80a2:3","publications":[{"offset":2,"data":1},{"offset":3,"data":2}]}"#;
        let publications = poll.answer(&response("200 OK", "", page)).unwrap();
        assert_eq!(publications.iter().map(|one| one["data"].clone()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(poll.due(), Some(9000));
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let mut poll = Poll::new("/v1/poll?channel=c".into(), 25, None);
        let said = poll.answer(&response("404 Not Found", "", "nothing here\n")).unwrap_err();
        assert!(said.contains("404") && said.contains("nothing here"), "{said}");
        assert!(poll.answer(&response("200 OK", "", "{}")).unwrap_err().contains("no page"));
        assert!(poll.answer(b"").is_err());
    }
}
