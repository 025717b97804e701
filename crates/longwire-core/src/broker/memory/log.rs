//! The past of a channel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use longwire_protocol::{Piece, Publication, Publish, Rare, SessionId};

use super::kept::{Kept, by};
use super::stream::Stream;
use super::{PAGE, PAGE_BYTES};

/// What one entry takes beside its texts, about.
const ENTRY_BYTES: usize = 240;
/// And if it is a stream, with its places among those that have not ended.
const STREAM_BYTES: usize = 720;
/// What tags take beside their texts: all of them, and each.
const TAGS_BYTES: usize = 376;
const TAG_BYTES: usize = 64;

/// What a channel keeps of its publications, by offset. A stream stands at the offset of its newest piece.
#[derive(Default)]
pub(super) struct Log {
    entries: BTreeMap<u64, Entry>,
    /// Where each stream stands, by the offset of its beginning.
    streams: HashMap<u64, u64>,
    /// Those that have not ended: when their producer is taken for lost, and where they begin.
    leases: BTreeSet<(u64, u64)>,
    /// Bytes of those that have not ended.
    open_bytes: usize,
    bytes: usize,
    /// Everything after this offset is here, one way or another.
    floor: u64,
}

struct Entry {
    what: What,
    /// The steady time at which it is too old.
    expires: u64,
}

enum What {
    Publication(Arc<Publication>),
    Stream(Box<Stream>),
}

/// What a history may be.
pub(super) struct Bounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Log {
    pub(super) fn push(&mut self, publication: Arc<Publication>, expires: u64, kept: &mut Kept) {
        let bytes = size(&publication);
        self.bytes += bytes;
        kept.add(by(publication.from.as_ref()), bytes);
        self.entries.insert(publication.offset, Entry { what: What::Publication(publication), expires });
    }

    pub(super) fn push_stream(&mut self, stream: Stream, expires: u64, kept: &mut Kept) {
        let bytes = STREAM_BYTES + stream.length() as usize;
        self.bytes += bytes;
        self.open_bytes += bytes;
        kept.add(stream.by(), bytes);
        self.leases.insert((stream.lease, stream.began()));
        self.streams.insert(stream.began(), stream.last);
        self.entries.insert(stream.last, Entry { what: What::Stream(Box::new(stream)), expires });
    }

    /// A stream, by the offset of its beginning.
    pub(super) fn stream(&mut self, began: u64) -> Option<&mut Stream> {
        match &mut self.entries.get_mut(self.streams.get(&began)?)?.what {
            What::Stream(stream) => Some(stream),
            What::Publication(_) => None,
        }
    }

    /// A stream's producer is alive: it is taken for lost at this steady time from now on.
    pub(super) fn renew(&mut self, began: u64, lease: u64) {
        if let Some(stream) = self.stream(began)
            && stream.is_open()
        {
            let before = std::mem::replace(&mut stream.lease, lease);
            self.leases.remove(&(before, began));
            self.leases.insert((lease, began));
        }
    }

    /// Whether streams that have not ended, which no bound may drop, would break the bounds with one more of them, or so many
    /// more bytes in them.
    pub(super) fn is_crowded(&self, bounds: &Bounds, streams: usize, bytes: usize) -> bool {
        self.leases.len() + streams > bounds.entries || self.open_bytes + streams * STREAM_BYTES + bytes > bounds.bytes
    }

    /// Takes a numbered piece into its stream, which then stands at the piece's offset.
    pub(super) fn add(&mut self, piece: &Piece, expires: u64, kept: &mut Kept) {
        let Some(at) = self.streams.get_mut(&piece.stream) else { return };
        let Some(mut entry) = self.entries.remove(at) else { return };
        *at = piece.offset;
        if let What::Stream(stream) = &mut entry.what {
            let (was_open, length) = (stream.is_open(), piece.data.as_ref().map_or(0, |data| data.len()));
            self.bytes += length;
            kept.add(stream.by(), length);
            stream.add(piece);
            if was_open {
                self.open_bytes += length;
            }
            if was_open && !stream.is_open() {
                self.open_bytes -= STREAM_BYTES + stream.length() as usize;
                self.leases.remove(&(stream.lease, piece.stream));
            }
        }
        self.entries.insert(piece.offset, Entry { expires, ..entry });
    }

