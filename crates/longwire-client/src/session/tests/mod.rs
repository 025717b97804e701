//! The session by itself: scripts in virtual time, and chance against a model of the server.

mod channels;
mod lines;
mod model;
mod property;
mod requests;
mod tokens;
mod transcripts;
mod transports;

use std::time::Duration;

use longwire_protocol::{Data, Form, Publish, Subscribe};
use serde_json::{Value, json};

use super::{Config, Event, Failure, Output, Request, RequestId, Session, State, SubscriptionId};

const SECOND: Duration = Duration::from_secs(1);

/// A session whose server is the test, in JSON.
struct Script {
    session: Session,
    now: Duration,
    /// The ids of commands that are not answered.
    unanswered: Vec<u64>,
}

impl Script {
    /// Not started.
    fn new(config: Config) -> Self {
        Self { session: Session::new(config, 1), now: Duration::ZERO, unanswered: Vec::new() }
    }

    /// Started, and on a line.
    fn connected(config: Config) -> Self {
        let mut script = Self::new(config);
        script.session.start(script.now);
        script.outputs();
        script.open();
        script.outputs();
        script
    }

    /// The line that was asked for is opened, and `connect` answered; says what it was.
    fn open(&mut self) -> Value {
        let connect = self.line();
        self.answer(connected());
        connect
    }

    /// The line that was asked for is opened.
    fn line(&mut self) -> Value {
        self.unanswered.clear();
        self.session.line_opened(self.now, Form::Json);
        let mut said = self.said();
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }

    /// All that the session wants to send now.
    fn said(&mut self) -> Vec<Value> {
        let mut said = Vec::new();
        while let Some(bytes) = self.session.transmit(self.now) {
            for line in bytes.split(|byte| *byte == b'\n') {
                let mut command: Value = serde_json::from_slice(line).unwrap();
                let id = command.as_object_mut().unwrap().remove("id").expect("an id");
                self.unanswered.push(id.as_u64().unwrap());
                said.push(command);
            }
        }
        self.session.check();
        said
    }

    /// Answers the oldest command.
    fn answer(&mut self, mut reply: Value) {
        reply["id"] = self.unanswered.remove(0).into();
        self.push(&reply);
    }

    fn push(&mut self, message: &Value) {
        self.session.line_message(self.now, message.to_string().as_bytes());
        self.session.check();
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        self.outputs()
            .into_iter()
            .filter_map(|output| if let Output::Event(_, event) = output { Some(event) } else { None })
            .collect()
    }

    /// Time passes until the session has something to do.
    fn wait(&mut self) -> Duration {
        let until = self.session.timeout().expect("something to wait for");
        let waited = until.saturating_sub(self.now);
        self.now = self.now.max(until);
        self.session.time(self.now);
        self.session.check();
        waited
    }

    /// The line is cut, and after a while there is another.
    fn cut(&mut self) {
        self.session.line_lost(self.now, None);
        self.wait();
        assert!(self.outputs().contains(&Output::Open));
    }

    fn subscribe(&mut self, channel: &str) -> SubscriptionId {
        self.session.subscribe(wants(channel)).unwrap()
    }

    /// Subscribed, at this offset.
    fn subscribed(&mut self, channel: &str, offset: u64) -> SubscriptionId {
        let id = self.subscribe(channel);
        assert_eq!(self.said().len(), 1);
        self.answer(subscribed(channel, offset));
        assert!(matches!(self.events()[..], [Event::Subscribed(_)]));
        id
    }

    fn publish(&mut self, text: &str) -> Result<RequestId, Failure> {
        self.session.request(Request::Publish(Publish::new("chat:lobby", Data::from(text))))
    }
}

fn wants(channel: &str) -> Subscribe {
    Subscribe { channel: channel.into(), ..Subscribe::default() }
}

fn connected() -> Value {
    json!({"type": "connected", "session": "AAAAAAAAAAAAAAAA", "key": "secret", "resumed": false, "ping": 25, "keep": 60, "max": 1_048_576})
}

fn subscribed(channel: &str, offset: u64) -> Value {
    json!({"type": "subscribed", "channel": channel, "epoch": "0000000a", "offset": offset, "head": offset, "options": ["history"]})
}

fn publication(channel: &str, offset: u64) -> Value {
    json!({"type": "publication", "channel": channel, "offset": offset, "time": 1, "data": format!("number {offset}")})
}

fn error(name: &str, code: u16, retry: bool) -> Value {
    json!({"type": "error", "code": code, "name": name, "message": name, "retry": retry})
}

/// What is left without `once`, which is random.
fn without_once(mut said: Vec<Value>) -> Vec<Value> {
    for command in &mut said {
        command.as_object_mut().unwrap().remove("once");
    }
    said
}

fn states(outputs: Vec<Output>) -> Vec<State> {
    outputs.into_iter().filter_map(|output| if let Output::State(state) = output { Some(state) } else { None }).collect()
}
