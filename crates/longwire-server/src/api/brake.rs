//! What slows down those who try keys. Only what fails is slowed: whoever has a key is answered at once, also from an address that others
//! try keys from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::places::network_of;

/// Mistakes that an address may make in a minute before it has to wait.
const FREE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// How long the answer to a further one waits.
const WAIT: Duration = Duration::from_secs(1);
/// Answers that wait at the same time; what comes beyond them is refused, and its connection closed.
const WAITING: usize = 64;
/// Addresses that are remembered; those beyond them are one.
const ADDRESSES: usize = 4096;
/// There is one log line in so long.
const TOLD_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Brake {
    mistakes: Mutex<Mistakes>,
    waiting: Semaphore,
}

struct Mistakes {
    /// When the minute began that is counted.
    since: Instant,
    by_address: HashMap<Option<IpAddr>, u32>,
    /// When it was told, and how many have come since.
    told: Option<Instant>,
    untold: u64,
}

/// What to do with a mistake.
enum Verdict<'a> {
    Answer,
    Wait(SemaphorePermit<'a>),
    Refuse,
}

impl Brake {
    pub(super) fn new() -> Self {
        let mistakes = Mistakes { since: Instant::now(), by_address: HashMap::new(), told: None, untold: 0 };
        Self { mistakes: Mutex::new(mistakes), waiting: Semaphore::new(WAITING) }
    }

    /// Somebody has brought a wrong key. When this returns they may be told so, if it is true; else they are to be sent away.
    pub(super) async fn mistake(&self, peer: Option<IpAddr>) -> bool {
        match self.judge(peer, Instant::now()) {
            Verdict::Answer => true,
            Verdict::Wait(place) => {
                tokio::time::sleep(WAIT).await;
                drop(place);
                true
            }
            Verdict::Refuse => false,
        }
    }

    fn judge(&self, peer: Option<IpAddr>, now: Instant) -> Verdict<'_> {
        let mut mistakes = self.mistakes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(untold) = mistakes.tally(now) {
            tracing::warn!(peer = peer.map(tracing::field::display), attempts = untold, "wrong API keys are tried");
        }
        if mistakes.count(peer, now) <= FREE {
            return Verdict::Answer;
        }
        self.waiting.try_acquire().map_or(Verdict::Refuse, Verdict::Wait)
    }
}

impl Mistakes {
    /// How many the address has made in this minute, with this one.
    fn count(&mut self, peer: Option<IpAddr>, now: Instant) -> u32 {
        if now.duration_since(self.since) >= MINUTE {
            self.since = now;
            self.by_address.clear();
        }
        let peer = peer.map(network_of);
        let known = self.by_address.len() < ADDRESSES || self.by_address.contains_key(&peer);
        let count = self.by_address.entry(peer.filter(|_| known)).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// How many to tell of, if it is time.
    fn tally(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(brake: &Brake, peer: &str, now: Instant) -> &'static str {
        match brake.judge(Some(peer.parse().unwrap()), now) {
            Verdict::Answer => "answer",
            Verdict::Wait(place) => {
                place.forget();
                "wait"
            }
            Verdict::Refuse => "refuse",
        }
    }

    #[test]
    fn an_address_that_fails_again_and_again_waits_and_others_do_not() {
        let (brake, now) = (Brake::new(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(judged(&brake, "203.0.113.7", now), "answer");
        }
        assert_eq!(judged(&brake, "203.0.113.7", now), "wait");
        assert_eq!(judged(&brake, "203.0.113.8", now), "answer");
        for _ in 1..WAITING {
            assert_eq!(judged(&brake, "203.0.113.7", now), "wait");
        }
        assert_eq!(judged(&brake, "203.0.113.7", now), "refuse", "no more wait than there is room for");
        assert_eq!(judged(&brake, "203.0.113.7", now + MINUTE), "answer", "a minute later all is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_many_networks_are_bounded() {
        let (brake, now) = (Brake::new(), Instant::now());
        for host in 0..FREE {
            assert_eq!(judged(&brake, &format!("2001:db8:1:2::{host}"), now), "answer");
        }
        assert_eq!(judged(&brake, "2001:db8:1:2:ffff::1", now), "wait");
        for network in 0..2 * ADDRESSES {
            judged(&brake, &format!("2001:db8:7:{network:x}::1"), now);
        }
        assert!(brake.mistakes.lock().unwrap().by_address.len() <= ADDRESSES + 1);
        assert_ne!(judged(&brake, "198.51.100.1", now), "answer", "who is not remembered is one of many");
    }

    #[test]
    fn there_is_one_log_line_in_a_while() {
        let mut mistakes = Mistakes { since: Instant::now(), by_address: HashMap::new(), told: None, untold: 0 };
        let now = mistakes.since;
        assert_eq!(mistakes.tally(now), Some(1));
        for _ in 0..1000 {
            assert_eq!(mistakes.tally(now), None);
        }
        assert_eq!(mistakes.tally(now + TOLD_EVERY), Some(1001));
    }
}
