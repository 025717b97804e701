//! A network that cuts, stalls and throttles.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::random::Random;

/// One connection in so many is slow for all of its life.
const SLOW_ONE_IN: u64 = 20;
/// And takes so many bytes at a time, with a pause after each.
const SLOW_BYTES: usize = 256;
const SLOW_PAUSE: Duration = Duration::from_millis(5);
/// A piece that comes through stands still before it is passed on, once in so many.
const STALL_ONE_IN: u64 = 500;
const STALL: Duration = Duration::from_millis(1500);
/// One connection in so many is cut when it has carried some number of bytes below this to the client: in the middle of what is long.
const SHORT_ONE_IN: u64 = 4;
const SHORT_BYTES: u64 = 400 * 1024;

#[derive(Clone)]
pub(crate) struct Proxy(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    server: SocketAddr,
    random: Mutex<Random>,
    /// Milliseconds for which a line lives on average; 0 for ever.
    lifetime: AtomicU64,
    is_good: AtomicBool,
    cuts: AtomicU64,
    stalls: AtomicU64,
    open: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, seed: u64) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let proxy = Self(Arc::new(Inner {
            address,
            server,
            random: Mutex::new(Random::new(seed ^ 0xf00d)),
            lifetime: AtomicU64::new(0),
            is_good: AtomicBool::new(true),
            cuts: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        }));
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(stream));
            }
        });
        Ok(proxy)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// From now on lines are cut so that `cuts` of them are within `time`, if there are so many clients.
    pub(crate) fn cut_on_average(&self, cuts: u64, clients: usize, time: Duration) {
        let lifetime = time.as_millis() as u64 * clients as u64 / cuts.max(1);
        self.0.lifetime.store(lifetime.max(1), Ordering::Relaxed);
        self.rest(cuts == 0);
    }

    /// Whether there are no faults at the moment.
    pub(crate) fn rest(&self, is_good: bool) {
        self.0.is_good.store(is_good, Ordering::Relaxed);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.0.cuts.load(Ordering::Relaxed)
    }

    pub(crate) fn stalls(&self) -> u64 {
        self.0.stalls.load(Ordering::Relaxed)
    }

    pub(crate) fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// A kill has cut so many lines.
    pub(crate) fn count_killed(&self, lines: usize) {
        self.0.cuts.fetch_add(lines as u64, Ordering::Relaxed);
    }

    fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.0.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_good(&self) -> bool {
        self.0.is_good.load(Ordering::Relaxed)
    }

    async fn carry(self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.0.server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        // A cut is a reset, in both directions.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
        self.0.open.fetch_add(1, Ordering::Relaxed);
        let is_slow = !self.is_good() && self.random(|random| random.below(SLOW_ONE_IN)) == 0;
        let is_short = !self.is_good() && self.random(|random| random.below(SHORT_ONE_IN)) == 0;
        let most = if is_short { self.random(|random| random.below(SHORT_BYTES)) } else { u64::MAX };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            _ = self.pass(from_client, to_server, is_slow, u64::MAX) => {}
            is_cut = self.pass(from_server, to_client, is_slow, most) => {
                self.0.cuts.fetch_add(is_cut.into(), Ordering::Relaxed);
            }
            () = self.life() => {
                self.0.cuts.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Until the line is to be cut.
    async fn life(&self) {
        loop {
            while self.is_good() {
                sleep(Duration::from_millis(50)).await;
            }
            let lifetime = self.0.lifetime.load(Ordering::Relaxed) as f64;
            let left = self.random(|random| -random.fraction().ln()) * lifetime;
            let end = Instant::now() + Duration::from_millis(left as u64);
            sleep_until(end).await;
            if !self.is_good() {
                return;
            }
        }
    }

    /// One direction, until it ends, or is cut after so many bytes; whether it was.
    async fn pass(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_slow: bool, most: u64) -> bool {
        let mut left = most;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let room = if is_slow && !self.is_good() { SLOW_BYTES } else { buffer.len() };
            let count = match from.read(&mut buffer[..room]).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => count,
            };
            let is_cut = !self.is_good() && count as u64 > left;
            let count = if is_cut { left as usize } else { count };
            left = left.saturating_sub(count as u64);
            if !self.is_good() {
                if is_slow {
                    sleep(SLOW_PAUSE).await;
                }
                if self.random(|random| random.below(STALL_ONE_IN)) == 0 {
                    self.0.stalls.fetch_add(1, Ordering::Relaxed);
                    sleep(STALL).await;
                }
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return false;
            }
            if is_cut {
                return true;
            }
        }
    }
}
