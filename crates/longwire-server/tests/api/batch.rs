//! Many commands in one request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{API, api, api_with, next_of, ok, refused, request, session};
use crate::support::{BOUND, Client, child, eventually, rss};

/// A batch whose body goes in pieces, and whose results are read as they come.
struct Batch {
    to: TcpStream,
    from: BufReader<TcpStream>,
    /// What came of a piece and was not taken yet.
    results: Vec<u8>,
}

impl Batch {
    #[track_caller]
    fn open(address: SocketAddr, target: &str) -> Self {
        let mut to = TcpStream::connect(address).unwrap();
        to.set_read_timeout(Some(BOUND)).unwrap();
        to.set_write_timeout(Some(BOUND)).unwrap();
        to.set_nodelay(true).unwrap();
        let head = format!(
            "POST {API}{target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        to.write_all(head.as_bytes()).unwrap();
        let from = BufReader::new(to.try_clone().unwrap());
        Self { to, from, results: Vec::new() }
    }

    #[track_caller]
    fn send(&mut self, lines: &str) {
        send(&mut self.to, lines.as_bytes());
    }

    #[track_caller]
    fn end(&mut self) {
        self.to.write_all(b"0\r\n\r\n").unwrap();
    }

    /// Reads the head, which must be that of an answer that goes well.
    #[track_caller]
    fn head(&mut self) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            lines.push(line.to_ascii_lowercase());
        }
        assert!(lines[0].contains("200"), "{lines:?}");
        assert!(lines.iter().any(|line| line == "content-type: application/x-ndjson\r\n"), "{lines:?}");
    }

    /// The next result; `None` at the end.
    #[track_caller]
    fn result(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.results.iter().position(|byte| *byte == b'\n') {
                let rest = self.results.split_off(end + 1);
                let line = std::mem::replace(&mut self.results, rest);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let mut size = String::new();
            self.from.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut piece = vec![0; size + 2];
            self.from.read_exact(&mut piece).unwrap();
            if size == 0 {
                assert!(self.results.is_empty());
                return None;
            }
            self.results.extend_from_slice(&piece[..size]);
        }
    }
}

fn send(to: &mut TcpStream, bytes: &[u8]) {
    to.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).unwrap();
    to.write_all(bytes).unwrap();
    to.write_all(b"\r\n").unwrap();
}

fn line(n: usize) -> String {
    format!("{{\"type\":\"publish\",\"id\":{},\"channel\":\"chat:c{}\",\"data\":{n}}}\n", n + 1, n % 4)
}

