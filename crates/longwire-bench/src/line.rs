//! One line: a socket, what takes its bytes apart, and what waits to be sent.

use std::io::{self, Read, Write};
use std::time::Instant;

use longwire_ws::{Opcode, frame};
use mio::event::Event;
use mio::net::TcpStream;

use crate::Error;
use crate::events::EventScanner;
use crate::http::Responses;
use crate::opening::{Opening, Target, Traffic};
use crate::scan::{Scanner, Sink};
use crate::way::Way;

/// Unsent bytes of a line beyond which pings are left unanswered: the server does not read.
const PONG_BACKLOG_MAX: usize = 1 << 20;
/// The close code of a line that ended without a close frame (RFC 6455 section 7.1.5).
const ABNORMAL: u16 = 1006;
/// The code for a close frame without one (RFC 6455 section 7.1.5).
const NO_STATUS: u16 = 1005;
/// The code for a server that breaks HTTP (RFC 6455 section 7.4.1).
const PROTOCOL_ERROR: u16 = 1002;

/// Takes what arrives on the lines. Times are nanoseconds on the clock of [`Lines::now`](crate::lines::Lines::now).
pub(crate) trait Receiver {
    /// A whole message has arrived: of a WebSocket or Socket.IO line one message, of an event stream one or more whole events, of a
    /// line for HTTP one response, out of its chunks.
    fn message(&mut self, line: usize, now: u64, binary: bool, payload: &[u8]);
    /// A line has been read; frames appended to `out` are sent on it.
    fn answer(&mut self, line: usize, now: u64, out: &mut Vec<u8>) {
        let _ = (line, now, out);
    }
    /// The server has closed the line.
    fn closed(&mut self, line: usize);
}

/// For lines of which nothing is expected.
pub(crate) struct Ignore;

impl Receiver for Ignore {
    fn message(&mut self, _line: usize, _now: u64, _binary: bool, _payload: &[u8]) {}
    fn closed(&mut self, _line: usize) {}
}

pub(crate) struct Line {
    stream: Option<TcpStream>,
    state: State,
    incoming: Incoming,
    /// What the socket did not take yet.
    backlog: Vec<u8>,
    /// Pings answered.
    pub(crate) pings: u32,
    /// Bytes since the line was begun.
    pub(crate) traffic: Traffic,
}

enum State {
    /// The request is not answered yet.
    Opening(Box<Opening>),
    /// A Socket.IO line whose WebSocket is open and that is not connected yet.
    Connecting(Box<Opening>),
    /// A Socket.IO line that was refused, and the server's words.
    Refused(Box<Opening>, String),
    Open,
    /// Our close frame is sent.
    Closing,
    Closed,
}

/// What takes the bytes of a line apart.
enum Incoming {
    Frames(Scanner),
    /// Frames with the packets of Engine.IO in them.
    Packets(Scanner),
    Events(EventScanner),
    Responses(Responses),
}

/// What the lines share while they are read and written.
pub(crate) struct Wire {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) out: Vec<u8>,
    pub(crate) mask: [u8; 4],
    /// The longest message that may come, in bytes.
    pub(crate) limit: usize,
    pub(crate) epoch: Instant,
}

impl Wire {
    pub(crate) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

impl Line {
    pub(crate) fn new(stream: TcpStream, opening: Opening) -> Line {
        Line {
            stream: Some(stream),
            state: State::Opening(Box::new(opening)),
            incoming: Incoming::Frames(Scanner::default()),
            backlog: Vec::new(),
            pings: 0,
            traffic: Traffic::default(),
        }
    }

