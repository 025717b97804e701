//! The keys of a channel, as they come to a subscription that wants them.
//!
//! A server sends them when a subscription begins, and not when it goes on. So if that was cut off, they are asked for when the
//! subscription has gone on, page by page, over any number of lines, while changes come as publications.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::Publication;

use super::output::Event;

/// What has come of them.
#[derive(Debug)]
pub(super) enum Snapshot {
    /// All; or none are wanted.
    Whole,
    /// The server sends them; whether some have come.
    Coming { begun: bool },
    /// They are asked for.
    Fetching(Fetch),
}

#[derive(Debug, Default)]
pub(super) struct Fetch {
    pub(super) page: Page,
    /// How often in a row the next page was refused.
    pub(super) refusals: u32,
    /// Continue after this key.
    after: Option<Box<str>>,
    /// Whether some have been handed on.
    begun: bool,
    /// What has changed since they are asked for, by key: what a page says of it may be older.
    changed: BTreeMap<Box<str>, Arc<Publication>>,
}

/// Where the next page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// To be asked for.
    #[default]
    Wanted,
    /// Asked for, with this number.
    Asked(u64),
    /// Refused for now, until this time.
    Refused(Duration),
}

impl Snapshot {
    /// What was to come on this line does not come any more.
    pub(super) fn interrupt(&mut self) {
        match self {
            Self::Whole => {}
            Self::Coming { .. } => *self = Self::Fetching(Fetch::default()),
            Self::Fetching(fetch) => fetch.page = Page::Wanted,
        }
    }

    /// The server has sent some; nothing to hand on if that was not to be expected.
    pub(super) fn part(&mut self, entries: Vec<Arc<Publication>>, done: bool) -> Option<Event> {
        let Self::Coming { begun } = self else { return None };
        let first = !std::mem::replace(begun, true);
        if done {
            *self = Self::Whole;
        }
        Some(Event::State { entries, first, done })
    }

    /// A publication was handed on.
    pub(super) fn published(&mut self, publication: &Arc<Publication>) {
        if let Self::Fetching(fetch) = self
            && let Some(key) = key(publication)
        {
            fetch.changed.insert(key.into(), publication.clone());
        }
    }

    /// Something was missed, so that pages may be too old by now.
    pub(super) fn gap(&mut self) {
        if let Self::Fetching(fetch) = self {
            *fetch = Fetch::default();
        }
    }

    /// The page that was asked for with this number; nothing to hand on if it is of no use any more.
    pub(super) fn page(&mut self, number: u64, mut entries: Vec<Arc<Publication>>, more: bool) -> Option<Event> {
        let Self::Fetching(fetch) = self else { return None };
        if fetch.page != Page::Asked(number) {
            return None;
        }
        (fetch.page, fetch.refusals) = (Page::Wanted, 0);
        let last = entries.last().and_then(|last| key(last)).map(Into::into);
        let done = !more || last.is_none();
        fetch.after = last;
        entries.retain(|entry| {
            let changed = key(entry).and_then(|key| fetch.changed.get(key));
            changed.is_none_or(|changed| changed.offset < entry.offset)
        });
        let first = !std::mem::replace(&mut fetch.begun, true);
        if first {
            // With the first all is forgotten that is known from before, changes too.
            let known: Vec<_> = entries.iter().filter_map(|entry| key(entry)).collect();
            let changes = fetch.changed.iter().filter(|(key, change)| !is_removal(change) && !known.contains(&&***key));
            let changes: Vec<_> = changes.map(|(_, change)| change.clone()).collect();
            entries.extend(changes);
        }
        if done {
            *self = Self::Whole;
        }
        Some(Event::State { entries, first, done })
    }
}

impl Fetch {
    /// The key after which the next page begins.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

fn key(publication: &Publication) -> Option<&str> {
    publication.rare.as_ref()?.key.as_deref()
}

fn is_removal(publication: &Publication) -> bool {
    publication.rare.as_ref().is_some_and(|rare| rare.removed)
}
