//! An open line: its task, and the user's handle to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longwire_ws::handshake::client::Established;
use longwire_ws::{CloseCode, CloseFrame, Connection, Event, Input, Limits, OwnedMessage as Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::time::{Instant, sleep_until, timeout};

use crate::connect::ClientBuilder;
use crate::error::{End, Error};

const READ_BYTES: usize = 64 * 1024;
/// Messages that may wait in each direction; beyond it, the sender waits, or the server is not read.
const QUEUED_MESSAGES: usize = 64;

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
pub struct Client {
    incoming: Receiver<Message>,
    outgoing: Sender<Command>,
    end: Arc<Mutex<Option<End>>>,
    established: Established,
}

enum Command {
    Send(Message),
    Ping(Vec<u8>),
    Close(CloseCode, String),
}

impl Client {
    /// Opens a line to `ws://HOST[:PORT]/PATH`.
    ///
    /// # Errors
    /// See [`ClientBuilder::connect`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::builder(address).connect().await
    }

    /// Opens a line with more to say about it.
    pub fn builder(address: &str) -> ClientBuilder {
        ClientBuilder::new(address)
    }

    /// The next message; `None` once the line has ended.
    pub async fn recv(&mut self) -> Option<Message> {
        self.incoming.recv().await
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
        let said = end.clone();
        let line = Line { stream, connection, limits, timing, out: Vec::new(), heard: Instant::now(), pinged: None };
        tokio::spawn(async move {
            let end = line.run(rest, &to_user, from_user).await;
            *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
            drop(to_user);
        });
        Self { incoming, outgoing, end, established }
    }
}

/// The task's side.
struct Line {
    stream: TcpStream,
    connection: Connection,
    limits: Limits,
    timing: Timing,
    /// Frames to write.
    out: Vec<u8>,
    heard: Instant,
    /// A ping waits for a sign of life since.
    pinged: Option<Instant>,
}

impl Line {
    async fn run(mut self, mut rest: Vec<u8>, to_user: &Sender<Message>, mut from_user: Receiver<Command>) -> End {
        match self.talk(&mut rest, to_user, &mut from_user).await {
            // RFC 6455, 7.1.1: the server closes the TCP connection first; a client waits for it, but not for ever.
            Ok(end) => {
                let _ = timeout(self.timing.close_timeout, self.finish()).await;
                end
            }
            Err(end) => end,
        }
    }

    /// Until one side closes (`Ok`) or the connection is of no use any more (`Err`).
    async fn talk(
        &mut self,
        rest: &mut Vec<u8>,
        to_user: &Sender<Message>,
        from_user: &mut Receiver<Command>,
    ) -> Result<End, End> {
        let mut buffer = vec![0; READ_BYTES];
        let mut received = std::mem::take(rest);
        loop {
            if let Some(end) = self.receive(&mut received, to_user).await {
                return Ok(end);
            }
            received.clear();
            self.write().await?;
            let wake = match self.pinged {
                Some(since) => since + self.timing.ping_timeout,
                None => self.heard + self.timing.ping_interval,
            };
            tokio::select! {
                read = self.stream.read(&mut buffer) => match read {
                    Ok(0) => return Err(End::Cut("the server closed the connection without a close frame".into())),
                    Ok(count) => {
                        self.heard = Instant::now();
                        self.pinged = None;
                        received.extend_from_slice(&buffer[..count]);
                    }
                    Err(error) => return Err(End::Cut(error.to_string())),
                },
                command = from_user.recv() => {
                    if let Some(end) = self.obey(command)? {
                        return Ok(end);
                    }
                    // What else is there goes out with it.
                    while let Ok(command) = from_user.try_recv() {
                        if let Some(end) = self.obey(Some(command))? {
                            return Ok(end);
                        }
                        if self.out.len() >= READ_BYTES {
                            break;
                        }
                    }
                }
                () = sleep_until(wake) => {
                    if self.pinged.is_some() {
                        return Err(End::PingTimeout);
                    }
                    self.pinged = Some(Instant::now());
                    let _ = self.connection.sender.ping(b"", mask()?, &mut self.out);
                }
            }
        }
    }

    /// Does what the user asks; the end if it is to close.
    fn obey(&mut self, command: Option<Command>) -> Result<Option<End>, End> {
        let close = match command {
            Some(Command::Send(message)) => {
                let _ = self.connection.send(message.kind(), message.as_bytes(), mask()?, &mut self.out);
                return Ok(None);
            }
            Some(Command::Ping(payload)) => {
                let _ = self.connection.sender.ping(&payload, mask()?, &mut self.out);
                return Ok(None);
            }
            Some(Command::Close(code, reason)) => (code, reason),
            None => (CloseCode::GOING_AWAY, String::new()),
        };
        let _ = self.connection.sender.close(Some((close.0, &close.1)), mask()?, &mut self.out);
        Ok(Some(End::ByUs))
    }

    /// Makes events of what was read; the end if the server closes or breaks a rule.
    async fn receive(&mut self, received: &mut [u8], to_user: &Sender<Message>) -> Option<End> {
        let mut input = Input::new(received);
        loop {
            // A place first: an event borrows the input, and must not wait.
            let mut place: Option<Permit<'_, Message>> = None;
            if !to_user.is_closed() {
                place = self.reserve(to_user).await;
            }
            let Connection { receiver, sender } = &mut self.connection;
            match receiver.receive(&mut input, &self.limits) {
                Ok(None) => return None,
                Ok(Some(Event::Message(message))) => {
                    if let Some(place) = place {
                        place.send(message.into());
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    if let Ok(mask) = mask() {
                        let _ = sender.pong(payload, mask, &mut self.out);
                    }
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    sender.close_reply(frame.as_ref(), mask().unwrap_or_default(), &mut self.out);
                    return Some(End::Closed(frame));
                }
                Err(error) => {
                    let frame = CloseFrame { code: error.code(), reason: error.to_string() };
                    let frame = Some((frame.code, frame.reason.as_str()));
                    let _ = sender.close(frame, mask().unwrap_or_default(), &mut self.out);
                    return Some(End::Protocol(error));
                }
            }
        }
    }

    /// Waits for the user to take a message. What is to be written must not wait for that.
    async fn reserve<'a>(&mut self, to_user: &'a Sender<Message>) -> Option<Permit<'a, Message>> {
        if let Ok(place) = to_user.try_reserve() {
            return Some(place);
        }
        let _ = self.write().await;
        to_user.reserve().await.ok()
    }

    async fn write(&mut self) -> Result<(), End> {
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            self.stream.write_all(&out).await.map_err(|error| End::Cut(error.to_string()))?;
            self.out = out;
            self.out.clear();
            self.out.shrink_to(READ_BYTES);
        }
        Ok(())
    }

    /// Writes our close frame, and reads until the server has closed.
    async fn finish(&mut self) -> Result<(), End> {
        self.write().await?;
        let mut buffer = vec![0; READ_BYTES];
        while !matches!(self.stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
        Ok(())
    }
}

/// RFC 6455, 5.3: a fresh key for every frame, from a strong source of entropy.
fn mask() -> Result<[u8; 4], End> {
    let mut key = [0; 4];
    getrandom::fill(&mut key).map_err(|error| End::Cut(format!("no randomness: {error}")))?;
    Ok(key)
}