    /// What is under way, while the line is not open yet.
    pub(crate) fn opening(&self) -> Option<&Opening> {
        match &self.state {
            State::Opening(opening) | State::Connecting(opening) | State::Refused(opening, _) => Some(opening),
            _ => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Why the server does not connect this line, if it does not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        match &self.state {
            State::Refused(opening, said) => {
                Some(Error::NotConnected { path: opening.way().path().to_owned(), said: said.clone() })
            }
            _ => None,
        }
    }

    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// Whether the answer to the request is awaited.
    pub(crate) fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Goes on with the request. Gives the bytes that came after its answer once that is complete.
    pub(crate) fn advance(&mut self, target: &Target, opened: usize) -> Result<Option<Vec<u8>>, Error> {
        let (State::Opening(opening), Some(stream)) = (&mut self.state, &mut self.stream) else { return Ok(None) };
        let Some(answered) = opening.advance(stream, target, opened)? else { return Ok(None) };
        self.traffic = answered.traffic;
        self.incoming = match opening.way() {
            Way::WebSocket(_) => Incoming::Frames(Scanner::default()),
            Way::SocketIo { .. } => Incoming::Packets(Scanner::default()),
            Way::Events(_) => Incoming::Events(EventScanner::new(answered.chunked)),
            Way::Http(_) => Incoming::Responses(Responses::default()),
        };
        let state = std::mem::replace(&mut self.state, State::Open);
        if let (State::Opening(opening), Incoming::Packets(_)) = (state, &self.incoming) {
            self.state = State::Connecting(opening);
        }
        Ok(Some(answered.rest))
    }

    /// Reads and writes what an event allows. Gives the close code when the line has ended.
    pub(crate) fn ready<R: Receiver>(&mut self, index: usize, event: &Event, wire: &mut Wire, receiver: &mut R) -> Option<u16> {
        if event.is_writable() && !self.backlog.is_empty() && self.flush().is_err() {
            return Some(ABNORMAL);
        }
        if !event.is_readable() && !event.is_read_closed() && !event.is_error() {
            return None;
        }
        loop {
            let stream = self.stream.as_mut()?;
            let count = match stream.read(&mut wire.buffer) {
                Ok(0) => return Some(ABNORMAL),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Some(ABNORMAL),
            };
            self.traffic.received += count as u64;
            // The buffer is lent out while the frames in it are handed on.
            let buffer = std::mem::take(&mut wire.buffer);
            let ended = self.take(index, &buffer[..count], wire, receiver);
            wire.buffer = buffer;
            if ended.is_some() {
                return ended;
            }
            // A short read has emptied the socket; unless its end has come, the readiness set reports what comes next.
            if count < wire.buffer.len() && !event.is_read_closed() {
                return None;
            }
        }
    }

    /// Hands on what is in `bytes` and answers it. Gives the close code when the line has ended.
    pub(crate) fn take<R: Receiver>(&mut self, index: usize, bytes: &[u8], wire: &mut Wire, receiver: &mut R) -> Option<u16> {
        let now = wire.now();
        wire.out.clear();
        let mut arrivals = Arrivals {
            receiver,
            index,
            now,
            speaks: matches!(self.state, State::Open | State::Connecting(_)),
            out: &mut wire.out,
            mask: wire.mask,
            may_pong: self.backlog.len() < PONG_BACKLOG_MAX,
            pings: &mut self.pings,
            close: None,
        };
        let limit = wire.limit;
        let ended = match &mut self.incoming {
            Incoming::Frames(scanner) => scanner.scan(bytes, limit, &mut arrivals).err().map(|error| error.code().value()),
            Incoming::Packets(scanner) => {
                let mut packets = Packets { state: &mut self.state, arrivals: &mut arrivals };
                scanner.scan(bytes, limit, &mut packets).err().map(|error| error.code().value())
            }
            Incoming::Events(scanner) => match scanner.scan(bytes, limit, |events| arrivals.message(false, events)) {
                Ok(flow) => flow.is_break().then_some(ABNORMAL),
                Err(_) => Some(PROTOCOL_ERROR),
            },
            Incoming::Responses(responses) => {
                let read = responses.read(bytes, limit, |response| arrivals.message(false, response));
                read.is_err().then_some(PROTOCOL_ERROR)
            }
        };
        let close = match ended {
            Some(code) => Some(code),
            // RFC 6455 section 7.1.1: the server closes the connection first. Its port has the wait for late packets then, and
            // ours is free for the next run.
            None if matches!(self.state, State::Closing) => None,
            None => arrivals.close,
        };
        let has_frames = matches!(self.incoming, Incoming::Frames(_) | Incoming::Packets(_));
        match (&self.state, close) {
            // RFC 6455 section 5.5.1: the answer to a close frame is a close frame.
            (State::Open | State::Connecting(_), Some(code)) if has_frames => {
                let payload = if code == NO_STATUS { vec![] } else { code.to_be_bytes().to_vec() };
                frame::encode(Opcode::Close, &payload, Some(wire.mask), &mut wire.out);
            }
            (State::Open, None) => receiver.answer(index, now, &mut wire.out),
            _ => {}
        }
        if !wire.out.is_empty() && self.send(&wire.out).is_err() && close.is_none() {
            return Some(ABNORMAL);
        }
        close
    }

    /// Sends, or keeps for later what the socket does not take.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        self.traffic.sent += bytes.len() as u64;
        let mut rest = bytes;
        while self.backlog.is_empty() && !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.backlog.extend_from_slice(rest);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let backlog = std::mem::take(&mut self.backlog);
        // They are counted already.
        self.traffic.sent -= backlog.len() as u64;
        self.send(&backlog)?;
        if self.backlog.is_empty() {
            // Its memory is kept for the next time.
            self.backlog = backlog;
            self.backlog.clear();
        }
        Ok(())
    }

