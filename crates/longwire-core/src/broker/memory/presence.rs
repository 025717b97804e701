//! Who is in a channel.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use longwire_protocol::{Member, SessionId};

#[derive(Default)]
pub(super) struct Presence {
    sessions: BTreeMap<SessionId, Arc<Member>>,
    /// How many sessions each user has.
    users: HashMap<Arc<str>, u32>,
}

impl Presence {
    /// Whether the session has come only now.
    pub(super) fn enter(&mut self, member: &Arc<Member>) -> bool {
        let before = self.sessions.insert(member.session, member.clone());
        if let Some(before) = &before {
            self.count_down(before);
        }
        if let Some(user) = &member.user {
            *self.users.entry(user.clone()).or_default() += 1;
        }
        before.is_none()
    }

    /// Who has gone, if the session was there.
    pub(super) fn leave(&mut self, session: SessionId) -> Option<Arc<Member>> {
        let member = self.sessions.remove(&session)?;
        self.count_down(&member);
        Some(member)
    }

    /// At most `limit`, after `after`; and whether there are more.
    pub(super) fn page(&self, limit: usize, after: Option<SessionId>) -> (Vec<Arc<Member>>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut members = self.sessions.range((from, Bound::Unbounded)).map(|(_, member)| member.clone());
        let page = members.by_ref().take(limit).collect();
        (page, members.next().is_some())
    }

    pub(super) fn has(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.sessions.values()
    }

    pub(super) fn sessions(&self) -> u64 {
        self.sessions.len() as u64
    }

    pub(super) fn users(&self) -> u64 {
        self.users.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn count_down(&mut self, member: &Member) {
        let Some(user) = &member.user else { return };
        if let Some(count) = self.users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(user);
            }
        }
    }
}
