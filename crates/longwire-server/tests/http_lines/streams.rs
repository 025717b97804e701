//! Lines whose messages are one answer that does not end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use longwire_protocol::{Form, SessionId};
use serde_json::{Value, json};

use super::{build, publish, serve_lines, sessions};
use crate::support::{Http, LINES, body_of, eventually, serve, within_bound};

/// A line whose messages come as a stream.
struct Stream {
    events: Http,
    posts: Http,
    target: String,
    /// Whether each message is an event.
    sse: bool,
    text: String,
    received: VecDeque<Value>,
    heartbeats: usize,
}

impl Stream {
    #[track_caller]
    fn open(address: SocketAddr, format: &str) -> Self {
        let mut events = Http::open(address);
        let response = events.request("GET", &format!("{LINES}?stream={format}"), b"");
        assert_eq!(response.status, 200, "{}\n{}", response.head, response.body);
        let sse = format == "sse";
        let content_type = if sse { "text/event-stream" } else { "application/x-ndjson" };
        assert_eq!(response.header("content-type"), Some(content_type));
        assert_eq!(response.header("x-accel-buffering"), Some("no"));
        let (text, received) = (String::new(), VecDeque::new());
        let mut stream = Self { events, posts: Http::open(address), target: String::new(), sse, text, received, heartbeats: 0 };
        let first = stream.next();
        assert_eq!(first["type"], "line");
        stream.target = format!("{LINES}/{}", first["line"].as_str().expect("an id"));
        stream
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> bool {
        let Some(chunk) = self.events.chunk() else { return false };
        self.text.push_str(&chunk);
        let end = if self.sse { "\n\n" } else { "\n" };
        while let Some((block, rest)) = self.text.split_once(end) {
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.text = rest;
            if self.sse && block != ":" {
                self.received.push_back(event_of(&block));
            } else if !self.sse && !block.is_empty() {
                self.received.push_back(serde_json::from_str(&block).unwrap_or_else(|error| panic!("{error}: {block:?}")));
            } else {
                self.heartbeats += 1;
            }
        }
        true
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        while self.received.is_empty() {
            assert!(self.fill(), "the stream has ended");
        }
        self.received.pop_front().expect("a message")
    }

    #[track_caller]
    fn next_of(&mut self, name: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], name, "{message}");
        message
    }

    #[track_caller]
    fn say(&mut self, commands: &[Value]) {
        let response = self.posts.request("POST", &self.target, body_of(commands).as_bytes());
        assert_eq!(response.status, 204, "{}\n{}", response.head, response.body);
    }

    #[track_caller]
    fn expect_end(&mut self) {
        while self.fill() {}
        assert!(self.received.is_empty() && self.text.is_empty(), "{:?} {:?}", self.received, self.text);
    }
}

/// The data of an event, which is called as its type; publications are plain ones.
#[track_caller]
fn event_of(block: &str) -> Value {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let data: Value = serde_json::from_str(field("data: ").unwrap_or_else(|| panic!("{block:?}"))).expect("JSON");
    assert_eq!(field("event: "), data["type"].as_str().filter(|kind| *kind != "publication"));
    data
}

#[test]
fn messages_come_as_they_are_and_commands_go_by_posts() {
    for (shards, format) in [(1, "ndjson"), (3, "ndjson"), (1, "sse"), (3, "sse")] {
        let server = serve_lines(shards);
        // As many as take all shards, each of which may be another's than its connection's.
        for _ in 0..4 {
            let mut stream = Stream::open(server.address, format);
            stream.say(&[json!({"type": "connect", "id": 1}), json!({"type": "subscribe", "id": 2, "channel": "chat:a"})]);
            assert_eq!(stream.next_of("connected")["id"], 1);
            assert_eq!(stream.next_of("subscribed")["id"], 2);
            publish(&server, "chat:a", "with\nlines");
            assert_eq!(stream.next_of("publication")["data"], "with\nlines");
            for n in 0..50 {
                stream.say(&[json!({"type": "publish", "channel": "chat:a", "data": n})]);
            }
            for n in 0..50 {
                assert_eq!(stream.next_of("publication")["data"], n);
            }
            let target = stream.target.clone();
            assert_eq!(stream.posts.request("DELETE", &target, b"").status, 204);
            assert_eq!(stream.next_of("close")["code"], 1000);
            stream.expect_end();
            drop(stream.events);
            eventually("the line is forgotten", || stream.posts.request("POST", &target, b"").status == 404);
        }
        server.expect_empty();
    }
}

