//! Whether anything is lost, repeated or out of order when lines are cut and the server is killed, over real sockets.
//!
//! Publishers number what they publish. Subscribers write down what they get. Between them and the server stands a proxy that cuts,
//! stalls and throttles; the server is killed with `SIGKILL` and started again on the same data. In the end each subscriber must have
//! each number once, in order.

mod proxy;
mod random;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use longwire_client::{Client, Data, Event};

use proxy::Proxy;
use random::Random;
use server::Server;

/// What to put the server through.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `longwire` program.
    pub program: PathBuf,
    /// An empty directory for its data.
    pub data: PathBuf,
    /// Subscribers, each with a line of its own.
    pub clients: usize,
    /// Channels, each with a publisher of its own; the subscribers are dealt to them.
    pub channels: usize,
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
    /// How long everybody may take to catch up in the end.
    pub patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Publications that subscribers got.
    pub deliveries: u64,
    /// Of those that they should have got, how many they did not.
    pub lost: u64,
    /// How many they got again.
    pub repeated: u64,
    /// How many came before an earlier one.
    pub out_of_order: u64,
    /// How often a subscriber was told that something is missing. It should not be: there was history enough.
    pub told_missing: u64,
    /// Lines that were cut by the proxy, and by kills.
    pub cut_lines: u64,
    /// How often lines stood still for a while.
    pub stalls: u64,
    /// How often the server was killed.
    pub kills: u32,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.out_of_order == 0 && self.told_missing == 0
    }
}

/// What one subscriber has got.
#[derive(Default)]
struct Log {
    numbers: Vec<u64>,
    told_missing: u64,
}

