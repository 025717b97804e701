//! The `longwire` command as a user meets it: first run, mistakes, options from three sources, the chat.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use longwire_client::{End, Message, WebSocket};
use serde_json::json;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server on a free port; killed when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    greeting: String,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        Self::start_at("127.0.0.1:0", change)
    }

    pub(crate) fn start_at(address: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = longwire();
        command.args(["--listen", address]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = change(&mut command).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        while !greeting.contains("longwire --help") {
            greeting += &lines.next().expect("a greeting").unwrap();
            greeting.push('\n');
        }
        let address = greeting.split("listening on ").nth(1).unwrap().lines().next().unwrap().to_owned();
        Self { process, greeting, address }
    }

    pub(crate) async fn open(&self, path: &str) -> WebSocket {
        WebSocket::connect(&format!("ws://{}{path}", self.address)).await.unwrap()
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap().success());
        let start = Instant::now();
        loop {
            match self.process.try_wait().unwrap() {
                Some(status) => return status,
                None if start.elapsed() > PATIENCE => panic!("the server does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn longwire() -> Command {
    Command::new(env!("CARGO_BIN_EXE_longwire"))
}

/// The exit code and what is said on standard error of a command that fails.
pub(crate) fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    failure_of(longwire().args(arguments))
}

/// The same of one that is all there. If it does not fail it would go on for ever, so it is ended.
pub(crate) fn failure_of(command: &mut Command) -> (Option<i32>, String) {
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            let _ = process.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = process.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A line that speaks the native protocol.
struct Native {
    line: WebSocket,
    /// A WebSocket message may carry several of the protocol's.
    heard: VecDeque<serde_json::Value>,
}

impl Native {
    async fn open(server: &Server, name: &str) -> Self {
        let mut native = Self { line: server.open("/v1/ws").await, heard: VecDeque::new() };
        native.say(json!({ "type": "connect", "info": { "name": name } })).await;
        native.next("connected").await;
        native
    }

    async fn say(&mut self, command: serde_json::Value) {
        self.line.send(command.to_string()).await.unwrap();
    }

    /// The next message of a type; passes over those of others.
    async fn next(&mut self, kind: &str) -> serde_json::Value {
        loop {
            while let Some(message) = self.heard.pop_front() {
                if message["type"] == kind {
                    return message;
                }
            }
            let message = tokio::time::timeout(PATIENCE, self.line.recv()).await.expect("in time").expect("open");
            let lines = message.as_text().expect("text").lines();
            self.heard.extend(lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
        }
    }

    /// Enters a room of the chat as the page does, and gives the reply.
    async fn enter(&mut self, room: &str) -> serde_json::Value {
        self.say(json!({ "type": "subscribe", "channel": format!("chat:{room}"), "last": 100, "members": true })).await;
        self.next("subscribed").await
    }
}

#[test]
fn the_first_run_says_where_to_look_and_how_to_stop() {
    let mut server = Server::start(|command| command);
    let port = server.address.rsplit(':').next().unwrap();
    for part in [&format!("http://127.0.0.1:{port}/chat"), &format!("ws://127.0.0.1:{port}/ws"), "Ctrl-C"] {
        assert!(server.greeting.contains(part), "{}", server.greeting);
    }
    assert!(server.terminate().success());
}

#[tokio::test]
async fn the_articles_example_greets_and_answers() {
    let server = Server::start(|command| command);
    let mut line = server.open("/ws").await;
    assert_eq!(line.recv().await, Some(Message::from("✅ WebSocket 已连接")));
    line.send("你好").await.unwrap();
    assert_eq!(line.recv().await, Some(Message::from("你发送了：你好")));
}

#[tokio::test]
async fn at_sigterm_clients_are_told_that_the_server_goes_away() {
    let mut server = Server::start(|command| command.args(["--drain", "100ms"]));
    let mut line = server.open("/ws").await;
    line.recv().await.unwrap();
    let ended = tokio::spawn(async move {
        while line.recv().await.is_some() {}
        line.end()
    });
    let status = tokio::task::spawn_blocking(move || server.terminate()).await.unwrap();
    assert!(status.success());
    let Some(End::Closed(Some(frame))) = ended.await.unwrap() else { panic!("closed without a code") };
    assert_eq!(frame.code.value(), 1001);
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = failure(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("taken by another program") && said.trim_end().lines().count() == 1, "{said}");
}

#[test]
fn the_network_is_not_listened_to_by_accident() {
    let (code, said) = failure(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--allow-anonymous"), "{said}");
}

#[tokio::test]
async fn people_in_a_room_see_each_other_come_talk_and_go() {
    let server = Server::start(|command| command.args(["--shards", "2"]));
    let mut ada = Native::open(&server, "Ada").await;
    assert_eq!(ada.enter("tea").await["members"].as_array().unwrap().len(), 1);
    let mut bo = Native::open(&server, "Bo").await;
    assert_eq!(bo.enter("tea").await["members"].as_array().unwrap().len(), 2);
    while ada.next("join").await["member"]["info"]["name"] != "Bo" {}
    // Someone in another room hears nothing of it.
    let mut cy = Native::open(&server, "Cy").await;
    cy.enter("coffee").await;

    bo.say(json!({ "type": "publish", "channel": "chat:tea", "data": { "text": "hello <b>" } })).await;
    for line in [&mut ada, &mut bo] {
        let said = line.next("publication").await;
        assert_eq!((&said["data"]["text"], &said["from"]["info"]["name"]), (&"hello <b>".into(), &"Bo".into()));
        assert!(said["time"].as_u64().unwrap() > 1_700_000_000_000);
    }
    bo.say(json!({ "type": "unsubscribe", "channel": "chat:tea" })).await;
    assert_eq!(ada.next("leave").await["member"]["info"]["name"], "Bo");

    cy.say(json!({ "type": "publish", "channel": "chat:coffee", "data": { "text": "mine" } })).await;
    assert_eq!(cy.next("publication").await["data"]["text"], "mine");
    // Whoever comes later gets what was said.
    let mut di = Native::open(&server, "Di").await;
    di.enter("tea").await;
    assert_eq!(di.next("publication").await["data"]["text"], "hello <b>");
}

#[tokio::test]
async fn a_room_outlives_a_killed_server_that_keeps_its_channels() {
    let directory = std::env::temp_dir().join(format!("longwire-command-{}", std::process::id()));
    let start = || Server::start(|command| command.arg("--data-dir").arg(&directory));
    let publish = json!({ "type": "publish", "id": 3, "channel": "chat:tea", "data": { "text": "kept" }, "once": "k" });
    let server = start();
    let mut ada = Native::open(&server, "Ada").await;
    let entered = ada.enter("tea").await;
    ada.say(publish.clone()).await;
    let published = ada.next("published").await;
    drop(server); // which kills it
    let server = start();
    let mut ada = Native::open(&server, "Ada").await;
    assert_eq!(ada.enter("tea").await["epoch"], entered["epoch"]);
    assert_eq!(ada.next("publication").await["data"]["text"], "kept");
    ada.say(publish).await;
    let again = ada.next("published").await;
    assert_eq!((&again["offset"], &again["repeated"]), (&published["offset"], &true.into()));
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Speaks HTTP by hand: what is sent with a path, and the status and body of the answer.
pub(crate) fn http(server: &Server, head: &str, body: &str) -> (String, String) {
    use std::io::Write as _;
    let mut line = std::net::TcpStream::connect(&server.address).unwrap();
    let length = body.len();
    write!(line, "{head}Host: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn the_client_is_served_as_one_file_and_not_twice() {
    let server = Server::start(|command| command);
    let (head, body) = http(&server, "GET /longwire.js HTTP/1.1\r\n", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: text/javascript"), "{head}");
    assert!(body.contains("Longwire"));
    let tag = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("etag: ").map(str::to_owned)).unwrap();
    let (head, _) = http(&server, &format!("GET /longwire.js HTTP/1.1\r\nIf-None-Match: {tag}\r\n"), "");
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
}

#[tokio::test]
async fn the_demo_writes_a_stream_until_someone_asks_it_to_stop() {
    let server = Server::start(|command| command);
    let mut line = Native::open(&server, "Ada").await;
    line.say(json!({ "type": "subscribe", "channel": "ai:demo-t1" })).await;
    line.next("subscribed").await;
    let ask =
        |kind: &str, body: &str| http(&server, &format!("POST /demo/stream/ask HTTP/1.1\r\nContent-Type: {kind}\r\n"), body);
    let good = r#"{"id":"t1","question":"line","language":"en"}"#;
    let (head, body) = ask("application/json", good);
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
    let stream = serde_json::from_str::<serde_json::Value>(&body).unwrap()["stream"].as_u64().unwrap();
    for _ in 0..5 {
        let piece = line.next("append").await;
        assert_eq!((piece["stream"].as_u64(), piece["end"].is_null()), (Some(stream), true));
    }
    line.say(json!({ "type": "cancel", "channel": "ai:demo-t1", "stream": stream })).await;

    for (kind, body) in [("text/plain", good), ("application/json", "{"), ("application/json", r#"{"id":"a:b"}"#)] {
        let (head, body) = ask(kind, body);
        assert!(head.starts_with("HTTP/1.1 400") && body.contains("bad_value"), "{head} {body}");
    }
}
