//! Followers, each by its transport: they do what the documents tell a client to do, and nothing else.

use serde_json::{Value, json};

use super::follower::Follower;
use super::wire::{LAST_TIMES, Wire};
use super::world::{SOCKET_IO, World};
use super::{Chance, Way};
use crate::support::{Http, LINES};

/// Answers with nothing in a row after which nothing more is expected.
const SILENT_POLLS: u32 = 5;

/// Follows for as long as so many bytes come, or until nothing is missing.
pub(super) fn visit(way: Way, follower: &mut Follower, world: &mut World, chance: &mut Chance, bytes: Option<usize>) {
    let bytes = bytes.map(|bytes| bytes.max(1));
    let mut visit = Visit { half: bytes.map(|bytes| bytes / 2), follower, world, chance };
    match way {
        Way::WebSocket => visit.web_socket(bytes),
        Way::Sse => visit.event_stream(bytes),
        Way::JsonLines => visit.json_lines(bytes),
        Way::Poll => visit.polls(bytes),
        Way::HttpStream => visit.http_stream(bytes),
        Way::HttpPolls => visit.http_polls(bytes),
        Way::SocketIo => visit.socket_io(bytes),
        Way::Rooms => visit.rooms(bytes),
    }
}

struct Visit<'a> {
    /// With so many bytes to come something happens.
    half: Option<usize>,
    follower: &'a mut Follower,
    world: &'a mut World,
    chance: &'a mut Chance,
}

