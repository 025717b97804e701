//! The floor: the least that a server can do on Linux for the echo/broadcast contract.
//!
//! One thread, one edge-triggered epoll loop, one read per readiness, no check beyond what finds the frames, no bounds, no heartbeats,
//! no time-outs. It is no server to use: it is what the others are measured against.
//!
//! Two floors for fan-out: `--plain` writes every message to every subscriber by itself; without it, what came in within one tick
//! is joined and each subscriber gets one write per tick.

mod wire;

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::ExitCode;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use wire::{Frame, Opening};

/// One read takes at most this much. It also bounds what a tick joins per publishing line.
const READ_BYTES: usize = 256 * 1024;
/// Events taken by one `epoll_wait`.
const EVENTS_PER_TICK: usize = 1024;
const BACKLOG: i32 = 4096;

fn main() -> ExitCode {
    let mut plain = false;
    let mut address = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--plain" => plain = true,
            // A number of shards may follow the address: the floor always has one.
            _ if address.is_none() => address = Some(argument),
            _ => {}
        }
    }
    let Some(address) = address else {
        eprintln!("usage: floor [--plain] HOST:PORT");
        return ExitCode::from(2);
    };
    match Floor::listen(&address, plain).and_then(|mut floor| floor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Opening,
    Echo,
    Subscriber,
    Publisher,
}

/// A line that has nothing under way costs these 12 bytes, and 4 in its channel.
struct Line {
    socket: OwnedFd,
    channel: u32,
    role: Role,
    /// Whether [`Floor::leftovers`] has something for this line.
    leftover: bool,
}

const _: () = assert!(size_of::<Option<Line>>() == 12);

/// What is half done on a line: part of a frame read, or part of an answer not yet taken by the kernel.
#[derive(Default)]
struct Leftover {
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
}

#[derive(Default)]
struct Channel {
    subscribers: Vec<u32>,
    /// Frames of this tick that every subscriber is to get.
    joined: Vec<u8>,
}

struct Floor {
    plain: bool,
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor: the kernel hands out the lowest free number.
    lines: Vec<Option<Line>>,
    leftovers: HashMap<u32, Leftover>,
    channels: Vec<Channel>,
    channel_numbers: HashMap<String, u32>,
    /// Channels that have something joined.
    dirty: Vec<u32>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Floor {
    fn listen(address: &str, plain: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(index(&listener) as u64), EventFlags::IN)?;
        Ok(Self {
            plain,
            epoll,
            listener,
            lines: Vec::new(),
            leftovers: HashMap::new(),
            channels: Vec::new(),
            channel_numbers: HashMap::new(),
            dirty: Vec::new(),
            input: vec![0; READ_BYTES],
            output: Vec::new(),
        })
    }

