//! What answers on the page `/demo/stream`: something that writes as a language model does, token by token, into a stream.
//!
//! It runs in the server, not in the page, so that a page can be reloaded or closed while the answer goes on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use longwire::{Channel, Data, ErrorCode, Failure, Node, Stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;

/// Answers that are written at the same time; who asks for more is told to come back.
const AT_ONCE: usize = 32;
/// The time between two tokens.
const TOKEN_EVERY: Duration = Duration::from_millis(33);
const MAX_ID_BYTES: usize = 32;
/// The longest question, as it comes.
const MAX_QUESTION_BYTES: usize = 1024;

/// What is answered: the question as pages name it, its language, and the text.
const TEXTS: &[(&str, &str, &str)] = &[
    ("line", "en", include_str!("line.en.txt")),
    ("line", "zh", include_str!("line.zh.txt")),
    ("resume", "en", include_str!("resume.en.txt")),
    ("resume", "zh", include_str!("resume.zh.txt")),
    ("stream", "en", include_str!("stream.en.txt")),
    ("stream", "zh", include_str!("stream.zh.txt")),
];

/// The producers of one server.
#[derive(Clone, Debug)]
pub(super) struct Writers {
    node: Arc<OnceLock<Node>>,
    free: Arc<Semaphore>,
}

/// What a page asks.
#[derive(Deserialize)]
struct Question {
    /// Where to answer: in the channel `ai:demo-ID`.
    id: String,
    question: String,
    language: String,
}

impl Writers {
    /// Once `node` is set, they write in its channels.
    pub(super) fn new(node: Arc<OnceLock<Node>>) -> Self {
        Self { node, free: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The route by which pages ask.
    pub(super) fn router(&self) -> Router {
        let writers = self.clone();
        let ask = post(move |headers, body| async move { writers.asked(headers, body).await });
        Router::new().route("/demo/stream/ask", ask.layer(DefaultBodyLimit::max(MAX_QUESTION_BYTES)))
    }

    /// Begins an answer. The reply does not wait for its end: whoever wants to read it subscribes to the channel.
    async fn asked(&self, headers: HeaderMap, body: Bytes) -> Response {
        // Another site's page cannot send this type without asking first, and is not answered then.
        let json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let question = serde_json::from_slice(&body).ok().filter(|_| json).and_then(|question: Question| question.checked());
        let Some((channel, Question { question, language, .. }, text)) = question else {
            return refusal(StatusCode::BAD_REQUEST, &ErrorCode::BadValue.into());
        };
        if !self.node.get().is_some_and(|node| node.allows_page(&headers)) {
            return refusal(StatusCode::FORBIDDEN, &ErrorCode::OriginNotAllowed.into());
        }
        let (Some(node), Ok(permit)) = (self.node.get(), self.free.clone().try_acquire_owned()) else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &ErrorCode::Overloaded.into());
        };
        match begin(&node.channel(channel), &question, &language).await {
            Ok(stream) => {
                let began = stream.began();
                tokio::spawn(write(stream, text, node.clone(), permit));
                (StatusCode::ACCEPTED, json_body(&serde_json::json!({ "stream": began }))).into_response()
            }
            Err(failure) => refusal(StatusCode::CONFLICT, &failure),
        }
    }
}

impl Question {
    /// The channel to answer in and the text to answer with, if there are such.
    fn checked(self) -> Option<(String, Self, &'static str)> {
        let id = self.id.as_bytes();
        let (_, _, text) = TEXTS.iter().find(|(name, language, _)| (*name, *language) == (&self.question, &self.language))?;
        let valid = (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
        valid.then(|| (format!("ai:demo-{}", self.id), self, text.trim()))
    }
}

/// Begins the stream, and tells beside it what it answers.
async fn begin(channel: &Channel, question: &str, language: &str) -> Result<Stream, Failure> {
    let stream = channel.stream().await?;
    let asked = serde_json::json!({ "stream": stream.began(), "question": question, "language": language });
    let asked = Data::json(asked.to_string()).map_err(|_| ErrorCode::Internal)?;
    channel.publish(asked).event("asked").await?;
    Ok(stream)
}

/// Writes until the end of the text, or until somebody asks to stop.
async fn write(mut stream: Stream, text: &'static str, node: Node, permit: OwnedSemaphorePermit) {
    let mut clock = tokio::time::interval(TOKEN_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest = text;
    let ended = loop {
        clock.tick().await;
        let (token, after) = rest.split_at(token_bytes(rest));
        if stream.is_cancelled() {
            break stream.cancelled().await;
        } else if node.is_stopping() {
            break stream.fail("the server is going away").await;
        } else if token.is_empty() {
            break stream.finish().await;
        }
        match stream.append(token).await {
            Ok(()) => rest = after,
            Err(failure) if failure.code.retry() => tracing::debug!(%failure, "the demo's piece waits"),
            Err(failure) => break Err(failure),
        }
    };
    if let Err(failure) = ended {
        tracing::warn!(%failure, "the demo's answer did not come to its end");
    }
    drop(permit);
}

/// How long the next token is: about four letters, with the space before them, or one Chinese character.
fn token_bytes(text: &str) -> usize {
    let mut letters = 0;
    for (at, char) in text.char_indices() {
        let full = letters >= 4 || letters > 0 && !char.is_ascii_alphabetic();
        if full {
            return at;
        }
        letters += if char.is_ascii_alphabetic() {
            1
        } else if char.is_whitespace() {
            0
        } else {
            4
        };
    }
    text.len()
}

fn refusal(status: StatusCode, failure: &Failure) -> Response {
    let error = serde_json::json!({ "name": failure.code.name(), "message": failure.to_string() });
    (status, json_body(&serde_json::json!({ "error": error }))).into_response()
}

fn json_body(value: &serde_json::Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_short_and_lose_nothing() {
        for (name, language, text) in TEXTS {
            let (mut rest, mut tokens) = (text.trim(), 0);
            while !rest.is_empty() {
                let bytes = token_bytes(rest);
                assert!((1..=8).contains(&bytes), "{name}.{language}: {rest:?}");
                (rest, tokens) = (&rest[bytes..], tokens + 1);
            }
            assert!((250..1000).contains(&tokens), "{name}.{language}: {tokens} tokens");
        }
        assert_eq!(token_bytes(""), 0);
    }

    #[test]
    fn only_what_there_is_can_be_asked() {
        let question = |id: &str, question: &str, language: &str| {
            Question { id: id.to_owned(), question: question.to_owned(), language: language.to_owned() }.checked()
        };
        assert_eq!(question("a1", "line", "zh").unwrap().0, "ai:demo-a1");
        for (id, name, language) in [("", "line", "en"), ("a:b", "line", "en"), ("a", "love", "en"), ("a", "line", "fr")] {
            assert!(question(id, name, language).is_none(), "{id} {name} {language}");
        }
        assert!(question(&"x".repeat(33), "line", "en").is_none());
    }
}