    /// Drops what is too much or too old, from the oldest on, but no stream that has not ended. Whether anything was dropped.
    pub(super) fn trim(&mut self, bounds: &Bounds, now: u64, kept: &mut Kept) -> bool {
        let mut trimmed = false;
        while self.entries.len() > bounds.entries || self.bytes > bounds.bytes {
            trimmed |= match self.oldest() {
                Some(oldest) => self.drop_entry(oldest, kept),
                None => break,
            };
        }
        while let Some(oldest) = self.oldest()
            && self.entries.get(&oldest).is_some_and(|entry| entry.expires <= now)
        {
            trimmed |= self.drop_entry(oldest, kept);
        }
        trimmed
    }

    /// Drops everything up to `floor`, but no stream that has not ended.
    pub(super) fn trim_to(&mut self, floor: u64, kept: &mut Kept) {
        while let Some(oldest) = self.oldest()
            && oldest <= floor
        {
            self.drop_entry(oldest, kept);
        }
        self.floor = self.floor.max(floor);
    }

    /// Drops everything at once.
    pub(super) fn clear(&mut self, kept: &mut Kept) {
        self.entries.values().for_each(|entry| kept.sub(entry.by(), entry.bytes()));
        *self = Self::default();
    }

    /// What goes when so many bytes come as one more.
    pub(super) fn makes_room(&self, bounds: &Bounds, bytes: usize) -> usize {
        match self.oldest().and_then(|oldest| self.entries.get(&oldest)) {
            Some(_) if self.bytes + bytes > bounds.bytes => bytes,
            Some(oldest) if self.entries.len() >= bounds.entries => oldest.bytes(),
            _ => 0,
        }
    }

    /// Everything after this offset is here.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The newest offset that is here.
    pub(super) fn newest(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }

    /// What is no stream, from old to new.
    pub(super) fn publications(&self) -> impl Iterator<Item = &Publication> {
        self.entries.values().filter_map(|entry| match &entry.what {
            What::Publication(publication) => Some(&**publication),
            What::Stream(_) => None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Streams that have not ended, by the offset of their beginning.
    pub(super) fn open_streams(&self) -> Vec<u64> {
        let mut open: Vec<u64> = self.leases.iter().map(|(_, began)| *began).collect();
        open.sort_unstable();
        open
    }

    /// The first stream whose producer is lost by now.
    pub(super) fn lost_stream(&self, now: u64) -> Option<&Stream> {
        let (_, began) = self.leases.first().filter(|(lease, _)| *lease <= now)?;
        match &self.entries.get(self.streams.get(began)?)?.what {
            What::Stream(stream) => Some(stream),
            What::Publication(_) => None,
        }
    }

    /// When the next entry is too old, or the next producer lost.
    pub(super) fn due(&self) -> Option<u64> {
        let expires = self.oldest().and_then(|oldest| self.entries.get(&oldest)).map(|entry| entry.expires);
        let lease = self.leases.first().map(|(lease, _)| *lease);
        expires.into_iter().chain(lease).min()
    }

    /// Where the last `count` begin: they are what comes after this offset. A stream that stands so far back that what came
    /// after it is no longer here is not among them.
    pub(super) fn before_last(&self, count: usize, head: u64) -> u64 {
        let Some(further) = count.min(self.entries.len()).checked_sub(1) else { return head };
        self.entries.keys().rev().nth(further).map_or(head, |first| first - 1).max(self.floor)
    }

    /// The next page after an offset, and up to where it goes.
    pub(super) fn page(&self, after: u64, head: u64) -> (Vec<Arc<Publication>>, u64) {
        let (publications, more) = self.after(after, PAGE);
        let end = if more { publications.last().map_or(head, |last| last.offset) } else { head };
        (publications, end)
    }

    /// At most `limit` after an offset, from old to new, and whether there are more.
    pub(super) fn after(&self, offset: u64, limit: usize) -> (Vec<Arc<Publication>>, bool) {
        take(self.entries.range(offset.saturating_add(1)..).map(|(_, entry)| entry.publication()), limit)
    }

    /// At most `limit` before an offset, the nearest to it, from old to new, and whether there are more.
    pub(super) fn before(&self, offset: u64, limit: usize) -> (Vec<Arc<Publication>>, bool) {
        let (mut publications, more) = take(self.entries.range(..offset).rev().map(|(_, entry)| entry.publication()), limit);
        publications.reverse();
        (publications, more)
    }

    /// The newest of each key after an offset, by offset; of those without a key, the newest of all. And whether there is more.
    pub(super) fn latest(&self, after: u64) -> (Vec<Arc<Publication>>, bool) {
        let mut count = 0;
        let mut newest: BTreeMap<Option<Box<str>>, Arc<Publication>> = BTreeMap::new();
        for publication in self.entries.range(after.saturating_add(1)..).map(|(_, entry)| entry.publication()) {
            let key = publication.rare.as_ref().and_then(|rare| rare.key.clone());
            newest.insert(key, publication);
            count += 1;
        }
        let mut publications: Vec<_> = newest.into_values().collect();
        publications.sort_unstable_by_key(|publication| publication.offset);
        let has_more = count > publications.len() || after < self.floor;
        (publications, has_more)
    }

    /// The oldest that may be dropped.
    fn oldest(&self) -> Option<u64> {
        let droppable = |entry: &Entry| !matches!(&entry.what, What::Stream(stream) if stream.is_open());
        self.entries.iter().find(|(_, entry)| droppable(entry)).map(|(offset, _)| *offset)
    }

    fn drop_entry(&mut self, offset: u64, kept: &mut Kept) -> bool {
        let Some(entry) = self.entries.remove(&offset) else { return false };
        self.floor = self.floor.max(offset);
        self.bytes -= entry.bytes();
        kept.sub(entry.by(), entry.bytes());
        if let What::Stream(stream) = &entry.what {
            self.streams.remove(&stream.began());
        }
        true
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Publication(publication) => size(publication),
            What::Stream(stream) => STREAM_BYTES + stream.length() as usize,
        }
    }

    /// Because of whom it is kept.
    fn by(&self) -> Option<SessionId> {
        match &self.what {
            What::Publication(publication) => by(publication.from.as_ref()),
            What::Stream(stream) => stream.by(),
        }
    }

    fn publication(&self) -> Arc<Publication> {
        match &self.what {
            What::Publication(publication) => publication.clone(),
            What::Stream(stream) => stream.rolled_up(),
        }
    }
}

fn take(publications: impl Iterator<Item = Arc<Publication>>, limit: usize) -> (Vec<Arc<Publication>>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for publication in publications {
        if page.len() >= limit || bytes >= PAGE_BYTES {
            return (page, true);
        }
        bytes += size(&publication);
        page.push(publication);
    }
    (page, false)
}

/// What a publication takes, about.
pub(crate) fn size(publication: &Publication) -> usize {
    let data = publication.data.as_ref().map_or(0, |data| data.as_bytes().len());
    let rare = publication.rare.as_ref().map_or(0, |rare| rare_size(&rare.event, &rare.key, Some(&rare.tags)));
    ENTRY_BYTES + data + rare
}

/// What it would take, about.
pub(super) fn size_of_publish(publish: &Publish) -> usize {
    let data = publish.data.as_ref().map_or(0, |data| data.as_bytes().len());
    let is_rare = publish.event.is_some() || publish.key.is_some() || publish.tags.is_some() || publish.stream;
    let rare = if is_rare { rare_size(&publish.event, &publish.key, publish.tags.as_deref()) } else { 0 };
    ENTRY_BYTES + data + rare
}

fn rare_size(event: &Option<Box<str>>, key: &Option<Box<str>>, tags: Option<&BTreeMap<Box<str>, Box<str>>>) -> usize {
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let each = tags.into_iter().flatten().map(|(name, value)| TAG_BYTES + name.len() + value.len()).sum::<usize>();
    let all = if each > 0 { TAGS_BYTES + each } else { 0 };
    size_of::<Rare>() + text(event) + text(key) + all
}
