//! What came of it: the counting.

use std::time::Duration;

use crate::deal::{self, Digest};
use crate::ledger::{Kind, Ledger, Record};

/// Of so many clients that something is wrong with, it is said what.
const COMPLAINTS: usize = 20;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The subscribers, by their kind.
    pub tallies: Vec<Tally>,
    /// What is wrong, in words for people; not more than the first few.
    pub complaints: Vec<String>,
    /// Lines that were cut by the proxy, and by kills.
    pub cut_lines: u64,
    /// How often lines stood still for a while.
    pub stalls: u64,
    /// How often the server was killed.
    pub kills: u32,
    /// The most memory that the server had, in bytes.
    pub peak: u64,
    /// How long it took.
    pub took: Duration,
}

/// What the subscribers of one kind got.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Which kind.
    pub kind: Kind,
    /// How many there are.
    pub clients: usize,
    /// Publications that they got.
    pub deliveries: u64,
    /// How often they went on where they were after a lost line.
    pub recoveries: u64,
    /// Of those that they should have got, how many they did not.
    pub lost: u64,
    /// How many they got again, or that nobody has published.
    pub repeated: u64,
    /// How many came after a later one.
    pub out_of_order: u64,
    /// How often one was told that something is missing. It should not be: there was history enough.
    pub told_missing: u64,
    /// Channels whose keys it knows as they are not.
    pub wrong_keys: u64,
    /// How often one has begun anew, and got everything from the first on.
    pub renewals: u64,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.complaints.is_empty() && self.tallies.iter().all(Tally::is_good)
    }

    /// Publications that all of them got.
    pub fn deliveries(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.deliveries).sum()
    }

    /// Counts what the subscribers of one kind have got, each of which should have `0..each` of each channel, and what keys that leaves.
    pub(crate) fn judge(&mut self, ledger: &Ledger, each: u64) {
        let (deal, kind) = (ledger.deal(), ledger.kind);
        let keys = deal::keys_after(each);
        let mut tally = Tally::new(kind);
        for (client, records) in ledger.records().iter().enumerate() {
            tally.clients += 1;
            for (channel, record) in deal.of(client).zip(records) {
                let one = Tally::of(kind, record, each, deal::is_keyed(channel).then_some(keys));
                let who = format!("{kind} client {client} in {}", deal::name(channel));
                if let Some(reason) = &record.ended {
                    self.complain(format!("{who} has ended: {reason}"));
                }
                if !one.is_good() {
                    let Tally { lost, repeated, out_of_order, .. } = one;
                    let (got, told, has) = (record.numbers.len(), &record.told_missing, record.keys);
                    self.complain(format!(
                        "{who} got {got} of {each}: {lost} lost, {repeated} repeated, {out_of_order} out of order, told of a loss: {told:?}, keys: {has:?}"
                    ));
                }
                tally.add(&one);
            }
        }
        self.tallies.push(tally);
    }

    /// Something is wrong that is not in the figures.
    pub(crate) fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(complaint);
        }
    }
}

impl Tally {
    fn new(kind: Kind) -> Self {
        let (deliveries, recoveries, lost, repeated, out_of_order) = (0, 0, 0, 0, 0);
        Self {
            kind,
            clients: 0,
            deliveries,
            recoveries,
            lost,
            repeated,
            out_of_order,
            told_missing: 0,
            wrong_keys: 0,
            renewals: 0,
        }
    }

    /// Of one channel.
    fn of(kind: Kind, record: &Record, each: u64, keys: Option<Digest>) -> Self {
        let mut tally = Self { recoveries: record.recoveries, ..Self::new(kind) };
        tally.told_missing = record.told_missing.len() as u64;
        tally.renewals = record.before.len() as u64;
        tally.wrong_keys = u64::from(keys.is_some_and(|keys| keys != record.keys));
        for before in &record.before {
            // It had not come to its end, but as far as it came nothing may be missing.
            let until = before.iter().flatten().max().map_or(0, |newest| newest + 1);
            tally.count(before, until.min(each));
        }
        tally.count(&record.numbers, each);
        tally
    }

    /// What came of `0..each`.
    fn count(&mut self, numbers: &[Option<u64>], each: u64) {
        let mut seen = vec![false; each as usize];
        let mut newest = None;
        for number in numbers {
            self.deliveries += 1;
            match number.and_then(|number| seen.get_mut(number as usize)) {
                Some(seen) if !*seen => *seen = true,
                _ => self.repeated += 1,
            }
            self.out_of_order += u64::from(*number < newest);
            newest = newest.max(*number);
        }
        self.lost += seen.iter().filter(|seen| !**seen).count() as u64;
    }

    fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.recoveries += other.recoveries;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.told_missing += other.told_missing;
        self.wrong_keys += other.wrong_keys;
        self.renewals += other.renewals;
    }

    fn is_good(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.out_of_order == 0 && self.told_missing == 0 && self.wrong_keys == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deal::Deal;

    const ONE: Deal = Deal { channels: 1, follows: 1, renewals: 0, within: 0 };
    const TWO: Deal = Deal { channels: 2, follows: 2, ..ONE };

    /// The outcome for one JavaScript client that should get four and reports these lines.
    fn outcome(lines: &[&str]) -> Outcome {
        let ledger = Ledger::new(Kind::Node, 1, ONE);
        for line in lines {
            ledger.note_line(&format!(r#"{{"client":0,"channel":0,{line}}}"#));
        }
        ledger.check().unwrap();
        let mut outcome = Outcome::default();
        outcome.judge(&ledger, 4);
        outcome
    }

    fn judged(numbers: &[&str]) -> (u64, u64, u64, bool) {
        let lines: Vec<String> = numbers.iter().map(|number| format!(r#""type":"publication","number":{number}"#)).collect();
        let outcome = outcome(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let Tally { deliveries, lost, repeated, out_of_order, .. } = outcome.tallies[0];
        assert_eq!(deliveries, numbers.len() as u64);
        assert_eq!(outcome.is_good(), outcome.complaints.is_empty());
        (lost, repeated, out_of_order, outcome.is_good())
    }

    #[test]
    fn what_is_lost_repeated_or_out_of_order_is_counted() {
        assert_eq!(judged(&["0", "1", "2", "3"]), (0, 0, 0, true));
        assert_eq!(judged(&["0", "1", "3"]), (1, 0, 0, false), "lost");
        assert_eq!(judged(&["0", "1", "2"]), (1, 0, 0, false), "the last one lost");
        assert_eq!(judged(&[]), (4, 0, 0, false), "all lost");
        assert_eq!(judged(&["0", "1", "1", "2", "3"]), (0, 1, 0, false), "repeated");
        assert_eq!(judged(&["0", "1", "2", "3", "0"]), (0, 1, 1, false), "repeated when all was there");
        assert_eq!(judged(&["0", "2", "1", "3"]), (0, 0, 1, false), "out of order");
        assert_eq!(judged(&["0", "1", "2", "3", "7"]), (0, 1, 0, false), "never published");
        assert_eq!(judged(&["null", "0", "1", "2", "3"]), (0, 1, 0, false), "no number");
        assert_eq!(judged(&["0", "1", "1", "3"]), (1, 1, 0, false), "as many as there should be");
    }

    #[test]
    fn whoever_is_told_of_a_loss_or_ends_is_counted() {
        let all: Vec<String> = (0..4).map(|n| format!(r#""type":"publication","number":{n}"#)).collect();
        let and = |more| outcome(&all.iter().map(String::as_str).chain([more]).collect::<Vec<_>>());
        let recovered = and(r#""type":"recovered""#);
        assert!(recovered.is_good() && recovered.tallies[0].recoveries == 1);
        let told = and(r#""type":"missed","reason":"expired""#);
        assert!(!told.is_good() && told.tallies[0].told_missing == 1 && told.complaints[0].contains("expired"));
        let ended = and(r#""type":"ended","reason":"refused""#);
        assert!(!ended.is_good() && ended.complaints[0].contains("refused"));
    }

    #[test]
    fn what_came_before_one_began_anew_has_no_holes_either() {
        let publication = |n: u64| format!(r#""type":"publication","number":{n}"#);
        let subscribed = || r#""type":"subscribed""#.to_owned();
        let run = |before: &[u64]| {
            let first = before.iter().map(|n| publication(*n));
            let lines: Vec<_> =
                [subscribed()].into_iter().chain(first).chain([subscribed()]).chain((0..4).map(publication)).collect();
            let Tally { lost, repeated, renewals, deliveries, .. } =
                outcome(&lines.iter().map(String::as_str).collect::<Vec<_>>()).tallies[0];
            assert_eq!((renewals, deliveries), (1, before.len() as u64 + 4));
            (lost, repeated)
        };
        assert_eq!(run(&[]), (0, 0));
        assert_eq!(run(&[0, 1]), (0, 0));
        assert_eq!(run(&[0, 2]), (1, 0));
        assert_eq!(run(&[0, 1, 1]), (0, 1));
    }

    #[test]
    fn keys_are_as_they_should_be() {
        let wrong_keys = |keys: Digest| {
            let ledger = Ledger::new(Kind::Node, 1, TWO);
            for channel in 0..2 {
                ledger.note_line(&format!(r#"{{"client":0,"channel":{channel},"type":"publication","number":0}}"#));
            }
            ledger.note_line(&format!(r#"{{"client":0,"channel":1,"type":"keys","count":{},"sum":{}}}"#, keys.count, keys.sum));
            let mut outcome = Outcome::default();
            outcome.judge(&ledger, 1);
            assert_eq!(outcome.is_good(), outcome.tallies[0].wrong_keys == 0);
            outcome.tallies[0].wrong_keys
        };
        assert_eq!(wrong_keys(Digest { count: 1, sum: 0 }), 0);
        assert_eq!(wrong_keys(Digest { count: 1, sum: 1 }), 1);
        assert_eq!(wrong_keys(Digest::default()), 1);
    }

    #[test]
    fn each_kind_has_its_own_figures() {
        let mut outcome = Outcome::default();
        outcome.judge(&Ledger::new(Kind::Rust, 2, ONE), 0);
        outcome.judge(&Ledger::new(Kind::Chromium, 3, ONE), 1);
        let figures: Vec<_> = outcome.tallies.iter().map(|tally| (tally.kind, tally.clients, tally.lost)).collect();
        assert_eq!(figures, [(Kind::Rust, 2, 0), (Kind::Chromium, 3, 3)]);
        assert!(!outcome.is_good());
    }
}
