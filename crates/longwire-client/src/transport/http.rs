//! A line over HTTP: commands go as POSTs, messages come as one answer that does not end, or as answers to polls.
//! `docs/http-lines.md` is its specification. Whatever fails ends the line, and nothing is repeated.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::caller::{Caller, Failed, Target};
use crate::Message;
use crate::websocket::{MAX_MESSAGE_BYTES, Waited};

/// A request that only sends is given up after so long: what it carries would wait without end.
const POST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait until the line is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// No poll waits for longer, in seconds: many a proxy cuts what is silent for 30.
const LONGEST_POLL: u64 = 25;

/// The one who has asked, and what was answered.
type Answered = (Caller, Result<(StatusCode, Bytes), Failed>);
type Asked = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// An open line. Dropping it cuts its connections.
pub(crate) struct HttpLine {
    target: Arc<Target>,
    /// What the server calls it; of a poll only once the first commands were taken.
    name: Option<String>,
    down: Down,
    up: Up,
    /// How long a poll waits, in seconds.
    wait: u64,
    /// How it ended: the server's close code, and what happened.
    end: Option<(Option<u16>, String)>,
}

/// What comes from the server.
enum Down {
    /// Of a poll without a name.
    Nothing,
    Stream(Box<Stream>),
    /// Between two polls.
    Idle(Caller),
    Poll(Asked),
}

/// What goes to the server.
enum Up {
    Idle(Caller),
    Post(Asked),
    /// A post was not taken because the line has ended: how, the other side of the line tells.
    Gone,
}

struct Stream {
    body: Incoming,
    /// The beginning of a line.
    held: BytesMut,
    /// Its connection ends with it.
    _caller: Caller,
}

impl HttpLine {
    /// Begins a stream, once the server has said its name.
    pub(crate) async fn stream(target: Arc<Target>) -> Result<Self, String> {
        let mut caller = Caller::new(target.clone());
        let (_, body) = match caller.ask(Method::GET, None, "stream=ndjson", Bytes::new()).await {
            Ok(answer) => answer,
            Err(Failed::Gone) => return Err("the server knows no streams".to_owned()),
            Err(Failed::Otherwise(why)) => return Err(why),
        };
        let mut stream = Stream { body, held: BytesMut::new(), _caller: caller };
        let first = stream.next(false).await?;
        let name = name_of(&first)?;
        Ok(Self::new(target, Some(name), Down::Stream(Box::new(stream))))
    }

    /// Begins a line that is polled; the server hears of it by its first commands.
    pub(crate) fn poll(target: Arc<Target>) -> Self {
        Self::new(target, None, Down::Nothing)
    }

    fn new(target: Arc<Target>, name: Option<String>, down: Down) -> Self {
        let up = Up::Idle(Caller::new(target.clone()));
        Self { target, name, down, up, wait: LONGEST_POLL, end: None }
    }

    /// Whether there is no post under way: one at a time, so that order is kept.
    pub(crate) fn has_room(&self) -> bool {
        self.end.is_none() && matches!(self.up, Up::Idle(_))
    }

