//! A WebSocket server for the tests: a thread per line, and a few ways to go wrong on purpose.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use longwire_ws::frame::{self, Header};
use longwire_ws::handshake::accept_key;
use longwire_ws::{Opcode, mask};

/// What all lines share.
#[derive(Default)]
struct Shared {
    channels: Mutex<HashMap<String, Vec<Arc<Mutex<TcpStream>>>>>,
    pongs: AtomicU64,
    closes: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl TestServer {
    pub(crate) fn start() -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = TestServer { address: listener.local_addr().expect("an address"), shared: Arc::default() };
        let shared = server.shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A line that ends with an error has ended.
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        server
    }

    /// Pongs received on all lines.
    pub(crate) fn pongs(&self) -> u64 {
        self.shared.pongs.load(Ordering::SeqCst)
    }

    /// Close frames received on all lines.
    pub(crate) fn closes(&self) -> u64 {
        self.shared.closes.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    let head = loop {
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = input.drain(..end + 4).collect();
            break String::from_utf8(head).expect("a head in ASCII");
        }
        more(&mut stream, &mut input)?;
    };
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match path.as_str() {
        "/hang" => loop {
            more(&mut stream, &mut input)?;
        },
        "/hello" => return stream.write_all(b"SSH-2.0-no-web-server\r\n\r\n"),
        path if !path.starts_with("/echo") && !path.starts_with("/sub/") && !path.starts_with("/pub/") => {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nnothing here\n");
        }
        _ => {}
    }
    let accept = accept_key(header("Sec-WebSocket-Key:").expect("a key").as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    // In the same segment as the answer, where a careless client would lose it.
    frame::encode(Opcode::Ping, b"there?", None, &mut answer);
    stream.write_all(&answer)?;

    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    if let Some(name) = path.strip_prefix("/sub/") {
        shared.channels.lock().unwrap().entry(name.to_owned()).or_default().push(writer.clone());
    }
    let mut count = 0;
    loop {
        let Some((header, at)) = Header::decode(&input).expect("a proper frame") else {
            more(&mut stream, &mut input)?;
            continue;
        };
        let end = at + header.payload_len as usize;
        if input.len() < end {
            more(&mut stream, &mut input)?;
            continue;
        }
        let mut bytes: Vec<u8> = input.drain(..end).collect();
        let payload = &mut bytes[at..];
        mask::apply(payload, header.mask.expect("client frames are masked"), 0);
        match header.opcode {
            Opcode::Pong => {
                assert_eq!(payload, b"there?");
                shared.pongs.fetch_add(1, Ordering::SeqCst);
            }
            Opcode::Close => {
                shared.closes.fetch_add(1, Ordering::SeqCst);
                send(&writer, Opcode::Close, payload)?;
                // The channel still holds the line; the client waits for its end.
                return stream.shutdown(Shutdown::Both);
            }
            opcode => {
                count += 1;
                message(&path, count, opcode, payload, &writer, shared)?;
            }
        }
    }
}

fn message(
    path: &str,
    count: u32,
    opcode: Opcode,
    payload: &mut [u8],
    writer: &Mutex<TcpStream>,
    shared: &Shared,
) -> io::Result<()> {
    if let Some(name) = path.strip_prefix("/pub/") {
        let lines = shared.channels.lock().unwrap().get(name).cloned().unwrap_or_default();
        // A closed subscriber is none of the publisher's business.
        return lines.iter().try_for_each(|line| send(line, opcode, payload).or(Ok(())));
    }
    match path {
        "/echo-loss" if count == 7 => Ok(()),
        "/echo-twice" if count == 7 => send(writer, opcode, payload).and_then(|()| send(writer, opcode, payload)),
        "/echo-damage" if count == 7 => {
            payload[17] ^= 1;
            send(writer, opcode, payload)
        }
        "/echo-close" if count == 7 => {
            send(writer, Opcode::Close, &[0x03, 0xf5])?; // 1013
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        "/echo-mute" if count >= 7 => Ok(()),
        "/echo-fragments" => {
            let (head, tail) = payload.split_at(payload.len() / 2);
            let first = Header { fin: false, ..Header::new(opcode, 0) };
            let mut out = Vec::new();
            frame::encode_with(first, head, &mut out);
            frame::encode(Opcode::Ping, b"there?", None, &mut out);
            frame::encode(Opcode::Continuation, tail, None, &mut out);
            writer.lock().unwrap().write_all(&out)
        }
        _ => send(writer, opcode, payload),
    }
}

fn send(writer: &Mutex<TcpStream>, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    let mut out = Vec::new();
    frame::encode(opcode, payload, None, &mut out);
    writer.lock().unwrap().write_all(&out)
}

fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            input.extend_from_slice(&chunk[..count]);
            Ok(())
        }
    }
}
