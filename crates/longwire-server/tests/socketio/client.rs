//! A Socket.IO client that says what a test wants it to say, over a WebSocket or by polling.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use longwire_ws::Opcode;
use serde_json::{Value, json};

use crate::support::{Client, Http};

pub(super) const PATH: &str = "/socket.io/";

/// How a client talks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    WebSocket,
    Polling,
}

pub(super) const WAYS: [Way; 2] = [Way::WebSocket, Way::Polling];

enum Wire {
    WebSocket(Client),
    Polling { polls: Http, posts: Http, target: String },
}

/// A message of Engine.IO.
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

/// A packet of Socket.IO, with its binary parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Packet {
    /// The digit; 2 and 3 for those with binary parts, too.
    pub(super) kind: u8,
    pub(super) namespace: String,
    pub(super) id: Option<u64>,
    pub(super) data: Value,
    pub(super) parts: Vec<Vec<u8>>,
}

pub(super) const CONNECT: u8 = 0;
pub(super) const DISCONNECT: u8 = 1;
pub(super) const EVENT: u8 = 2;
pub(super) const ACK: u8 = 3;
pub(super) const REFUSED: u8 = 4;

/// A connection.
pub(super) struct Io {
    wire: Wire,
    received: VecDeque<Message>,
    next_ack: u64,
    /// Whether events end in how far the client is; and the last such text.
    pub(super) recovers: bool,
    pub(super) offset: Option<String>,
    pub(super) ended: bool,
    /// How often the server has asked for a sign of life.
    pub(super) pings: usize,
}

/// What a client is told when it is in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Connected {
    pub(super) sid: String,
    pub(super) pid: Option<String>,
}

impl Io {
    #[track_caller]
    pub(super) fn open(address: SocketAddr, way: Way) -> Self {
        match way {
            Way::WebSocket => Self::over(Client::tcp(address)),
            Way::Polling => {
                let mut polls = Http::open(address);
                let opened = polls.request("GET", &format!("{PATH}?EIO=4&transport=polling"), b"");
                let open: Value = serde_json::from_str(opened.body.strip_prefix('0').expect("an open packet")).expect("JSON");
                let target = format!("{PATH}?EIO=4&transport=polling&sid={}", open["sid"].as_str().expect("an id"));
                Self::on(Wire::Polling { polls, posts: Http::open(address), target })
            }
        }
    }

    /// With small buffers on our side, so that the server soon cannot write.
    #[track_caller]
    pub(super) fn open_narrow(address: SocketAddr) -> Self {
        Self::over(Client::narrow_tcp(address))
    }

    /// As [`open_narrow`](Self::open_narrow), in the root.
    #[track_caller]
    pub(super) fn connected_narrow(address: SocketAddr) -> (Self, Connected) {
        let mut io = Self::open_narrow(address);
        let connected = io.connect("/", &Value::Null);
        (io, connected)
    }

    #[track_caller]
    fn over(tcp: Client) -> Self {
        let (mut client, _) = tcp.upgrade(&format!("{PATH}?EIO=4&transport=websocket"), "");
        assert!(client.text().starts_with('0'));
        Self::on(Wire::WebSocket(client))
    }

    fn on(wire: Wire) -> Self {
        Self { wire, received: VecDeque::new(), next_ack: 0, recovers: false, offset: None, ended: false, pings: 0 }
    }

    /// In the root, and what the server said.
    #[track_caller]
    pub(super) fn connected(address: SocketAddr, way: Way) -> (Self, Connected) {
        let mut io = Self::open(address, way);
        let connected = io.connect("/", &Value::Null);
        (io, connected)
    }

    /// A connection whose socket is on this shard, as its id says.
    #[track_caller]
    pub(super) fn on_shard(address: SocketAddr, way: Way, shard: u16) -> (Self, Connected) {
        for _ in 0..64 {
            let (io, connected) = Self::connected(address, way);
            if longwire_protocol::SessionId::parse(&connected.sid).expect("an id").shard() == shard {
                return (io, connected);
            }
        }
        panic!("no connection came to shard {shard}");
    }

    #[track_caller]
    fn say_all(&mut self, messages: &[Message]) {
        match &mut self.wire {
            Wire::WebSocket(client) => {
                for message in messages {
                    match message {
                        Message::Text(text) => client.send_text(&format!("4{text}")),
                        Message::Bytes(bytes) => client.send(Opcode::Binary, bytes),
                    }
                }
            }
            Wire::Polling { posts, target, .. } => {
                let encode = |message: &Message| match message {
                    Message::Text(text) => format!("4{text}"),
                    Message::Bytes(bytes) => format!("b{}", BASE64_STANDARD.encode(bytes)),
                };
                let body = messages.iter().map(encode).collect::<Vec<_>>().join("\u{1e}");
                let response = posts.request("POST", target, body.as_bytes());
                assert_eq!(response.status, 200, "{}\n{}", response.head, response.body);
            }
        }
    }

