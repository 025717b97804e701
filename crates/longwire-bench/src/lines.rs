//! The lines: one thread, one readiness set, one read buffer for all of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use longwire_ws::{Opcode, frame};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::line::{Ignore, Line, Receiver, Wire};
use crate::opening::{Opening, Target, Traffic};
use crate::ports::LocalPorts;
use crate::progress::Progress;
use crate::way::Way;
use crate::{Error, Stop, message};

/// Bytes read at once.
const READ_BUFFER: usize = 256 << 10;
/// Events taken from the readiness set at once.
const EVENTS: usize = 1024;
/// How long to wait for the server's half of the closing handshakes.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
const ALARM: Token = Token(usize::MAX - 1);

/// All lines to the server.
pub(crate) struct Lines {
    poll: Poll,
    events: Events,
    alarm: OwnedFd,
    lines: Vec<Line>,
    wire: Wire,
    target: Target,
    ports: LocalPorts,
    stop: Stop,
    open: usize,
    closed: BTreeMap<u16, u64>,
    connect_time: Duration,
}

impl Lines {
    /// Prepares for lines whose messages have at most `size` bytes.
    pub(crate) fn new(target: Target, size: usize, stop: Stop) -> Result<Lines, Error> {
        let setup = || -> io::Result<_> {
            let poll = Poll::new()?;
            let alarm =
                rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            poll.registry().register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)?;
            Ok((poll, alarm))
        };
        let (poll, alarm) = setup().map_err(Error::io("the readiness set cannot be made"))?;
        Ok(Lines {
            poll,
            events: Events::with_capacity(EVENTS),
            alarm,
            lines: Vec::new(),
            wire: Wire {
                buffer: vec![0; READ_BUFFER].into_boxed_slice(),
                out: Vec::new(),
                mask: (message::random() as u32).to_be_bytes(),
                // A server may say more than it is asked, such as a greeting.
                limit: size.max(64 << 10),
                epoch: Instant::now(),
            },
            target,
            ports: LocalPorts::new(),
            stop,
            open: 0,
            closed: BTreeMap::new(),
            connect_time: Duration::ZERO,
        })
    }

    /// Nanoseconds since these lines were prepared.
    pub(crate) fn now(&self) -> u64 {
        self.wire.now()
    }

    /// Lines begun so far; the next one's number.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Lines open now.
    pub(crate) fn open_count(&self) -> usize {
        self.open
    }

    /// How many lines the server closed with which code; 1006 stands for no close frame.
    pub(crate) fn closed(&self) -> &BTreeMap<u16, u64> {
        &self.closed
    }

    /// Time spent in [`open`](Self::open).
    pub(crate) fn connect_time(&self) -> Duration {
        self.connect_time
    }

    /// Pings answered on all lines, and lines that were pinged at least once.
    pub(crate) fn pings(&self) -> (u64, u64) {
        let pings = self.lines.iter().map(|line| u64::from(line.pings));
        (pings.clone().sum(), pings.filter(|&pings| pings > 0).count() as u64)
    }

    /// Bytes that went over the sockets of these lines since each was begun.
    pub(crate) fn traffic(&self, lines: Range<usize>) -> Traffic {
        self.lines[lines].iter().fold(Traffic::default(), |sum, line| Traffic {
            sent: sum.sent + line.traffic.sent,
            received: sum.received + line.traffic.received,
        })
    }

    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.requested()
    }

    /// Opens one line for each way, at the target's pace.
    pub(crate) fn open<R: Receiver>(
        &mut self,
        ways: impl ExactSizeIterator<Item = Way>,
        receiver: &mut R,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let (first, wanted) = (self.lines.len(), ways.len());
        let mut ways = ways;
        let mut opening: Vec<usize> = Vec::new();
        loop {
            let allowed = (began.elapsed().as_secs_f64() * f64::from(self.target.rate)) as usize + 1;
            let mut paced = false;
            while opening.len() < self.target.window {
                paced = self.lines.len() - first >= allowed;
                if paced {
                    break;
                }
                let Some(way) = ways.next() else { break };
                opening.push(self.begin(way)?);
            }
            if opening.is_empty() && self.lines.len() - first == wanted {
                break;
            }
            self.turn(Duration::from_millis(if paced { 1 } else { 50 }), receiver)?;
            if self.stop.requested() {
                return Err(Error::Interrupted);
            }
            let (lines, opened, timeout) = (&self.lines, self.open, self.target.timeout);
            opening.retain(|&index| lines[index].opening().is_some());
            let late = opening.iter().filter_map(|&index| lines[index].opening()).find(|line| line.age() > timeout);
            if let Some(late) = late {
                return Err(Error::HandshakeTimeout { path: late.way().path().to_owned(), opened });
            }
            progress.opening(self.lines.len() - first - opening.len(), wanted);
        }
        self.connect_time += began.elapsed();
        Ok(())
    }

    fn begin(&mut self, way: Way) -> Result<usize, Error> {
        let index = self.lines.len();
        let opened = self.open;
        let fail = |source| Error::Connect { address: self.target.address, opened, source };
        let mut stream = TcpStream::from_std(self.ports.connect(self.target.address).map_err(fail)?);
        stream.set_nodelay(true).map_err(fail)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest).map_err(fail)?;
        self.lines.push(Line::new(stream, Opening::new(&self.target, way)?));
        Ok(index)
    }

    /// Waits for something to arrive, at most `wait`, and takes all that is there.
    pub(crate) fn turn<R: Receiver>(&mut self, wait: Duration, receiver: &mut R) -> Result<(), Error> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(Error::io("waiting for the server failed"))?,
        }
        for event in &self.events {
            if event.token() == ALARM {
                // Only its wake-up counts. It is read so that it can ring again.
                let _ = rustix::io::read(&self.alarm, &mut [0; 8]);
                continue;
            }
            let index = event.token().0;
            let line = &mut self.lines[index];
            let was_open = line.is_open();
            let mut ended = None;
            if line.awaits_answer() {
                let Some(rest) = line.advance(&self.target, self.open)? else { continue };
                ended = line.take(index, &rest, &mut self.wire, receiver);
            }
            ended = ended.or_else(|| line.ready(index, event, &mut self.wire, receiver));
            if let Some(refusal) = line.refusal() {
                return Err(refusal);
            }
            self.open += usize::from(!was_open && line.is_open());
            let Some(code) = ended else { continue };
            if let Some(opening) = line.opening() {
                return Err(Error::NotConnected {
                    path: opening.way().path().to_owned(),
                    said: "it closed the line".to_owned(),
                });
            }
            if line.end() {
                self.open -= 1;
                *self.closed.entry(code).or_default() += 1;
                receiver.closed(index);
            }
        }
        Ok(())
    }

    /// Sends what `fill` appends. A line that fails here is seen closed by the next [`turn`](Self::turn).
    pub(crate) fn send(&mut self, index: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        self.wire.out.clear();
        fill(&mut self.wire.out);
        // An error also makes the line readable, and reading it says how it ended.
        let _ = self.lines[index].send(&self.wire.out);
    }

    /// Resets these lines, as a network that is gone does, without a word to the server.
    pub(crate) fn cut(&mut self, lines: Range<usize>) {
        for line in &mut self.lines[lines] {
            if let Some(stream) = line.stream() {
                reset(stream);
            }
            self.open -= usize::from(line.end());
        }
    }

    /// Ends the next wait in [`turn`](Self::turn) when this moment comes, to the microsecond: the waits themselves count in
    /// milliseconds.
    pub(crate) fn wake_at(&mut self, moment: u64) -> Result<(), Error> {
        let wait = Duration::from_nanos(moment.saturating_sub(self.now()).max(1));
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|error| Error::io("the timer cannot be set")(error.into()))
    }

    /// Says goodbye on every line that has a word for it, waits a moment for the answers, and closes.
    pub(crate) fn close_all(&mut self) -> Result<(), Error> {
        let mut frame = Vec::new();
        frame::encode(Opcode::Close, &1000u16.to_be_bytes(), Some(self.wire.mask), &mut frame);
        for line in &mut self.lines {
            line.close(&frame);
        }
        let began = Instant::now();
        while began.elapsed() < CLOSE_WAIT && self.lines.iter().any(Line::is_closing) {
            self.turn(Duration::from_millis(50), &mut Ignore)?;
        }
        for line in &mut self.lines {
            if let Some(stream) = line.stream() {
                reset(stream);
            }
            line.end();
        }
        self.open = 0;
        Ok(())
    }
}

/// Lets the line end with a reset in place of a FIN when it is dropped: the local port is free again at once for the next run.
fn reset(stream: &TcpStream) {
    // Without it the line ends all the same.
    let _ = rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
}
