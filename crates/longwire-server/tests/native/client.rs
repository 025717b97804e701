//! A client of the native protocol that says what a test wants it to say, in JSON, whatever the form of its line.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use longwire_protocol::{Form, Message, SessionId, json};
use longwire_ws::Opcode;
use serde_json::{Value, json};

use crate::support::Client;

/// A line, and what came over it.
pub(crate) struct Native {
    pub(crate) client: Client,
    pub(crate) form: Form,
    /// What came in one WebSocket message and was not looked at yet.
    received: VecDeque<Value>,
    /// How many WebSocket messages came.
    pub(crate) messages: usize,
    next_id: u32,
}

/// A line with a session; and what the server said to `connect`.
#[track_caller]
pub(crate) fn connect(address: SocketAddr, form: Form, connect: Value) -> (Native, Value) {
    let mut native = Native::open(address, form);
    let connected = native.ask(with_type("connect", connect));
    assert_eq!(connected["type"], "connected", "{connected}");
    (native, connected)
}

/// A command of this type, with these members.
pub(crate) fn with_type(name: &str, mut members: Value) -> Value {
    members["type"] = name.into();
    members
}

impl Native {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, form: Form) -> Self {
        Self::over(Client::tcp(address), form)
    }

    /// With small buffers on our side, so that the server soon cannot write.
    #[track_caller]
    pub(crate) fn open_narrow(address: SocketAddr, form: Form) -> Self {
        Self::over(Client::narrow_tcp(address), form)
    }

    #[track_caller]
    pub(crate) fn over(tcp: Client, form: Form) -> Self {
        let name = form.subprotocol();
        let (client, response) = tcp.upgrade("/v1/ws", &format!("Sec-WebSocket-Protocol: {name}\r\n"));
        assert_eq!(response.header("sec-websocket-protocol"), Some(name));
        Self::on(client, form)
    }

    /// On a line that is open.
    pub(crate) fn on(client: Client, form: Form) -> Self {
        Self { client, form, received: VecDeque::new(), messages: 0, next_id: 1 }
    }

    /// A new session on a line of its own, and its id and key.
    #[track_caller]
    pub(crate) fn connected(address: SocketAddr, form: Form) -> Self {
        connect(address, form, json!({})).0
    }

    /// A new session on this shard, as its id says.
    #[track_caller]
    pub(crate) fn on_shard(address: SocketAddr, form: Form, shard: u16) -> Self {
        for _ in 0..64 {
            let (native, connected) = connect(address, form, json!({}));
            if session_id(&connected).shard() == shard {
                return native;
            }
        }
        panic!("no line came to shard {shard}");
    }

    /// Sends commands as one WebSocket message. In the binary form they must be commands.
    #[track_caller]
    pub(crate) fn say_all(&mut self, commands: &[Value]) {
        let message = self.encode(commands);
        self.client.send(self.opcode(), &message);
    }

    /// Commands as the payload of one WebSocket message.
    #[track_caller]
    pub(crate) fn encode(&self, commands: &[Value]) -> Vec<u8> {
        let mut message = Vec::new();
        for command in commands {
            let command = json::decode_command(command.to_string().as_bytes()).expect("a command");
            self.form.push_command(&command, &mut message);
        }
        message
    }

    #[track_caller]
    pub(crate) fn say(&mut self, command: Value) {
        self.say_all(&[command]);
    }

    /// Sends a command with an id, whose reply must be what comes next.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: Value) -> Value {
        let id = self.say_with_id(command);
        let reply = self.next();
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    /// Sends a command with an id; the reply is what comes next with it, and what comes before is thrown away.
    #[track_caller]
    pub(crate) fn ask_amid(&mut self, command: Value) -> Value {
        let id = self.say_with_id(command);
        loop {
            let reply = self.next();
            if reply["id"] == id {
                return reply;
            }
        }
    }

    #[track_caller]
    fn say_with_id(&mut self, mut command: Value) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = id.into();
        self.say(command);
        id
    }

    /// Sends a command whose reply must be an error, and be what comes next; its name.
    #[track_caller]
    pub(crate) fn fails(&mut self, command: Value) -> String {
        let reply = self.ask(command);
        assert_eq!(reply["type"], "error", "{reply}");
        reply["name"].as_str().unwrap().to_owned()
    }

    /// Subscribes; the reply must be what comes next.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, channel: &str, members: Value) -> Value {
        let mut command = with_type("subscribe", members);
        command["channel"] = channel.into();
        let reply = self.ask(command);
        assert_eq!(reply["type"], "subscribed", "{reply}");
        reply
    }

    /// Publishes JSON; the answer is awaited, and must be what comes next.
    #[track_caller]
    pub(crate) fn publish(&mut self, channel: &str, data: impl Into<Value>) -> Value {
        let reply = self.ask(json!({"type": "publish", "channel": channel, "data": data.into()}));
        assert_eq!(reply["type"], "published", "{reply}");
        reply
    }

    /// What comes next.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        loop {
            if let Some(message) = self.received.pop_front() {
                return message;
            }
            let payload = self.client.expect(self.opcode());
            self.take_in(&payload);
        }
    }

    /// What comes next, which must be of this type.
    #[track_caller]
    pub(crate) fn next_of(&mut self, name: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], name, "{message}");
        message
    }

    /// What comes next; or the close frame's code, if that is next.
    #[track_caller]
    pub(crate) fn next_or_close(&mut self) -> Result<Value, u16> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Ok(message);
            }
            let frame = self.client.recv().expect("a frame");
            match frame.opcode {
                Opcode::Close => return Err(u16::from_be_bytes([frame.payload[0], frame.payload[1]])),
                opcode => assert_eq!(opcode, self.opcode(), "{}", frame.shown()),
            }
            self.take_in(&frame.payload);
        }
    }

    /// What comes within `patience`: for checks that nothing does.
    #[track_caller]
    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Value> {
        if self.received.is_empty()
            && let Some(frame) = self.client.recv_within(patience)
        {
            self.take_in(&frame.payload);
        }
        self.received.pop_front()
    }

    /// Nothing must have come but what was looked at: the answer to a ping is next.
    #[track_caller]
    pub(crate) fn expect_quiet(&mut self) {
        let pong = self.ask(json!({"type": "ping"}));
        assert_eq!(pong["type"], "pong", "{pong}");
    }

    /// The server must close the line with this code, after nothing else.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        assert!(self.received.is_empty(), "{:?}", self.received);
        self.client.expect_close(code);
    }

    #[track_caller]
    fn take_in(&mut self, payload: &[u8]) {
        self.messages += 1;
        let before = self.received.len();
        for message in self.form.messages(payload) {
            self.received.push_back(in_json(&message.expect("a message")));
        }
        assert!(self.received.len() > before, "an empty message");
        if self.form == Form::Json {
            // As it stands on the line, with what the protocol's crate would leave out.
            let lines = std::str::from_utf8(payload).expect("UTF-8").split('\n');
            let values: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
            assert_eq!(values, self.received.iter().skip(before).cloned().collect::<Vec<_>>());
        }
    }

    pub(crate) fn opcode(&self) -> Opcode {
        match self.form {
            Form::Json => Opcode::Text,
            Form::Binary => Opcode::Binary,
        }
    }
}

/// A message as JSON clients get it.
pub(crate) fn in_json(message: &Message) -> Value {
    let mut text = Vec::new();
    json::encode_message(message, &mut text);
    serde_json::from_slice(&text).expect("JSON")
}

/// The id of a session, from a `connected`.
#[track_caller]
pub(crate) fn session_id(connected: &Value) -> SessionId {
    SessionId::parse(connected["session"].as_str().expect("a session")).expect("a session's id")
}
