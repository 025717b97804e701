//! What the server says to a session.

use std::time::Duration;

use longwire_protocol::{Action, ErrorReply, Message, Push, Reply};

use super::line::{Line, PROTOCOL_ERROR};
use super::output::{Failure, Lost, Output};
use super::subscriptions::Asking;
use super::{Sent, Session};

/// An answer to something else than was asked, or no message of the protocol at all.
struct Violation;

impl Session {
    /// A message came.
    pub fn line_message(&mut self, now: Duration, bytes: &[u8]) {
        let Some(form) = self.line.form() else { return };
        self.line.heard(now);
        for message in form.messages(bytes) {
            let result = match message {
                Ok(Message::Reply(id, reply)) => self.reply(now, id, reply),
                Ok(Message::Push(push)) => {
                    self.push(push);
                    Ok(())
                }
                Err(_) => Err(Violation),
            };
            if result.is_err() {
                self.give_up(now, Lost::BadMessage, PROTOCOL_ERROR);
            }
            if self.line.form().is_none() {
                return;
            }
        }
    }

    fn push(&mut self, push: Push) {
        if let Push::Cancel { channel, stream } = push {
            self.outputs.push_back(Output::Cancel { channel, stream });
        } else {
            self.subscriptions.push(push, &mut self.outputs);
        }
    }

    /// Answers come in the order of their commands, each with its id.
    fn reply(&mut self, now: Duration, id: Option<u32>, reply: Reply) -> Result<(), Violation> {
        let expected = id_of(self.answered);
        let sent = self.sent.pop_front().ok_or(Violation)?;
        self.answered += 1;
        if id != Some(expected) {
            // The requests' accounts are set right when the line is given up.
            return Err(Violation);
        }
        match (sent, reply) {
            (Sent::Connect, Reply::Connected(connected)) => self.connected(now, *connected),
            (Sent::Connect, Reply::Error(error)) => self.refused(now, error),
            (Sent::Subscribe(asking), Reply::Subscribed(reply)) => {
                if !self.subscriptions.subscribed(asking, reply, &mut self.outputs) {
                    return Err(Violation);
                }
            }
            (Sent::Subscribe(asking), Reply::Error(error)) => self.subscribe_refused(now, asking, error),
            (Sent::Refresh, Reply::Refreshed { expires }) => self.line.expires(now, expires, &self.config),
            (Sent::Refresh, Reply::Error(_)) => {
                // The server closes the line when the old token expires; until then another one may do.
                if self.config.renews_token && matches!(self.line, Line::Connected(_)) {
                    self.token(now, None);
                }
            }
            (Sent::Request, reply) => return self.answer(reply),
            (Sent::Unsubscribe, Reply::Unsubscribed { .. } | Reply::Error(_)) | (Sent::Ping, Reply::Pong) => {}
            _ => return Err(Violation),
        }
        Ok(())
    }

    fn answer(&mut self, reply: Reply) -> Result<(), Violation> {
        let fits = match (self.requests.oldest(), &reply) {
            (Some(_), Reply::Error(_)) => true,
            (Some(Action::Publish(asked)), Reply::Published { channel, .. }) => asked.channel == *channel,
            (Some(Action::Append(asked)), Reply::Appended { channel, stream, .. }) => {
                asked.channel == *channel && asked.stream == *stream
            }
            (Some(Action::History(asked)), Reply::History { channel, .. }) => asked.channel == *channel,
            (Some(Action::Cancel { channel: asked, .. }), Reply::Cancelled { channel, .. })
            | (Some(Action::Presence { channel: asked, .. }), Reply::Presence { channel, .. })
            | (Some(Action::State { channel: asked, .. }), Reply::State { channel, .. }) => asked == channel,
            _ => false,
        };
        if !fits {
            return Err(Violation);
        }
        let id = self.requests.answered().ok_or(Violation)?;
        let answer = match reply {
            Reply::Error(error) => Err(Failure::Refused(error)),
            reply => Ok(reply),
        };
        self.outputs.push_back(Output::Answer(id, answer));
        Ok(())
    }

    /// A subscription that may work later is asked for again; any other has ended.
    fn subscribe_refused(&mut self, now: Duration, asking: Asking, error: ErrorReply) {
        let Some(refusals) = self.subscriptions.refusals(asking) else { return };
        if error.code.retry() {
            let wait = self.backoff(refusals);
            self.subscriptions.refused(asking.id, now + wait);
        } else {
            self.subscriptions.end(asking.id, error, &mut self.outputs);
        }
    }
}

/// Commands are numbered from 1; after the largest comes 1 again.
pub(super) fn id_of(number: u64) -> u32 {
    u32::try_from(number % u64::from(u32::MAX)).expect("a remainder") + 1
}