    /// Says commands. There has to be room.
    pub(crate) fn post(&mut self, commands: Vec<u8>) {
        let Up::Idle(mut caller) = std::mem::replace(&mut self.up, Up::Gone) else { return };
        let name = self.name.clone();
        self.up = Up::Post(Box::pin(async move {
            let asked = caller.ask_whole(Method::POST, name.as_deref(), "", commands.into());
            let late = || Failed::Otherwise("a request was not answered".to_owned());
            let answer = timeout(POST_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()));
            (caller, answer)
        }));
    }

    /// Waits for a message, a sign of life or the end if `reads`, and in any case for room for another post. Cancelling it loses
    /// nothing.
    pub(crate) async fn wait(&mut self, reads: bool) -> Waited {
        loop {
            if self.end.is_some() {
                return if reads { Waited::Ended } else { pending().await };
            }
            if reads {
                self.ask_for_more();
            }
            tokio::select! {
                posted = self.up.done() => {
                    if self.posted(posted) {
                        return Waited::Room;
                    }
                }
                came = self.down.next(), if reads => {
                    if let Some(waited) = self.came(came) {
                        return waited;
                    }
                }
            }
        }
    }

    /// How it ended: the server's close code if it gave one, and what happened.
    pub(crate) fn end(&self) -> (Option<u16>, String) {
        self.end.clone().unwrap_or_default()
    }

    /// A poll is to be answered before the session pings, even if there is nothing.
    pub(crate) fn expect_silence(&mut self, most: Duration) {
        self.wait = (most * 4 / 5).as_secs().clamp(1, LONGEST_POLL);
    }

    /// Tells the server that the line is over, which otherwise notices later; whether it hears it does not matter.
    pub(crate) async fn delete(self: Box<Self>) {
        let Self { target, name, down, up, end, .. } = *self;
        drop((down, up));
        let Some(name) = name.filter(|_| end.is_none()) else { return };
        let mut caller = Caller::new(target);
        let _ = timeout(CLOSE_TIMEOUT, caller.ask_whole(Method::DELETE, Some(&name), "", Bytes::new())).await;
    }

    /// As [`delete`](Self::delete), but what was said last arrives first.
    pub(crate) async fn close(mut self: Box<Self>) {
        if let Up::Post(post) = &mut self.up
            && let Ok(posted) = timeout(CLOSE_TIMEOUT, post).await
        {
            self.posted(posted);
        }
        self.delete().await;
    }

    /// A poll waits whenever there is someone to take its answer.
    fn ask_for_more(&mut self) {
        let Some(name) = self.name.clone() else { return };
        let mut caller = match std::mem::replace(&mut self.down, Down::Nothing) {
            Down::Idle(caller) => caller,
            Down::Nothing => Caller::new(self.target.clone()),
            other => {
                self.down = other;
                return;
            }
        };
        let query = format!("wait={}", self.wait);
        self.down = Down::Poll(Box::pin(async move {
            let answer = caller.ask_whole(Method::GET, Some(&name), &query, Bytes::new()).await;
            (caller, answer)
        }));
    }

    /// A post was answered; says whether there is room for another.
    fn posted(&mut self, (caller, answer): Answered) -> bool {
        self.up = Up::Gone;
        match answer {
            Ok((_, body)) if self.name.is_none() => match name_of(&body) {
                Ok(name) => self.name = Some(name),
                Err(why) => return self.cut(why),
            },
            Ok(_) => {}
            Err(Failed::Gone) => return false,
            Err(Failed::Otherwise(why)) => return self.cut(why),
        }
        self.up = Up::Idle(caller);
        true
    }

    fn came(&mut self, came: Came) -> Option<Waited> {
        let lines = match came {
            Came::Streamed(Ok(lines)) => lines,
            Came::Polled((caller, answer)) => {
                self.down = Down::Idle(caller);
                match answer {
                    Ok((StatusCode::NO_CONTENT, _)) => return Some(Waited::Heard),
                    Ok((_, body)) => body,
                    Err(Failed::Gone) => return self.cut_off("the server does not know the line any more".to_owned()),
                    Err(Failed::Otherwise(why)) => return self.cut_off(why),
                }
            }
            Came::Streamed(Err(why)) => return self.cut_off(why),
        };
        let (messages, close) = split_close(&lines);
        let messages = String::from_utf8(messages.to_vec());
        if let Some(Close { code, reason, .. }) = close {
            self.end = Some((Some(code), format!("closed with {code}: {reason}")));
        }
        match messages {
            Ok(messages) if !messages.trim_ascii().is_empty() => Some(Waited::Message(Message::from(messages))),
            Ok(_) => self.end.is_none().then_some(Waited::Heard),
            Err(_) => self.cut_off("the server said something that is not UTF-8".to_owned()),
        }
    }

    fn cut_off(&mut self, why: String) -> Option<Waited> {
        self.cut(why);
        None
    }

    fn cut(&mut self, why: String) -> bool {
        self.end.get_or_insert((None, why));
        false
    }
}