impl Visit<'_> {
    fn open(&self, bytes: Option<usize>) -> Wire {
        Wire::open(self.world.server.address, bytes, self.world.is_narrow)
    }

    /// Reads more, unless it is over.
    fn goes_on(&mut self, wire: &mut Wire) -> bool {
        if wire.left().zip(self.half).is_some_and(|(left, half)| left <= half) {
            self.half = None;
            match self.world.is_narrow && self.chance.one_in(4) {
                true => self.world.floods(self.chance),
                false => self.world.happens(self.chance),
            }
        }
        if wire.left().is_none() && self.follower.is_complete(self.world) {
            return false;
        }
        let mut times = 0;
        loop {
            if wire.fill() {
                return true;
            }
            if wire.is_cut() {
                return false;
            }
            times += 1;
            if times == LAST_TIMES {
                // Nothing more comes.
                self.follower.has_everything(self.world);
            }
            // Who has come to a room last of all knows only by what happens there that it is in.
            if self.follower.channels.iter().any(|channel| channel.is_in && channel.at.is_none()) {
                self.world.ends();
            }
        }
    }

    fn hears_lines(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            self.follower.hears(&serde_json::from_str(line).expect("JSON"));
        }
    }

    /// `connect`, and a `subscribe` for each channel from where it is.
    fn commands(&self) -> Vec<Value> {
        let mut commands = vec![json!({"type": "connect"})];
        for channel in &self.follower.channels {
            let mut subscribe = json!({"type": "subscribe", "channel": channel.name, "state": true});
            if let Some((epoch, offset)) = &channel.at {
                subscribe["epoch"] = epoch.clone().into();
                subscribe["offset"] = (*offset).into();
            }
            if let Some(after) = &channel.after {
                subscribe["after"] = after.clone().into();
            }
            commands.push(subscribe);
        }
        commands
    }

    fn names(&self) -> String {
        self.follower.channels.iter().map(|channel| &*channel.name).collect::<Vec<_>>().join(",")
    }

    fn web_socket(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        if !wire.upgrade("/v1/ws") {
            return;
        }
        for command in self.commands() {
            wire.send_text(&command.to_string());
        }
        loop {
            while let Some(text) = wire.frame() {
                self.hears_lines(&text);
            }
            if !self.goes_on(&mut wire) {
                return;
            }
        }
    }

    /// As an `EventSource`: it keeps the last id, and says it when it comes back.
    fn event_stream(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        let last = self.follower.cursor.as_ref().map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        wire.send(format!("GET /v1/events?channels={} HTTP/1.0\r\nHost: localhost\r\n{last}\r\n", self.names()).as_bytes());
        let Some(head) = wire.head() else { return };
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        loop {
            while let Some(event) = wire.up_to(b"\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    self.follower.hears(&serde_json::from_str(data).expect("JSON"));
                }
                if let Some(id) = field("id: ") {
                    self.follower.keeps(id, false);
                }
            }
            if !self.goes_on(&mut wire) {
                return;
            }
        }
    }

    fn json_lines(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        let (names, since) = (self.names(), self.follower.since());
        let query = format!("channels={names}&format=ndjson&since={}", since.replace('~', "%7E"));
        wire.send(format!("GET /v1/events?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes());
        let Some(head) = wire.head() else { return };
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        self.lines_of(&mut wire);
    }

    fn lines_of(&mut self, wire: &mut Wire) {
        loop {
            while let Some(line) = wire.up_to(b"\n") {
                self.hears_lines(&line);
            }
            if !self.goes_on(wire) {
                return;
            }
        }
    }

    /// One answer after the other, over one connection, until that is cut.
    fn polls(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        let mut silent = 0;
        loop {
            let since = self.follower.cursor.as_ref().map_or(String::new(), |since| format!("&since={since}"));
            let wait = self.chance.pick(&[0, 0, 1]);
            let query = format!("channels={}&wait={wait}{since}", self.names());
            wire.send(format!("GET /v1/poll?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
            let Some(body) = self.answer(&mut wire) else { return };
            let body: Value = serde_json::from_str(&body).expect("JSON");
            for message in body["messages"].as_array().unwrap_or_else(|| panic!("{}: {body}", self.follower.what())) {
                self.follower.hears(message);
            }
            self.follower.keeps(body["since"].as_str().expect("a cursor"), true);
            if wire.left().is_none() && self.follower.is_complete(self.world) {
                return;
            }
            silent = if body["messages"] == json!([]) { silent + 1 } else { 0 };
            if wire.left().is_none() && silent > SILENT_POLLS {
                return self.follower.has_everything(self.world);
            }
        }
    }

    /// The whole body of an answer; what is not whole is nothing.
    fn answer(&mut self, wire: &mut Wire) -> Option<String> {
        let head = loop {
            match wire.up_to(b"\r\n\r\n") {
                Some(head) => break head,
                None if self.goes_on(wire) => {}
                None => return None,
            }
        };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        loop {
            match wire.exactly(length.unwrap_or(0)) {
                Some(body) => return Some(String::from_utf8(body).expect("UTF-8")),
                None if self.goes_on(wire) => {}
                None => return None,
            }
        }
    }

    fn http_stream(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        wire.send(format!("GET {LINES}?stream=ndjson HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes());
        if wire.head().is_none() {
            return;
        }
        let line: Value = loop {
            match wire.up_to(b"\n") {
                Some(line) => break serde_json::from_str(&line).expect("JSON"),
                None if wire.fill() => {}
                None => return,
            }
        };
        let commands: String = self.commands().iter().map(|command| format!("{command}\n")).collect();
        let target = format!("{LINES}/{}", line["line"].as_str().expect("an id"));
        let mut posts = Http::open(self.world.server.address);
        posts.ask("POST", &target, "", commands.as_bytes());
        self.lines_of(&mut wire);
    }

    fn http_polls(&mut self, bytes: Option<usize>) {
        let commands: String = self.commands().iter().map(|command| format!("{command}\n")).collect();
        let opened = Http::open(self.world.server.address).request("POST", LINES, commands.as_bytes());
        let line: Value = serde_json::from_str(&opened.body).expect("JSON");
        let target = format!("{LINES}/{}", line["line"].as_str().expect("an id"));
        let mut wire = self.open(bytes);
        loop {
            wire.send(format!("GET {target}?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
            let Some(body) = self.answer(&mut wire) else { return };
            if body.starts_with(r#"{"error""#) {
                // The line is lost: there was no room for it.
                return;
            }
            self.hears_lines(&body);
            if wire.is_cut() || wire.left().is_none() && self.follower.is_complete(self.world) {
                return;
            }
        }
    }

    /// Connects as a stock client does, with what it has kept; false if it was cut before it was in.
    fn connect_socket(&mut self, wire: &mut Wire) -> bool {
        if !wire.upgrade(&format!("{SOCKET_IO}?EIO=4&transport=websocket")) {
            return false;
        }
        let claim = self.follower.socket.as_ref().map_or(String::new(), |(_, pid)| {
            let mut claim = json!({"pid": pid});
            if let Some(offset) = &self.follower.offset {
                claim["offset"] = offset.clone().into();
            }
            claim.to_string()
        });
        wire.send_text(&format!("40{claim}"));
        true
    }

    /// What a client does with the packets that come; `ask` says how it asks to be in a channel.
    fn packets(&mut self, mut wire: Wire, ask: impl Fn(&str) -> Value, event: impl Fn(&mut Follower, &Value)) {
        let mut asked: Vec<String> = Vec::new();
        loop {
            while let Some(packet) = wire.frame() {
                match packet.split_at_checked(2) {
                    _ if packet.starts_with('2') => wire.send_text("3"),
                    Some(("40", said)) => {
                        let said: Value = serde_json::from_str(said).expect("JSON");
                        let text = |name: &str| said[name].as_str().expect("a text").to_owned();
                        let socket = (text("sid"), text("pid"));
                        if self.follower.socket.as_ref().is_none_or(|(sid, _)| *sid != socket.0) {
                            self.follower.is_new();
                            self.follower.offset = None;
                        }
                        self.follower.socket = Some(socket);
                        asked = self.follower.channels.iter().filter(|at| !at.is_in).map(|at| at.name.clone()).collect();
                        for (id, name) in asked.iter().enumerate() {
                            wire.send_text(&format!("42{id}{}", ask(name)));
                        }
                    }
                    Some(("42", said)) => {
                        let said: Value = serde_json::from_str(said).expect("JSON");
                        let arguments = said.as_array().expect("a list");
                        event(self.follower, &said);
                        if let Some(offset) = arguments.last().and_then(Value::as_str) {
                            self.follower.offset = Some(offset.to_owned());
                        }
                    }
                    Some(("43", said)) => {
                        let (id, said) = said.split_at(said.find('[').expect("a list"));
                        let name = &asked[id.parse::<usize>().expect("an id")];
                        let said: Value = serde_json::from_str(said).expect("JSON");
                        if said[0].is_object() {
                            self.follower.hears(&said[0]);
                        }
                        self.follower.channel(name).is_in = true;
                    }
                    _ => {}
                }
            }
            if !self.goes_on(&mut wire) {
                return;
            }
        }
    }

    fn socket_io(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        if self.connect_socket(&mut wire) {
            let ask = |name: &str| json!(["subscribe", name, {"state": true}]);
            self.packets(wire, ask, |follower, said| follower.hears(&said[1]));
        }
    }

    fn rooms(&mut self, bytes: Option<usize>) {
        let mut wire = self.open(bytes);
        if self.connect_socket(&mut wire) {
            let ask = |name: &str| json!(["join", name.strip_prefix("log:").unwrap_or(name)]);
            self.packets(wire, ask, |follower, said| {
                let (name, what) = (said[1]["channel"].as_str().expect("a channel"), follower.what().to_owned());
                follower.channel(name).gets(said[1]["n"].as_u64().expect("a number"), &what);
            });
        }
    }
}
