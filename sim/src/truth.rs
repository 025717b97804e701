//! What really happened in the channels: written down from what their homes keep, apart from how it is delivered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use longwire_core::broker::memory::Record;
use longwire_protocol::{Data, Epoch, Piece, Publication, SessionId, StreamEnd};

/// Everything that happened.
#[derive(Default)]
pub struct Truth {
    channels: BTreeMap<Arc<str>, Channel>,
}

/// What happened in one channel.
#[derive(Default)]
pub struct Channel {
    /// The numbering that it has now.
    pub epoch: Option<Epoch>,
    /// Numberings that are over for a good reason.
    pub ended: HashSet<Epoch>,
    epochs: HashMap<Epoch, Numbering>,
    /// What had no place, in order.
    unnumbered: Vec<(String, Option<SessionId>)>,
    /// Where each stands; in more than one place if it was published again because the server had forgotten it.
    places: HashMap<String, Vec<usize>>,
}

/// What happened within one numbering.
#[derive(Default)]
pub struct Numbering {
    /// By offset.
    pub entries: BTreeMap<u64, Entry>,
    /// The newest offset.
    pub head: u64,
    /// Up to here the history is gone.
    pub floor: u64,
    /// The keys with their values.
    pub keys: BTreeMap<String, Arc<Publication>>,
    once: HashSet<String>,
}

/// Something with an offset.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A publication.
    Publication(Arc<Publication>),
    /// A piece of a stream.
    Piece(Arc<Piece>),
    /// The removal of a key, in a channel without history.
    Removal,
    /// Something that no store keeps.
    Passed,
}

impl Truth {
    /// A change at a channel's home that cannot be lost any more.
    ///
    /// # Errors
    /// If it contradicts what happened before.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        let name = record.channel().clone();
        let channel = self.channels.entry(name.clone()).or_default();
        let wrong = |what: String| Err(format!("{name}: {what}"));
        match record {
            Record::Epoch { epoch, head, .. } => {
                let has_numbered = channel.epochs.get(epoch).is_some_and(|numbering| numbering.head > 0);
                // One in which nothing was numbered may: whoever had looked at the channel has missed nothing.
                if channel.ended.remove(epoch) && has_numbered {
                    return wrong(format!("epoch {epoch} has come back"));
                }
                if channel.epoch.is_some_and(|before| before != *epoch) {
                    return wrong(format!("epoch {epoch} without the end of the one before"));
                }
                channel.epoch = Some(*epoch);
                let numbering = channel.epochs.entry(*epoch).or_default();
                for offset in numbering.head + 1..=*head {
                    numbering.entries.insert(offset, Entry::Passed);
                }
                numbering.head = numbering.head.max(*head);
                return Ok(());
            }
            Record::Once { .. } => return Ok(()),
            // Options stay what they are.
            Record::Renumbered { epoch, .. } => return wrong(format!("renumbered, to epoch {epoch}")),
            Record::Gone { .. } => {
                channel.ended.extend(channel.epoch.take());
                return Ok(());
            }
            _ => {}
        }
        let Some(numbering) = channel.epoch.and_then(|epoch| channel.epochs.get_mut(&epoch)) else {
            return wrong("something with an offset in a channel without an epoch".to_owned());
        };
        match record {
            Record::Publication(publication) => {
                numbering.extend(publication.offset, Entry::Publication(publication.clone()))?;
                numbering.only_once(publication)
            }
            Record::Piece(piece) => numbering.extend(piece.offset, Entry::Piece(piece.clone())),
            Record::Trim { floor, .. } => {
                numbering.floor = numbering.floor.max(*floor);
                Ok(())
            }
            Record::Key { key, offset, publication, .. } => {
                if *offset > numbering.head {
                    let entry = publication.clone().map_or(Entry::Removal, Entry::Publication);
                    numbering.extend(*offset, entry)?;
                    publication.iter().try_for_each(|publication| numbering.only_once(publication))?;
                }
                match publication {
                    Some(publication) => numbering.keys.insert(key.to_string(), publication.clone()),
                    None => numbering.keys.remove(&**key),
                };
                Ok(())
            }
            _ => Ok(()),
        }
        .map_err(|what| format!("{name}: {what}"))
    }

    /// Something was told to those who follow a channel: of what is not kept nobody else speaks.
    pub fn told(&mut self, publication: &Arc<Publication>) {
        if publication.offset == 0 {
            return self.unnumbered(publication);
        }
        let Some(channel) = self.channels.get_mut(&publication.channel) else { return };
        let entries = channel.epoch.and_then(|epoch| channel.epochs.get_mut(&epoch)).map(|numbering| &mut numbering.entries);
        if let Some(entry @ Entry::Passed) = entries.and_then(|entries| entries.get_mut(&publication.offset)) {
            *entry = Entry::Publication(publication.clone());
        }
    }

    fn unnumbered(&mut self, publication: &Publication) {
        let channel = self.channels.entry(publication.channel.clone()).or_default();
        let text = text_of(publication);
        channel.places.entry(text.clone()).or_default().push(channel.unnumbered.len());
        channel.unnumbered.push((text, publication.from.as_ref().map(|from| from.session)));
    }

    /// Where something without an offset stands among its like: in one place, but for what was published again.
    pub fn places_of(&self, publication: &Publication) -> &[usize] {
        let channel = self.channels.get(&publication.channel);
        channel.and_then(|channel| channel.places.get(&text_of(publication))).map_or(&[], Vec::as_slice)
    }

    /// What stands there among what had no place, and who said it.
    pub fn at_place(&self, channel: &str, place: usize) -> Option<&(String, Option<SessionId>)> {
        self.channels.get(channel)?.unnumbered.get(place)
    }

    /// The server has lost everything that it had in memory.
    pub fn lose_all(&mut self) {
        for channel in self.channels.values_mut() {
            channel.ended.extend(channel.epoch.take());
        }
    }

    /// A channel in which something has happened.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(name)
    }

    /// A numbering of a channel.
    pub fn numbering(&self, name: &str, epoch: Epoch) -> Option<&Numbering> {
        self.channels.get(name)?.epochs.get(&epoch)
    }
}

impl Numbering {
    fn extend(&mut self, offset: u64, entry: Entry) -> Result<(), String> {
        if offset != self.head + 1 {
            return Err(format!("offset {offset} follows {}", self.head));
        }
        self.head = offset;
        self.entries.insert(offset, entry);
        Ok(())
    }

    fn only_once(&mut self, publication: &Publication) -> Result<(), String> {
        let text = text_of(publication);
        if text.starts_with("once ") && !self.once.insert(text.clone()) {
            return Err(format!("{text:.20} was published twice, at last at {}", publication.offset));
        }
        Ok(())
    }

    /// The text of a stream up to an offset, and how it had ended by then.
    pub fn stream(&self, began: u64, up_to: u64) -> Option<(String, Option<StreamEnd>)> {
        let Some(Entry::Publication(beginning)) = self.entries.get(&began) else { return None };
        let (mut text, mut end) = (text_of(beginning), None);
        for entry in self.entries.range(began..=up_to).map(|(_, entry)| entry) {
            if let Entry::Piece(piece) = entry
                && piece.stream == began
            {
                text.push_str(piece.data.as_deref().unwrap_or(""));
                end = piece.end;
            }
        }
        Some((text, end))
    }
}

/// The text of a publication, whichever way it came.
pub fn text_of(publication: &Publication) -> String {
    match &publication.data {
        None => String::new(),
        Some(Data::Json(json)) => String::from_utf8_lossy(json).trim_matches('"').to_owned(),
        Some(Data::Text(bytes) | Data::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
