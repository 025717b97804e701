//! Programs that the README shows, run as they stand there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longwire_client::{End, WebSocket};

use crate::command::PATIENCE;

/// Where the program listens; set for the process that is it.
const LISTEN: &str = "LISTEN";

/// The README's, but for the address, which is from the environment: see `build.rs`.
mod axum_program {
    include!(concat!(env!("OUT_DIR"), "/readme_axum.rs"));

    pub(super) fn run() {
        main().expect("the program ends well");
    }
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This very test as a process of its own, which is the program then.
fn start(name: &str, address: SocketAddr) -> Program {
    let program = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(LISTEN, address.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Program(program)
}

/// With a line, an event stream and an idle connection open: axum by itself would wait for the second one for ever.
#[test]
fn the_axum_program_closes_its_lines_and_ends_at_sigterm() {
    if std::env::var_os(LISTEN).is_some() {
        return axum_program::run();
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut program = start("readme::the_axum_program_closes_its_lines_and_ends_at_sigterm", address);
    let mut page = TcpStream::connect(address).unwrap();
    write!(page, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut events = TcpStream::connect(address).unwrap();
    write!(events, "GET /v1/events?channel=news HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let mut events = BufReader::new(events);
    let mut head = String::new();
    events.read_line(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = runtime.block_on(async {
        let mut line = WebSocket::connect(&format!("ws://{address}/ws")).await.unwrap();
        line.send("hello").await.unwrap();
        assert_eq!(line.recv().await.unwrap().as_text(), Some("hello"));
        let sent = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
        while line.recv().await.is_some() {}
        line.end()
    });
    let Some(End::Closed(Some(frame))) = end else { panic!("closed without a code: {end:?}") };
    assert_eq!(frame.code.value(), 1001);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the event stream ends as it should");
    let start = Instant::now();
    let status = loop {
        match program.0.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => panic!("the program does not end"),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(status.success(), "{status}");
}