    /// Sends a packet as it stands.
    #[track_caller]
    pub(super) fn say(&mut self, packet: &str) {
        self.say_all(&[Message::Text(packet.to_owned())]);
    }

    /// Sends many packets at once.
    #[track_caller]
    pub(super) fn say_many(&mut self, packets: impl IntoIterator<Item = String>) {
        let messages: Vec<Message> = packets.into_iter().map(Message::Text).collect();
        self.say_all(&messages);
    }

    #[track_caller]
    pub(super) fn say_with_parts(&mut self, packet: &str, parts: &[&[u8]]) {
        let parts = parts.iter().map(|part| Message::Bytes(part.to_vec()));
        let messages: Vec<Message> = std::iter::once(Message::Text(packet.to_owned())).chain(parts).collect();
        self.say_all(&messages);
    }

    /// Sends CONNECT, and does not wait.
    #[track_caller]
    pub(super) fn ask_in(&mut self, namespace: &str, auth: &Value) {
        let auth = if auth.is_null() { String::new() } else { auth.to_string() };
        self.say(&format!("0{}{auth}", prefix(namespace)));
    }

    #[track_caller]
    pub(super) fn connect(&mut self, namespace: &str, auth: &Value) -> Connected {
        self.ask_in(namespace, auth);
        self.connected_to(namespace)
    }

    /// The next packet must say that the client is in.
    #[track_caller]
    pub(super) fn connected_to(&mut self, namespace: &str) -> Connected {
        let packet = self.next().expect("an answer");
        assert_eq!((packet.kind, &*packet.namespace), (CONNECT, namespace), "{packet:?}");
        let text = |name: &str| packet.data[name].as_str().map(str::to_owned);
        let connected = Connected { sid: text("sid").expect("an id"), pid: text("pid") };
        self.recovers = connected.pid.is_some();
        connected
    }

