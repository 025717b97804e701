//! Rows that cannot be read: they are put aside in a table of their own, and the channel goes on without them.
//!
//! Followers are told. A history does not reach back behind what is missing in it, so who comes from before that is told of a gap;
//! a channel that has lost a key's value begins a new epoch.

use std::path::Path;

use longwire_core::broker::memory::Record;
use longwire_protocol::Epoch;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::error::{Error, Trouble};
use crate::file;
use crate::read::{Channel, Found, Kept};
use crate::store::now;
use crate::tables;

/// Where a damaged row stands.
#[derive(Debug)]
pub(crate) enum Table {
    Publication {
        id: i64,
    },
    Piece {
        id: i64,
        /// Nothing if that is what is damaged.
        stream: Option<u64>,
    },
    Key {
        /// Nothing if that is what is damaged.
        key: Option<Box<str>>,
    },
}

/// A row that cannot be read.
#[derive(Debug)]
pub(crate) struct Damaged {
    table: Table,
    /// Nothing if that is what is damaged.
    offset: Option<u64>,
    why: String,
}

impl Damaged {
    pub(crate) fn new(table: Table, offset: Option<u64>, why: String) -> Self {
        Self { table, offset, why }
    }

    fn stream(&self) -> Option<u64> {
        match self.table {
            Table::Piece { stream, .. } => stream,
            _ => None,
        }
    }
}

/// A damaged row is kept here for whoever wants to look at it; nothing of ours reads it. It is made when it is needed.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS damaged (
        channel TEXT NOT NULL,
        was_in TEXT NOT NULL,
        stream INTEGER,
        key TEXT,
        offset,
        body,
        why TEXT NOT NULL,
        found INTEGER NOT NULL
    )";

/// What restores a channel after what was found of it.
pub(crate) fn settle(path: &Path, mut channel: Channel, found: rusqlite::Result<Found>) -> Kept {
    let name = channel.name.clone();
    let settled = found.and_then(|mut found| {
        if !found.damaged.is_empty() {
            repair(&mut channel, &mut found);
            put_aside(path, &mut channel, &found.damaged)?;
            let (rows, why) = (found.damaged.len(), &found.damaged[0].why);
            tracing::error!(channel = %name, rows, why, "damaged rows were put aside: the channel goes on without them");
        }
        Ok(records(&channel, found))
    });
    let records = settled.map_err(|error| {
        tracing::error!(channel = %name, %error, "the store cannot read a channel: what is asked of it is refused");
        Error::new(Trouble::Corrupt, path, format!("channel {name:?}: {error}"))
    });
    Kept { channel: name, records }
}

/// Leaves out of a history what followers cannot be given without a hole.
fn repair(channel: &mut Channel, found: &mut Found) {
    let in_history = found.damaged.iter().filter(|damaged| !matches!(damaged.table, Table::Key { .. }));
    let Some(floor) = in_history.map(|damaged| damaged.offset.unwrap_or(channel.head)).max() else { return };
    // Of a stream that lacks a piece nothing is of use.
    let torn: Vec<u64> = found.damaged.iter().filter_map(Damaged::stream).collect();
    let of_torn = found.history.iter().filter(|(_, record)| stream(record).is_some_and(|stream| torn.contains(&stream)));
    let floor = of_torn.fold(floor, |floor, (at, _)| floor.max(*at));
    // Another stream stays as long as its newest piece does.
    let later: Vec<u64> = found.history.iter().filter(|(at, _)| *at > floor).filter_map(|(_, record)| stream(record)).collect();
    found.history.retain(|(at, record)| *at > floor || stream(record).is_some_and(|stream| later.contains(&stream)));
    (channel.floor, channel.head) = (channel.floor.max(floor), channel.head.max(floor));
}

/// The stream that a record is of.
fn stream(record: &Record) -> Option<u64> {
    match record {
        Record::Piece(piece) => Some(piece.stream),
        Record::Publication(publication) => {
            publication.rare.as_ref().filter(|rare| rare.stream.is_some()).map(|_| publication.offset)
        }
        _ => None,
    }
}

fn records(channel: &Channel, found: Found) -> Vec<Record> {
    let name = &channel.name;
    let epoch = channel.epoch.map(|epoch| Record::Epoch { channel: name.clone(), epoch: Epoch(epoch), head: channel.head });
    let trim = (channel.floor > 0).then(|| Record::Trim { channel: name.clone(), floor: channel.floor, except: Vec::new() });
    let rest = found.history.into_iter().chain(found.keys).map(|(_, record)| record).chain(found.once);
    epoch.into_iter().chain(trim).chain(rest).collect()
}

/// Moves damaged rows into their table, and writes down what the channel is without them.
fn put_aside(path: &Path, channel: &mut Channel, damaged: &[Damaged]) -> rusqlite::Result<()> {
    let mut connection = file::connect(path, OpenFlags::empty()).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    for damaged in damaged {
        move_row(&transaction, channel, damaged)?;
    }
    if damaged.iter().any(|damaged| matches!(damaged.table, Table::Key { .. })) && channel.epoch.is_some() {
        channel.epoch = transaction.query_row("SELECT 1 + abs(random() % 4294967294)", [], |row| row.get(0))?;
    }
    tables::trim(&transaction, channel.id, channel.floor, &[])?;
    let (head, floor) = (channel.head as i64, channel.floor as i64);
    let sql = "UPDATE channel SET epoch = ?2, head = ?3, floor = ?4 WHERE id = ?1";
    transaction.execute(sql, params![channel.id, channel.epoch, head, floor])?;
    transaction.commit()
}

fn move_row(connection: &Connection, channel: &Channel, Damaged { table, why, .. }: &Damaged) -> rusqlite::Result<usize> {
    let (name, found) = (&channel.name, now() as i64);
    let into = "INSERT INTO damaged SELECT ?1,";
    match table {
        Table::Publication { id } => {
            let sql = format!("{into} 'publication', NULL, NULL, offset, body, ?2, ?3 FROM publication WHERE id = ?4");
            connection.execute(&sql, params![name, why, found, id])?;
            connection.execute("DELETE FROM publication WHERE id = ?1", [id])
        }
        Table::Piece { id, .. } => {
            let sql = format!("{into} 'piece', stream, NULL, offset, body, ?2, ?3 FROM piece WHERE id = ?4");
            connection.execute(&sql, params![name, why, found, id])?;
            connection.execute("DELETE FROM piece WHERE id = ?1", [id])
        }
        Table::Key { key } => {
            let which = "channel = ?1 AND (key = ?2 OR (?2 IS NULL AND typeof(key) <> 'text'))";
            let sql = format!("INSERT INTO damaged SELECT ?3, 'key', NULL, key, offset, body, ?4, ?5 FROM key WHERE {which}");
            connection.execute(&sql, params![channel.id, key, name, why, found])?;
            connection.execute(&format!("DELETE FROM key WHERE {which}"), params![channel.id, key])
        }
    }
}
