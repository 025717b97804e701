//! HTTP/2 by hand, a frame at a time (RFC 9113, 4 and 6).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::BOUND;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection, of which all waits are bounded.
pub(super) struct Raw(pub(super) TcpStream);

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a GET, as HPACK without its tables (RFC 7541, 6.2.2), and these fields.
pub(super) fn get(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![0x82, 0x86];
    literal(4, path, &mut head);
    literal(1, "localhost", &mut head);
    for (name, value) in fields {
        head.push(0);
        string(name, &mut head);
        string(value, &mut head);
    }
    head
}

fn literal(index: u8, value: &str, head: &mut Vec<u8>) {
    head.push(index);
    string(value, head);
}

fn string(text: &str, head: &mut Vec<u8>) {
    // RFC 7541, 5.1: an integer with a prefix of 7 bits.
    let mut rest = text.len();
    if rest < 127 {
        head.push(rest as u8);
    } else {
        head.push(127);
        rest -= 127;
        while rest >= 128 {
            head.push(rest as u8 | 128);
            rest >>= 7;
        }
        head.push(rest as u8);
    }
    head.extend_from_slice(text.as_bytes());
}

impl Raw {
    pub(super) fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_write_timeout(Some(BOUND)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// With the preface and empty settings sent.
    pub(super) fn connect(address: SocketAddr) -> Self {
        let mut raw = Self::tcp(address);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        raw
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("send");
    }

    /// The next frame; `None` at the end of the connection, however it ends.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.read(&mut payload)?;
        Some(Frame { kind: head[3], stream: u32::from_be_bytes(head[5..9].try_into().unwrap()), payload })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("nothing came, and the connection is still there")
            }
            Err(_) => None,
        }
    }

    /// The next frame of this kind.
    pub(super) fn expect(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().expect("a frame");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The server says that it has had enough, for this reason, and closes.
    pub(super) fn expect_goaway(&mut self, reason: u32) {
        let frame = self.expect(GOAWAY);
        assert_eq!(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()), reason);
        while self.next().is_some() {}
    }
}

impl Frame {
    /// Whether it is the head of a response with status 200, which is one byte (RFC 7541, appendix A).
    pub(super) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload[0] == 0x88
    }

    /// The reason of a RST_STREAM.
    pub(super) fn reason(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}
