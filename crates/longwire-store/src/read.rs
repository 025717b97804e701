//! Reads channels back, as the records that restore them.
//!
//! A row that cannot be read does not keep the others from being read: it is put aside (module `damage`), and what followers have
//! to be told of it is in the channel's records. Where a page of the file is damaged, the channels that it concerns are refused.

use std::path::Path;
use std::sync::Arc;

use longwire_core::broker::memory::Record;
use longwire_protocol::{Epoch, Position};
use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement};

use crate::body;
use crate::damage::{self, Damaged, Table};
use crate::error::Error;

/// What the store has kept of one channel.
#[derive(Debug)]
pub struct Kept {
    /// Which channel.
    pub channel: Arc<str>,
    /// What restores it, in the order in which it was made; nothing if nothing is kept of it.
    ///
    /// # Errors
    /// It cannot be read: what is asked of it has to be refused, since nobody knows what it was.
    pub records: Result<Vec<Record>, Error>,
}

/// A row of `channel`.
pub(crate) struct Channel {
    pub(crate) id: i64,
    pub(crate) name: Arc<str>,
    pub(crate) epoch: Option<u32>,
    pub(crate) head: u64,
    pub(crate) floor: u64,
}

/// What was read of a channel.
#[derive(Default)]
pub(crate) struct Found {
    /// Publications, and pieces of streams, with their offsets.
    pub(crate) history: Vec<(u64, Record)>,
    /// Keys with their values, and the offsets of these.
    pub(crate) keys: Vec<(u64, Record)>,
    pub(crate) once: Vec<Record>,
    pub(crate) damaged: Vec<Damaged>,
}

/// Reads all channels in one pass over each table, as long as `each` says so. Idempotency keys that have run out at `now` are left out.
pub(crate) fn all(connection: &Connection, path: &Path, now: u64, mut each: impl FnMut(Kept) -> bool) -> Result<(), Error> {
    let sqlite = |error| Error::sqlite(path, &error);
    // One state of the file, whatever is written meanwhile.
    connection.execute_batch("BEGIN").map_err(sqlite)?;
    let mut read = || -> rusqlite::Result<()> {
        let mut channels = connection.prepare("SELECT id, name, epoch, head, floor FROM channel ORDER BY id")?;
        let mut channels = channels.query([])?;
        let mut statements = Statements::new(connection)?;
        // Until one of them meets a damaged page. From then on each channel is read by itself.
        let mut together = statements.cursors(i64::MIN, i64::MAX, now).ok();
        while let Some(row) = channels.next()? {
            let Ok(channel) = channel(row) else {
                tracing::error!("the store has a channel whose row cannot be read: it is left out");
                continue;
            };
            let found = match together.as_mut().map(|cursors| cursors.read(&channel)) {
                Some(Ok(found)) => Ok(found),
                Some(Err(_)) | None => {
                    together = None;
                    one(connection, &channel, now)
                }
            };
            let kept = damage::settle(path, channel, found);
            let is_something = kept.records.as_ref().map_or(true, |records| !records.is_empty());
            if is_something && !each(kept) {
                break;
            }
        }
        Ok(())
    };
    let result = read().map_err(sqlite);
    drop(connection.execute_batch("ROLLBACK"));
    result
}

/// Reads one channel; nothing if there is nothing of it.
pub(crate) fn channel_named(connection: &Connection, path: &Path, name: &Arc<str>, now: u64) -> Result<Kept, Error> {
    let sql = "SELECT id, name, epoch, head, floor FROM channel WHERE name = ?1";
    let find = || connection.prepare_cached(sql)?.query_row([name], channel).optional();
    match find().map_err(|error| Error::sqlite(path, &error))? {
        Some(channel) => {
            let found = one(connection, &channel, now);
            Ok(damage::settle(path, channel, found))
        }
        None => Ok(Kept { channel: name.clone(), records: Ok(Vec::new()) }),
    }
}

fn one(connection: &Connection, channel: &Channel, now: u64) -> rusqlite::Result<Found> {
    Statements::new(connection)?.cursors(channel.id, channel.id, now)?.read(channel)
}

fn channel(row: &Row<'_>) -> rusqlite::Result<Channel> {
    let name = row.get_ref(1)?.as_str()?.into();
    Ok(Channel { id: row.get(0)?, name, epoch: row.get(2)?, head: number(row, 3)?, floor: number(row, 4)? })
}

