//! A raw WebSocket: an open line, its task, and the user's handle to it.
//!
//! For messages that are not those of the channels; [`Client`](crate::Client) is built on it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longwire_ws::handshake::client::Established;
use longwire_ws::{CloseCode, CloseFrame, Connection, Event, Input, Limits, OwnedMessage as Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::time::{Instant, sleep_until, timeout};

pub use self::connect::WebSocketBuilder;
use crate::error::{End, Error};

mod connect;

const READ_BYTES: usize = 64 * 1024;
/// Messages that may wait in each direction; beyond it, the sender waits, or the server is not read.
const QUEUED_MESSAGES: usize = 64;

/// What may wait to be written before the user's next message has to wait, in bytes.
const MAX_OUT_BYTES: usize = 256 * 1024;

/// The longest message that is taken, unless said otherwise.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// When the line's task does something by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) close_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// An open line to a server. Dropping it closes the line with 1001.
#[derive(Debug)]
pub struct WebSocket {
    incoming: Receiver<Message>,
    outgoing: Sender<Command>,
    end: Arc<Mutex<Option<End>>>,
    established: Established,
}

/// What [`WebSocket::wait`] has waited for.
pub(crate) enum Waited {
    Message(Message),
    /// A sign of life that says nothing.
    Heard,
    /// See [`WebSocket::end`].
    Ended,
    Room,
}

/// A place for a message on its way to the line's task.
pub(crate) struct Place<'a>(Permit<'a, Command>);

impl Place<'_> {
    pub(crate) fn send(self, message: Message) {
        self.0.send(Command::Send(message));
    }
}

enum Command {
    Send(Message),
    Ping(Vec<u8>),
    Close(CloseCode, String),
    /// The user has received everything and knows that the line has ended.
    Seen,
}

impl WebSocket {
    /// Opens a line to `ws://HOST[:PORT]/PATH`.
    ///
    /// # Errors
    /// See [`WebSocketBuilder::connect`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::builder(address).connect().await
    }

    /// Opens a line with more to say about it.
    pub fn builder(address: &str) -> WebSocketBuilder {
        WebSocketBuilder::new(address)
    }

    /// The next message; `None` once the line has ended.
    pub async fn recv(&mut self) -> Option<Message> {
        let message = self.incoming.recv().await;
        if message.is_none() {
            let _ = self.outgoing.try_send(Command::Seen);
        }
        message
    }

    /// Sends a message, once there is room for it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the line has ended.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.outgoing.send(Command::Send(message.into())).await.map_err(|_| Error::Closed)
    }

    /// Sends a ping with at most 125 bytes. Quiet servers are pinged without it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the line has ended.
    pub async fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.outgoing.send(Command::Ping(payload.to_vec())).await.map_err(|_| Error::Closed)
    }

    /// Closes the line and waits until it is. Messages that were not received are dropped.
    pub async fn close(mut self, code: CloseCode, reason: &str) -> Option<End> {
        let _ = self.outgoing.send(Command::Close(code, reason.to_owned())).await;
        while self.incoming.recv().await.is_some() {}
        self.end()
    }

    /// How the line ended, once [`recv`](Self::recv) has said `None`.
    pub fn end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server agreed to: subprotocol, compression, and its response.
    pub fn established(&self) -> &Established {
        &self.established
    }

    /// A place for a message, if there is one now.
    pub(crate) fn try_reserve(&self) -> Option<Place<'_>> {
        self.outgoing.try_reserve().ok().map(Place)
    }

    /// Waits for a message if `reads`, and for a place for one if `crowded`. Cancelling it loses nothing.
    pub(crate) async fn wait(&mut self, reads: bool, crowded: bool) -> Waited {
        tokio::select! {
            message = self.incoming.recv(), if reads => match message {
                Some(message) => Waited::Message(message),
                None => Waited::Ended,
            },
            Ok(_) = self.outgoing.reserve(), if crowded => Waited::Room,
            else => std::future::pending().await,
        }
    }

    pub(crate) fn start(
        stream: TcpStream,
        rest: Vec<u8>,
        connection: Connection,
        established: Established,
        limits: Limits,
        timing: Timing,
    ) -> Self {
        let (to_user, incoming) = mpsc::channel(QUEUED_MESSAGES);
        let (outgoing, from_user) = mpsc::channel(QUEUED_MESSAGES);
        let end = Arc::new(Mutex::new(None));
        let (read, write) = stream.into_split();
        let line = Line {
            read,
            write,
            connection,
            limits,
            timing,
            out: Vec::new(),
            written: 0,
            arrived: VecDeque::new(),
            heard: Instant::now(),
            pinged: None,
        };
        tokio::spawn(line.run(rest, to_user, from_user, end.clone()));
        Self { incoming, outgoing, end, established }
    }
}

