//! The servers under comparison: what each is, and how to start and stop it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::workshop::Workshop;

/// The core that every server runs on; the load generator has the other one.
const SERVER_CORE: &str = "0";
const SERVER_PORTS: Range<u16> = 20_000..32_000;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// One server that offers the echo/broadcast contract (or a part of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Floor,
    PlainFloor,
    Longwire,
    /// The `longwire` server itself, of which the clients are sessions in channels.
    Channels,
    /// The same, which keeps its channels on disk.
    Durable,
    /// The library with rooms of Socket.IO.
    SocketIo,
    UWebSockets,
    Tungstenite,
    Socketify,
    Ws,
    Nchan,
    Fastapi,
    /// The reference, on Node.
    SocketIoNode,
    Socketioxide,
    /// The same with two workers.
    SocketioxideWorkers,
}

impl Server {
    /// All of them, in the order in which they take their turns.
    pub(crate) const ALL: [Self; 15] = [
        Self::Floor,
        Self::PlainFloor,
        Self::Longwire,
        Self::Channels,
        Self::Durable,
        Self::SocketIo,
        Self::UWebSockets,
        Self::Tungstenite,
        Self::Socketify,
        Self::Ws,
        Self::Nchan,
        Self::Fastapi,
        Self::SocketIoNode,
        Self::Socketioxide,
        Self::SocketioxideWorkers,
    ];

    /// Its name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::PlainFloor => "floor-plain",
            Self::Longwire => "longwire",
            Self::Channels => "channels",
            Self::Durable => "durable",
            Self::SocketIo => "longwire-socketio",
            Self::UWebSockets => "uwebsockets",
            Self::Tungstenite => "tungstenite",
            Self::Socketify => "socketify",
            Self::Ws => "ws",
            Self::Nchan => "nchan",
            Self::Fastapi => "fastapi",
            Self::SocketIoNode => "socket.io",
            Self::Socketioxide => "socketioxide",
            Self::SocketioxideWorkers => "socketioxide-2",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name() == name)
    }

    /// What it is, for the tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Floor => "*floor*, writes joined",
            Self::PlainFloor => "*floor*, plain writes",
            Self::Longwire => "**Longwire**",
            Self::Channels => "**Longwire**, channels with a history",
            Self::Durable => "**Longwire**, channels on disk",
            Self::SocketIo => "**Longwire**, Socket.IO",
            Self::UWebSockets => "uWebSockets (C++)",
            Self::Tungstenite => "tokio-tungstenite (Rust)",
            Self::Socketify => "socketify (uWebSockets, Python handlers)",
            Self::Ws => "ws (Node.js)",
            Self::Nchan => "nchan (nginx, C)",
            Self::Fastapi => "FastAPI + uvicorn (Python)",
            Self::SocketIoNode => "socket.io (Node.js)",
            Self::Socketioxide => "socketioxide (Rust)",
            Self::SocketioxideWorkers => "socketioxide (Rust), two workers",
        }
    }

    /// A server that somebody would use in place of Longwire.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Floor | Self::PlainFloor) && !self.is_longwire()
    }

    pub(crate) fn is_longwire(self) -> bool {
        matches!(self, Self::Longwire | Self::Channels | Self::Durable | Self::SocketIo)
    }

    /// It offers the echo/broadcast contract of the first rows.
    pub(crate) fn broadcasts(self) -> bool {
        !self.is_native() && !self.has_rooms()
    }

    /// Its clients are sessions of the native protocol.
    pub(crate) fn is_native(self) -> bool {
        matches!(self, Self::Channels | Self::Durable)
    }

    /// It offers the rooms contract of the rows of Socket.IO.
    fn has_rooms(self) -> bool {
        matches!(self, Self::SocketIo | Self::SocketIoNode | Self::Socketioxide | Self::SocketioxideWorkers)
    }

    pub(crate) fn offers_echo(self) -> bool {
        self.broadcasts() && self != Self::Nchan
    }

    fn command(self, workshop: &Workshop, address: &str) -> Result<Command, Failure> {
        let peers = workshop.peers();
        let cache = workshop.cache();
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]);
        match self {
            Self::Floor => command.arg(workshop.binary("floor")).arg(address),
            Self::PlainFloor => command.arg(workshop.binary("floor")).args(["--plain", address]),
            Self::Longwire => command.arg(workshop.binary("examples/broadcast")).args([address, "1"]),
            Self::Channels | Self::Durable => {
                let program = workshop.binary("longwire");
                command.arg(&program).arg("--config").arg(peers.join("longwire/channels.toml")).args(["--listen", address]);
                if self == Self::Durable {
                    // An acknowledgement says that it is on the disk.
                    command.args(["--fsync", "always", "--data-dir"]).arg(empty_data_folder(&program, workshop)?);
                }
                &mut command
            }
            Self::UWebSockets => command.arg(cache.join("uwebsockets/server")).arg(address),
            Self::Tungstenite => command.arg(workshop.binary("tungstenite")).arg(address),
            Self::Ws => command.arg("node").arg(cache.join("node/ws.mjs")).arg(address),
            Self::SocketIo => command.arg(workshop.binary("examples/socketio_fanout")).args([address, "1"]),
            Self::SocketIoNode => command.arg("node").arg(cache.join("node/socketio.mjs")).arg(address),
            Self::Socketioxide => command.arg(workshop.binary("socketioxide")).arg(address),
            Self::SocketioxideWorkers => command.arg(workshop.binary("socketioxide")).args([address, "2"]),
            Self::Socketify | Self::Fastapi => command
                .env("PYTHONPATH", cache.join("python"))
                .arg("python3")
                .arg(peers.join(format!("python/{}_server.py", self.name())))
                .arg(address),
            Self::Nchan => {
                let prefix = cache.join("nchan");
                fs::create_dir_all(&prefix)?;
                let template = fs::read_to_string(peers.join("nchan/nginx.conf"))?;
                fs::write(prefix.join("nginx.conf"), template.replace("ADDRESS", address))?;
                // A prefix has to end in a slash: nginx puts file names right behind it.
                command.arg("nginx").arg("-p").arg(prefix.join("")).args(["-c", "nginx.conf", "-e", "error.log"])
            }
        };
        Ok(command)
    }
}

