//! The golden transcripts, with the server's part played by the test: what the client says is what the transcript says, as far as a
//! user can have it say that, and what the server answers and pushes comes out as the transcript has it.

use std::collections::{BTreeMap, VecDeque};

use longwire_protocol::{Action, Command, Message, Push, Reply};
use longwire_transcripts::{Bindings, Does, all};

use super::*;

#[test]
fn the_client_keeps_its_part_of_every_transcript() {
    for (name, transcript) in all() {
        let mut play = Play::default();
        for (at, step) in transcript.steps.iter().enumerate() {
            let rest = &transcript.steps[at..];
            let context = format!("{name}.txt, line {}", step.line);
            match &step.does {
                Does::Send(lines) => lines.iter().for_each(|line| {
                    // What is no message of the protocol no user can have it say.
                    let Ok(said) = serde_json::from_str::<Value>(&play.bindings.fill_with_samples(line)) else { return };
                    let reply = said.get("id").and_then(|id| play.reply(rest, &step.client, id));
                    play.say(&step.client, &said, reply.as_ref(), &context);
                }),
                Does::Receive(expected) => {
                    let message = play.bindings.fill_with_samples(&expected.to_string());
                    play.hear(&step.client, &message, &context);
                }
                Does::Cut => play.end(&step.client, None),
                Does::Closed(code) => play.end(&step.client, Some(*code)),
            }
        }
        assert!(play.compared > 1, "{name}.txt: nothing to compare");
    }
}

#[derive(Default)]
struct Play {
    bindings: Bindings,
    actors: BTreeMap<String, Actor>,
    compared: usize,
}

/// A client of a transcript.
struct Actor {
    script: Script,
    /// The ids of the commands as the transcript has them, in the order of the session's.
    ids: VecDeque<u64>,
    subscriptions: BTreeMap<String, SubscriptionId>,
}

impl Play {
    /// What a client is answered to its command with this id.
    fn reply(&self, rest: &[longwire_transcripts::Step], client: &str, id: &Value) -> Option<Value> {
        rest.iter().filter(|step| step.client == client).find_map(|step| match &step.does {
            Does::Receive(reply) if reply.get("id") == Some(id) => {
                serde_json::from_str(&self.bindings.fill_with_samples(&reply.to_string())).ok()
            }
            _ => None,
        })
    }

    fn say(&mut self, client: &str, said: &Value, reply: Option<&Value>, context: &str) {
        let refused = reply.filter(|reply| reply["type"] == "error").and_then(|reply| reply["name"].as_str());
        // What a user cannot bring about, since the session does not do it: it gives every command an id, too.
        if said.get("id").is_none() && said["type"] != "unsubscribe" {
            return;
        }
        let never = [
            "bad_message",
            "not_connected",
            "already_connected",
            "bad_value",
            "already_subscribed",
            "not_subscribed",
            "bad_channel",
        ];
        if refused.is_some_and(|name| never.contains(&name)) {
            return;
        }
        let bytes = said.to_string();
        let Some(Ok(command)) = Form::Json.commands(bytes.as_bytes()).next() else { return };
        if let Action::Connect(connect) = &command.action {
            let config = Config { token: connect.token.clone(), info: connect.info.clone(), ..Config::default() };
            let mut script = Script::new(config);
            script.session.start(script.now);
            script.outputs();
            let own = script.line();
            let mut wanted = said.clone();
            wanted.as_object_mut().expect("an object").retain(|name, _| !["id", "session", "key"].contains(&name.as_str()));
            assert_eq!(own, wanted, "{context}");
            // At once: before it the session says nothing more, whatever the transcript's client does.
            let actor = Actor { script, ids: VecDeque::from([1]), subscriptions: BTreeMap::new() };
            self.actors.insert(client.to_owned(), actor);
            let mut reply = reply.cloned().expect("an answer to connect");
            reply["id"] = 1.into();
            // The transcript's is any number, but messages are to go through.
            reply["max"] = (1 << 20).into();
            self.hear(client, &reply.to_string(), context);
        } else if let Some(actor) = self.actors.get_mut(client) {
            self.compared += usize::from(actor.say(command, context));
        }
    }

    fn hear(&mut self, client: &str, message: &str, context: &str) {
        let Some(actor) = self.actors.get_mut(client) else { return };
        let decoded = Form::Json.messages(message.as_bytes()).next().expect("a message").expect("of the protocol");
        let mut value: Value = serde_json::from_str(message).expect("JSON");
        if let Message::Reply(id, _) = &decoded {
            let Some(id) = id.filter(|id| actor.ids.front() == Some(&u64::from(*id))) else { return };
            assert_eq!(actor.ids.pop_front(), Some(id.into()));
            value.as_object_mut().expect("an object").remove("id");
            actor.script.answer(value);
        } else {
            actor.script.push(&value);
        }
        let outputs = actor.script.outputs();
        assert_eq!(actor.expected(&decoded, &outputs), Some(true), "{context}: {outputs:?}");
        self.compared += 1;
    }

