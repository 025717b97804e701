//! Whether anything is lost, repeated or out of order when lines are cut and the server is killed, over real sockets.
//!
//! Publishers number what they publish. Subscribers, of every [`Kind`], follow several channels over one line, some with keys, and write
//! down what they get. Between them and the server stands a proxy that cuts, stalls and throttles; the server is killed with `SIGKILL` and
//! started again on the same data. In the end each subscriber must have each number once, in order, and the keys as they are.

mod deal;
mod javascript;
mod ledger;
mod outcome;
mod proxy;
mod random;
mod rust;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use longwire_client::Transport;
use tokio::task::JoinSet;
use tokio::time::sleep;

use deal::Deal;
use javascript::JavaScript;
pub use ledger::Kind;
use ledger::Ledger;
pub use outcome::{Outcome, Tally};
use proxy::Proxy;
use random::Random;
use server::Server;

/// How long it may take until everybody has subscribed for the first time.
const BEGIN: Duration = Duration::from_secs(60);
/// Whatever comes after what there is to get would be a repetition.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// How often it is looked whether there is something to do.
const TICK: Duration = Duration::from_millis(20);

/// What to put the server through.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `longwire` program.
    pub program: PathBuf,
    /// An empty directory for its data.
    pub data: PathBuf,
    /// Subscribers of each kind, each with a line of its own.
    pub clients: Vec<(Kind, usize)>,
    /// Channels, each with a publisher of its own, and every second one with keys. At least 1.
    pub channels: usize,
    /// How many of them each subscriber follows over its line. At least 1, at most all.
    pub follows: usize,
    /// How often each subscriber begins anew in a channel, and gets everything from the first on.
    pub renewals: usize,
    /// Publications, in all channels.
    pub publications: u64,
    /// Time between two publications of a publisher.
    pub pause: Duration,
    /// How often the server is killed.
    pub kills: u32,
    /// How many lines are cut, about; kills cut all lines on top of it.
    pub cuts: u64,
    /// What the faults are drawn from.
    pub seed: u64,
    /// How long everybody may take to catch up in the end, and how long nothing at all may happen before.
    pub patience: Duration,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Publications that the server has confirmed.
    pub published: u64,
    /// Publications that subscribers got.
    pub delivered: u64,
    /// Lines that were cut.
    pub cuts: u64,
    /// How often the server was killed.
    pub kills: u32,
}

/// Does it. `progress` is told about once a second how far it is.
///
/// # Errors
/// The server does not start, or clients do not, or do not get to it, or their program ends; in words for people.
pub async fn run(plan: &Plan, progress: impl FnMut(Progress)) -> Result<Outcome, String> {
    let began = Instant::now();
    let server = Server::start(&plan.program, &plan.data).await?;
    let proxy = Proxy::start(server.address(), plan.seed).await?;
    let address = format!("ws://{}", proxy.address());

    let within = u64::try_from(plan.publishing().as_millis()).unwrap_or(u64::MAX);
    let deal = Deal { channels: plan.channels, follows: plan.follows, renewals: plan.renewals, within };
    let mut rust = Vec::new();
    let mut javascript = Vec::new();
    let mut ledgers = Vec::new();
    for &(kind, clients) in plan.clients.iter().filter(|(_, clients)| *clients > 0) {
        let ledger = Ledger::new(kind, clients, deal);
        let transport = match kind {
            Kind::RustStream => Transport::Stream,
            Kind::RustPoll => Transport::Poll,
            _ => Transport::WebSocket,
        };
        match kind.script() {
            None => rust.push(rust::subscribe(&ledger, &address, transport, clients, deal)?),
            Some(script) => javascript.push(JavaScript::start(script, &ledger, &address, clients, &deal)?),
        }
        ledgers.push(ledger);
    }

    let stormed = storm(plan, server, &proxy, &address, &ledgers, progress).await;
    // Whether it went well or not: no process is left behind.
    let mut ended = Ok(());
    for process in javascript {
        ended = ended.and(process.end().await);
    }
    let mut outcome = stormed?;
    ended?;
    for ledger in &ledgers {
        outcome.judge(ledger, plan.each());
    }
    outcome.took = began.elapsed();
    Ok(outcome)
}

impl Plan {
    /// Publications in each channel.
    fn each(&self) -> u64 {
        self.publications / self.channels as u64
    }