/// The task's side.
struct Line {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    connection: Connection,
    limits: Limits,
    timing: Timing,
    /// Frames to write, and how much of them is written.
    out: Vec<u8>,
    written: usize,
    /// Messages for the user, of one read at most: nothing is read while there are any.
    arrived: VecDeque<Message>,
    heard: Instant,
    /// A ping waits for a sign of life since.
    pinged: Option<Instant>,
}

/// What the close frame is to say, if the connection still takes one, and how the line has ended.
type Ending = (End, Option<Option<CloseFrame>>);

impl Line {
    async fn run(
        mut self,
        rest: Vec<u8>,
        to_user: Sender<Message>,
        mut from_user: Receiver<Command>,
        said: Arc<Mutex<Option<End>>>,
    ) {
        let (end, reply) = match self.talk(rest, &to_user, &mut from_user).await {
            Ok(ending) | Err(ending) => ending,
        };
        let by_us = end == End::ByUs;
        *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        let Some(frame) = reply else { return };
        let patience = self.timing.close_timeout;
        if !by_us {
            let _ = timeout(patience, self.let_user_finish(to_user, &mut from_user)).await;
        }
        let _ = timeout(patience, self.close(frame)).await;
    }

    /// Carries bytes and messages both ways until one side closes or the connection is of no use any more.
    async fn talk(
        &mut self,
        mut received: Vec<u8>,
        to_user: &Sender<Message>,
        from_user: &mut Receiver<Command>,
    ) -> Result<Ending, Ending> {
        let mut buffer = vec![0; READ_BYTES];
        let mut ending = self.receive(&mut received);
        loop {
            while let Some(message) = self.arrived.pop_front() {
                match to_user.try_send(message) {
                    Err(TrySendError::Full(message)) => {
                        self.arrived.push_front(message);
                        break;
                    }
                    // A user who only sends has no use for it.
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                }
            }
            if self.arrived.is_empty()
                && let Some(ending) = ending.take()
            {
                return Ok(ending);
            }
            // What a server makes us answer is bounded, too.
            let may_read = self.arrived.is_empty() && self.waiting_bytes() < 2 * MAX_OUT_BYTES;
            let wake = match self.pinged {
                Some(since) => since + self.timing.ping_timeout,
                None => self.heard + self.timing.ping_interval,
            };
            // Each waits only for itself: a user who is slow to receive can still send, and one who is slow to send can receive.
            tokio::select! {
                read = self.read.read(&mut buffer), if may_read => match read {
                    Ok(0) => return Err(cut("the server closed the connection without a close frame")),
                    Ok(count) => {
                        self.heard = Instant::now();
                        self.pinged = None;
                        ending = self.receive(&mut buffer[..count]);
                    }
                    Err(error) => return Err(cut(&error.to_string())),
                },
                place = to_user.reserve(), if !self.arrived.is_empty() => match (place, self.arrived.pop_front()) {
                    (Ok(place), Some(message)) => place.send(message),
                    _ => self.arrived.clear(),
                },
                written = self.write.write(&self.out[self.written..]), if self.waiting_bytes() > 0 => match written {
                    Ok(count) => self.wrote(count),
                    Err(error) => return Err(cut(&error.to_string())),
                },
                command = from_user.recv(), if self.waiting_bytes() < MAX_OUT_BYTES => {
                    if let Some(ending) = self.obey(command)? {
                        return Ok(ending);
                    }
                }
                () = sleep_until(wake), if may_read => {
                    if self.pinged.is_some() {
                        return Err((End::PingTimeout, None));
                    }
                    self.pinged = Some(Instant::now());
                    let _ = self.connection.sender.ping(b"", mask()?, &mut self.out);
                }
            }
        }
    }

