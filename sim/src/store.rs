//! A store that keeps what it is told to, as a real one would: it drops what is trimmed, and does not know how it came to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use longwire_core::broker::memory::Record;
use longwire_protocol::{Epoch, Piece, Position, Publication};

use crate::chance::Chance;

/// What is on disk.
#[derive(Default)]
pub struct Store {
    channels: BTreeMap<Arc<str>, Kept>,
    /// All that was ever written, to replay it instead.
    journal: Vec<Record>,
}

#[derive(Default)]
struct Kept {
    epoch: Option<Epoch>,
    head: u64,
    floor: u64,
    publications: BTreeMap<u64, Arc<Publication>>,
    /// By the offset of the stream's beginning.
    pieces: BTreeMap<u64, Vec<Arc<Piece>>>,
    keys: BTreeMap<Box<str>, (u64, Arc<Publication>)>,
    once: Vec<(Box<str>, Option<Position>, u64)>,
}

impl Store {
    /// Writes records down, all or none.
    pub fn write(&mut self, records: &[Record]) {
        for record in records {
            self.journal.push(record.clone());
            if let Record::Gone { channel } = record {
                self.channels.remove(channel);
                self.journal.retain(|before| before.channel() != channel);
                continue;
            }
            self.channels.entry(record.channel().clone()).or_default().take(record);
        }
    }

    /// All that is kept, in one of the ways in which a store may give it back.
    pub fn records(&self, chance: &mut Chance) -> Vec<Record> {
        if chance.one_in(2) {
            return self.journal.clone();
        }
        self.channels.iter().flat_map(|(channel, kept)| kept.records(channel)).collect()
    }
}

impl Kept {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Epoch { epoch, head, .. } => (self.epoch, self.head) = (Some(*epoch), self.head.max(*head)),
            Record::Renumbered { epoch, .. } => {
                self.epoch = Some(*epoch);
                self.keys.clear();
            }
            Record::Publication(publication) => {
                self.head = self.head.max(publication.offset);
                self.publications.insert(publication.offset, publication.clone());
            }
            Record::Piece(piece) => {
                self.head = self.head.max(piece.offset);
                self.pieces.entry(piece.stream).or_default().push(piece.clone());
            }
            Record::Trim { floor, except, .. } => {
                self.floor = *floor;
                let pieces = &self.pieces;
                let newest = |began: u64| pieces.get(&began).and_then(|pieces| pieces.last()).map_or(began, |last| last.offset);
                self.publications.retain(|offset, _| newest(*offset) > *floor || except.contains(offset));
                let publications = &self.publications;
                self.pieces.retain(|began, _| publications.contains_key(began));
            }
            Record::Key { key, offset, publication, .. } => {
                self.head = self.head.max(*offset);
                match publication {
                    Some(publication) => self.keys.insert(key.clone(), (*offset, publication.clone())),
                    None => self.keys.remove(key),
                };
            }
            Record::Once { key, position, until, .. } => self.once.push((key.clone(), *position, *until)),
            Record::Gone { .. } => {}
        }
    }

    fn records(&self, channel: &Arc<str>) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.epoch.map(|epoch| Record::Epoch { channel: channel.clone(), epoch, head: self.head }));
        let publications =
            self.publications.iter().map(|(offset, publication)| (*offset, Record::Publication(publication.clone())));
        let pieces = self.pieces.values().flatten().map(|piece| (piece.offset, Record::Piece(piece.clone())));
        let mut history: Vec<_> = publications.chain(pieces).collect();
        history.sort_by_key(|(offset, _)| *offset);
        records.extend(history.into_iter().map(|(_, record)| record));
        if self.floor > 0 {
            records.push(Record::Trim { channel: channel.clone(), floor: self.floor, except: Vec::new() });
        }
        for (key, (offset, publication)) in &self.keys {
            let (channel, publication) = (channel.clone(), Some(publication.clone()));
            records.push(Record::Key { channel, key: key.clone(), offset: *offset, publication });
        }
        for (key, position, until) in &self.once {
            records.push(Record::Once { channel: channel.clone(), key: key.clone(), position: *position, until: *until });
        }
        records
    }
}
