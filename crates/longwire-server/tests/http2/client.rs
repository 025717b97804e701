//! A client of HTTP/2, and lines over its streams.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode, Uri};
use longwire_ws::{Opcode, frame};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{BOUND, frame_of};

/// A connection of HTTP/2 with prior knowledge.
pub(super) struct Http2 {
    pub(super) requests: SendRequest<Bytes>,
    /// Moves the bytes; gives what ended the connection.
    pub(super) driver: JoinHandle<Result<(), h2::Error>>,
    address: SocketAddr,
}

/// Waits until `condition` holds; the client goes on meanwhile.
pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The code of a JSON error.
pub(super) fn code_of(body: &str) -> String {
    let error: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("not an error: {body}"));
    error["error"]["code"].as_str().unwrap_or_default().to_owned()
}

impl Http2 {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        let (requests, connection) = h2::client::Builder::new()
            // One stream that is not read leaves room for the others.
            .initial_window_size(64 << 10)
            .initial_connection_window_size(16 << 20)
            .handshake(stream)
            .await
            .expect("handshake");
        let driver = tokio::spawn(connection);
        let mut requests = requests.ready().await.expect("ready");
        // The settings have come with the first answer; only then extended CONNECT may be used (RFC 8441, 3).
        let first = requests.send_request(Request::get(format!("http://{address}/none")).body(()).unwrap(), true);
        first.expect("sent").0.await.expect("an answer");
        assert!(requests.is_extended_connect_protocol_enabled());
        Self { requests, driver, address }
    }

    pub(super) fn uri(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    /// Sends a request, whose body may follow.
    pub(super) async fn begin(&mut self, request: Request<()>, is_all: bool) -> (ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.expect("room for a stream");
        self.requests.send_request(request, is_all).expect("sent")
    }

    /// A request without a body, and the whole answer.
    pub(super) async fn answer(&mut self, request: Request<()>) -> (Response<()>, String) {
        let (response, _) = self.begin(request, true).await;
        whole(response.await.expect("an answer")).await
    }

    pub(super) async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let request = Request::get(self.uri(path)).body(()).unwrap();
        let (response, body) = self.answer(request).await;
        (response.status(), body)
    }

    /// A request to open a line, with these headers besides the version.
    pub(super) fn handshake(&self, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(Method::CONNECT).uri(self.uri(path)).header("sec-websocket-version", "13");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.extension(Protocol::from_static("websocket")).body(()).unwrap()
    }

    /// What is answered to a handshake that opens no line.
    pub(super) async fn refused(&mut self, request: Request<()>) -> (Response<()>, String) {
        let (response, _) = self.begin(request, false).await;
        let response = response.await.expect("an answer");
        assert!(!response.status().is_success(), "{response:?}");
        whole(response).await
    }

    pub(super) async fn open(&mut self, path: &str) -> Line {
        self.open_with(path, &[]).await.0
    }

    pub(super) async fn open_with(&mut self, path: &str, headers: &[(&str, &str)]) -> (Line, Response<()>) {
        let request = self.handshake(path, headers);
        let (response, to) = self.begin(request, false).await;
        let (head, from) = response.await.expect("an answer").into_parts();
        assert_eq!(head.status, StatusCode::OK);
        (Line { to, from, input: Vec::new() }, Response::from_parts(head, ()))
    }
}

async fn whole(response: Response<RecvStream>) -> (Response<()>, String) {
    let (head, mut from) = response.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = next_bytes(&mut from).await.expect("a body") {
        body.extend_from_slice(&bytes);
    }
    (Response::from_parts(head, ()), String::from_utf8(body).unwrap())
}

/// What comes next on a stream; `None` at its end.
pub(super) async fn next_bytes(from: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let bytes = from.data().await.transpose()?;
    if let Some(bytes) = &bytes {
        from.flow_control().release_capacity(bytes.len()).expect("capacity");
    }
    Ok(bytes)
}

/// Sends bytes when there is room for them.
pub(super) async fn send_bytes(to: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        to.reserve_capacity(bytes.len());
        let room = match to.capacity() {
            0 => poll_fn(|cx| to.poll_capacity(cx)).await.expect("a stream").expect("capacity"),
            room => room,
        };
        to.send_data(bytes.split_to(room.min(bytes.len())), false).expect("send");
    }
}

/// A WebSocket over a stream.
pub(super) struct Line {
    pub(super) to: SendStream<Bytes>,
    pub(super) from: RecvStream,
    input: Vec<u8>,
}

impl Line {
    pub(super) async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        send_bytes(&mut self.to, frame_of(opcode, payload).into()).await;
    }

    pub(super) async fn send_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes()).await;
    }

    pub(super) async fn try_recv(&mut self) -> Result<Option<(Opcode, Vec<u8>)>, h2::Error> {
        loop {
            if let Some((header, len)) = frame::Header::decode(&self.input).expect("a frame's header")
                && self.input.len() - len >= header.payload_len as usize
            {
                assert!(header.mask.is_none() && header.fin);
                let end = len + header.payload_len as usize;
                let payload = self.input[len..end].to_vec();
                self.input.drain(..end);
                return Ok(Some((header.opcode, payload)));
            }
            match next_bytes(&mut self.from).await? {
                Some(bytes) => self.input.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next frame; `None` at the end of the stream.
    pub(super) async fn recv(&mut self) -> Option<(Opcode, Vec<u8>)> {
        self.try_recv().await.expect("receive")
    }

    pub(super) async fn expect_text(&mut self, text: &str) {
        let (opcode, payload) = self.recv().await.expect("a frame");
        assert_eq!((opcode, String::from_utf8_lossy(&payload).as_ref()), (Opcode::Text, text));
    }

    /// The next frame is a close with this code.
    pub(super) async fn expect_close(&mut self, code: u16) {
        let (opcode, payload) = self.recv().await.expect("a frame");
        assert_eq!((opcode, &payload[..2]), (Opcode::Close, &code.to_be_bytes()[..]));
    }

    /// The whole closing handshake, begun by us.
    pub(super) async fn close(mut self) {
        self.send(Opcode::Close, &1000_u16.to_be_bytes()).await;
        self.expect_close(1000).await;
        assert_eq!(self.recv().await, None);
        self.to.send_data(Bytes::new(), true).expect("our end");
    }

    pub(super) fn reset(mut self) {
        self.to.send_reset(Reason::CANCEL);
    }
}