    /// The client must not be let in; what it is told.
    #[track_caller]
    pub(super) fn refused(&mut self, namespace: &str, auth: &Value) -> Value {
        self.ask_in(namespace, auth);
        let packet = self.next().expect("an answer");
        assert_eq!((packet.kind, &*packet.namespace), (REFUSED, namespace), "{packet:?}");
        packet.data
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that what is said can be written there")]
    #[track_caller]
    pub(super) fn emit(&mut self, namespace: &str, arguments: Value) {
        self.say(&format!("2{}{arguments}", prefix(namespace)));
    }

    /// Emits an event, whose ack must be what comes next; its arguments.
    #[track_caller]
    pub(super) fn call_in(&mut self, namespace: &str, arguments: Value) -> Value {
        let id = self.emit_for_ack(namespace, arguments);
        let packet = self.next().expect("an ack");
        assert_eq!((packet.kind, &*packet.namespace, packet.id), (ACK, namespace, Some(id)), "{packet:?}");
        packet.data
    }

    /// As [`call_in`](Self::call_in) the root.
    #[track_caller]
    pub(super) fn call(&mut self, arguments: Value) -> Value {
        self.call_in("/", arguments)
    }

    /// Emits an event that is to be acknowledged; the ack's number.
    #[expect(clippy::needless_pass_by_value, reason = "so that what is said can be written there")]
    #[track_caller]
    pub(super) fn emit_for_ack(&mut self, namespace: &str, arguments: Value) -> u64 {
        let id = self.next_ack;
        self.next_ack += 1;
        self.say(&format!("2{}{id}{arguments}", prefix(namespace)));
        id
    }

    /// Nothing must have come but what was looked at.
    #[track_caller]
    pub(super) fn expect_quiet(&mut self) {
        self.call(json!(["sync"]));
    }

    /// The arguments of the next event in the root, its name first.
    #[track_caller]
    pub(super) fn event(&mut self) -> Value {
        self.event_in("/")
    }

    #[track_caller]
    pub(super) fn event_in(&mut self, namespace: &str) -> Value {
        let packet = self.next().expect("an event");
        assert_eq!((packet.kind, &*packet.namespace), (EVENT, namespace), "{packet:?}");
        packet.data
    }

    /// The next packet; `None` at the end of the connection.
    #[track_caller]
    pub(super) fn next(&mut self) -> Option<Packet> {
        let mut packet = self.next_as_it_is()?;
        if self.recovers && packet.kind == EVENT {
            let all = packet.data.as_array_mut().expect("a list");
            self.offset = Some(all.pop().expect("an offset").as_str().expect("a text").to_owned());
        }
        Some(packet)
    }

    /// As [`next`](Self::next), with an offset, if there is one.
    #[track_caller]
    pub(super) fn next_as_it_is(&mut self) -> Option<Packet> {
        let Message::Text(text) = self.message()? else { panic!("bytes without a packet") };
        let (mut packet, parts) = parse(&text);
        for _ in 0..parts {
            let Some(Message::Bytes(part)) = self.message() else { panic!("a packet without its bytes") };
            packet.parts.push(part);
        }
        Some(packet)
    }

    /// The next packet as it stands.
    #[track_caller]
    pub(super) fn next_text(&mut self) -> String {
        let Some(Message::Text(text)) = self.message() else { panic!("no packet") };
        text
    }

    /// The next message must be this binary part.
    #[track_caller]
    pub(super) fn expect_part(&mut self, part: &[u8]) {
        let Some(Message::Bytes(bytes)) = self.message() else { panic!("no bytes") };
        assert_eq!(bytes, part);
    }

    fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            match &mut self.wire {
                Wire::WebSocket(client) => match client.try_recv().ok().flatten() {
                    None => self.ended = true,
                    Some(frame) if frame.opcode == Opcode::Close => self.ended = true,
                    Some(frame) if frame.opcode == Opcode::Text => {
                        let text = String::from_utf8(frame.payload).expect("UTF-8");
                        self.packet(&text);
                    }
                    Some(frame) => self.received.push_back(Message::Bytes(frame.payload)),
                },
                Wire::Polling { polls, target, .. } => {
                    let response = polls.request("GET", target, b"");
                    if response.status != 200 {
                        self.ended = true;
                        continue;
                    }
                    for packet in response.body.split('\u{1e}') {
                        match packet.strip_prefix('b') {
                            Some(bytes) => {
                                self.received.push_back(Message::Bytes(BASE64_STANDARD.decode(bytes).expect("base64")));
                            }
                            None => self.packet(packet),
                        }
                    }
                }
            }
        }
    }

    /// A packet of Engine.IO.
    fn packet(&mut self, text: &str) {
        match text.split_at(1) {
            ("4", text) => self.received.push_back(Message::Text(text.to_owned())),
            ("2", "") => {
                self.pings += 1;
                match &mut self.wire {
                    Wire::WebSocket(client) => client.send_text("3"),
                    Wire::Polling { posts, target, .. } => drop(posts.request("POST", target, b"3")),
                }
            }
            ("1", "") => self.ended = true,
            ("6", "") => {}
            other => panic!("{other:?}"),
        }
    }

    /// The server must end the connection, whatever still comes before.
    #[track_caller]
    pub(super) fn expect_end(&mut self) {
        while self.next().is_some() {}
    }

    /// The line is lost: nothing more is said.
    pub(super) fn cut(self) {
        match self.wire {
            Wire::WebSocket(client) => client.reset(),
            // The server knows by a poll that is given up.
            Wire::Polling { mut polls, posts, target } => {
                polls.ask("GET", &target, "", b"");
                std::thread::sleep(Duration::from_millis(10));
                drop((polls, posts));
            }
        }
    }

    /// The WebSocket under it.
    pub(super) fn websocket(&mut self) -> &mut Client {
        match &mut self.wire {
            Wire::WebSocket(client) => client,
            Wire::Polling { .. } => panic!("no WebSocket"),
        }
    }
}

/// What stands before a packet's data, for its namespace.
pub(super) fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

/// A packet, and how many binary parts follow.
#[track_caller]
fn parse(text: &str) -> (Packet, usize) {
    let digit = text.as_bytes()[0] - b'0';
    let mut rest = &text[1..];
    let mut parts = 0;
    if digit >= 5 {
        let (count, after) = rest.split_once('-').expect("a count");
        (parts, rest) = (count.parse().expect("a count"), after);
    }
    let mut namespace = "/";
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let id = rest[..digits].parse().ok();
    let data = &rest[digits..];
    let data = if data.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let kind = if digit >= 5 { digit - 3 } else { digit };
    (Packet { kind, namespace: namespace.to_owned(), id, data, parts: Vec::new() }, parts)
}