#[test]
fn a_quiet_stream_has_heartbeats() {
    for format in ["ndjson", "sse"] {
        let server = serve(1, |builder| build(builder).configure(|config| config.ping_interval = Duration::from_millis(40)));
        let mut stream = Stream::open(server.address, format);
        stream.say(&[json!({"type": "connect"})]);
        stream.next_of("connected");
        while stream.heartbeats < 3 {
            assert!(stream.fill());
        }
        assert!(stream.received.is_empty());
    }
}

#[test]
fn a_stream_is_not_polled() {
    let server = serve_lines(2);
    let mut stream = Stream::open(server.address, "ndjson");
    stream.say(&[json!({"type": "connect"}), json!({"type": "subscribe", "channel": "chat:a"})]);
    stream.next_of("connected");
    stream.next_of("subscribed");
    let target = stream.target.clone() + "?wait=1";
    let polled = stream.posts.request("GET", &target, b"");
    assert_eq!(polled.status, 404, "{}", polled.body);
    // And misses nothing by it.
    publish(&server, "chat:a", "one");
    assert_eq!(stream.next_of("publication")["data"], "one");
}

#[test]
fn a_stream_that_the_server_ends_says_why() {
    let server = serve_lines(3);
    let connected = |stream: &mut Stream, command: Value| {
        stream.say(&[command]);
        stream.next_of("connected")
    };
    // Taken over.
    let mut stream = Stream::open(server.address, "ndjson");
    let first = connected(&mut stream, json!({"type": "connect"}));
    let claim = json!({"session": first["session"], "key": first["key"]});
    let (_, again) = crate::native::client::connect(server.address, Form::Json, claim);
    assert_eq!(again["resumed"], true);
    assert_eq!(stream.next_of("close")["code"], 3500);
    stream.expect_end();
    // Put out.
    let mut stream = Stream::open(server.address, "sse");
    let first = connected(&mut stream, json!({"type": "connect"}));
    let session = SessionId::parse(first["session"].as_str().unwrap()).unwrap();
    within_bound(server.node().disconnect_session(session)).expect("disconnected");
    assert_eq!(stream.next_of("close")["code"], 3501);
    stream.expect_end();
    // At the end.
    let mut stream = Stream::open(server.address, "ndjson");
    connected(&mut stream, json!({"type": "connect"}));
    server.shutdown();
    assert_eq!(stream.next_of("close")["code"], 1001);
    stream.expect_end();
    drop(stream);
    server.join();
}

#[test]
fn a_stream_that_its_client_leaves_is_gone() {
    let server = serve(2, |builder| build(builder).configure(|config| config.sessions.keep = 100));
    let mut stream = Stream::open(server.address, "ndjson");
    stream.say(&[json!({"type": "connect"}), json!({"type": "subscribe", "channel": "chat:a"})]);
    stream.next_of("connected");
    let Stream { events, mut posts, target, .. } = stream;
    drop(events);
    eventually("the line is gone", || posts.request("POST", &target, b"").status == 404);
    drop(posts);
    server.expect_empty();
    eventually("and its session", || sessions(&server) == 0);
}

#[test]
fn a_post_that_cannot_be_taken_ends_the_stream() {
    let server = serve(1, |builder| build(builder).configure(|config| config.limits.max_message_bytes = 500));
    for (body, status) in [(vec![b'x'; 501], 413), (vec![0xff], 400)] {
        let mut stream = Stream::open(server.address, "ndjson");
        assert_eq!(stream.posts.request("POST", &stream.target.clone(), &body).status, status);
        // Cut off, or ended: either way nothing more comes.
        stream.events.0.expect_gone();
        assert_eq!(stream.posts.request("POST", &stream.target.clone(), b"").status, 404);
    }
}
