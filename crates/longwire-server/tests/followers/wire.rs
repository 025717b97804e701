//! A connection that is cut behind so many bytes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use longwire_ws::{Opcode, frame};

use crate::support::{BOUND, frame_of, handshake};

/// If nothing comes for so long it is cut, too. What is right does not depend on it.
const QUIET: Duration = Duration::from_millis(30);

/// How long one who is not cut waits for what is still missing, at a time, and how often.
const LAST: Duration = Duration::from_secs(2);
pub(super) const LAST_TIMES: u32 = (BOUND.as_secs() / LAST.as_secs()) as u32;

pub(super) struct Wire {
    stream: TcpStream,
    /// How many bytes may still come.
    left: Option<usize>,
    input: Vec<u8>,
    taken: usize,
    is_over: bool,
}

impl Wire {
    pub(super) fn open(address: SocketAddr, bytes: Option<usize>, is_narrow: bool) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
        if is_narrow && bytes.is_some() {
            socket.set_recv_buffer_size(4096).unwrap();
        }
        socket.connect(&address.into()).expect("connect");
        let stream: TcpStream = socket.into();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(if bytes.is_some() { QUIET } else { LAST })).unwrap();
        Self { stream, left: bytes, input: Vec::new(), taken: 0, is_over: false }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        // It may be closed already.
        self.is_over |= self.stream.write_all(bytes).is_err();
    }

    pub(super) fn send_text(&mut self, text: &str) {
        self.send(&frame_of(Opcode::Text, text.as_bytes()));
    }

    /// Reads more; false if it is cut, or was closed.
    pub(super) fn fill(&mut self) -> bool {
        if self.is_over || self.left == Some(0) {
            return false;
        }
        let mut buffer = [0; 32 << 10];
        let most = self.left.map_or(buffer.len(), |left| left.min(buffer.len()));
        match self.stream.read(&mut buffer[..most]) {
            Ok(count) if count > 0 => {
                self.left = self.left.map(|left| left - count);
                self.input.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            // Nothing yet.
            Err(error) if self.left.is_none() && is_timeout(&error) => false,
            _ => {
                self.is_over = true;
                false
            }
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_over || self.left == Some(0)
    }

    pub(super) fn left(&self) -> Option<usize> {
        self.left
    }

    /// What has come up to this mark, which goes with it.
    pub(super) fn up_to(&mut self, mark: &[u8]) -> Option<String> {
        let rest = &self.input[self.taken..];
        let end = rest.windows(mark.len()).position(|window| window == mark)?;
        let text = String::from_utf8(rest[..end].to_vec()).expect("UTF-8");
        self.take(end + mark.len());
        Some(text)
    }

    pub(super) fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let bytes = self.input[self.taken..].get(..count)?.to_vec();
        self.take(count);
        Some(bytes)
    }

    /// The text of the next whole frame that has one.
    pub(super) fn frame(&mut self) -> Option<String> {
        loop {
            let rest = &self.input[self.taken..];
            let (header, length) = frame::Header::decode(rest).expect("a frame's header")?;
            let payload = rest.get(length..length + header.payload_len as usize)?.to_vec();
            self.take(length + payload.len());
            if header.opcode == Opcode::Text {
                return Some(String::from_utf8(payload).expect("UTF-8"));
            }
        }
    }

    /// The opening handshake; false if it was cut.
    pub(super) fn upgrade(&mut self, path: &str) -> bool {
        self.send(handshake(path, "").as_bytes());
        self.head().is_some()
    }

    /// The head of an answer.
    pub(super) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(head) = self.up_to(b"\r\n\r\n") {
                return Some(head);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) {
        self.taken += count;
        if self.taken > 1 << 20 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Drop for Wire {
    fn drop(&mut self) {
        // What was not read is lost, and the server learns of it at once.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}
