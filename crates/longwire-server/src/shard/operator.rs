//! What an operator asks of a shard: who and what there is, and ending it.

use std::sync::Arc;

use longwire_protocol::{Member, SessionId};

use super::Shard;
use crate::api::Whom;

/// Sessions, and in how many channels each is.
pub(crate) type Sessions = Vec<(Arc<Member>, Option<usize>)>;

impl Shard {
    /// The first sessions of a user, or of all, after one of them: at most so many, in the order of their ids.
    pub(crate) fn sessions(&self, user: Option<&str>, after: Option<SessionId>, most: usize) -> Sessions {
        let is_wanted = |member: &Member| {
            user.is_none_or(|user| member.user.as_deref() == Some(user)) && after.is_none_or(|after| member.session > after)
        };
        let members = self.core.channels.engine.members().filter(|(member, _)| is_wanted(member));
        let mut wanted: Vec<_> = members.map(|(member, channels)| (member.clone(), channels)).collect();
        first(&mut wanted, most, |(member, _)| member.session);
        wanted
    }

    /// The first of the channels whose home this is and whose names begin so, after a name: at most so many, by their names.
    pub(crate) fn channel_names(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<Arc<str>> {
        let is_wanted = |name: &str| name.starts_with(prefix) && after.is_none_or(|after| name > after);
        let mut wanted: Vec<_> = self.core.channels.names().filter(|name| is_wanted(name)).cloned().collect();
        first(&mut wanted, most, Arc::clone);
        wanted
    }

    /// How many lines of this shard are subscribed to each of these channels.
    pub(crate) fn subscribers(&self, channels: &[Arc<str>]) -> Vec<usize> {
        channels.iter().map(|channel| self.core.channels.engine.subscribers(channel)).collect()
    }

    /// Ends the sessions that are here; how many there were.
    pub(crate) fn disconnect(&mut self, whom: &Whom) -> usize {
        let sessions = self.of(whom);
        self.engine(|engine, ways| sessions.into_iter().filter(|session| engine.disconnect(*session, ways)).count())
    }

    /// Ends the subscriptions that are here; how many there were.
    pub(crate) fn unsubscribe(&mut self, channel: &Arc<str>, whom: &Whom) -> usize {
        let sessions = self.of(whom);
        self.engine(|engine, ways| {
            sessions.into_iter().filter(|session| engine.unsubscribe_session(*session, channel, ways)).count()
        })
    }

    fn of(&self, whom: &Whom) -> Vec<SessionId> {
        match whom {
            Whom::Session(session) => vec![*session],
            Whom::User(user) => {
                let members = self.core.channels.engine.members();
                members.filter(|(member, _)| member.user.as_ref() == Some(user)).map(|(member, _)| member.session).collect()
            }
        }
    }
}

/// Keeps the smallest, in their order.
fn first<T, K: Ord>(items: &mut Vec<T>, most: usize, key: impl Fn(&T) -> K) {
    if most < items.len() {
        items.select_nth_unstable_by_key(most, &key);
        items.truncate(most);
    }
    items.sort_unstable_by_key(key);
}
