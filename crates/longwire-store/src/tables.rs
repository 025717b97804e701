//! Writes records into the tables.

use std::collections::HashMap;
use std::sync::Arc;

use longwire_core::broker::memory::Record;
use longwire_protocol::{Epoch, Piece, Publication};
use rusqlite::{Connection, OptionalExtension, params};

use crate::body;

/// Channels whose rows are remembered.
const KNOWN_MAX: usize = 100_000;

/// What the writing thread knows of the tables.
#[derive(Default)]
pub(crate) struct Tables {
    known: HashMap<Arc<str>, Channel>,
    /// Channels whose row is to be written before the transaction ends.
    touched: Vec<Arc<str>>,
    body: Vec<u8>,
}

/// A row of `channel`, as it will be.
struct Channel {
    id: i64,
    epoch: Option<u32>,
    head: u64,
    floor: u64,
    touched: bool,
    /// The history is to be trimmed to `floor`, but not these streams.
    trim: Option<Vec<u64>>,
}

impl Tables {
    /// Writes one record. Afterwards [`Tables::finish`] is needed, or [`Tables::forget`] if any of it fails.
    pub(crate) fn write(&mut self, connection: &Connection, record: &Record) -> rusqlite::Result<()> {
        match record {
            Record::Epoch { channel, epoch, head } => self.epoch(connection, channel, epoch.0, *head),
            Record::Renumbered { channel, epoch } => {
                let row = self.touch(connection, channel, 0)?;
                row.epoch = Some(epoch.0);
                run(connection, "DELETE FROM key WHERE channel = ?1", [row.id])
            }
            Record::Publication(publication) => self.publication(connection, publication),
            Record::Piece(piece) => self.piece(connection, piece),
            Record::Trim { channel, floor, except } => {
                let row = self.touch(connection, channel, *floor)?;
                row.floor = row.floor.max(*floor);
                row.trim = Some(except.clone());
                Ok(())
            }
            Record::Key { channel, key, offset, publication } => {
                let id = self.touch(connection, channel, *offset)?.id;
                let Some(publication) = publication else {
                    return run(connection, "DELETE FROM key WHERE channel = ?1 AND key = ?2", params![id, key]);
                };
                body::encode_publication(publication, &mut self.body);
                let sql = "INSERT OR REPLACE INTO key VALUES (?1, ?2, ?3, ?4)";
                run(connection, sql, params![id, key, *offset as i64, self.body])
            }
            Record::Once { channel, key, position, until } => {
                let id = self.touch(connection, channel, 0)?.id;
                let (epoch, offset) = (position.map(|at| at.epoch.0), position.map(|at| at.offset as i64));
                let until = i64::try_from(*until).unwrap_or(i64::MAX);
                let sql = "INSERT OR REPLACE INTO once VALUES (?1, ?2, ?3, ?4, ?5)";
                run(connection, sql, params![id, until, key, epoch, offset])
            }
            Record::Gone { channel } => self.gone(connection, channel),
        }
    }

    /// Writes what was put off to the end of the transaction, because it is done once for many records.
    pub(crate) fn finish(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for name in self.touched.drain(..) {
            // A channel that is gone by now is not known any more.
            let Some(row) = self.known.get_mut(&name) else { continue };
            if !std::mem::take(&mut row.touched) {
                continue;
            }
            let sql = "UPDATE channel SET epoch = ?2, head = ?3, floor = ?4 WHERE id = ?1";
            run(connection, sql, params![row.id, row.epoch, row.head as i64, row.floor as i64])?;
            if let Some(except) = row.trim.take() {
                trim(connection, row.id, row.floor, &except)?;
            }
        }
        Ok(())
    }

    /// Knows nothing any more: a transaction has failed, or the memory is to be had back.
    pub(crate) fn forget(&mut self) {
        self.known = HashMap::new();
        self.touched = Vec::new();
    }

    /// Between transactions: keeps the memory in bounds.
    pub(crate) fn settle(&mut self) {
        if self.known.len() > KNOWN_MAX {
            self.forget();
        }
    }

    /// Deletes idempotency keys that have run out, and channels that were there only for them. Whether there were any.
    pub(crate) fn expire(&mut self, connection: &Connection, now: u64) -> rusqlite::Result<bool> {
        let now = now as i64;
        let mut first = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM once WHERE until <= ?1)")?;
        if !first.query_row([now], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
        let needless = "DELETE FROM channel WHERE epoch IS NULL
            AND id IN (SELECT DISTINCT channel FROM once WHERE until <= ?1)
            AND NOT EXISTS (SELECT 1 FROM once WHERE channel = channel.id AND until > ?1)";
        if connection.prepare_cached(needless)?.execute([now])? > 0 {
            self.forget();
        }
        connection.prepare_cached("DELETE FROM once WHERE until <= ?1")?.execute([now])?;
        Ok(true)
    }

    fn epoch(&mut self, connection: &Connection, channel: &Arc<str>, epoch: u32, head: u64) -> rusqlite::Result<()> {
        let row = self.touch(connection, channel, 0)?;
        if row.epoch.is_some_and(|before| before != epoch && before != Epoch::NONE.0) {
            // Another numbering: what had the old one is of no use.
            (row.head, row.floor, row.trim) = (0, 0, None);
            let id = row.id;
            empty(connection, id)?;
        }
        let row = self.touch(connection, channel, head)?;
        row.epoch = Some(epoch);
        Ok(())
    }

