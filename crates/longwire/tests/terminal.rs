//! `longwire publish` and `longwire subscribe`, as people use them in pipes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn longwire() -> Command {
    Command::new(env!("CARGO_BIN_EXE_longwire"))
}

/// A process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory for one test; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("longwire-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that keeps its channels, ready to be spoken to.
fn serve(address: &str, data: &Path) -> Process {
    let mut process = longwire().args(["--listen", address, "--data-dir"]).arg(data).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.next().expect("a greeting").unwrap().contains("listening"));
    std::thread::spawn(move || lines.for_each(drop));
    Process(process)
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[track_caller]
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn publish(address: &str, numbers: std::ops::Range<u32>) {
    let mut process = longwire()
        .args(["publish", "chat:numbers", "--url", &format!("ws://{address}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    for number in numbers {
        writeln!(input, "{number}").unwrap();
    }
    drop(input);
    assert!(process.wait().unwrap().success());
}

/// The server is killed and started again between the publications; the file has each, once, in order.
#[test]
fn a_file_that_is_subscribed_into_is_whole_across_restarts_of_the_server() {
    let folder = Folder::new("subscribe");
    let (data, file) = (folder.0.join("data"), folder.0.join("numbers.txt"));
    let address = free_address();
    let mut server = serve(&address, &data);
    let subscriber = longwire()
        .args(["subscribe", "chat:numbers", "--last", "1000", "--url", &format!("ws://{address}")])
        .stdout(File::create(&file).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _subscriber = Process(subscriber);
    let mut end = 0;
    for round in 1..=4 {
        publish(&address, end..round * 50);
        end = round * 50;
        if round == 2 {
            // At least something came before the end of the first server.
            eventually("the first numbers", || std::fs::read_to_string(&file).unwrap().lines().count() > 0);
        }
        // With -9: nothing is said to anyone.
        drop(server);
        server = serve(&address, &data);
    }
    eventually("all numbers", || std::fs::read_to_string(&file).unwrap().lines().count() >= end as usize);
    let got: Vec<u32> = std::fs::read_to_string(&file).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(got, (0..end).collect::<Vec<_>>());
}

#[test]
fn a_mistake_is_one_line() {
    for (arguments, word) in [
        (&["publish", "chat:x", "hello", "--url", "ws://127.0.0.1:1"][..], "127.0.0.1:1"),
        (&["subscribe", "a", "b", "--since", "0000000a:17"], "--since"),
    ] {
        let output = longwire().args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(word) && said.trim_end().lines().count() == 1, "{said}");
    }
}

#[test]
fn one_text_is_published_and_printed_as_json() {
    let folder = Folder::new("publish");
    let address = free_address();
    let _server = serve(&address, &folder.0.join("data"));
    let url = format!("ws://{address}");
    let publish = |arguments: &[&str]| longwire().args(["publish", "chat:x", "--url", &url]).args(arguments).output().unwrap();
    assert!(publish(&["hello", "--event", "say"]).status.success());
    let refused = publish(&["--json", "{not json"]);
    assert!(!refused.status.success());
    let mut subscriber = longwire()
        .args(["subscribe", "chat:x", "--json", "--last", "1", "--url", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(subscriber.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let subscriber = Process(subscriber);
    let publication: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&publication["data"], &publication["event"]), (&"hello".into(), &"say".into()));
    drop(subscriber);
}
