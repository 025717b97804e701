//! A server for the tests, of WebSockets, event streams and Socket.IO: a thread per line, and a few ways to go wrong on purpose.

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
    channels: Mutex<HashMap<String, Vec<Subscriber>>>,
    pongs: AtomicU64,
    closes: AtomicU64,
}

/// Who gets what is published to a channel.
#[derive(Clone)]
struct Subscriber {
    writer: Arc<Mutex<TcpStream>>,
    words: Words,
}

/// In which words.
#[derive(Clone, Copy)]
enum Words {
    Frames,
    Events {
        chunked: bool,
    },
    /// Of Socket.IO, with an offset behind each message or without.
    Packets {
        offsets: bool,
    },
}

impl Shared {
    fn subscribe(&self, channel: &str, writer: &Arc<Mutex<TcpStream>>, words: Words) {
        let subscriber = Subscriber { writer: writer.clone(), words };
        self.channels.lock().unwrap().entry(channel.to_owned()).or_default().push(subscriber);
    }

    fn publish(&self, channel: &str, opcode: Opcode, payload: &[u8]) {
        let subscribers = self.channels.lock().unwrap().get(channel).cloned().unwrap_or_default();
        for Subscriber { writer, words } in subscribers {
            let text = || std::str::from_utf8(payload).expect("text");
            // A closed subscriber is none of the publisher's business.
            let _ = match words {
                Words::Frames => send(&writer, opcode, payload),
                Words::Events { chunked } => event(&writer, chunked, &format!("id: 17\ndata: {}\n\n", text())),
                Words::Packets { offsets } => {
                    let offset = if offsets { ",\"NQX4Z1K\"" } else { "" };
                    send(&writer, Opcode::Text, format!("42[\"m\",{}{offset}]", serde_json::json!(text())).as_bytes())
                }
            };
        }
    }
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
    let head = read_head(&mut stream, &mut input)?;
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    match path.as_str() {
        "/hang" => loop {
            more(&mut stream, &mut input)?;
        },
        "/hello" => return stream.write_all(b"SSH-2.0-no-web-server\r\n\r\n"),
        path if path.starts_with("/events/") => return stream_events(stream, &head, path, shared),
        path if !["/echo", "/sub/", "/pub/", "/socket.io/"].iter().any(|known| path.starts_with(known)) => {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nnothing here\n");
        }
        _ => {}
    }
    let mut answer = upgrade(&head);
    // In the same segment as the answer, where a careless client would lose it.
    frame::encode(Opcode::Ping, b"there?", None, &mut answer);
    stream.write_all(&answer)?;

    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    if let Some(name) = path.strip_prefix("/sub/") {
        shared.subscribe(name, &writer, Words::Frames);
    }
    if path.starts_with("/socket.io/") {
        let open = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        send(&writer, Opcode::Text, open.as_bytes())?;
    }
    let mut count = 0;
    loop {
        let (opcode, mut payload) = read_frame(&mut stream, &mut input)?;
        match opcode {
            Opcode::Pong => {
                assert_eq!(payload, b"there?");
                shared.pongs.fetch_add(1, Ordering::SeqCst);
            }
            Opcode::Close => {
                shared.closes.fetch_add(1, Ordering::SeqCst);
                send(&writer, Opcode::Close, &payload)?;
                // The channel still holds the line; the client waits for its end.
                return stream.shutdown(Shutdown::Both);
            }
            opcode => {
                count += 1;
                message(&path, count, opcode, &mut payload, &writer, shared)?;
            }
        }
    }
}

/// Reads the head of a request. What follows it stays in `input`.
pub(crate) fn read_head(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = input.drain(..end + 4).collect();
            return Ok(String::from_utf8(head).expect("a head in ASCII"));
        }
        more(stream, input)?;
    }
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The answer that makes a WebSocket of the request.
pub(crate) fn upgrade(head: &str) -> Vec<u8> {
    let accept = accept_key(header(head, "Sec-WebSocket-Key").expect("a key").as_bytes());
    let subprotocol = header(head, "Sec-WebSocket-Protocol").map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{}\r\n",
        subprotocol.unwrap_or_default()
    )
    .into_bytes()
}

/// Reads a frame, and unmasks it.
pub(crate) fn read_frame(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<(Opcode, Vec<u8>)> {
    loop {
        if let Some((header, at)) = Header::decode(input).expect("a proper frame") {
            let end = at + header.payload_len as usize;
            if input.len() >= end {
                let mut payload = input[at..end].to_vec();
                input.drain(..end);
                mask::apply(&mut payload, header.mask.expect("client frames are masked"), 0);
                return Ok((header.opcode, payload));
            }
        }
        more(stream, input)?;
    }
}

fn message(
    path: &str,
    count: u32,
    opcode: Opcode,
    payload: &mut [u8],
    writer: &Arc<Mutex<TcpStream>>,
    shared: &Shared,
) -> io::Result<()> {
    if let Some(name) = path.strip_prefix("/pub/") {
        shared.publish(name, opcode, payload);
        return Ok(());
    }
    if path.starts_with("/socket.io/") {
        return packet(path, std::str::from_utf8(payload).expect("text"), writer, shared);
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

/// What a client of Socket.IO says.
fn packet(path: &str, packet: &str, writer: &Arc<Mutex<TcpStream>>, shared: &Shared) -> io::Result<()> {
    assert!(path.ends_with("EIO=4&transport=websocket"), "{path}");
    let say = |packet: &str| send(writer, Opcode::Text, packet.as_bytes());
    match packet {
        "40" if path.contains("refuse") => say(r#"44{"message":"not you"}"#),
        // The heartbeat, and an event of the server's own, right behind the answer.
        "40" => say(r#"40{"sid":"b"}"#).and_then(|()| say("2")).and_then(|()| say(r#"42["auth",{}]"#)),
        "3" => {
            shared.pongs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        event => {
            let words: Vec<String> = serde_json::from_str(event.strip_prefix("42").expect("an event")).expect("an array");
            match &words[..] {
                [join, room] if join == "join" => {
                    shared.subscribe(&format!("room {room}"), writer, Words::Packets { offsets: path.contains("offsets") });
                }
                [publish, room, text] if publish == "pub" => {
                    shared.publish(&format!("room {room}"), Opcode::Text, text.as_bytes());
                }
                _ => panic!("what is {event}"),
            }
            Ok(())
        }
    }
}

fn stream_events(mut stream: TcpStream, head: &str, path: &str, shared: &Shared) -> io::Result<()> {
    assert!(head.contains("Accept: text/event-stream\r\n"), "{head}");
    let chunked = !path.contains("plain");
    let coding = if chunked { "Transfer-Encoding: chunked\r\n" } else { "Connection: close\r\n" };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{coding}\r\n")?;
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    event(&writer, chunked, "retry: 1000\n\n: hello\n\n")?;
    shared.subscribe(path.trim_start_matches("/events/").trim_end_matches("?plain"), &writer, Words::Events { chunked });
    // Nothing comes from the client but its end.
    more(&mut stream, &mut Vec::new())
}

fn event(writer: &Mutex<TcpStream>, chunked: bool, text: &str) -> io::Result<()> {
    let framed = if chunked { format!("{:x}\r\n{text}\r\n", text.len()) } else { text.to_owned() };
    writer.lock().unwrap().write_all(framed.as_bytes())
}

pub(crate) fn send(writer: &Mutex<TcpStream>, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
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