    fn publication(&mut self, connection: &Connection, publication: &Publication) -> rusqlite::Result<()> {
        let offset = publication.offset;
        let id = self.touch(connection, &publication.channel, offset)?.id;
        body::encode_publication(publication, &mut self.body);
        if publication.rare.as_ref().is_some_and(|rare| rare.stream.is_some()) {
            return insert_piece(connection, id, offset, offset, &self.body);
        }
        let sql = "INSERT INTO publication (channel, offset, body) VALUES (?1, ?2, ?3)";
        run(connection, sql, params![id, offset as i64, self.body])
    }

    fn piece(&mut self, connection: &Connection, piece: &Piece) -> rusqlite::Result<()> {
        let id = self.touch(connection, &piece.channel, piece.offset)?.id;
        body::encode_piece(piece, &mut self.body);
        insert_piece(connection, id, piece.stream, piece.offset, &self.body)?;
        if piece.end.is_some() { self.join_pieces(connection, id, piece) } else { Ok(()) }
    }

    /// A stream has ended: from now on its pieces are one.
    fn join_pieces(&mut self, connection: &Connection, id: i64, last: &Piece) -> rusqlite::Result<()> {
        let stream = last.stream as i64;
        let sql = "SELECT body FROM piece WHERE channel = ?1 AND stream = ?2 AND offset > ?2 ORDER BY offset";
        let mut text = String::new();
        let mut at = last.at;
        {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([id, stream])?;
            while let Some(row) = rows.next()? {
                // Damaged: it stays as it is, to be found when it is read.
                let Ok(piece) = body::decode_piece(row.get_ref(0)?.as_blob()?, &last.channel) else { return Ok(()) };
                at = at.min(piece.at);
                text.push_str(piece.data.as_deref().unwrap_or(""));
            }
        }
        run(connection, "DELETE FROM piece WHERE channel = ?1 AND stream = ?2 AND offset > ?2", [id, stream])?;
        let joined = Piece { at, data: (!text.is_empty()).then(|| text.into()), ..last.clone() };
        body::encode_piece(&joined, &mut self.body);
        insert_piece(connection, id, last.stream, last.offset, &self.body)
    }

    fn gone(&mut self, connection: &Connection, channel: &Arc<str>) -> rusqlite::Result<()> {
        let id = self.row(connection, channel)?.id;
        self.known.remove(channel);
        empty(connection, id)?;
        run(connection, "DELETE FROM once WHERE channel = ?1", [id])?;
        run(connection, "DELETE FROM channel WHERE id = ?1", [id])
    }

    /// The row of a channel that has got to an offset, to be written before the transaction ends.
    fn touch(&mut self, connection: &Connection, name: &Arc<str>, offset: u64) -> rusqlite::Result<&mut Channel> {
        if !self.row(connection, name)?.touched {
            self.touched.push(name.clone());
        }
        let row = self.row(connection, name)?;
        row.touched = true;
        row.head = row.head.max(offset);
        Ok(row)
    }

    /// The row of a channel, which is made if it is not there.
    fn row(&mut self, connection: &Connection, name: &Arc<str>) -> rusqlite::Result<&mut Channel> {
        if !self.known.contains_key(name) {
            let row = find_or_insert(connection, name)?;
            self.known.insert(name.clone(), row);
        }
        Ok(self.known.get_mut(name).expect("it was put there just now"))
    }
}

fn find_or_insert(connection: &Connection, name: &str) -> rusqlite::Result<Channel> {
    let mut find = connection.prepare_cached("SELECT id, epoch, head, floor FROM channel WHERE name = ?1")?;
    let found = find.query_row([name], |row| {
        let (head, floor) = (row.get::<_, i64>(2)? as u64, row.get::<_, i64>(3)? as u64);
        Ok(Channel { id: row.get(0)?, epoch: row.get(1)?, head, floor, touched: false, trim: None })
    });
    if let Some(found) = found.optional()? {
        return Ok(found);
    }
    run(connection, "INSERT INTO channel (name, head, floor) VALUES (?1, 0, 0)", [name])?;
    let id = connection.last_insert_rowid();
    Ok(Channel { id, epoch: None, head: 0, floor: 0, touched: false, trim: None })
}

fn insert_piece(connection: &Connection, id: i64, stream: u64, offset: u64, body: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO piece (channel, stream, offset, body) VALUES (?1, ?2, ?3, ?4)";
    run(connection, sql, params![id, stream as i64, offset as i64, body])
}

/// Deletes what has a smaller offset than `floor` or the same, of streams that of their newest piece.
pub(crate) fn trim(connection: &Connection, id: i64, floor: u64, except: &[u64]) -> rusqlite::Result<()> {
    run(connection, "DELETE FROM publication WHERE channel = ?1 AND offset <= ?2", [id, floor as i64])?;
    let mut next =
        connection.prepare_cached("SELECT min(stream) FROM piece WHERE channel = ?1 AND stream > ?2 AND stream <= ?3")?;
    let mut last = connection.prepare_cached("SELECT max(offset) FROM piece WHERE channel = ?1 AND stream = ?2")?;
    let mut stream = 0;
    while let Some(began) = next.query_row([id, stream, floor as i64], |row| row.get::<_, Option<i64>>(0))? {
        stream = began;
        let newest: i64 = last.query_row([id, stream], |row| row.get(0))?;
        if newest <= floor as i64 && !except.contains(&(stream as u64)) {
            run(connection, "DELETE FROM piece WHERE channel = ?1 AND stream = ?2", [id, stream])?;
        }
    }
    Ok(())
}

/// Deletes all that is numbered.
fn empty(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    run(connection, "DELETE FROM publication WHERE channel = ?1", [id])?;
    run(connection, "DELETE FROM piece WHERE channel = ?1", [id])?;
    run(connection, "DELETE FROM key WHERE channel = ?1", [id])
}

fn run(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(drop)
}
