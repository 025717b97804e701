//! The golden transcripts: the clients play their part, and the server must say what is written there, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use longwire_protocol::{ErrorCode, Form, json};
use longwire_server::{Authenticator, Identity};
use longwire_transcripts::{Bindings, Does, Step, Transcript};
use longwire_ws::Opcode;
use serde_json::{Value, json};

use super::client::{Native, in_json};
use super::serve_native;

/// Three tokens, which are their own meaning.
#[derive(Debug)]
struct Tokens;

impl Authenticator for Tokens {
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, ErrorCode> {
        let good = |user: &str| Ok(Identity { user: Some(user.into()), expires: Some(3600) });
        match token {
            Some("token of anna") => good("anna"),
            Some("token of bob") => good("bob"),
            Some("old token of anna") => Err(ErrorCode::TokenExpired),
            _ => Err(ErrorCode::Unauthorized),
        }
    }
}

fn bindings() -> Bindings {
    let mut bindings = Bindings::default();
    bindings.bind("token-anna", "token of anna".into());
    bindings.bind("token-bob", "token of bob".into());
    bindings.bind("token-expired", "old token of anna".into());
    bindings
}

#[test]
fn a_server_says_what_the_transcripts_say_in_json() {
    play_all(Form::Json);
}

#[test]
fn a_server_says_what_the_transcripts_say_in_the_binary_form() {
    play_all(Form::Binary);
}

fn play_all(form: Form) {
    for shards in [1, 2] {
        let server = serve_native(shards, |_| ());
        let with_tokens = serve_native(shards, |config| config.authenticator = Arc::new(Tokens));
        // All at the same time: they must not notice each other.
        std::thread::scope(|scope| {
            for (name, transcript) in longwire_transcripts::all() {
                let needs_tokens = transcript.needs.iter().any(|need| need == "tokens");
                let address = if needs_tokens { with_tokens.address } else { server.address };
                scope.spawn(move || Play::new(address, form, &name).play(&transcript));
            }
        });
    }
}

struct Play {
    address: SocketAddr,
    form: Form,
    name: String,
    bindings: Bindings,
    lines: BTreeMap<String, Played>,
}

struct Played {
    native: Native,
    /// Answers to what is no command, and so cannot be said in the binary form: the protocol's crate gives them here.
    rejected: VecDeque<Value>,
    is_connected: bool,
}

impl Play {
    fn new(address: SocketAddr, form: Form, name: &str) -> Self {
        Self { address, form, name: name.to_owned(), bindings: bindings(), lines: BTreeMap::new() }
    }

    fn play(mut self, transcript: &Transcript) {
        for step in &transcript.steps {
            if let Err(why) = self.step(step) {
                panic!("{}.txt:{}: {why}", self.name, step.line);
            }
        }
        for (client, line) in &mut self.lines {
            let answer = line.native.ask(json!({"type": "ping"}));
            let is_right = if line.is_connected { answer["type"] == "pong" } else { answer["name"] == "not_connected" };
            assert!(is_right && line.rejected.is_empty(), "{}.txt: {client} has got more than it says: {answer}", self.name);
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let (address, form) = (self.address, self.form);
        match &step.does {
            Does::Cut => drop(self.lines.remove(&step.client)),
            Does::Closed(code) => {
                let mut line = self.lines.remove(&step.client).ok_or("the line is not open")?;
                line.native.expect_close(*code);
            }
            Does::Send(texts) => {
                let line = self.lines.entry(step.client.clone()).or_insert_with(|| Played {
                    native: Native::open(address, form),
                    rejected: VecDeque::new(),
                    is_connected: false,
                });
                let texts = texts.iter().map(|text| self.bindings.fill(text)).collect::<Result<Vec<_>, _>>()?;
                line.send(&texts);
            }
            Does::Receive(expected) => {
                let line = self.lines.get_mut(&step.client).ok_or("the line is not open")?;
                line.is_connected |= expected["type"] == "connected";
                let received = match line.rejected.pop_front() {
                    Some(answer) if self.bindings.clone().check(expected, &answer).is_ok() => answer,
                    Some(later) => {
                        line.rejected.push_front(later);
                        line.native.next()
                    }
                    None => line.native.next(),
                };
                self.bindings.check(expected, &received)?;
            }
        }
        Ok(())
    }
}

impl Played {
    fn send(&mut self, texts: &[String]) {
        if self.native.form == Form::Json {
            return self.native.client.send_text(&texts.join("\n"));
        }
        let mut message = Vec::new();
        for text in texts {
            match json::decode_command(text.as_bytes()) {
                Ok(command) => self.native.form.push_command(&command, &mut message),
                Err(rejected) => self.rejected.push_back(in_json(&rejected.into())),
            }
        }
        if !message.is_empty() {
            self.native.client.send(Opcode::Binary, &message);
        }
    }
}
