//! A WebSocket client of bytes and frames. It keeps the rules only where a test wants it to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use longwire_ws::handshake::deflate::DeflateParams;
use longwire_ws::{Event, Input, Limits, Opcode, Receiver, Role, frame};

use super::BOUND;

/// RFC 6455, 1.2: the sample key, whose answer is known.
pub(crate) const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE_ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x13];

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) rsv: u8,
    pub(crate) opcode: Opcode,
    pub(crate) payload: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection to the server. All its waits are bounded.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// How much of the input is used up.
    at: usize,
}

/// A correct opening handshake, with more header lines if wanted (each ended by CR LF).
pub(crate) fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {HANDSHAKE_KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// Sends a request and reads the answer.
#[track_caller]
pub(crate) fn answer(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::tcp(address);
    client.send_raw(request.as_bytes());
    client.response()
}

impl Client {
    /// A TCP connection, and nothing more.
    #[track_caller]
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connect"))
    }

    /// A TCP connection whose buffers are small on our side, so that it soon takes no more.
    #[track_caller]
    pub(crate) fn narrow_tcp(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
        // Before connecting, so that the window is small from the start.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.connect(&address.into()).expect("connect");
        Self::over(socket.into())
    }

    /// From now on a narrow connection takes as much as others do.
    pub(crate) fn widen(&self) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(1 << 20).unwrap();
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_write_timeout(Some(BOUND)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new(), at: 0 }
    }

    /// An open line.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::tcp(address).upgrade(path, "").0
    }

    /// An open line with small buffers on our side.
    #[track_caller]
    pub(crate) fn open_narrow(address: SocketAddr, path: &str) -> Self {
        Self::narrow_tcp(address).upgrade(path, "").0
    }

    /// The opening handshake on a fresh connection.
    #[track_caller]
    pub(crate) fn upgrade(mut self, path: &str, more: &str) -> (Self, Response) {
        self.send_raw(handshake(path, more).as_bytes());
        let response = self.upgraded();
        (self, response)
    }

    /// Reads the answer to an opening handshake, which must be 101.
    #[track_caller]
    pub(crate) fn upgraded(&mut self) -> Response {
        let response = self.response();
        assert_eq!(response.status, 101, "{}\n{}", response.head, response.body);
        assert_eq!(response.header("sec-websocket-accept"), Some(HANDSHAKE_ANSWER));
        response
    }

    /// Reads an HTTP answer.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.rest().windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.fill().expect("read an answer"), "the connection ended before an answer");
        };
        let head = String::from_utf8(self.take(end)).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: String::new() };
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        if status != 101 {
            while self.rest().len() < length {
                assert!(self.fill().expect("read a body"), "the connection ended before the body did");
            }
            response.body = String::from_utf8(self.take(length)).unwrap();
        }
        response
    }

    /// The next line, without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.rest().windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            assert!(self.fill().expect("read a line"), "the connection ended before a line");
        };
        let line = String::from_utf8(self.take(end)).unwrap();
        self.take(2);
        line
    }

    /// The next bytes, so many.
    #[track_caller]
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.rest().len() < count {
            assert!(self.fill().expect("read on"), "the connection ended too soon");
        }
        self.take(count)
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Sends bytes as far as the server takes them within `patience`, or before it drops the connection; says how many it took.
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(BOUND)).unwrap();
        sent
    }

    /// Sends bytes on a thread of its own, so that the caller can read meanwhile.
    pub(crate) fn send_in_background(&self, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
        let mut stream = self.stream.try_clone().unwrap();
        std::thread::spawn(move || stream.write_all(&bytes).expect("send"))
    }

    /// Sends what the server still takes, whatever becomes of it.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.send_raw(&frame_of(opcode, payload));
    }

    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes());
    }

    #[track_caller]
    pub(crate) fn send_close(&mut self, code: u16, reason: &str) {
        self.send(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// Waits until something can be read; false at the end of the connection.
    #[track_caller]
    pub(crate) fn wait_for_bytes(&mut self) -> bool {
        !self.rest().is_empty() || self.fill().expect("receive")
    }

    /// Whether something can be read already, or the connection has ended.
    pub(crate) fn has_bytes(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    ///
    /// # Panics
    /// If nothing comes within the bound, or the connection is reset.
    #[track_caller]
    pub(crate) fn recv(&mut self) -> Option<Frame> {
        self.try_recv().expect("receive")
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn try_recv(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((header, len)) = frame::Header::decode(self.rest()).expect("a frame's header")
                && self.rest().len() - len >= header.payload_len as usize
            {
                assert_eq!(header.mask, None, "a server does not mask");
                self.take(len);
                let payload = self.take(header.payload_len as usize);
                return Ok(Some(Frame { fin: header.fin, rsv: header.rsv, opcode: header.opcode, payload }));
            }
            if !self.fill()? {
                assert!(self.rest().is_empty(), "the connection ended inside a frame");
                return Ok(None);
            }
        }
    }

    /// The next frame if one comes within `patience`: for checks that nothing does.
    #[track_caller]
    pub(crate) fn recv_within(&mut self, patience: Duration) -> Option<Frame> {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let frame = match self.try_recv() {
            Ok(frame) => frame,
            Err(error) if is_timeout(&error) => None,
            Err(error) => panic!("receive: {error}"),
        };
        self.stream.set_read_timeout(Some(BOUND)).unwrap();
        frame
    }

    /// The next frame, which must be a whole message or control frame of this kind.
    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: Opcode) -> Vec<u8> {
        match self.recv() {
            Some(frame) if frame.opcode == opcode && frame.fin => frame.payload,
            Some(frame) => panic!("expected {opcode:?}, got {:?} {}", frame.opcode, frame.shown()),
            None => panic!("expected {opcode:?}, got the end of the connection"),
        }
    }

    /// The kind of the next frame, which must be one of these.
    #[track_caller]
    pub(crate) fn expect_one_of(&mut self, opcodes: &[Opcode]) -> Opcode {
        let frame = self.recv().expect("a frame");
        assert!(opcodes.contains(&frame.opcode), "{:?} {}", frame.opcode, frame.shown());
        frame.opcode
    }

    /// Reads the one message that is under way, a piece at a time.
    #[track_caller]
    pub(crate) fn read_slowly(&mut self, payload: usize, piece: usize, pause: Duration) {
        let mut header = Vec::new();
        frame::Header::new(Opcode::Binary, payload).encode(&mut header);
        let mut left = header.len() + payload;
        let mut buffer = vec![0; piece];
        while left > 0 {
            let most = left.min(piece);
            let count = self.stream.read(&mut buffer[..most]).expect("read");
            assert!(count > 0, "the connection ended with {left} bytes to come");
            left -= count;
            std::thread::sleep(pause);
        }
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        let payload = self.expect(Opcode::Text);
        assert_eq!(String::from_utf8_lossy(&payload), text);
    }

    /// The next text.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(self.expect(Opcode::Text)).unwrap()
    }

    /// The next frame must be a close with this code; its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let payload = self.expect(Opcode::Close);
        assert!(payload.len() >= 2, "a close frame without a code");
        let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
        assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), code, "{reason}");
        reason
    }

    /// The connection must end now, and in order.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        if let Some(frame) = self.recv() {
            panic!("expected the end, got {:?} {}", frame.opcode, frame.shown());
        }
    }

    /// The connection must end, in order or reset, whatever still comes.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        loop {
            match self.fill() {
                Ok(true) => self.input.clear(),
                Ok(false) => return,
                Err(error) if is_timeout(&error) => panic!("the connection is still there"),
                Err(_) => return,
            }
        }
    }

    /// The whole closing handshake, begun by us.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.send_close(1000, "");
        self.expect_close(1000);
        self.expect_end();
    }

    /// Sends nothing more, but still reads.
    pub(crate) fn end_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// All that still comes until the server ends the connection.
    #[track_caller]
    pub(crate) fn rest_of_connection(&mut self) -> String {
        while self.fill().expect("read to the end") {}
        let rest = self.rest().len();
        String::from_utf8(self.take(rest)).unwrap()
    }

    /// Drops the connection so that the server gets a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.at..]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        self.at += len;
        self.input[self.at - len..self.at].to_vec()
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.input.drain(..self.at);
        self.at = 0;
        let start = self.input.len();
        self.input.resize(start + 256 * 1024, 0);
        let read = self.stream.read(&mut self.input[start..]);
        self.input.truncate(start + *read.as_ref().unwrap_or(&0));
        read.map(|count| count > 0)
    }
}