/// What has come from the server.
enum Came {
    /// Whole lines.
    Streamed(Result<Bytes, String>),
    Polled(Answered),
}

impl Down {
    /// Cancelling it loses nothing.
    async fn next(&mut self) -> Came {
        match self {
            Self::Nothing | Self::Idle(_) => pending().await,
            Self::Stream(stream) => Came::Streamed(stream.next(true).await),
            Self::Poll(poll) => Came::Polled(poll.await),
        }
    }
}

impl Up {
    /// Cancelling it loses nothing.
    async fn done(&mut self) -> Answered {
        match self {
            Self::Post(post) => post.await,
            Self::Idle(_) | Self::Gone => pending().await,
        }
    }
}

impl Stream {
    /// The next line, or all whole lines that are there. Cancelling it loses nothing.
    async fn next(&mut self, all: bool) -> Result<Bytes, String> {
        let mut looked_at = 0;
        loop {
            let new = &self.held[looked_at..];
            let end =
                if all { new.iter().rposition(|byte| *byte == b'\n') } else { new.iter().position(|byte| *byte == b'\n') };
            if let Some(end) = end {
                return Ok(self.held.split_to(looked_at + end + 1).freeze());
            }
            looked_at = self.held.len();
            if looked_at > MAX_MESSAGE_BYTES {
                return Err(format!("a message is longer than {MAX_MESSAGE_BYTES} bytes"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => return Err(format!("the stream was cut: {error}")),
                None => return Err("the stream ended".to_owned()),
            }
        }
    }
}

/// The last message of a line.
#[derive(Debug, Deserialize, PartialEq)]
struct Close {
    #[serde(rename = "type")]
    kind: String,
    code: u16,
    #[serde(default)]
    reason: String,
}

/// Takes the message that says that the server closes the line from the end of what it has said.
fn split_close(lines: &[u8]) -> (&[u8], Option<Close>) {
    let whole = lines.trim_ascii_end();
    let begin = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let last = &whole[begin..];
    // Few lines have it anywhere: the others need not be read twice.
    if !last.windows(7).any(|part| part == b"\"close\"") {
        return (lines, None);
    }
    match serde_json::from_slice::<Close>(last) {
        Ok(close) if close.kind == "close" => (&lines[..begin], Some(close)),
        _ => (lines, None),
    }
}

/// What the server calls a new line.
fn name_of(said: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Said {
        line: String,
    }
    let other = || "what answers is not a Longwire server".to_owned();
    let said: Said = serde_json::from_slice(said).map_err(|_| other())?;
    // It becomes a part of an address.
    let good = !said.line.is_empty() && said.line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
    if good { Ok(said.line) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use super::{Close, name_of, split_close};

    #[test]
    fn the_end_is_told_from_what_comes_before() {
        let close = Close { kind: "close".into(), code: 3500, reason: "replaced".into() };
        let said = br#"{"code":3500,"reason":"replaced","type":"close"}"#;
        assert_eq!(split_close(said), (&b""[..], Some(close)));
        let both = [b"{\"type\":\"pong\"}\n", &said[..], b"\n"].concat();
        let (before, close) = split_close(&both);
        assert_eq!((before, close.map(|close| close.code)), (&b"{\"type\":\"pong\"}\n"[..], Some(3500)));
    }

    #[test]
    fn what_only_speaks_of_it_is_not_the_end() {
        for said in [
            &br#"{"type":"publication","channel":"a","data":{"type":"close","code":3500}}"#[..],
            br#"{"type":"publication","code":1,"data":"\"close\""}"#,
            b"\n",
            b"",
        ] {
            assert_eq!(split_close(said), (said, None));
        }
    }

    #[test]
    fn a_name_is_one_that_can_be_part_of_an_address() {
        assert_eq!(name_of(br#"{"type":"line","line":"AAb-_9"}"#).as_deref(), Ok("AAb-_9"));
        for said in [&br#"{"line":"a/b"}"#[..], br#"{"line":""}"#, b"<html>", br#"{"line":7}"#] {
            assert!(name_of(said).is_err());
        }
    }
}
