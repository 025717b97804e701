//! One line: a socket, a frame scanner and what waits to be sent.

use std::io::{self, Read, Write};
use std::time::Instant;

use longwire_ws::{Opcode, frame};
use mio::event::Event;
use mio::net::TcpStream;

use crate::Error;
use crate::opening::{Opening, Target};
use crate::scan::{Scanner, Sink};

/// Unsent bytes of a line beyond which pings are left unanswered: the server does not read.
const PONG_BACKLOG_MAX: usize = 1 << 20;
/// The close code of a line that ended without a close frame (RFC 6455 section 7.1.5).
const ABNORMAL: u16 = 1006;
/// The code for a close frame without one (RFC 6455 section 7.1.5).
const NO_STATUS: u16 = 1005;

/// Takes what arrives on the lines. Times are nanoseconds on the clock of [`Lines::now`](crate::lines::Lines::now).
pub(crate) trait Receiver {
    /// A whole message has arrived.
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
    scanner: Scanner,
    /// What the socket did not take yet.
    backlog: Vec<u8>,
    /// Pings answered.
    pub(crate) pings: u32,
}

enum State {
    Opening(Box<Opening>),
    Open,
    /// Our close frame is sent.
    Closing,
    Closed,
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
            scanner: Scanner::default(),
            backlog: Vec::new(),
            pings: 0,
        }
    }

    /// The handshake, while it is under way.
    pub(crate) fn opening(&self) -> Option<&Opening> {
        match &self.state {
            State::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// Goes on with the handshake. Gives the bytes that came after it once it is complete.
    pub(crate) fn advance(&mut self, target: &Target, opened: usize) -> Result<Option<Vec<u8>>, Error> {
        let (State::Opening(opening), Some(stream)) = (&mut self.state, &mut self.stream) else { return Ok(None) };
        let rest = opening.advance(stream, target, opened)?;
        if rest.is_some() {
            self.state = State::Open;
        }
        Ok(rest)
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

    /// Hands on the frames in `bytes` and answers them. Gives the close code when the line has ended.
    pub(crate) fn take<R: Receiver>(&mut self, index: usize, bytes: &[u8], wire: &mut Wire, receiver: &mut R) -> Option<u16> {
        let now = wire.now();
        let open = matches!(self.state, State::Open);
        wire.out.clear();
        let mut arrivals = Arrivals {
            receiver,
            index,
            now,
            open,
            out: &mut wire.out,
            mask: wire.mask,
            may_pong: self.backlog.len() < PONG_BACKLOG_MAX,
            pings: &mut self.pings,
            close: None,
        };
        let scanned = self.scanner.scan(bytes, wire.limit, &mut arrivals);
        let close = match scanned {
            Err(error) => Some(error.code().value()),
            // RFC 6455 section 7.1.1: the server closes the connection first. Its port has the wait for late packets then, and
            // ours is free for the next run.
            Ok(()) if matches!(self.state, State::Closing) => None,
            Ok(()) => arrivals.close,
        };
        if open {
            if let Some(code) = close {
                // RFC 6455 section 5.5.1: the answer to a close frame is a close frame.
                let payload = if code == NO_STATUS { vec![] } else { code.to_be_bytes().to_vec() };
                frame::encode(Opcode::Close, &payload, Some(wire.mask), &mut wire.out);
            } else {
                receiver.answer(index, now, &mut wire.out);
            }
            if !wire.out.is_empty() && self.send(&wire.out).is_err() && close.is_none() {
                return Some(ABNORMAL);
            }
        }
        close
    }

    /// Sends, or keeps for later what the socket does not take.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
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
        self.send(&backlog)?;
        if self.backlog.is_empty() {
            // Its memory is kept for the next time.
            self.backlog = backlog;
            self.backlog.clear();
        }
        Ok(())
    }

    /// Begins the closing handshake (RFC 6455 section 7.1.2) with the given close frame.
    pub(crate) fn close(&mut self, frame: &[u8]) {
        if matches!(self.state, State::Open) {
            self.state = State::Closing;
            // When it cannot be sent the line has ended already, which is what is wanted.
            let _ = self.send(frame);
        }
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
    open: bool,
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
            Opcode::Ping if self.open && self.close.is_none() && self.may_pong => {
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