/// One for each table. Their first column is the channel's number, by which they are sorted.
struct Statements<'c> {
    publications: Statement<'c>,
    pieces: Statement<'c>,
    keys: Statement<'c>,
    once: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |columns: &str, table: &str, order: &str| {
            let sql = format!("SELECT channel, {columns} FROM {table} WHERE channel BETWEEN ?1 AND ?2 ORDER BY {order}");
            connection.prepare(&sql)
        };
        Ok(Self {
            publications: prepare("id, offset, body", "publication", "channel, offset")?,
            pieces: prepare("id, offset, body, stream", "piece", "channel, stream, offset")?,
            keys: prepare("key, offset, body", "key", "channel, key")?,
            once: connection.prepare(
                "SELECT channel, key, epoch, offset, until FROM once WHERE channel BETWEEN ?1 AND ?2 AND until > ?3
                ORDER BY channel, until, key",
            )?,
        })
    }

    fn cursors(&mut self, first: i64, last: i64, now: u64) -> rusqlite::Result<Cursors<'_>> {
        let of = |statement| Cursor::new(statement, (first, last));
        Ok(Cursors {
            publications: of(&mut self.publications)?,
            pieces: of(&mut self.pieces)?,
            keys: of(&mut self.keys)?,
            once: Cursor::new(&mut self.once, (first, last, now as i64))?,
        })
    }
}

/// What is left to read of the tables.
struct Cursors<'s> {
    publications: Cursor<'s>,
    pieces: Cursor<'s>,
    keys: Cursor<'s>,
    once: Cursor<'s>,
}

impl Cursors<'_> {
    /// What there is of a channel; those with smaller numbers are passed over.
    fn read(&mut self, channel: &Channel) -> rusqlite::Result<Found> {
        let mut found = Found::default();
        let name = &channel.name;
        self.publications.rows_of(channel.id, |row| {
            let offset = number(row, 2).ok();
            match offset.zip(blob(row, 3)).map(|(offset, bytes)| (offset, body::decode_publication(bytes, name))) {
                Some((offset, Ok(publication))) => found.history.push((offset, Record::Publication(publication))),
                read => found.damaged.push(Damaged::new(Table::Publication { id: row.get(1)? }, offset, why(read))),
            }
            Ok(())
        })?;
        self.pieces.rows_of(channel.id, |row| {
            let (offset, stream) = (number(row, 2).ok(), number(row, 4).ok());
            let read = offset.zip(stream).zip(blob(row, 3)).map(|((offset, stream), bytes)| {
                let record = match stream == offset {
                    true => body::decode_publication(bytes, name).map(Record::Publication),
                    false => body::decode_piece(bytes, name).map(Record::Piece),
                };
                (offset, record)
            });
            match read {
                Some((offset, Ok(record))) => found.history.push((offset, record)),
                read => found.damaged.push(Damaged::new(Table::Piece { id: row.get(1)?, stream }, offset, why(read))),
            }
            Ok(())
        })?;
        self.keys.rows_of(channel.id, |row| {
            let (key, offset) = (row.get::<_, Box<str>>(1).ok(), number(row, 2).ok());
            let read = offset.zip(key.clone()).zip(blob(row, 3));
            match read.map(|((offset, key), bytes)| (offset, body::decode_publication(bytes, name).map(|value| (key, value)))) {
                Some((offset, Ok((key, publication)))) => {
                    let record = Record::Key { channel: name.clone(), key, offset, publication: Some(publication) };
                    found.keys.push((offset, record));
                }
                read => found.damaged.push(Damaged::new(Table::Key { key }, offset, why(read))),
            }
            Ok(())
        })?;
        self.once.rows_of(channel.id, |row| {
            let position = match (row.get::<_, Option<u32>>(2)?, row.get::<_, Option<i64>>(3)?) {
                (Some(epoch), Some(offset)) => Some(Position { epoch: Epoch(epoch), offset: offset as u64 }),
                _ => None,
            };
            let (key, until) = (row.get(1)?, number(row, 4)?);
            found.once.push(Record::Once { channel: name.clone(), key, position, until });
            Ok(())
        })?;
        // A piece stands between the publications that were made while its stream ran.
        found.history.sort_by_key(|(offset, _)| *offset);
        found.keys.sort_by_key(|(offset, _)| *offset);
        Ok(found)
    }
}

struct Cursor<'s> {
    rows: Rows<'s>,
}

impl<'s> Cursor<'s> {
    fn new(statement: &'s mut Statement<'_>, params: impl rusqlite::Params) -> rusqlite::Result<Self> {
        let mut rows = statement.query(params)?;
        rows.advance()?;
        Ok(Self { rows })
    }

    fn rows_of(&mut self, channel: i64, mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        while let Some(row) = self.rows.get() {
            let id: i64 = row.get(0)?;
            if id > channel {
                break;
            }
            if id == channel {
                read(row)?;
            }
            self.rows.advance()?;
        }
        Ok(())
    }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Option<&'r [u8]> {
    row.get_ref(column).ok()?.as_blob().ok()
}

fn why<T>(read: Option<(u64, Result<T, String>)>) -> String {
    match read {
        Some((_, Err(why))) => why,
        _ => "it has a value of another kind".to_owned(),
    }
}
