//! A client of HTTP/1.1 that keeps its connections, and a line over HTTP made of its requests.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Client, Response};

/// Where the tests have such lines.
pub(crate) const LINES: &str = "/v1/http";

/// A connection for one request after the other.
#[derive(Debug)]
pub(crate) struct Http(pub(crate) Client);

impl Http {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self(Client::tcp(address))
    }

    /// Sends a request, and does not wait for its answer. More header lines are each ended by CR LF.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, target: &str, more: &str, body: &[u8]) {
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}{length}\r\n");
        self.0.send_raw(&[head.as_bytes(), body].concat());
    }

    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, target: &str, body: &[u8]) -> Response {
        self.ask(method, target, "", body);
        self.0.response()
    }

    /// The next chunk of a body that comes in such; `None` at its end.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let length = self.0.line();
        let length = usize::from_str_radix(&length, 16).unwrap_or_else(|_| panic!("the length of a chunk: {length:?}"));
        let chunk = self.0.exactly(length + 2);
        assert!(chunk.ends_with(b"\r\n"), "a chunk of another length");
        (length > 0).then(|| String::from_utf8(chunk[..length].to_vec()).expect("UTF-8"))
    }
}

/// A line over HTTP, whose messages are polled for.
#[derive(Debug)]
pub(crate) struct HttpLine {
    pub(crate) id: String,
    pub(crate) polls: Http,
    pub(crate) posts: Http,
    received: VecDeque<Value>,
    next_id: u32,
}

impl HttpLine {
    /// Each line has two connections of its own.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, commands: &[Value]) -> Self {
        let mut posts = Http::open(address);
        let response = posts.request("POST", LINES, body_of(commands).as_bytes());
        assert_eq!(response.status, 201, "{}\n{}", response.head, response.body);
        assert_eq!(response.header("content-type"), Some("application/json"));
        let id = serde_json::from_str::<Value>(&response.body).expect("JSON")["line"].as_str().expect("an id").to_owned();
        Self { id, polls: Http::open(address), posts, received: VecDeque::new(), next_id: 1 }
    }

    /// With a session; and what the server said to `connect`.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, mut connect: Value) -> (Self, Value) {
        connect["type"] = "connect".into();
        let mut line = Self::open(address, &[connect]);
        let connected = line.next_of("connected");
        (line, connected)
    }

    pub(crate) fn target(&self) -> String {
        format!("{LINES}/{}", self.id)
    }

    #[track_caller]
    pub(crate) fn post(&mut self, body: &[u8]) -> Response {
        let target = self.target();
        self.posts.request("POST", &target, body)
    }

    /// Says something, and waits until it is taken.
    #[track_caller]
    pub(crate) fn say(&mut self, commands: &[Value]) {
        let response = self.post(body_of(commands).as_bytes());
        assert_eq!((response.status, &*response.body), (204, ""), "{}", response.head);
    }

    /// One poll, with this query behind the address.
    #[track_caller]
    pub(crate) fn poll(&mut self, query: &str) -> Response {
        let target = self.target() + query;
        self.polls.request("GET", &target, b"")
    }

    /// What comes next, by as many polls as it takes.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        while self.received.is_empty() {
            let response = self.poll("?wait=8");
            assert_eq!(response.status, 200, "{}\n{}", response.head, response.body);
            assert_eq!(response.header("content-type"), Some("application/x-ndjson"), "{}", response.head);
            self.received.extend(lines_of(&response.body));
        }
        self.received.pop_front().expect("something")
    }

    #[track_caller]
    pub(crate) fn next_of(&mut self, name: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], name, "{message}");
        message
    }

    /// Says a command, whose reply must be what comes next.
    #[track_caller]
    pub(crate) fn ask(&mut self, mut command: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = id.into();
        self.say(&[command]);
        let reply = self.next();
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, channel: &str) -> Value {
        let subscribed = self.ask(json!({"type": "subscribe", "channel": channel}));
        assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
        subscribed
    }

    /// The line must be lost.
    #[track_caller]
    pub(crate) fn expect_unknown(&mut self) {
        self.poll("?wait=8").expect_error(404, "unknown_line");
        self.post(b"").expect_error(404, "unknown_line");
    }
}

/// Commands, each on a line.
pub(crate) fn body_of(commands: &[Value]) -> String {
    commands.iter().map(|command| format!("{command}\n")).collect()
}

/// The messages of an answer.
#[track_caller]
pub(crate) fn lines_of(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