#[test]
fn each_line_has_its_result_as_it_comes() {
    let server = api(2);
    let (mut ada, id) = session(&server, &["chat:lobby"]);
    let mut batch = Batch::open(server.address, "/batch");
    // Half a line is no line.
    batch.send("{\"type\":\"publish\",\"channel\":\"chat:lobby\",");
    batch.send("\"data\":1}\n\n  \r\n");
    batch.head();
    assert_eq!(batch.result().unwrap()["offset"], 1);
    assert_eq!(next_of(&mut ada, "publication")["data"], 1);
    let lines: [(&str, &str); 9] = [
        (r#"{"type":"history","channel":"chat:lobby","id":7}"#, "history"),
        ("nonsense", "error"),
        (r#"{"type":"dance"}"#, "error"),
        (r#"{"type":"publish","channel":"nowhere:1","id":8}"#, "error"),
        (r#"{"type":"publish","channel":"chat:lobby","colour":1,"id":9}"#, "error"),
        (r#"{"type":"publish_many","channels":["chat:lobby","chat:b"],"data":2}"#, "published_many"),
        (&format!(r#"{{"type":"disconnect","session":"{id}"}}"#), "disconnected"),
        (r#"{"type":"presence","channel":"chat:lobby"}"#, "presence"),
        (r#"{"type":"sessions"}"#, "sessions"),
    ];
    batch.send(&lines.iter().map(|(line, _)| format!("{line}\n")).collect::<String>());
    for (line, kind) in lines {
        let result = batch.result().unwrap();
        let got = result["type"].as_str().unwrap_or("error");
        assert_eq!(got, kind, "{line}: {result}");
        let sent: Value = serde_json::from_str(line).unwrap_or_default();
        assert_eq!(result["id"], sent["id"], "{result}");
        if kind == "presence" {
            assert_eq!(result["sessions"], 0, "what stands before it is done");
        }
    }
    // The last line may lack its end.
    batch.send(r#"{"type":"channels"}"#);
    batch.end();
    assert_eq!(batch.result().unwrap()["type"], "channels");
    assert_eq!(batch.result(), None);
}

#[test]
fn failures_alone_can_be_asked_for() {
    let server = api(1);
    let mut batch = Batch::open(server.address, "/batch?results=errors");
    batch.send(&(0..50).map(line).collect::<String>());
    batch.send("{\"type\":\"publish\",\"id\":99,\"channel\":\"nowhere:1\"}\n");
    batch.end();
    batch.head();
    assert_eq!(batch.result().unwrap()["id"], 99);
    let done = batch.result().unwrap();
    assert_eq!((&done["type"], &done["commands"], &done["failed"]), (&"done".into(), &51.into(), &1.into()));
    assert_eq!(batch.result(), None);
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let response = super::respond(server.address, &request("POST", "/batch?results=some", ndjson, ""));
    super::expect_error(response.status, &serde_json::from_str(&response.body).unwrap(), 400, "bad_value");
    refused(&server, "GET", "/batch", "", 405, "method_not_allowed");
}

#[test]
fn a_line_that_is_too_long_costs_only_itself() {
    let server = api_with(1, |builder| builder.configure(|config| config.limits.max_message_bytes = 1000));
    let mut batch = Batch::open(server.address, "/batch");
    let long = format!("{{\"type\":\"publish\",\"channel\":\"chat:a\",\"data\":\"{}\"}}\n", "x".repeat(500_000));
    batch.send(&line(0));
    batch.send(&long[..1200]);
    batch.send(&long[1200..]);
    batch.send(&format!("{}\n{}", "y".repeat(1001), line(1)));
    batch.end();
    batch.head();
    assert_eq!(batch.result().unwrap()["id"], 1);
    for _ in 0..2 {
        assert_eq!(batch.result().unwrap()["error"]["name"], "too_large");
    }
    assert_eq!(batch.result().unwrap()["id"], 2);
    assert_eq!(batch.result(), None);
}

/// Every result, in the order of the lines, and each channel in the order of its publications.
#[test]
fn a_hundred_thousand_lines_in_one_request() {
    let lines = 100_000;
    let server = api(2);
    let mut batch = Batch::open(server.address, "/batch");
    let mut to = batch.to.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for piece in (0..lines).collect::<Vec<_>>().chunks(500) {
            send(&mut to, piece.iter().map(|n| line(*n)).collect::<String>().as_bytes());
        }
        to.write_all(b"0\r\n\r\n").unwrap();
    });
    batch.head();
    for n in 0..lines {
        let result = batch.result().unwrap();
        assert_eq!((&result["id"], &result["offset"]), (&(n + 1).into(), &(n / 4 + 1).into()), "{result}");
    }
    assert_eq!(batch.result(), None);
    sender.join().unwrap();
    assert_eq!(ok(&server, "GET", "/history?channel=chat:c3&limit=1", "")["publications"][0]["data"], lines - 1);
}

/// Whoever does not read results is not read; memory stays where it was, and nothing is lost once it reads on.
#[test]
fn a_slow_reader_of_results_slows_itself_and_nobody_else() {
    child("api::batch::a_slow_reader_of_results_slows_itself_and_nobody_else", || {
        let server = api(1);
        let mut batch = Batch::open(server.address, "/batch");
        let piece: String = (0..1000).map(line).collect();
        batch.to.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let framed = format!("{:x}\r\n{piece}\r\n", piece.len());
        let before = rss();
        // Until nothing more is taken. Not all of the last piece goes.
        let (mut sent, mut partial) = (0usize, 0);
        'stuck: while sent < 2000 {
            let mut at = 0;
            while at < framed.len() {
                match batch.to.write(&framed.as_bytes()[at..]) {
                    Ok(n) => at += n,
                    Err(_) => {
                        partial = at;
                        break 'stuck;
                    }
                }
            }
            sent += 1;
        }
        assert!(sent < 2000, "a client that reads nothing was read to the end");
        let grown = rss().saturating_sub(before);
        assert!(grown < 48 << 20, "{grown} bytes for a batch that nobody reads, after {sent} pieces");
        // Others are served meanwhile.
        ok(&server, "POST", "/publish", r#"{"channel":"chat:other","data":1}"#);
        batch.to.set_write_timeout(Some(BOUND)).unwrap();
        let mut to = batch.to.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            to.write_all(&framed.as_bytes()[partial..]).unwrap();
            to.write_all(b"0\r\n\r\n").unwrap();
        });
        batch.head();
        for n in 0..(sent + 1) * 1000 {
            assert_eq!(batch.result().unwrap()["id"], n % 1000 + 1);
        }
        assert_eq!(batch.result(), None);
        sender.join().unwrap();
    });
}

#[test]
fn a_client_that_goes_away_takes_its_batch_with_it() {
    let server = api(2);
    for half in [r#"{"type":"publish","channel":"chat:gone","da"#, ""] {
        let mut batch = Batch::open(server.address, "/batch");
        batch.send(&(0..2000).map(line).collect::<String>());
        batch.send(half.get(..).filter(|half| !half.is_empty()).unwrap_or("\n"));
        batch.head();
        batch.result().unwrap();
        if half.is_empty() {
            batch.to.shutdown(Shutdown::Both).unwrap();
        }
        drop(batch);
        server.expect_empty();
    }
    // Half a line was never carried out.
    let channels = ok(&server, "GET", "/channels?prefix=chat:gone", "");
    assert_eq!(channels["channels"].as_array().unwrap().len(), 0);
}

#[test]
fn an_idle_batch_does_not_hold_up_a_shutdown() {
    let server = api(1);
    let mut batch = Batch::open(server.address, "/batch");
    batch.send(&line(0));
    batch.head();
    batch.result().unwrap();
    server.shutdown();
    server.join();
    let mut rest = Vec::new();
    let _ = batch.from.read_to_end(&mut rest);
    assert!(rest.is_empty() || !rest.ends_with(b"0\r\n\r\n"), "the end of the results was not one");
}

/// Publications of a batch wait while subscribers are told, and are not refused.
#[test]
fn a_batch_waits_where_publishing_would_be_refused() {
    let server = api_with(2, |builder| builder.configure(|config| config.in_flight_bytes = 20_000));
    let mut subscribers: Vec<Client> = (0..20).map(|_| session(&server, &["live:x"]).0).collect();
    let readers: Vec<_> = subscribers
        .drain(..)
        .map(|mut client| {
            std::thread::spawn(move || {
                for n in 0..5000 {
                    assert_eq!(next_of(&mut client, "publication")["data"], n);
                }
            })
        })
        .collect();
    let mut batch = Batch::open(server.address, "/batch?results=errors");
    batch.send(
        &(0..5000).map(|n| format!("{{\"type\":\"publish\",\"channel\":\"live:x\",\"data\":{n}}}\n")).collect::<String>(),
    );
    batch.end();
    batch.head();
    let done = batch.result().unwrap();
    assert_eq!((&done["commands"], &done["failed"]), (&5000.into(), &0.into()), "{done}");
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    eventually("the connections are gone or idle", || server.node().connections() <= 21);
}