/// Does it. `progress` is told about once a second how far it is: publications, deliveries, cut lines, kills.
///
/// # Errors
/// The server does not start, or clients do not get to it; in words for people.
pub async fn run(plan: &Plan, mut progress: impl FnMut(u64, u64, u64, u32)) -> Result<Outcome, String> {
    let began = Instant::now();
    let mut random = Random::new(plan.seed);
    let mut server = Server::start(&plan.program, &plan.data).await?;
    let proxy = Proxy::start(server.address(), plan.seed).await?;
    let address = format!("ws://{}", proxy.address());
    let delivered = Arc::new(AtomicU64::new(0));
    let each = plan.publications / plan.channels as u64;

    let mut subscribers = Vec::new();
    for index in 0..plan.clients {
        let client = client(&address)?;
        let mut subscription = client.subscribe(&channel(index % plan.channels)).map_err(|error| error.to_string())?;
        // Nothing is published before everybody has begun.
        wait("a subscription", async { matches!(subscription.next().await, Some(Event::Subscribed(_))) }).await?;
        let delivered = delivered.clone();
        subscribers.push(tokio::spawn(async move {
            let mut log = Log::default();
            while (log.numbers.len() as u64) < each {
                match subscription.next().await {
                    Some(Event::Publication(publication)) => {
                        log.numbers.push(number(publication.data.as_ref()));
                        delivered.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Event::Missed(..) | Event::Gap(_)) => log.told_missing += 1,
                    Some(Event::Ended(_)) | None => break,
                    Some(_) => {}
                }
            }
            // What else comes would be a repetition.
            let more = tokio::time::timeout(Duration::from_secs(1), subscription.next()).await;
            if let Ok(Some(Event::Publication(publication))) = more {
                log.numbers.push(number(publication.data.as_ref()));
            }
            (log, client)
        }));
    }

    let published = Arc::new(AtomicU64::new(0));
    let mut publishers = Vec::new();
    for index in 0..plan.channels {
        let (client, published, pause) = (client(&address)?, published.clone(), plan.pause);
        publishers.push(tokio::spawn(async move {
            for n in 0..each {
                client.publish(&channel(index), Data::from(n.to_string())).await.map_err(|error| error.to_string())?;
                published.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
            }
            Ok::<_, String>(client)
        }));
    }

    let publishing = plan.pause * u32::try_from(each).unwrap_or(u32::MAX);
    proxy.cut_on_average(plan.cuts, plan.clients, publishing);
    let mut kills = 0;
    let mut next_kill = Instant::now();
    let mut next_word = Instant::now();
    let mut end = None;
    loop {
        let all_published = publishers.iter().all(tokio::task::JoinHandle::is_finished);
        let faults_are_over = all_published && kills >= plan.kills && proxy.cuts() >= plan.cuts;
        if kills < plan.kills && Instant::now() >= next_kill {
            let before = proxy.open();
            server.kill_and_restart().await?;
            proxy.count_killed(before);
            kills += 1;
            next_kill = Instant::now()
                + Duration::from_millis(600 + random.below(2 * publishing.as_millis() as u64 / u64::from(plan.kills.max(1))));
        }
        if all_published && end.is_none() {
            end = Some(Instant::now() + plan.patience);
        }
        if faults_are_over {
            proxy.be_good();
        }
        if subscribers.iter().all(tokio::task::JoinHandle::is_finished) && faults_are_over
            || end.is_some_and(|end| Instant::now() > end)
        {
            break;
        }
        if Instant::now() >= next_word {
            next_word += Duration::from_secs(1);
            progress(published.load(Ordering::Relaxed), delivered.load(Ordering::Relaxed), proxy.cuts(), kills);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.be_good();
    let _publishers: Vec<Client> = {
        let mut clients = Vec::new();
        for publisher in publishers {
            clients.push(publisher.await.map_err(|error| error.to_string())??);
        }
        clients
    };
    let mut outcome = Outcome { kills, cut_lines: proxy.cuts(), stalls: proxy.stalls(), ..Outcome::default() };
    for subscriber in subscribers {
        let log = match tokio::time::timeout(Duration::from_secs(2), subscriber).await {
            Ok(joined) => joined.map_err(|error| error.to_string())?.0,
            Err(_) => return Err(format!("a subscriber has not caught up within {:?} of the last publication", plan.patience)),
        };
        judge(&log, each, &mut outcome);
    }
    outcome.took = began.elapsed();
    Ok(outcome)
}

fn judge(log: &Log, each: u64, outcome: &mut Outcome) {
    let mut seen = vec![false; each as usize];
    let mut newest = None;
    for number in &log.numbers {
        outcome.deliveries += 1;
        match seen.get_mut(*number as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => outcome.repeated += 1,
        }
        outcome.out_of_order += u64::from(newest.is_some_and(|newest| *number < newest));
        newest = newest.max(Some(*number));
    }
    outcome.lost += seen.iter().filter(|seen| !**seen).count() as u64;
    outcome.told_missing += log.told_missing;
}

fn client(address: &str) -> Result<Client, String> {
    Client::builder(address)
        .configure(|config| {
            config.backoff = Duration::from_millis(50);
            config.max_backoff = Duration::from_millis(1000);
            config.connect_timeout = Duration::from_secs(5);
            config.ping_interval = Duration::from_secs(2);
            config.ping_timeout = Duration::from_secs(2);
        })
        .connect()
        .map_err(|error| error.to_string())
}

fn channel(index: usize) -> String {
    format!("fault:{index}")
}

fn number(data: Option<&Data>) -> u64 {
    let text = data.map_or(&b""[..], Data::as_bytes);
    // Nobody publishes this.
    std::str::from_utf8(text).ok().and_then(|text| text.trim_matches('"').parse().ok()).unwrap_or(u64::MAX)
}

async fn wait(what: &str, done: impl Future<Output = bool>) -> Result<(), String> {
    match tokio::time::timeout(Duration::from_secs(30), done).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{what} was refused")),
        Err(_) => Err(format!("{what} took longer than 30 s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted() {
        let judged = |numbers: &[u64]| {
            let mut outcome = Outcome::default();
            judge(&Log { numbers: numbers.to_vec(), told_missing: 0 }, 4, &mut outcome);
            (outcome.lost, outcome.repeated, outcome.out_of_order, outcome.is_good())
        };
        assert_eq!(judged(&[0, 1, 2, 3]), (0, 0, 0, true));
        assert_eq!(judged(&[0, 1, 3]), (1, 0, 0, false));
        assert_eq!(judged(&[0, 1, 1, 2, 3]), (0, 1, 0, false));
        assert_eq!(judged(&[0, 2, 1, 3]), (0, 0, 1, false));
        assert_eq!(judged(&[0, 1, 2, 3, 7]), (0, 1, 0, false));
    }
}