    /// The server has closed, or has broken a rule: what it said before is still the user's to receive and to answer.
    async fn let_user_finish(&mut self, to_user: Sender<Message>, from_user: &mut Receiver<Command>) -> io::Result<()> {
        drop(to_user);
        while let Some(command) = from_user.recv().await {
            match command {
                Command::Send(_) | Command::Ping(_) => {
                    let _ = self.obey(Some(command));
                    self.write.write_all(&self.out[self.written..]).await?;
                    self.wrote(self.out.len() - self.written);
                }
                Command::Close(..) | Command::Seen => break,
            }
        }
        Ok(())
    }

    /// Sends our close frame, and waits for the server to close.
    async fn close(&mut self, frame: Option<CloseFrame>) -> io::Result<()> {
        let frame = frame.as_ref().map(|frame| (frame.code, frame.reason.as_str()));
        let _ = self.connection.sender.close(frame, mask().unwrap_or_default(), &mut self.out);
        self.write.write_all(&self.out[self.written..]).await?;
        // RFC 6455, 7.1.1: the server closes the TCP connection first; a client waits for it, but not for ever.
        let mut sink = vec![0; READ_BYTES];
        while self.read.read(&mut sink).await? > 0 {}
        Ok(())
    }

    /// Does what the user asks; the end if it is to close.
    fn obey(&mut self, command: Option<Command>) -> Result<Option<Ending>, Ending> {
        let (code, reason) = match command {
            Some(Command::Send(message)) => {
                let _ = self.connection.send(message.kind(), message.as_bytes(), mask()?, &mut self.out);
                return Ok(None);
            }
            Some(Command::Ping(payload)) => {
                let _ = self.connection.sender.ping(&payload, mask()?, &mut self.out);
                return Ok(None);
            }
            Some(Command::Seen) => return Ok(None),
            Some(Command::Close(code, reason)) => (code, reason),
            None => (CloseCode::GOING_AWAY, String::new()),
        };
        Ok(Some((End::ByUs, Some(Some(CloseFrame { code, reason })))))
    }

    /// Makes messages of what was read; the ending if the server closes or breaks a rule.
    fn receive(&mut self, received: &mut [u8]) -> Option<Ending> {
        let mut input = Input::new(received);
        loop {
            let Connection { receiver, sender } = &mut self.connection;
            match receiver.receive(&mut input, &self.limits) {
                Ok(None) => return None,
                Ok(Some(Event::Message(message))) => self.arrived.push_back(message.into()),
                Ok(Some(Event::Ping(payload))) => {
                    let _ = sender.pong(payload, mask().unwrap_or_default(), &mut self.out);
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    // RFC 6455, 5.5.1: the answer repeats the code.
                    let reply = frame.as_ref().map(|frame| CloseFrame { code: frame.code, reason: String::new() });
                    return Some((End::Closed(frame), Some(reply)));
                }
                Err(error) => {
                    let reply = CloseFrame { code: error.code(), reason: error.to_string() };
                    return Some((End::Protocol(error), Some(Some(reply))));
                }
            }
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.out.len() - self.written
    }

    fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written == self.out.len() {
            self.out.clear();
            self.out.shrink_to(READ_BYTES);
            self.written = 0;
        }
    }
}

/// The connection is of no use any more: no close frame can be sent.
fn cut(reason: &str) -> Ending {
    (End::Cut(reason.to_owned()), None)
}

/// RFC 6455, 5.3: a fresh key for every frame, from a strong source of entropy.
fn mask() -> Result<[u8; 4], Ending> {
    let mut key = [0; 4];
    getrandom::fill(&mut key).map_err(|error| cut(&format!("no randomness: {error}")))?;
    Ok(key)
}