impl Frame {
    /// For a failure's text.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.payload[..self.payload.len().min(150)]).into_owned()
    }

    /// The message that a compressed frame without context takeover holds.
    #[track_caller]
    pub(crate) fn inflated(&self, params: DeflateParams) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = frame::Header { rsv: self.rsv, ..frame::Header::new(self.opcode, 0) };
        frame::encode_with(header, &self.payload, &mut bytes);
        let mut receiver = Receiver::new(Role::Client, Some(params));
        let limits = Limits { max_message_bytes: 64 << 20, max_frame_bytes: 64 << 20, ..Limits::default() };
        match receiver.receive(&mut Input::new(&mut bytes), &limits) {
            Ok(Some(Event::Message(message))) => message.into_vec(),
            other => panic!("not a message: {other:?}"),
        }
    }
}

impl Response {
    /// The value of a header line.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body must be JSON with this error code.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.head);
        assert!(self.body.starts_with(&format!(r#"{{"error":{{"code":"{code}","message":""#)), "{}", self.body);
    }
}

/// A masked frame, as a client sends it.
pub(crate) fn frame_of(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(opcode, payload, Some(MASK), &mut bytes);
    bytes
}

/// A masked piece of a message.
pub(crate) fn piece_of(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_with(frame::Header { fin, mask: Some(MASK), ..frame::Header::new(opcode, 0) }, payload, &mut bytes);
    bytes
}

/// What our offer of permessage-deflate without parameters agrees on with the server's defaults.
pub(crate) fn deflate_of(response: &Response) -> DeflateParams {
    let agreed = response.header("sec-websocket-extensions").unwrap_or_default();
    assert!(agreed.contains("permessage-deflate"), "{}", response.head);
    DeflateParams {
        server_no_context_takeover: agreed.contains("server_no_context_takeover"),
        client_no_context_takeover: agreed.contains("client_no_context_takeover"),
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
