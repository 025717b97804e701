//! The server: started, killed, and started again on the same port and data.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// History enough for whoever is away, and in some channels keys.
const NAMESPACES: &str = "
[namespaces.fault]
history_size = 1000000
history_age = \"1h\"
history_bytes = \"256MiB\"

[namespaces.keyed]
history_size = 1000000
history_age = \"1h\"
history_bytes = \"256MiB\"
state_keys = 100
";

pub(crate) struct Server {
    program: PathBuf,
    data: PathBuf,
    address: SocketAddr,
    process: Child,
    /// The most memory that one of its processes had, of those that have ended.
    peak: u64,
}

impl Server {
    pub(crate) async fn start(program: &Path, data: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
        std::fs::write(data.join("longwire.toml"), NAMESPACES).map_err(|error| error.to_string())?;
        // Known before the start, since each start must have the same.
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(|error| error.to_string())?;
        let process = launch(program, data, free).await?;
        Ok(Self { program: program.to_owned(), data: data.to_owned(), address: free, process, peak: 0 })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The most memory that it had so far, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let status = self.process.id().and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok());
        let peak =
            status.as_deref().unwrap_or_default().lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        self.peak.max(peak.and_then(|peak| peak.trim().parse::<u64>().ok()).unwrap_or(0) * 1024)
    }

    /// `kill -9`, and a new process.
    pub(crate) async fn kill_and_restart(&mut self) -> Result<(), String> {
        self.peak = self.peak();
        self.process.kill().await.map_err(|error| error.to_string())?;
        self.process = launch(&self.program, &self.data, self.address).await?;
        Ok(())
    }
}

async fn launch(program: &Path, data: &Path, address: SocketAddr) -> Result<Child, String> {
    let mut process = Command::new(program)
        .arg("--listen")
        .arg(address.to_string())
        .arg("--config")
        .arg(data.join("longwire.toml"))
        .arg("--data-dir")
        .arg(data.join("channels"))
        // Who hears of a lost line by the missing heartbeat only is to hear of it soon: a stock Socket.IO client, say, that was cut at one
        // moment of its upgrade.
        .args(["--ping-interval=5s", "--ping-timeout=5s", "--log=warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let output = process.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    let greeted = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("--help") {
                return true;
            }
        }
        false
    };
    match tokio::time::timeout(Duration::from_secs(30), greeted).await {
        Ok(true) => Ok(process),
        Ok(false) => Err("the server does not start".into()),
        Err(_) => Err("the server takes longer than 30 s to start".into()),
    }
}
