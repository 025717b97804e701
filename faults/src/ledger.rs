//! What the subscribers of one kind tell of themselves, and what each of them has got.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::deal::{self, Deal, Digest};

/// A file of `js`, and its first argument.
pub(crate) type Script = (&'static str, Option<&'static str>);

/// What kind of client a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `longwire-client`, over WebSockets.
    Rust,
    /// `longwire-client`, over answers to HTTP requests that do not end.
    RustStream,
    /// `longwire-client`, over long polls.
    RustPoll,
    /// `clients/js` in Node, over WebSockets.
    Node,
    /// `clients/js` in Node, over answers to HTTP requests that do not end.
    Stream,
    /// `clients/js` in Node, over long polls.
    Poll,
    /// `fetch` of Node, which polls for what has happened since.
    Polls,
    /// npm's `eventsource`, in Node.
    Events,
    /// `socket.io-client`, in Node: a third each polls, has WebSockets, and upgrades from the one to the other.
    SocketIo,
    /// `clients/js` in a page, over WebSockets.
    Chromium,
}

impl Kind {
    /// The script that has the subscribers of this kind, and what it is to be told about which, if they are in JavaScript.
    pub(crate) fn script(self) -> Option<Script> {
        match self {
            Self::Rust | Self::RustStream | Self::RustPoll => None,
            Self::Node => Some(("node.mjs", Some("websocket"))),
            Self::Stream => Some(("node.mjs", Some("stream"))),
            Self::Poll => Some(("node.mjs", Some("poll"))),
            Self::Polls => Some(("node.mjs", Some("polls"))),
            Self::Events => Some(("node.mjs", Some("events"))),
            Self::SocketIo => Some(("node.mjs", Some("socketio"))),
            Self::Chromium => Some(("chromium.mjs", None)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::RustStream => "Rust, HTTP stream",
            Self::RustPoll => "Rust, long poll",
            Self::Node => "Node",
            Self::Stream => "HTTP stream",
            Self::Poll => "long poll",
            Self::Polls => "plain poll",
            Self::Events => "EventSource",
            Self::SocketIo => "Socket.IO",
            Self::Chromium => "Chromium",
        })
    }
}

/// What a subscriber tells of one of its channels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Report {
    /// Its subscription has begun, perhaps anew: everything comes, from the first.
    Subscribed,
    /// Its line was lost, and it goes on where it was.
    Recovered,
    /// It got a publication with this number, or with something that is none.
    Publication { number: Option<u64> },
    /// What it knows of the channel's keys.
    Keys(Digest),
    /// It was told that something is missing.
    Missed { reason: String },
    /// It gets nothing any more.
    Ended { reason: String },
}

/// A report of one of several subscribers, as a line of JSON.
#[derive(Deserialize)]
struct Line {
    client: usize,
    channel: usize,
    #[serde(flatten)]
    report: Report,
}

/// What one subscriber has got of one channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) subscribed: bool,
    pub(crate) recoveries: u64,
    /// In the order in which they came since it has begun; `None` for what is no number.
    pub(crate) numbers: Vec<Option<u64>>,
    /// What came each time before it has begun anew.
    pub(crate) before: Vec<Vec<Option<u64>>>,
    pub(crate) keys: Digest,
    /// Why something is missing, each time that it was told so.
    pub(crate) told_missing: Vec<String>,
    /// Why nothing comes any more.
    pub(crate) ended: Option<String>,
}

/// The records of all subscribers of one kind.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) kind: Kind,
    deal: Deal,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    /// Of each subscriber, in the order of its channels.
    records: Vec<Vec<Record>>,
    /// In all records.
    deliveries: u64,
    /// What the subscribers tell can't be relied upon any more.
    broken: Option<String>,
}

impl Ledger {
    pub(crate) fn new(kind: Kind, clients: usize, deal: Deal) -> Self {
        let records = vec![vec![Record::default(); deal.follows]; clients];
        Self { kind, deal, inner: Arc::new(Mutex::new(Inner { records, deliveries: 0, broken: None })) }
    }

    /// A subscriber tells something. The ledger is broken if there is no such subscriber, or if it does not follow that channel.
    pub(crate) fn note(&self, client: usize, channel: usize, report: Report) {
        let mut inner = self.lock();
        let place = self.deal.place(client, channel);
        let Inner { records, deliveries, broken } = &mut *inner;
        let Some(record) = records.get_mut(client).zip(place).map(|(records, place)| &mut records[place]) else {
            broken.get_or_insert(format!("there is no {} client {client} in channel {channel}", self.kind));
            return;
        };
        match report {
            Report::Subscribed => {
                if std::mem::replace(&mut record.subscribed, true) {
                    record.before.push(std::mem::take(&mut record.numbers));
                }
                record.keys = Digest::default();
            }
            Report::Recovered => record.recoveries += 1,
            Report::Publication { number } => {
                *deliveries += 1;
                record.numbers.push(number);
            }
            Report::Keys(keys) => record.keys = keys,
            Report::Missed { reason } => record.told_missing.push(reason),
            Report::Ended { reason } => record.ended = Some(reason),
        }
    }

