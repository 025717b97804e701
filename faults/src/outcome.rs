//! What came of it: the counting.

use std::time::Duration;

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

    /// Counts what the subscribers of one kind have got, each of which should have `0..each`.
    pub(crate) fn judge(&mut self, ledger: &Ledger, each: u64) {
        let mut tally = Tally::new(ledger.kind);
        for (client, record) in ledger.records().iter().enumerate() {
            let one = Tally::of(ledger.kind, record, each);
            if let Some(reason) = &record.ended {
                self.complain(format!("{} client {client} has ended: {reason}", ledger.kind));
            }
            if !one.is_good() {
                let Tally { lost, repeated, out_of_order, .. } = one;
                self.complain(format!(
                    "{} client {client} got {} of {each}: {lost} lost, {repeated} repeated, {out_of_order} out of order, told of a loss: {:?}",
                    ledger.kind,
                    record.numbers.len(),
                    record.told_missing,
                ));
            }
            tally.add(&one);
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
        Self { kind, clients: 0, deliveries: 0, recoveries: 0, lost: 0, repeated: 0, out_of_order: 0, told_missing: 0 }
    }

    fn of(kind: Kind, record: &Record, each: u64) -> Self {
        let mut tally = Self { clients: 1, recoveries: record.recoveries, ..Self::new(kind) };
        tally.told_missing = record.told_missing.len() as u64;
        let mut seen = vec![false; each as usize];
        let mut newest = None;
        for number in &record.numbers {
            tally.deliveries += 1;
            match number.and_then(|number| seen.get_mut(number as usize)) {
                Some(seen) if !*seen => *seen = true,
                _ => tally.repeated += 1,
            }
            tally.out_of_order += u64::from(*number < newest);
            newest = newest.max(*number);
        }
        tally.lost = seen.iter().filter(|seen| !**seen).count() as u64;
        tally
    }

    fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.deliveries += other.deliveries;
        self.recoveries += other.recoveries;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.told_missing += other.told_missing;
    }

    fn is_good(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.out_of_order == 0 && self.told_missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome for one JavaScript client that should get four and reports these lines.
    fn outcome(lines: &[&str]) -> Outcome {
        let ledger = Ledger::new(Kind::Node, 1);
        for line in lines {
            ledger.note_line(&format!(r#"{{"client":0,{line}}}"#));
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
    fn each_kind_has_its_own_figures() {
        let mut outcome = Outcome::default();
        outcome.judge(&Ledger::new(Kind::Rust, 2), 0);
        outcome.judge(&Ledger::new(Kind::Chromium, 3), 1);
        let figures: Vec<_> = outcome.tallies.iter().map(|tally| (tally.kind, tally.clients, tally.lost)).collect();
        assert_eq!(figures, [(Kind::Rust, 2, 0), (Kind::Chromium, 3, 3)]);
        assert!(!outcome.is_good());
    }
}
