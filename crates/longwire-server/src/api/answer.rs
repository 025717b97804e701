//! Answers and errors as JSON.

use std::sync::Arc;

use longwire_core::broker::Failure;
use longwire_protocol::json::encode_message;
use longwire_protocol::{Message, Reply};
use serde::Serialize;
use serde::ser::SerializeSeq as _;
use serde_json::value::RawValue;

use super::execute::Output;

/// Appends an answer as one line of JSON, without its end.
pub(super) fn push(result: &Result<Output, Failure>, id: Option<u32>, out: &mut Vec<u8>) {
    match result {
        Err(failure) => write(&ErrorLine { id, error: Error::of(failure) }, out),
        // What a channel answers looks here as it does in the protocol.
        Ok(Output::Reply(reply)) => encode_message(&Message::Reply(id, reply.clone()), out),
        Ok(Output::Many(results)) => {
            write(&Answer { kind: "published_many", id, body: Many { results: Results(results) } }, out);
        }
        Ok(Output::Channels { channels, more }) => {
            let channels =
                channels.iter().map(|(channel, subscribers)| Channel { channel, subscribers: *subscribers }).collect();
            write(&Answer { kind: "channels", id, body: Channels { channels, more: *more } }, out);
        }
        Ok(Output::Sessions { sessions, more }) => {
            let sessions = sessions
                .iter()
                .map(|(member, subscriptions)| Session {
                    session: member.session.to_string(),
                    user: member.user.as_deref(),
                    info: member.info.as_ref().and_then(|info| serde_json::from_slice(info).ok()),
                    connected: subscriptions.is_some(),
                    subscriptions: subscriptions.unwrap_or(0),
                })
                .collect();
            write(&Answer { kind: "sessions", id, body: Sessions { sessions, more: *more } }, out);
        }
        Ok(Output::Disconnected { sessions }) => {
            write(&Answer { kind: "disconnected", id, body: Ended { channel: None, sessions: *sessions } }, out);
        }
        Ok(Output::Unsubscribed { channel, sessions }) => {
            write(&Answer { kind: "unsubscribed", id, body: Ended { channel: Some(channel), sessions: *sessions } }, out);
        }
    }
}

/// The last line of a batch of which only failures are told.
pub(super) fn push_done(commands: u64, failed: u64, out: &mut Vec<u8>) {
    write(&Answer { kind: "done", id: None, body: Done { commands, failed } }, out);
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts, numbers and JSON that was checked");
}

#[derive(Serialize)]
struct Answer<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: u16,
    name: &'static str,
    message: &'a str,
    retry: bool,
}

impl<'a> Error<'a> {
    fn of(failure: &'a Failure) -> Self {
        let Failure { code, message } = failure;
        let message = message.as_deref().unwrap_or(code.text());
        Self { code: code.number(), name: code.name(), message, retry: code.retry() }
    }
}

#[derive(Serialize)]
struct Many<'a> {
    results: Results<'a>,
}

/// Each is what publishing into its channel alone would have been answered; an error says which channel it is about.
struct Results<'a>(&'a [(Arc<str>, Result<Reply, Failure>)]);

impl Serialize for Results<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (channel, result) in self.0 {
            match result {
                Ok(reply) => {
                    let mut json = Vec::new();
                    encode_message(&Message::Reply(None, reply.clone()), &mut json);
                    let json: &RawValue = serde_json::from_slice(&json).map_err(serde::ser::Error::custom)?;
                    list.serialize_element(json)?;
                }
                Err(failure) => list.serialize_element(&Failed { channel, error: Error::of(failure) })?,
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
struct Failed<'a> {
    channel: &'a str,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Channels<'a> {
    channels: Vec<Channel<'a>>,
    more: bool,
}

#[derive(Serialize)]
struct Channel<'a> {
    channel: &'a str,
    subscribers: usize,
}

#[derive(Serialize)]
struct Sessions<'a> {
    sessions: Vec<Session<'a>>,
    more: bool,
}

#[derive(Serialize)]
struct Session<'a> {
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    connected: bool,
    subscriptions: usize,
}

#[derive(Serialize)]
struct Ended<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    sessions: usize,
}

#[derive(Serialize)]
struct Done {
    commands: u64,
    failed: u64,
}
