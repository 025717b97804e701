//! What stands between a client and its server in some networks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with a connection, by its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Lets everything through.
    Open,
    /// Knows no WebSockets.
    NoUpgrades,
    /// Opens WebSockets, and lets nothing through on them.
    MuteUpgrades,
    /// Knows no WebSockets, and holds answers back until they are complete.
    Collecting,
}

/// A small proxy. It ends with the runtime.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    mood: Mutex<Mood>,
    /// Grows with each cut.
    cuts: watch::Sender<u64>,
    /// The first lines of all requests.
    requests: Mutex<Vec<String>>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { server, mood: Mutex::new(mood), cuts: watch::Sender::new(0), requests: Mutex::default() });
        let proxy = shared.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (proxy, mut cuts) = (proxy.clone(), proxy.cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = proxy.connection(near) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// For connections from now on.
    pub(crate) fn becomes(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many requests have begun like this.
    pub(crate) fn requests(&self, begin: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.starts_with(begin)).count()
    }
}

impl Shared {
    async fn connection(&self, mut near: TcpStream) -> std::io::Result<()> {
        let mut first = vec![0; 64 * 1024];
        let count = near.read(&mut first).await?;
        first.truncate(count);
        let head = String::from_utf8_lossy(&first).to_ascii_lowercase();
        let mood = *self.mood.lock().unwrap();
        let upgrade = head.contains("upgrade: websocket");
        if upgrade && matches!(mood, Mood::NoUpgrades | Mood::Collecting) {
            let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return near.write_all(refusal).await;
        }
        let far = TcpStream::connect(self.server).await?;
        let (near_read, mut near_write) = near.into_split();
        let (mut far_read, far_write) = far.into_split();
        let mute = upgrade && mood == Mood::MuteUpgrades;
        let up = self.up(first, near_read, far_write, mute);
        let down = async {
            if mood == Mood::Collecting && head.starts_with("get ") && head.contains("stream=") {
                let mut all = Vec::new();
                far_read.read_to_end(&mut all).await?;
                return near_write.write_all(&all).await;
            }
            tokio::io::copy(&mut far_read, &mut near_write).await.map(drop)
        };
        tokio::select! {
            ended = up => ended,
            ended = down => ended,
        }
    }

    /// Passes on what the client says, and writes down what it asks for.
    async fn up(&self, mut read: Vec<u8>, mut near: OwnedReadHalf, mut far: OwnedWriteHalf, mute: bool) -> std::io::Result<()> {
        far.write_all(&read).await?;
        loop {
            // The clients of these tests write the head of a request at once.
            let head = String::from_utf8_lossy(&read);
            let first = head.lines().next().unwrap_or_default();
            if first.ends_with("HTTP/1.1") {
                self.requests.lock().unwrap().push(first.to_owned());
            }
            read.resize(64 * 1024, 0);
            let count = near.read(&mut read).await?;
            if count == 0 {
                return Ok(());
            }
            read.truncate(count);
            if !mute {
                far.write_all(&read).await?;
            }
        }
    }
}