    fn end(&mut self, client: &str, code: Option<u16>) {
        if let Some(mut actor) = self.actors.remove(client) {
            actor.script.session.line_lost(actor.script.now, code);
            let is_over = code.is_some_and(|code| code >= 3500);
            assert_eq!(actor.script.session.is_stopped(), is_over);
        }
    }
}

impl Actor {
    /// Has the session say a command; tells whether a user can have it do so.
    fn say(&mut self, command: Command, context: &str) -> bool {
        // As the protocol's own encoder has it: a transcript may say the same in other ways.
        let mut said = Vec::new();
        Form::Json.push_command(&command, &mut said);
        let mut said: Value = serde_json::from_slice(&said).expect("JSON");
        let session = &mut self.script.session;
        let request = match command.action {
            Action::Subscribe(wants) => {
                let channel = wants.channel.to_string();
                self.subscriptions.insert(channel, session.subscribe(wants).expect(context));
                None
            }
            Action::Unsubscribe { channel } => {
                let Some(id) = self.subscriptions.remove(&*channel) else { return false };
                session.unsubscribe(id);
                None
            }
            Action::Publish(publish) => Some(Request::Publish(publish)),
            Action::Append(append) => Some(Request::Append(append)),
            Action::Cancel { channel, stream } => Some(Request::Cancel { channel, stream }),
            Action::History(history) => Some(Request::History(history)),
            Action::Presence { channel, limit, after } => Some(Request::Presence { channel, limit, after }),
            Action::State { channel, limit, after } => Some(Request::State { channel, limit, after }),
            // The session says these when it sees fit.
            Action::Connect(_) | Action::Refresh { .. } | Action::Ping => return false,
        };
        if let Some(request) = request {
            session.request(request).expect(context);
        }
        let mut own = self.script.said();
        assert_eq!(own.len(), 1, "{context}: {own:?} for {said}");
        let id = said.as_object_mut().and_then(|said| said.remove("id")).and_then(|id| id.as_u64());
        if said.get("once").is_none() {
            own = without_once(own);
        }
        assert_eq!(own[0], said, "{context}");
        match id {
            Some(id) => self.ids.push_back(id),
            None => self.script.answer(json!({"type": "unsubscribed", "channel": said["channel"]})),
        }
        true
    }

    /// Whether the outputs are those of a message; `None` if it should have had none.
    fn expected(&self, message: &Message, outputs: &[Output]) -> Option<bool> {
        let events = |wanted: &[Event]| {
            let events =
                outputs.iter().filter_map(|output| if let Output::Event(_, event) = output { Some(event) } else { None });
            Some(events.eq(wanted))
        };
        match message {
            Message::Reply(_, Reply::Connected(connected)) => Some(outputs.iter().any(|output| {
                matches!(output, Output::State(State::Connected { session, resumed, .. })
                    if (*session, *resumed) == (connected.session, connected.resumed))
            })),
            Message::Reply(_, Reply::Subscribed(subscribed)) => Some(outputs.iter().any(|output| {
                let Output::Event(_, Event::Subscribed(told) | Event::Recovered(told) | Event::Missed(_, told)) = output else {
                    return false;
                };
                told == subscribed
                    && matches!(output, Output::Event(_, Event::Missed(..))) == matches!(told.recovered, Some(Err(_)))
            })),
            Message::Reply(_, Reply::Error(error)) => Some(outputs.iter().any(|output| match output {
                Output::Answer(_, Err(Failure::Refused(told))) | Output::Event(_, Event::Ended(told)) => told == error,
                Output::State(state) => matches!(state, State::Stopped(_) | State::Waiting { .. }),
                _ => false,
            })),
            Message::Reply(_, Reply::Unsubscribed { .. }) => Some(outputs.is_empty()),
            Message::Reply(_, reply) => {
                Some(outputs.iter().any(|output| matches!(output, Output::Answer(_, Ok(told)) if told == reply)))
            }
            Message::Push(push) => match push {
                Push::Publication(publication) => events(&[Event::Publication(publication.clone())]),
                Push::Append(piece) => events(&[Event::Append(piece.clone())]),
                Push::Join { member, .. } => events(&[Event::Join(member.clone())]),
                Push::Leave { member, .. } => events(&[Event::Leave(member.clone())]),
                Push::State { entries, done, .. } => {
                    events(&[Event::State { entries: entries.clone(), first: true, done: *done }])
                }
                Push::Gap { offset, .. } => events(&[Event::Gap(*offset)]),
                Push::Unsubscribed { .. } => Some(matches!(outputs, [Output::Event(_, Event::Ended(_))])),
                Push::Cancel { channel, stream } => {
                    Some(outputs == [Output::Cancel { channel: channel.clone(), stream: *stream }])
                }
            },
        }
    }
}
