//! Handlers that many tests share.

use std::sync::mpsc::Sender;

use longwire_server::{CloseCode, Closed, ClosingReply, End, Line, LineHandler, MessageKind, Opening, Received, Socket};

/// Answers each message with itself, as a task.
pub(crate) async fn echo(mut socket: Socket) -> Result<(), Closed> {
    while let Some(message) = socket.recv().await {
        socket.send(message).await?;
    }
    Ok(())
}

/// Answers each message with itself, as function calls.
pub(crate) struct EchoLine;

impl LineHandler for EchoLine {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.send(message.kind(), message.as_bytes());
    }
}

/// What a handler is told to do, in a text: a verb, and for some a channel and the rest of the text.
///
/// Each is answered with `ok`, except publishing, so that a client can wait until it is done.
struct Command<'a> {
    verb: &'a str,
    channel: &'a str,
    rest: &'a str,
}

impl<'a> Command<'a> {
    fn parse(text: &'a str) -> Self {
        let mut words = text.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_default();
        Self { verb: next(), channel: next(), rest: next() }
    }

    fn code(&self) -> CloseCode {
        self.channel.parse().ok().and_then(CloseCode::new).expect("a close code")
    }
}

/// Does what it is told, as function calls.
pub(crate) fn commands_line(_: &Opening) -> CommandsLine {
    CommandsLine
}

pub(crate) struct CommandsLine;

impl LineHandler for CommandsLine {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        let text = message.as_str().expect("a command");
        let command = Command::parse(text);
        match command.verb {
            "subscribe" => {
                let answer: &[u8] = if line.subscribe(command.channel) { b"ok" } else { b"already" };
                line.send(MessageKind::Text, answer);
            }
            "unsubscribe" => {
                line.unsubscribe(command.channel);
                line.send(MessageKind::Text, b"ok");
            }
            "renew" => {
                line.unsubscribe(command.channel);
                line.subscribe(command.channel);
                line.send(MessageKind::Text, b"ok");
            }
            "publish" => {
                if line.publish(command.channel, command.rest).is_err() {
                    line.send(MessageKind::Text, b"overloaded");
                }
            }
            "close" => line.close(command.code(), command.rest),
            "shard" => {
                line.send(MessageKind::Text, std::thread::current().name().unwrap_or_default().as_bytes());
            }
            "panic" => std::panic::resume_unwind(Box::new("on purpose")),
            _ => {
                line.send(MessageKind::Text, text.as_bytes());
            }
        }
    }
}

/// Does what it is told, as a task.
pub(crate) async fn commands(mut socket: Socket) -> Result<(), Closed> {
    while let Some(message) = socket.recv().await {
        let text = message.as_text().expect("a command");
        let command = Command::parse(text);
        match command.verb {
            "subscribe" => socket.send(if socket.subscribe(command.channel)? { "ok" } else { "already" }).await?,
            "unsubscribe" => {
                socket.unsubscribe(command.channel)?;
                socket.send("ok").await?;
            }
            "renew" => {
                socket.unsubscribe(command.channel)?;
                socket.subscribe(command.channel)?;
                socket.send("ok").await?;
            }
            "publish" => {
                if socket.publish(command.channel, command.rest).is_err() {
                    socket.send("overloaded").await?;
                }
            }
            "close" => {
                socket.close(command.code(), command.rest);
                return Ok(());
            }
            "return" => return Ok(()),
            "shard" => socket.send(std::thread::current().name().unwrap_or_default()).await?,
            "panic" => std::panic::resume_unwind(Box::new("on purpose")),
            _ => socket.send(text).await?,
        }
    }
    Ok(())
}

/// Makes handlers that only say how each line ended.
pub(crate) fn recorder(ends: Sender<End>) -> impl Fn(&Opening) -> Recorder + Send + Sync + 'static {
    move |_| Recorder(ends.clone())
}

pub(crate) struct Recorder(Sender<End>);

impl LineHandler for Recorder {
    fn closed(&mut self, end: &End) -> ClosingReply {
        let _ = self.0.send(end.clone());
        ClosingReply::Now
    }
}
