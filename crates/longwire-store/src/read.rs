//! Reads channels back, as the records that restore them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longwire_core::broker::memory::Record;
use longwire_protocol::{Epoch, Position};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::body;
use crate::error::{Error, Trouble};

/// The channels that a store has kept, one by one: for each the records that restore it, in their order.
pub struct Restored {
    connection: Connection,
    path: PathBuf,
    channels: std::vec::IntoIter<Channel>,
    now: u64,
}

struct Channel {
    id: i64,
    name: Arc<str>,
    epoch: Option<u32>,
    head: u64,
    floor: u64,
}

impl Restored {
    /// Idempotency keys that have run out at `now` are left out.
    pub(crate) fn new(connection: Connection, path: &Path, now: u64, mine: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let channels = {
            let select = || -> rusqlite::Result<Vec<Channel>> {
                let mut statement = connection.prepare("SELECT id, name, epoch, head, floor FROM channel ORDER BY id")?;
                let channels = statement.query_map([], channel)?;
                channels.filter(|channel| channel.as_ref().map_or(true, |channel| mine(&channel.name))).collect()
            };
            select().map_err(|error| Error::sqlite(path, &error))?
        };
        Ok(Self { connection, path: path.to_owned(), channels: channels.into_iter(), now })
    }
}

impl Iterator for Restored {
    type Item = Result<Vec<Record>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let channel = self.channels.next()?;
            match load(&self.connection, &self.path, &channel, self.now) {
                Ok(records) if records.is_empty() => {}
                records => return Some(records),
            }
        }
    }
}

/// The records that restore one channel; none if there is nothing of it.
pub(crate) fn channel_named(connection: &Connection, path: &Path, name: &str, now: u64) -> Result<Vec<Record>, Error> {
    let sql = "SELECT id, name, epoch, head, floor FROM channel WHERE name = ?1";
    let find = || connection.prepare_cached(sql)?.query_row([name], channel).optional();
    match find().map_err(|error| Error::sqlite(path, &error))? {
        Some(channel) => load(connection, path, &channel, now),
        None => Ok(Vec::new()),
    }
}

fn channel(row: &Row<'_>) -> rusqlite::Result<Channel> {
    let name = row.get_ref(1)?.as_str()?.into();
    Ok(Channel { id: row.get(0)?, name, epoch: row.get(2)?, head: number(row, 3)?, floor: number(row, 4)? })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

fn load(connection: &Connection, path: &Path, channel: &Channel, now: u64) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    if let Some(epoch) = channel.epoch {
        records.push(Record::Epoch { channel: channel.name.clone(), epoch: Epoch(epoch), head: channel.head });
    }
    if channel.floor > 0 {
        records.push(Record::Trim { channel: channel.name.clone(), floor: channel.floor, except: Vec::new() });
    }
    let mut load = || {
        history(connection, channel, &mut records)?;
        keys(connection, channel, &mut records)?;
        once(connection, channel, now, &mut records)
    };
    match load() {
        Ok(()) => Ok(records),
        Err(Unreadable::Sqlite(error)) => Err(Error::sqlite(path, &error)),
        Err(Unreadable::Body(what)) => Err(Error::new(Trouble::Corrupt, path, format!("channel {:?}, {what}", channel.name))),
    }
}

enum Unreadable {
    Sqlite(rusqlite::Error),
    Body(String),
}

impl From<rusqlite::Error> for Unreadable {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Publications and pieces, in the order in which they were made.
fn history(connection: &Connection, channel: &Channel, records: &mut Vec<Record>) -> Result<(), Unreadable> {
    let sql = "SELECT offset, body, 0 FROM publication WHERE channel = ?1
        UNION ALL SELECT offset, body, stream FROM piece WHERE channel = ?1
        ORDER BY 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([channel.id])?;
    while let Some(row) = rows.next()? {
        let (offset, bytes, stream) =
            (number(row, 0)?, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, number(row, 2)?);
        let record = if stream == 0 || stream == offset {
            body::decode_publication(bytes, &channel.name).map(Record::Publication)
        } else {
            body::decode_piece(bytes, &channel.name).map(Record::Piece)
        };
        records.push(record.map_err(|why| Unreadable::Body(format!("offset {offset}: {why}")))?);
    }
    Ok(())
}

fn keys(connection: &Connection, channel: &Channel, records: &mut Vec<Record>) -> Result<(), Unreadable> {
    let sql = "SELECT key, offset, body FROM key WHERE channel = ?1 ORDER BY offset";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([channel.id])?;
    while let Some(row) = rows.next()? {
        let (key, offset) = (row.get::<_, Box<str>>(0)?, number(row, 1)?);
        let publication = body::decode_publication(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?, &channel.name);
        let publication = publication.map_err(|why| Unreadable::Body(format!("key {key:?}: {why}")))?;
        records.push(Record::Key { channel: channel.name.clone(), key, offset, publication: Some(publication) });
    }
    Ok(())
}

fn once(connection: &Connection, channel: &Channel, now: u64, records: &mut Vec<Record>) -> Result<(), Unreadable> {
    let sql = "SELECT key, epoch, offset, until FROM once WHERE channel = ?1 AND until > ?2 ORDER BY until";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([channel.id, now as i64])?;
    while let Some(row) = rows.next()? {
        let position = match (row.get::<_, Option<u32>>(1)?, row.get::<_, Option<i64>>(2)?) {
            (Some(epoch), Some(offset)) => Some(Position { epoch: Epoch(epoch), offset: offset as u64 }),
            _ => None,
        };
        let (key, until) = (row.get(0)?, number(row, 3)?);
        records.push(Record::Once { channel: channel.name.clone(), key, position, until });
    }
    Ok(())
}
