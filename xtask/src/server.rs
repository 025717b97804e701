//! A server of ours as a process, for tests that drive it from outside.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::job::Log;
use crate::paths;
use crate::test::Options;

const READY_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// What opens the API of the default server, for tests that publish over it.
pub(crate) const API_KEY: &str = "a-key-for-the-tests-of-xtask";

/// A running server. Dropping it kills the process, however the test ended.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// The default server: the `longwire` binary.
    pub(crate) fn longwire(log: &Log, options: &Options) -> Result<Self, String> {
        Self::start(log, options.built("longwire")?.as_os_str(), &["serve", "--listen"])
    }

    /// The example that echoes at `/echo`.
    pub(crate) fn echo(log: &Log, options: &Options) -> Result<Self, String> {
        Self::start(log, options.built("examples/echo")?.as_os_str(), &[])
    }

    /// Starts `program WORDS... HOST:PORT` on a free port and waits until it answers HTTP.
    fn start(log: &Log, program: &OsStr, words: &[&str]) -> Result<Self, String> {
        let address = free_address()?;
        let mut command = Command::new(program);
        command.args(words).arg(address.to_string()).env("LONGWIRE_API_KEYS", API_KEY).current_dir(paths::root());
        log.say(&format!("server: {} {} {address}", program.to_string_lossy(), words.join(" ")))?;
        let mut server = Self { child: log.spawn(&mut command)?, address };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// `HOST:PORT`
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://HOST:PORT`
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether the server still runs; a crash during a test is a failure of that test.
    pub(crate) fn check_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server ended by itself: {status}")),
            Err(e) => Err(format!("the server can't be asked: {e}")),
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + READY_LIMIT;
        while Instant::now() < end {
            self.check_alive()?;
            if answers(self.address).is_ok_and(|yes| yes) {
                return Ok(());
            }
            std::thread::sleep(RETRY_EVERY);
        }
        Err(format!("the server did not answer at {} within {} s", self.address, READY_LIMIT.as_secs()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens on. Another process could take it before the server does; then the
/// server says so and the stage fails.
fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| format!("no free port: {e}"))
}

/// Whether GET /healthz gets an HTTP answer. Which one is the business of the tests.
fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 9];
    stream.read_exact(&mut start)?;
    Ok(&start == b"HTTP/1.1 ")
}
