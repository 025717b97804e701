//! What the subscribers of one kind tell of themselves, and what each of them has got.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

/// A file of `js`, and its first argument.
pub(crate) type Script = (&'static str, Option<&'static str>);

/// What kind of client a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `longwire-client`, over WebSockets.
    Rust,
    /// `clients/js` in Node, over WebSockets.
    Node,
    /// `clients/js` in Node, over answers to HTTP requests that do not end.
    Stream,
    /// `clients/js` in Node, over long polls.
    Poll,
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
            Self::Rust => None,
            Self::Node => Some(("node.mjs", Some("websocket"))),
            Self::Stream => Some(("node.mjs", Some("stream"))),
            Self::Poll => Some(("node.mjs", Some("poll"))),
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
            Self::Node => "Node",
            Self::Stream => "HTTP stream",
            Self::Poll => "long poll",
            Self::Events => "EventSource",
            Self::SocketIo => "Socket.IO",
            Self::Chromium => "Chromium",
        })
    }
}

/// What a subscriber tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Report {
    /// Its subscription has begun.
    Subscribed,
    /// Its line was lost, and it goes on where it was.
    Recovered,
    /// It got a publication with this number, or with something that is none.
    Publication { number: Option<u64> },
    /// It was told that something is missing.
    Missed { reason: String },
    /// It gets nothing any more.
    Ended { reason: String },
}

/// A report of one of several subscribers, as a line of JSON.
#[derive(Deserialize)]
struct Line {
    client: usize,
    #[serde(flatten)]
    report: Report,
}

/// What one subscriber has got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) subscribed: bool,
    pub(crate) recoveries: u64,
    /// In the order in which they came; `None` for what is no number.
    pub(crate) numbers: Vec<Option<u64>>,
    /// Why something is missing, each time that it was told so.
    pub(crate) told_missing: Vec<String>,
    /// Why nothing comes any more.
    pub(crate) ended: Option<String>,
}

/// The records of all subscribers of one kind.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) kind: Kind,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    records: Vec<Record>,
    /// What the subscribers tell can't be relied upon any more.
    broken: Option<String>,
}

impl Ledger {
    pub(crate) fn new(kind: Kind, clients: usize) -> Self {
        Self { kind, inner: Arc::new(Mutex::new(Inner { records: vec![Record::default(); clients], broken: None })) }
    }

    /// A subscriber tells something. The ledger is broken if there is no such subscriber.
    pub(crate) fn note(&self, client: usize, report: Report) {
        let mut inner = self.lock();
        let Some(record) = inner.records.get_mut(client) else {
            let complaint = format!("there is no {} client {client}", self.kind);
            inner.broken.get_or_insert(complaint);
            return;
        };
        match report {
            Report::Subscribed => record.subscribed = true,
            Report::Recovered => record.recoveries += 1,
            Report::Publication { number } => record.numbers.push(number),
            Report::Missed { reason } => record.told_missing.push(reason),
            Report::Ended { reason } => record.ended = Some(reason),
        }
    }

    /// A subscriber tells something by a line of JSON. The ledger is broken if it is none.
    pub(crate) fn note_line(&self, line: &str) {
        match serde_json::from_str::<Line>(line) {
            Ok(Line { client, report }) => self.note(client, report),
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
        self.lock().records.iter().filter(|record| !record.subscribed).count()
    }

    /// Whether nobody waits for anything, if each is to get so many.
    pub(crate) fn has_all(&self, each: u64) -> bool {
        self.lock().records.iter().all(|record| record.numbers.len() as u64 >= each || record.ended.is_some())
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.lock().records.iter().map(|record| record.numbers.len() as u64).sum()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_json_become_records() {
        let ledger = Ledger::new(Kind::Node, 2);
        for line in [
            r#"{"client":1,"type":"subscribed"}"#,
            r#"{"client":1,"type":"publication","number":0}"#,
            r#"{"client":1,"type":"recovered"}"#,
            r#"{"client":1,"type":"publication","number":null}"#,
            r#"{"client":1,"type":"missed","reason":"epoch"}"#,
        ] {
            ledger.note_line(line);
        }
        let record = &ledger.records()[1];
        assert!(record.subscribed && ledger.not_subscribed() == 1 && ledger.check().is_ok());
        assert_eq!(record.numbers, [Some(0), None]);
        assert_eq!((record.recoveries, record.told_missing.as_slice()), (1, &["epoch".to_owned()][..]));
        assert!(!ledger.has_all(2), "the other one has nothing");
        ledger.note_line(r#"{"client":0,"type":"ended","reason":"refused"}"#);
        assert!(ledger.has_all(2));
    }

    #[test]
    fn what_is_no_report_breaks_the_ledger() {
        for line in
            ["", "hello", r#"{"client":2,"type":"subscribed"}"#, r#"{"client":0,"type":"fine"}"#, r#"{"type":"recovered"}"#]
        {
            let ledger = Ledger::new(Kind::Chromium, 2);
            ledger.note_line(line);
            assert!(ledger.check().is_err(), "{line}");
        }
    }
}