    /// A subscriber tells something by a line of JSON. The ledger is broken if it is none.
    pub(crate) fn note_line(&self, line: &str) {
        match serde_json::from_str::<Line>(line) {
            Ok(Line { client, channel, report }) => self.note(client, channel, report),
            Err(error) => self.broken(format!("the {} clients said {line:?}: {error}", self.kind)),
        }
    }

    /// What the subscribers tell can't be relied upon any more; the first reason counts.
    pub(crate) fn broken(&self, reason: String) {
        self.lock().broken.get_or_insert(reason);
    }

    /// # Errors
    /// The ledger is broken; in words for people.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.lock().broken.clone().map_or(Ok(()), Err)
    }

    /// How many have not subscribed yet.
    pub(crate) fn not_subscribed(&self) -> usize {
        self.lock().records.iter().filter(|records| records.iter().any(|record| !record.subscribed)).count()
    }

    /// Whether nobody waits for anything, if each is to get so many in each channel, and these keys in those that have any.
    pub(crate) fn has_all(&self, each: u64, keys: Digest) -> bool {
        let inner = self.lock();
        let mut all = inner.records.iter().enumerate().flat_map(|(client, records)| self.deal.of(client).zip(records));
        all.all(|(channel, record)| {
            let has_keys = !deal::is_keyed(channel) || record.keys == keys;
            record.numbers.len() as u64 >= each && has_keys || record.ended.is_some()
        })
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.lock().deliveries
    }

    pub(crate) fn deal(&self) -> Deal {
        self.deal
    }

    /// Of each subscriber, in the order of its channels.
    pub(crate) fn records(&self) -> Vec<Vec<Record>> {
        self.lock().records.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAL: Deal = Deal { channels: 3, follows: 2, renewals: 0, within: 0 };

    #[test]
    fn lines_of_json_become_records() {
        let ledger = Ledger::new(Kind::Node, 2, DEAL);
        let tell = |channel: usize, what: &str| ledger.note_line(&format!(r#"{{"client":1,"channel":{channel},{what}}}"#));
        tell(1, r#""type":"subscribed""#);
        assert_eq!(ledger.not_subscribed(), 2, "in its other channel it is not");
        for what in [
            r#""type":"publication","number":0"#,
            r#""type":"subscribed""#,
            r#""type":"publication","number":0"#,
            r#""type":"recovered""#,
            r#""type":"publication","number":null"#,
            r#""type":"missed","reason":"epoch""#,
            r#""type":"keys","count":2,"sum":7"#,
        ] {
            tell(1, what);
        }
        tell(2, r#""type":"subscribed""#);
        assert_eq!((ledger.not_subscribed(), ledger.deliveries(), ledger.check()), (1, 3, Ok(())));
        let keys = Digest { count: 2, sum: 7 };
        let [first, second] = &ledger.records()[1][..] else { panic!("two channels") };
        assert_eq!((&first.before[..], &first.numbers[..]), (&[vec![Some(0)]][..], &[Some(0), None][..]));
        assert_eq!((first.recoveries, first.told_missing.as_slice(), first.keys), (1, &["epoch".to_owned()][..], keys));
        assert!(second.subscribed && second.numbers.is_empty());
        assert!(!ledger.has_all(0, keys), "the other one has no keys");
        ledger.note_line(r#"{"client":0,"channel":1,"type":"ended","reason":"refused"}"#);
        assert!(ledger.has_all(0, keys) && !ledger.has_all(1, keys) && !ledger.has_all(0, Digest::default()));
    }

    #[test]
    fn what_is_no_report_breaks_the_ledger() {
        for line in [
            "",
            "hello",
            r#"{"client":2,"channel":2,"type":"subscribed"}"#,
            r#"{"client":0,"channel":2,"type":"subscribed"}"#,
            r#"{"client":0,"channel":0,"type":"fine"}"#,
            r#"{"client":0,"type":"recovered"}"#,
        ] {
            let ledger = Ledger::new(Kind::Chromium, 2, DEAL);
            ledger.note_line(line);
            assert!(ledger.check().is_err(), "{line}");
        }
    }
}