    /// About how long the publishers take.
    fn publishing(&self) -> Duration {
        self.pause * u32::try_from(self.each()).unwrap_or(u32::MAX)
    }
}

/// Publishes, cuts and kills, until everybody has everything or patience is at its end.
async fn storm(
    plan: &Plan,
    mut server: Server,
    proxy: &Proxy,
    address: &str,
    ledgers: &[Ledger],
    mut progress: impl FnMut(Progress),
) -> Result<Outcome, String> {
    // Nothing is published before everybody has begun.
    all_subscribed(ledgers).await?;
    let published = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for index in 0..plan.channels {
        let client = rust::client(address, Transport::WebSocket)?;
        publishers.spawn(rust::publish(client, index, plan.each(), plan.pause, published.clone()));
    }
    // Their lines are cut as well, until the end.
    let mut idle_publishers = Vec::new();

    let lines = plan.clients.iter().map(|(_, clients)| clients).sum::<usize>() + plan.channels;
    proxy.cut_on_average(plan.cuts, lines, plan.publishing());
    let mut random = Random::new(plan.seed);
    let mut outcome = Outcome::default();
    let mut now = Progress::default();
    // Lines that were cut by kills.
    let mut killed = 0;
    let mut changed = Instant::now();
    let mut next_kill = Instant::now();
    let mut next_word = Instant::now();
    let mut end = None;
    let keys = deal::keys_after(plan.each());
    loop {
        for ledger in ledgers {
            ledger.check()?;
        }
        while let Some(joined) = publishers.try_join_next() {
            idle_publishers.push(joined.map_err(|error| error.to_string())??);
        }
        // The faults come as the publications go on: a machine that is slow has not more of them.
        let due = |of: u64| of * (now.published + 1) / (plan.each() * plan.channels as u64).max(1);
        if now.kills < plan.kills && u64::from(now.kills) <= due(plan.kills.into()) && Instant::now() >= next_kill {
            let before = proxy.open();
            server.kill_and_restart().await?;
            proxy.count_killed(before);
            killed += before as u64;
            now.kills += 1;
            let on_average = plan.publishing().as_millis() as u64 / u64::from(plan.kills);
            next_kill = Instant::now() + Duration::from_millis(600 + random.below(on_average));
        }
        proxy.rest(end.is_some() || now.cuts.saturating_sub(killed) > due(plan.cuts));
        let before = now;
        now.published = published.load(Ordering::Relaxed);
        now.delivered = ledgers.iter().map(Ledger::deliveries).sum();
        now.cuts = proxy.cuts();
        if now != before {
            changed = Instant::now();
        }
        if end.is_none() && publishers.is_empty() && now.kills >= plan.kills && now.cuts.saturating_sub(killed) >= plan.cuts {
            proxy.rest(true);
            end = Some(Instant::now() + plan.patience);
        }
        if end.is_some() && ledgers.iter().all(|ledger| ledger.has_all(plan.each(), keys)) {
            break;
        }
        if end.is_some_and(|end| Instant::now() > end) {
            outcome.complain(format!("not everybody has caught up within {:?}", plan.patience));
            break;
        }
        if changed.elapsed() > plan.patience {
            outcome.complain(format!("nothing has happened for {:?}: {now:?}", plan.patience));
            break;
        }
        if Instant::now() >= next_word {
            next_word += Duration::from_secs(1);
            progress(now);
        }
        sleep(TICK).await;
    }
    proxy.rest(true);
    sleep(AFTERWARDS).await;
    progress(Progress { delivered: ledgers.iter().map(Ledger::deliveries).sum(), ..now });
    Ok(Outcome { kills: now.kills, cut_lines: proxy.cuts(), stalls: proxy.stalls(), peak: server.peak(), ..outcome })
}

/// Waits until every subscriber has begun.
async fn all_subscribed(ledgers: &[Ledger]) -> Result<(), String> {
    let end = Instant::now() + BEGIN;
    for ledger in ledgers {
        while ledger.not_subscribed() > 0 {
            ledger.check()?;
            if Instant::now() > end {
                let (missing, kind) = (ledger.not_subscribed(), ledger.kind);
                return Err(format!("{missing} {kind} clients have not subscribed within {BEGIN:?}"));
            }
            sleep(TICK).await;
        }
    }
    Ok(())
}