    fn run(&mut self) -> std::io::Result<()> {
        let listener = index(&self.listener);
        let mut events = Vec::with_capacity(EVENTS_PER_TICK);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let number = event.data.u64() as usize;
                if number == listener {
                    self.accept();
                } else {
                    self.serve(number, event.flags);
                }
            }
            self.flush_channels();
        }
    }

    fn accept(&mut self) {
        // Out of descriptors ends the loop like "no more for now": the client sees its handshake time out.
        while let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            let number = index(&socket);
            // Edge-triggered for both directions once and for all: no epoll_ctl later, and the kernel re-arms nothing after each event.
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            let ready = rustix::net::sockopt::set_tcp_nodelay(&socket, true)
                .and_then(|()| epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), interest));
            if ready.is_err() {
                continue;
            }
            if number >= self.lines.len() {
                self.lines.resize_with(number + 1, || None);
            }
            self.lines[number] = Some(Line { socket, channel: 0, role: Role::Opening, leftover: false });
        }
    }

    /// Does what the readiness of one line allows: the rest of an answer first, then what there is to read.
    fn serve(&mut self, number: usize, ready: EventFlags) {
        let Some(Some(line)) = self.lines.get(number) else { return };
        // While an answer was unfinished nothing was read, so that input may be waiting whose edge is long past.
        let resumed = line.leftover;
        if resumed && !self.write_leftover(number) {
            return;
        }
        // A short read has emptied the socket, unless the peer's end is to be read behind it.
        let ended = ready.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if resumed || ended || ready.intersects(EventFlags::IN) {
            self.read(number, ended);
        }
    }

    fn read(&mut self, number: usize, ended: bool) {
        loop {
            let start = match &self.lines[number] {
                Some(line) if line.leftover => self.restore_input(number),
                _ => 0,
            };
            let Some(line) = &self.lines[number] else { return };
            match rustix::net::recv(&line.socket, &mut self.input[start..], RecvFlags::empty()) {
                Ok((0, _)) => return self.close(number),
                Ok((count, _)) => {
                    let filled = start + count == self.input.len();
                    if !self.take(number, start + count) {
                        return self.close(number);
                    }
                    let stuck = matches!(&self.lines[number], Some(line) if line.leftover && self.is_writing(number));
                    if stuck || !(filled || ended) {
                        return;
                    }
                    // One buffer full is a tick of its own: what is joined stays bounded by the buffer.
                    self.flush_channels();
                }
                Err(Errno::AGAIN) => return self.keep_input(number, 0, start),
                Err(_) => return self.close(number),
            }
        }
    }

    fn is_writing(&self, number: usize) -> bool {
        self.leftovers.get(&key(number)).is_some_and(|leftover| !leftover.output.is_empty())
    }

    /// Puts the part of a frame that an earlier read left in front of what the next one brings; how long it is.
    fn restore_input(&mut self, number: usize) -> usize {
        let Some(leftover) = self.leftovers.get_mut(&key(number)) else { return 0 };
        let input = std::mem::take(&mut leftover.input);
        self.release_leftover(number);
        // A frame longer than the buffer: make room, at least as much again.
        if input.len() >= self.input.len() {
            self.input.resize(2 * input.len(), 0);
        }
        self.input[..input.len()].copy_from_slice(&input);
        input.len()
    }

    fn keep_input(&mut self, number: usize, start: usize, end: usize) {
        if start < end {
            let leftover = self.leftovers.entry(key(number)).or_default();
            leftover.input.extend_from_slice(&self.input[start..end]);
            if let Some(line) = &mut self.lines[number] {
                line.leftover = true;
            }
        }
    }

    fn release_leftover(&mut self, number: usize) {
        let leftover = self.leftovers.get(&key(number));
        if leftover.is_none_or(|leftover| leftover.input.is_empty() && leftover.output.is_empty()) {
            self.leftovers.remove(&key(number));
            if let Some(line) = &mut self.lines[number] {
                line.leftover = false;
            }
        }
    }

    /// Handles `end` bytes of input; false when the line is over.
    fn take(&mut self, number: usize, end: usize) -> bool {
        let mut start = 0;
        let mut open = true;
        self.output.clear();
        if matches!(&self.lines[number], Some(line) if line.role == Role::Opening) {
            match Opening::parse(&self.input[..end]) {
                Some(opening) => {
                    start = opening.length;
                    let path = opening.path.to_owned();
                    let answer = opening.answer();
                    open = self.assign(number, &path);
                    self.output.extend_from_slice(if open { answer.as_bytes() } else { wire::NOT_FOUND });
                }
                None => {
                    self.keep_input(number, 0, end);
                    return true;
                }
            }
        }
        let (role, channel) = match &self.lines[number] {
            Some(line) => (line.role, line.channel as usize),
            None => return false,
        };
        while open && let Some(frame) = Frame::parse(&self.input[start..end]) {
            start += frame.length;
            match frame.opcode() {
                wire::CLOSE => {
                    frame.append_control_answer(wire::CLOSE, &mut self.output);
                    open = false;
                }
                wire::PING => frame.append_control_answer(wire::PONG, &mut self.output),
                wire::PONG => {}
                _ if role == Role::Echo => frame.append_as(frame.first, &mut self.output),
                _ if role == Role::Publisher => {
                    let joined = &mut self.channels[channel].joined;
                    if joined.is_empty() {
                        self.dirty.push(channel as u32);
                    }
                    frame.append_as(frame.first, joined);
                    if self.plain {
                        self.flush_channels();
                    }
                }
                _ => {}
            }
        }
        self.keep_input(number, start, end);
        if !self.output.is_empty() {
            let output = std::mem::take(&mut self.output);
            self.write(number, &output);
            self.output = output;
        }
        open
    }

    /// Gives a line the role that its path names; false when there is none.
    fn assign(&mut self, number: usize, path: &str) -> bool {
        let (role, name) = if let Some(name) = path.strip_prefix("/sub/") {
            (Role::Subscriber, name)
        } else if let Some(name) = path.strip_prefix("/pub/") {
            (Role::Publisher, name)
        } else {
            (Role::Echo, "")
        };
        if role == Role::Echo && path != "/echo" {
            return false;
        }
        let mut channel = 0;
        if role != Role::Echo {
            channel = self.channel_number(name);
        }
        if role == Role::Subscriber {
            self.channels[channel as usize].subscribers.push(key(number));
        }
        if let Some(line) = &mut self.lines[number] {
            line.role = role;
            line.channel = channel;
        }
        true
    }

    fn channel_number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.channel_numbers.get(name) {
            return number;
        }
        let number = self.channels.len() as u32;
        self.channels.push(Channel::default());
        self.channel_numbers.insert(name.to_owned(), number);
        number
    }

    /// One write for each subscriber of each channel that has something joined.
    fn flush_channels(&mut self) {
        while let Some(number) = self.dirty.pop() {
            let channel = &mut self.channels[number as usize];
            let subscribers = std::mem::take(&mut channel.subscribers);
            let mut joined = std::mem::take(&mut channel.joined);
            for &subscriber in &subscribers {
                self.write(subscriber as usize, &joined);
            }
            joined.clear();
            let channel = &mut self.channels[number as usize];
            channel.subscribers = subscribers;
            channel.joined = joined;
        }
    }

    /// Writes what the kernel takes now and keeps the rest. A broken line is left to the event that tells of it.
    #[inline]
    fn write(&mut self, number: usize, bytes: &[u8]) {
        let Some(Some(line)) = self.lines.get(number) else { return };
        let busy = line.leftover && self.is_writing(number);
        let written = if busy {
            0
        } else {
            match rustix::net::send(&line.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(written) => written,
                Err(Errno::AGAIN) => 0,
                Err(_) => return,
            }
        };
        if written < bytes.len() {
            self.keep_output(number, &bytes[written..]);
        }
    }

    #[cold]
    fn keep_output(&mut self, number: usize, bytes: &[u8]) {
        self.leftovers.entry(key(number)).or_default().output.extend_from_slice(bytes);
        if let Some(line) = &mut self.lines[number] {
            line.leftover = true;
        }
    }

    /// Writes what an earlier write left; true when nothing is left any more.
    fn write_leftover(&mut self, number: usize) -> bool {
        let Some(line) = &self.lines[number] else { return true };
        let Some(leftover) = self.leftovers.get_mut(&key(number)) else { return true };
        while leftover.written < leftover.output.len() {
            match rustix::net::send(&line.socket, &leftover.output[leftover.written..], SendFlags::NOSIGNAL) {
                Ok(count) => leftover.written += count,
                Err(Errno::AGAIN) => return false,
                // Nobody will read it; the read that follows finds out.
                Err(_) => break,
            }
        }
        leftover.output = Vec::new();
        leftover.written = 0;
        self.release_leftover(number);
        true
    }

    fn close(&mut self, number: usize) {
        let Some(line) = self.lines[number].take() else { return };
        self.leftovers.remove(&key(number));
        if line.role == Role::Subscriber {
            let subscribers = &mut self.channels[line.channel as usize].subscribers;
            if let Some(place) = subscribers.iter().position(|&subscriber| subscriber as usize == number) {
                subscribers.swap_remove(place);
            }
        }
    }
}

/// Descriptors number far fewer than 2^32.
fn key(number: usize) -> u32 {
    number as u32
}

fn index(descriptor: &impl AsRawFd) -> usize {
    // A descriptor that the kernel handed out is never negative.
    descriptor.as_raw_fd().unsigned_abs() as usize
}