    /// Begins the closing handshake (RFC 6455 section 7.1.2) with the given close frame. Lines without frames have none.
    pub(crate) fn close(&mut self, frame: &[u8]) {
        if matches!((&self.state, &self.incoming), (State::Open, Incoming::Frames(_) | Incoming::Packets(_))) {
            self.state = State::Closing;
            // When it cannot be sent the line has ended already, which is what is wanted.
            let _ = self.send(frame);
        }
    }

    /// Whether our close frame is sent, and the server's is awaited.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Lets go of the socket; tells whether the line was open.
    pub(crate) fn end(&mut self) -> bool {
        self.stream = None;
        self.backlog = Vec::new();
        matches!(std::mem::replace(&mut self.state, State::Closed), State::Open)
    }
}

/// Sorts what the scanner finds on one line.
struct Arrivals<'a, R> {
    receiver: &'a mut R,
    index: usize,
    now: u64,
    /// Whether pings are answered.
    speaks: bool,
    out: &'a mut Vec<u8>,
    mask: [u8; 4],
    may_pong: bool,
    pings: &'a mut u32,
    close: Option<u16>,
}

impl<R: Receiver> Sink for Arrivals<'_, R> {
    #[inline]
    fn message(&mut self, binary: bool, payload: &[u8]) {
        self.receiver.message(self.index, self.now, binary, payload);
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        match opcode {
            // RFC 6455 section 5.5.2: unless it already received a close frame, the answer to a ping is a pong.
            Opcode::Ping if self.speaks && self.close.is_none() && self.may_pong => {
                frame::encode(Opcode::Pong, payload, Some(self.mask), self.out);
                *self.pings += 1;
            }
            Opcode::Close if self.close.is_none() => {
                self.close = Some(payload.first_chunk().map_or(NO_STATUS, |code| u16::from_be_bytes(*code)));
            }
            _ => {}
        }
    }
}

/// The same on a Socket.IO line: what is Engine.IO's stays here.
struct Packets<'a, 'b, R> {
    state: &'a mut State,
    arrivals: &'a mut Arrivals<'b, R>,
}

impl<R> Packets<'_, '_, R> {
    fn say(&mut self, packet: &str) {
        frame::encode(Opcode::Text, packet.as_bytes(), Some(self.arrivals.mask), self.arrivals.out);
    }

    /// What comes before the line is connected to the namespace "/".
    fn connecting(&mut self, packet: &[u8]) {
        match packet {
            [b'0', ..] => self.say("40"),
            [b'4', b'0', ..] => {
                let State::Connecting(opening) = std::mem::replace(self.state, State::Open) else { return };
                if let Way::SocketIo { first, .. } = opening.way()
                    && !first.is_empty()
                {
                    self.say(first);
                }
            }
            [b'4', b'4', ..] => {
                let State::Connecting(opening) = std::mem::replace(self.state, State::Closed) else { return };
                *self.state = State::Refused(opening, String::from_utf8_lossy(packet).into_owned());
            }
            _ => {}
        }
    }
}

impl<R: Receiver> Sink for Packets<'_, '_, R> {
    #[inline]
    fn message(&mut self, binary: bool, payload: &[u8]) {
        match self.state {
            // The server's heartbeat: a ping of Engine.IO, in a message.
            _ if payload == b"2" && !binary => {
                if self.arrivals.speaks && self.arrivals.may_pong && self.arrivals.close.is_none() {
                    self.say("3");
                    *self.arrivals.pings += 1;
                }
            }
            State::Connecting(_) => self.connecting(payload),
            _ => self.arrivals.message(binary, payload),
        }
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        self.arrivals.control(opcode, payload);
    }
}
