//! A server of one channel for `transports`: the native protocol to publish, polls and Socket.IO to receive, a thread per line.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use longwire_ws::Opcode;
use serde_json::{Value, json};

use super::server::{header, read_frame, read_head, send, upgrade};

const CHANNEL: &str = "past:x";

/// The channel's publications.
#[derive(Default)]
struct Log {
    publications: Mutex<Vec<Value>>,
    changed: Condvar,
}

impl Log {
    fn publish(&self, data: &Value) -> usize {
        let mut publications = self.publications.lock().unwrap();
        let offset = publications.len() + 1;
        publications.push(json!({"type": "publication", "channel": CHANNEL, "offset": offset, "data": data}));
        self.changed.notify_all();
        offset
    }

    /// What follows a position, as soon as there is something, or after a while nothing.
    fn after(&self, offset: usize, wait: Duration) -> Vec<Value> {
        let publications = self.publications.lock().unwrap();
        let (publications, _) = self.changed.wait_timeout_while(publications, wait, |all| all.len() <= offset).unwrap();
        publications[offset.min(publications.len())..].to_vec()
    }

    fn len(&self) -> usize {
        self.publications.lock().unwrap().len()
    }
}

pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let log = Arc::<Log>::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = log.clone();
            // A line that ends with an error has ended.
            std::thread::spawn(move || drop(serve(stream, &log)));
        }
    });
    address
}

fn serve(mut stream: TcpStream, log: &Arc<Log>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        let head = read_head(&mut stream, &mut input)?;
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        if header(&head, "Upgrade").is_some() && ["/v1/ws", "/socket.io/"].iter().any(|known| path.starts_with(known)) {
            stream.write_all(&upgrade(&head))?;
            return line(stream, input, &path, log);
        }
        let answer =
            if path.starts_with("/v1/poll?") { poll(&path, &head, log) } else { response("404 Not Found", "", "no such path") };
        stream.write_all(answer.as_bytes())?;
    }
}

fn response(status: &str, etag: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{etag}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn poll(path: &str, head: &str, log: &Log) -> String {
    let value = |name: &str| path.split(['?', '&']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(value("channel"), Some(CHANNEL));
    let wait: u64 = value("wait").expect("how long").parse().expect("seconds");
    let since = value("since").map(|since| since.strip_prefix("5d1c80a2:").expect("our epoch").parse().expect("an offset"));
    // Without a position it is told the present.
    let offset = since.unwrap_or_else(|| log.len());
    let publications = since.map(|since| log.after(since, Duration::from_secs(wait))).unwrap_or_default();
    let position = format!("5d1c80a2:{}", offset + publications.len());
    let etag = format!("ETag: \"{position}\"\r\n");
    if since.is_some() && publications.is_empty() {
        assert_eq!(header(head, "If-None-Match"), Some(&*format!("\"{position}\"")));
        return response("304 Not Modified", &etag, "");
    }
    response("200 OK", &etag, &json!({"since": position, "messages": publications}).to_string())
}

fn line(mut stream: TcpStream, mut input: Vec<u8>, path: &str, log: &Arc<Log>) -> io::Result<()> {
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    let say = |text: String| send(&writer, Opcode::Text, text.as_bytes());
    let socket_io = path.starts_with("/socket.io/");
    if socket_io {
        say(r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#.to_owned())?;
    }
    loop {
        let (opcode, payload) = read_frame(&mut stream, &mut input)?;
        if opcode == Opcode::Close {
            send(&writer, Opcode::Close, &payload)?;
            // Whoever forwards still holds the line; the client waits for its end.
            return stream.shutdown(Shutdown::Both);
        }
        let text = String::from_utf8(payload).expect("text");
        if !socket_io {
            for command in text.lines() {
                say(command_answer(&serde_json::from_str(command).expect("a command"), log).to_string())?;
            }
        } else if text == "40" {
            say(r#"40{"sid":"b"}"#.to_owned())?;
        } else {
            assert_eq!(text, format!("420[\"subscribe\",\"{CHANNEL}\"]"));
            if path.contains("refuses-late") {
                say(r#"42["refused",{"type":"error","code":103,"name":"forbidden"}]"#.to_owned())?;
                continue;
            }
            if path.contains("refuses") {
                say(r#"430[{"error":{"code":103,"name":"forbidden"}}]"#.to_owned())?;
                continue;
            }
            say(r#"430[{"epoch":"5d1c80a2","offset":0}]"#.to_owned())?;
            let (from, loses) = (log.len(), path.contains("loses"));
            let (log, writer) = (log.clone(), writer.clone());
            std::thread::spawn(move || forward(&log, from, loses, &writer));
        }
    }
}

fn command_answer(command: &Value, log: &Log) -> Value {
    let id = &command["id"];
    match command["type"].as_str() {
        Some("connect") => {
            json!({"type": "connected", "id": id, "session": "AAAuvF6lCqrIiCIh", "key": "k", "resumed": false, "ping": 25, "keep": 30, "max": 65536})
        }
        Some("publish") => {
            let offset = log.publish(&command["data"]);
            json!({"type": "published", "id": id, "channel": CHANNEL, "epoch": "5d1c80a2", "offset": offset})
        }
        _ => panic!("what is {command}"),
    }
}

/// Emits each publication, for a while; loses the third if it is told to.
fn forward(log: &Log, from: usize, loses: bool, writer: &Mutex<TcpStream>) -> io::Result<()> {
    let (began, mut offset) = (Instant::now(), from);
    while began.elapsed() < Duration::from_secs(60) {
        for publication in log.after(offset, Duration::from_millis(100)) {
            offset += 1;
            if !loses || offset != from + 3 {
                send(writer, Opcode::Text, format!("42[\"publication\",{publication}]").as_bytes())?;
            }
        }
    }
    Ok(())
}
