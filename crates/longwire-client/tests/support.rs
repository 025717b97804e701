//! A scripted server on a real socket.

use std::collections::VecDeque;
use std::time::Duration;

use longwire_client::Form;
use longwire_ws::handshake::{self, server};
use longwire_ws::{Connection, Event, Input, Limits, Opcode, Role, frame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Accepts one client and opens its line.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) connection: Connection,
    /// Messages that came and were not looked at.
    came: VecDeque<String>,
}

impl Peer {
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        loop {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await.unwrap();
            head.extend_from_slice(&chunk[..count]);
            if let Some((request, _)) = server::parse(&head, &handshake::Limits::default()).unwrap() {
                let subprotocols = Form::ALL.map(|form| form.subprotocol().to_owned()).to_vec();
                let options = server::ServerOptions { subprotocols, ..server::ServerOptions::default() };
                let accepted = server::accept(request.method(), request.version(), request.headers(), &options).unwrap();
                stream.write_all(&server::encode_head(&accepted.response())).await.unwrap();
                return Self { stream, connection: Connection::new(Role::Server, None), came: VecDeque::new() };
            }
        }
    }

    /// Accepts a client of the native protocol in its JSON form, and has it connected; says what it said.
    pub(crate) async fn native(listener: &TcpListener) -> (Self, Value) {
        let mut peer = Self::accept(listener).await;
        let connect = peer.command("connect").await;
        let connected = json!({"type": "connected", "session": "AAAAAAAAAAAAAAAA", "key": "secret", "resumed": false, "ping": 25,
            "keep": 60, "max": 65536});
        peer.answer(&connect, connected).await;
        (peer, connect)
    }

    /// The next command, which is to be of this type; pings are answered.
    pub(crate) async fn command(&mut self, kind: &str) -> Value {
        loop {
            let command = self.next_command().await;
            if command["type"] == "ping" && kind != "ping" {
                self.answer(&command, json!({"type": "pong"})).await;
                continue;
            }
            assert_eq!(command["type"], kind, "{command}");
            return command;
        }
    }

    pub(crate) async fn next_command(&mut self) -> Value {
        while self.came.is_empty() {
            let said = self.read_until(|said| !said.is_empty()).await;
            assert!(!said.is_empty(), "the client is gone");
            self.came.extend(said.iter().flat_map(|message| message.lines()).map(str::to_owned));
        }
        let command = self.came.pop_front().unwrap();
        serde_json::from_str(&command).unwrap_or_else(|_| panic!("{command:?} is no command"))
    }

    /// Answers a command.
    pub(crate) async fn answer(&mut self, command: &Value, mut reply: Value) {
        reply["id"] = command["id"].clone();
        self.say(&reply).await;
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        let mut out = Vec::new();
        frame::encode(Opcode::Text, message.to_string().as_bytes(), None, &mut out);
        self.write(&out).await;
    }

    /// Closes the line.
    pub(crate) async fn close(&mut self, code: u16) {
        let mut out = Vec::new();
        frame::encode(Opcode::Close, &code.to_be_bytes(), None, &mut out);
        self.write(&out).await;
        self.read_until(|said| said.last().is_some_and(|last| last.starts_with("close"))).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// What the client says until it has closed its direction or said `enough`.
    pub(crate) async fn read_until(&mut self, mut enough: impl FnMut(&[String]) -> bool) -> Vec<String> {
        let mut said = Vec::new();
        let mut buffer = vec![0; 65536];
        while !enough(&said) {
            let count = self.stream.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                break;
            }
            let mut input = Input::new(&mut buffer[..count]);
            while let Some(event) = self.connection.receive(&mut input, &Limits::default()).unwrap() {
                said.push(match event {
                    Event::Message(message) => message.as_str().unwrap_or("binary").to_owned(),
                    Event::Ping(_) => "ping".into(),
                    Event::Pong(payload) => format!("pong {}", String::from_utf8_lossy(payload)),
                    Event::Close(frame) => format!("close {:?}", frame.map(|frame| frame.code.value())),
                });
            }
        }
        said
    }
}