/// A folder for the server's data, without that of an earlier run.
fn empty_data_folder(program: &Path, workshop: &Workshop) -> Result<PathBuf, Failure> {
    let help = Command::new(program).args(["serve", "--help"]).output()?;
    if !String::from_utf8_lossy(&help.stdout).contains("--data-dir") {
        return Err("this longwire has no option --data-dir: durable channels cannot be measured".into());
    }
    let folder = workshop.data();
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&folder)?,
    }
    Ok(folder)
}

/// A server that runs until this value is dropped.
pub(crate) struct Running {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    /// The process that does the work.
    pub(crate) pid: u32,
}

impl Running {
    /// Starts a server on a free port of the loopback and waits until it accepts connections.
    pub(crate) fn start(server: Server, workshop: &Workshop) -> Result<Self, Failure> {
        let address = free_address()?;
        let log_path = workshop.cache().join(format!("{}.log", server.name()));
        let log = File::create(&log_path)?;
        let child = server
            .command(workshop, &address.to_string())?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", server.name()))?;
        let pid = child.id();
        let mut running = Self { child, address: address.to_string(), pid };
        running.wait_until_open(address, server, &log_path)?;
        if server == Server::Nchan {
            running.pid = only_child(pid)?;
        }
        Ok(running)
    }

    fn wait_until_open(&mut self, address: SocketAddr, server: Server, log: &Path) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it said nothing");
                return Err(format!("{} did not start: {last}", server.name()).into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, so that nginx takes its worker along.
        let asked = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while asked.is_ok() && matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
        // It has ended, or it ends now: neither can fail in a way that matters here.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port that nobody listens on. Below the range that clients' ports are taken from, which tens of thousands of lines use up, and
/// another one each time, so that lines of the last server that the kernel still remembers are in nobody's way.
fn free_address() -> Result<SocketAddr, Failure> {
    static NEXT: AtomicU16 = AtomicU16::new(SERVER_PORTS.start);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if !SERVER_PORTS.contains(&port) {
            return Err("no port is free for a server".into());
        }
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?);
        }
    }
}

/// The process that `pid` started: nginx's worker. The port is open a little before it exists.
fn only_child(pid: u32) -> Result<u32, Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        if let Some(child) = children.split_whitespace().next() {
            return Ok(child.parse()?);
        }
        sleep(Duration::from_millis(20));
    }
    Err(format!("process {pid} has no worker").into())
}
