//! The one executor: whoever asks, over HTTP or in the process, is served here.

use std::sync::Arc;

use longwire_core::broker::{Answer, Ask, Failure};
use longwire_protocol::{Action, Append, ErrorCode, Member, Publish, Reply};
use tokio::sync::oneshot;

use super::command::{Command, Whom};
use crate::node::Node;

/// What a command is answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// What a channel has answered.
    Reply(Reply),
    /// What each channel has answered.
    Many(Vec<(Arc<str>, Result<Reply, Failure>)>),
    /// Names, and how many lines are subscribed.
    Channels { channels: Vec<(Arc<str>, usize)>, more: bool },
    /// Who they are, and in how many channels; `None` without a line.
    Sessions { sessions: Vec<(Arc<Member>, Option<usize>)>, more: bool },
    /// How many sessions were ended.
    Disconnected { sessions: usize },
    /// How many subscriptions were ended.
    Unsubscribed { channel: Arc<str>, sessions: usize },
}

/// A question that is on its way to its channel.
pub(super) struct Asked {
    channel: Arc<str>,
    /// Of those that are about one.
    stream: u64,
    answer: oneshot::Receiver<Result<Answer, Failure>>,
}

/// Carries a command out.
pub(super) async fn execute(node: &Node, command: Command) -> Result<Output, Failure> {
    command.check()?;
    match command {
        Command::Channel(action) => ask(node, action)?.answer().await.map(Output::Reply),
        Command::PublishMany { channels, publish } => Ok(Output::Many(publish_many(node, channels, &publish).await)),
        Command::Channels(page) => node.channels_page(page).await.map(|(channels, more)| Output::Channels { channels, more }),
        Command::Sessions(page) => node.sessions_page(page).await.map(|(sessions, more)| Output::Sessions { sessions, more }),
        Command::Disconnect(whom) => {
            let is_one = matches!(whom, Whom::Session(_));
            match node.disconnect(whom).await? {
                0 if is_one => Err(ErrorCode::NoSuchSession.into()),
                sessions => Ok(Output::Disconnected { sessions }),
            }
        }
        Command::Unsubscribe { channel, whom } => {
            let is_one = matches!(whom, Whom::Session(_));
            match node.unsubscribe(channel.clone(), whom).await? {
                0 if is_one => Err(ErrorCode::NotSubscribed.into()),
                sessions => Ok(Output::Unsubscribed { channel, sessions }),
            }
        }
    }
}

/// Puts a question on its way: those to one channel arrive in the order of these calls.
pub(super) fn ask(node: &Node, action: Action) -> Result<Asked, Failure> {
    action.check().map_err(|error| Failure { code: error.code, message: Some(error.message) })?;
    let (channel, stream, ask) = match action {
        Action::Publish(publish) => {
            is_small_enough(node, &publish)?;
            (publish.channel.clone(), 0, Ask::Publish { publish: Box::new(publish), from: None })
        }
        Action::Append(append) => {
            let Append { channel, stream, .. } = &append;
            (channel.clone(), *stream, Ask::Append { append: Box::new(append), producer: None })
        }
        Action::Cancel { channel, stream } => (channel, stream, Ask::Cancel { stream }),
        Action::History(history) => (history.channel.clone(), 0, Ask::History(Box::new(history))),
        Action::Presence { channel, limit, after } => (channel, 0, Ask::Presence { limit: most(limit), after }),
        Action::State { channel, limit, after } => (channel, 0, Ask::State { limit: most(limit), after }),
        Action::Connect(_) | Action::Subscribe(_) | Action::Unsubscribe { .. } | Action::Refresh { .. } | Action::Ping => {
            return Err(ErrorCode::BadMessage.into());
        }
    };
    let answer = node.post_from_outside(channel.clone(), ask)?;
    Ok(Asked { channel, stream, answer })
}

impl Asked {
    /// Waits for it.
    pub(super) async fn answer(mut self) -> Result<Reply, Failure> {
        self.come().await
    }

    /// As [`answer`](Self::answer), for whoever may give up waiting and come back. Once it has come it is not there any more.
    pub(super) async fn come(&mut self) -> Result<Reply, Failure> {
        // The node has stopped.
        let answer = (&mut self.answer).await.unwrap_or_else(|_| Err(ErrorCode::Overloaded.into()))?;
        let (channel, stream) = (self.channel.clone(), self.stream);
        Ok(match answer {
            Answer::Published { position, repeated, lease } => Reply::Published { channel, position, repeated, lease },
            Answer::Appended { length, cancel } => Reply::Appended { channel, stream, length, cancel },
            Answer::Cancelled => Reply::Cancelled { channel, stream },
            Answer::History { head, publications, more } => Reply::History { channel, head, publications, more },
            Answer::Presence { members, sessions, users, more } => Reply::Presence { channel, members, sessions, users, more },
            Answer::State { head, entries, more } => Reply::State { channel, head, entries, more },
            Answer::Entered(_) | Answer::Page(_) => return Err(ErrorCode::Internal.into()),
        })
    }
}

/// All are on their way before the first has answered.
async fn publish_many(node: &Node, channels: Vec<Arc<str>>, publish: &Publish) -> Vec<(Arc<str>, Result<Reply, Failure>)> {
    let each = |channel: Arc<str>| {
        let asked = ask(node, Action::Publish(Publish { channel: channel.clone(), ..publish.clone() }));
        (channel, asked)
    };
    let asked: Vec<_> = channels.into_iter().map(each).collect();
    let mut answered = Vec::with_capacity(asked.len());
    for (channel, asked) in asked {
        let answer = match asked {
            Ok(asked) => asked.answer().await,
            Err(failure) => Err(failure),
        };
        answered.push((channel, answer));
    }
    answered
}

/// The namespace's bound holds for the product's own back end, too: its clients are told of it as the longest they will get.
fn is_small_enough(node: &Node, publish: &Publish) -> Result<(), Failure> {
    let Some(options) = node.config().namespaces.of(&publish.channel) else { return Err(ErrorCode::UnknownNamespace.into()) };
    let (most, bytes) = (options.message_bytes, publish.data.as_ref().map_or(0, |data| data.as_bytes().len()));
    if bytes > most {
        return Err(Failure::new(ErrorCode::TooLarge, format!("a publication of this channel has at most {most} bytes")));
    }
    Ok(())
}

fn most(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |limit| limit as usize)
}
