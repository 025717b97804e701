//! What the channels of a broker keep, and for whom.

use std::collections::HashMap;
use std::sync::Arc;

use longwire_protocol::{Member, SessionId};

use crate::budget::{Budget, Share};

/// A session may have as much kept as a quarter of what is free, on all shards together: so it gets a fifth of the budget at most if it
/// is alone, less the more others have, and whoever has little finds room as long as there is any.
const PART: usize = 4;

/// What a channel takes that has nothing, beside its name, about: itself, its places in the broker's maps, and in the hub of those who
/// follow it.
pub(crate) const CHANNEL_BYTES: usize = 900;
/// What a key takes beside its text and its value.
pub(crate) const KEY_BYTES: usize = 96;
/// What an idempotency key takes beside its text, which is there twice.
pub(crate) const ONCE_BYTES: usize = 160;
/// What somebody who is there takes.
pub(crate) const MEMBER_BYTES: usize = 160;

pub(crate) struct Kept {
    share: Share,
    /// How many brokers the node has.
    brokers: usize,
    /// What is kept for each session that has published something, as long as there is something.
    sessions: HashMap<SessionId, usize>,
}

impl Kept {
    pub(super) fn new(budget: Arc<Budget>, brokers: usize) -> Self {
        Self { share: Share::of(budget), brokers: brokers.max(1), sessions: HashMap::new() }
    }

    /// So many bytes more are kept, because of a session, or of the server itself.
    pub(super) fn add(&mut self, by: Option<SessionId>, bytes: usize) {
        self.share.add(bytes);
        if let Some(by) = by {
            *self.sessions.entry(by).or_default() += bytes;
        }
    }

    pub(super) fn sub(&mut self, by: Option<SessionId>, bytes: usize) {
        self.share.sub(bytes);
        if let Some(by) = by
            && let Some(kept) = self.sessions.get_mut(&by)
        {
            *kept = kept.saturating_sub(bytes);
            if *kept == 0 {
                self.sessions.remove(&by);
            }
        }
    }

    /// Whether so much more may be kept.
    pub(super) fn has_room(&self, by: Option<SessionId>, bytes: usize) -> bool {
        let free = self.share.free();
        let part = free / PART / self.brokers;
        let has = |by| self.sessions.get(&by).copied().unwrap_or(0);
        bytes <= free && by.is_none_or(|by| has(by) + bytes <= part)
    }

    /// Bytes in all.
    pub(super) fn bytes(&self) -> usize {
        self.share.kept()
    }

    /// Whether nothing is kept for anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.share.kept() == 0 && self.sessions.is_empty()
    }
}

/// Because of whom something is kept.
pub(super) fn by(from: Option<&Arc<Member>>) -> Option<SessionId> {
    from.map(|from| from.session)
}
