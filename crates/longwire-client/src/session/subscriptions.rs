//! Subscriptions, and how far each has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Action, ErrorReply, Position, Push, Subscribe, Subscribed, Unrecovered};

use super::output::{Event, Output, SubscriptionId};

/// All of a session's. Ordered maps, so that the same inputs give the same outputs.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_channel: BTreeMap<Arc<str>, Subscription>,
    channels: BTreeMap<SubscriptionId, Arc<str>>,
    /// Channels whose subscription the server is to end.
    to_leave: BTreeSet<Arc<str>>,
    /// Channels with [`Phase::Idle`].
    to_join: BTreeSet<Arc<str>>,
    /// Channels with [`Phase::Refused`], by when to ask again.
    refused: BTreeSet<(Duration, Arc<str>)>,
    made: u64,
    asked: u64,
}

/// One asking for a subscription: an answer to an earlier one does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    pub(super) id: SubscriptionId,
    number: u64,
}

#[derive(Debug)]
struct Subscription {
    id: SubscriptionId,
    wants: Subscribe,
    phase: Phase,
    /// Up to where all has been handed on, or where to begin.
    position: Option<Position>,
    /// What of the channel's keys is still to come. Until then the position is the one that they belong to.
    keys: Keys,
    /// Times that the server has refused it in a row.
    refusals: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The server is to be asked.
    Idle,
    /// It has been, with this number.
    Asked(u64),
    /// It has agreed.
    Live,
    /// It has refused for now, until this time.
    Refused(Duration),
    /// The user has no room for more at the moment.
    Aside,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Keys {
    /// Nothing; or none are wanted.
    Complete,
    /// All.
    All,
    /// Those after this one.
    After(Box<str>),
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.by_channel.len()
    }

    pub(super) fn contains(&self, channel: &str) -> bool {
        self.by_channel.contains_key(channel)
    }

    /// `None` once it has ended.
    pub(super) fn position(&self, id: SubscriptionId) -> Option<Position> {
        self.by_channel.get(self.channels.get(&id)?)?.position
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = (&Arc<str>, Position)> {
        self.by_channel.iter().filter_map(|(channel, subscription)| Some((channel, subscription.position?)))
    }

    /// Takes one that is not there yet.
    pub(super) fn add(&mut self, wants: Subscribe) -> SubscriptionId {
        self.made += 1;
        let id = SubscriptionId(self.made);
        let channel = wants.channel.clone();
        let position = wants.since;
        let keys = wants.after.clone().map_or(Keys::Complete, |key| if key.is_empty() { Keys::All } else { Keys::After(key) });
        let subscription = Subscription { id, wants, phase: Phase::Idle, position, keys, refusals: 0 };
        self.channels.insert(id, channel.clone());
        self.to_join.insert(channel.clone());
        self.by_channel.insert(channel, subscription);
        id
    }

    /// The user wants no more of it.
    pub(super) fn remove(&mut self, id: SubscriptionId) {
        let Some(channel) = self.channels.get(&id).cloned() else { return };
        self.leave(&channel);
        self.forget(&channel);
    }

    /// The user has no room for more of it: the server is to end it until [`take_up`](Self::take_up).
    pub(super) fn set_aside(&mut self, id: SubscriptionId) {
        let Some(channel) = self.channels.get(&id).cloned() else { return };
        self.leave(&channel);
        self.enter(&channel, Phase::Aside);
    }

    /// The user has room again.
    pub(super) fn take_up(&mut self, id: SubscriptionId) {
        let Some(channel) = self.channels.get(&id).cloned() else { return };
        if self.by_channel.get(&channel).is_some_and(|subscription| subscription.phase == Phase::Aside) {
            self.enter(&channel, Phase::Idle);
        }
    }

    /// Subscriptions do not outlive the line.
    pub(super) fn line_lost(&mut self) {
        self.to_leave.clear();
        self.refused.clear();
        for (channel, subscription) in &mut self.by_channel {
            if subscription.phase != Phase::Aside {
                subscription.phase = Phase::Idle;
                self.to_join.insert(channel.clone());
            }
        }
    }

    pub(super) fn stop(&mut self) {
        *self = Self { made: self.made, asked: self.asked, ..Self::default() };
    }

    /// When [`time`](Self::time) has something to do.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.refused.first().map(|(until, _)| *until)
    }

    /// Those that were refused for now are to be asked for again.
    pub(super) fn time(&mut self, now: Duration) {
        while self.timeout().is_some_and(|until| until <= now)
            && let Some((_, channel)) = self.refused.pop_first()
        {
            self.enter(&channel, Phase::Idle);
        }
    }

    /// The next subscription that the server is to end.
    pub(super) fn to_leave(&self) -> Option<&Arc<str>> {
        self.to_leave.first()
    }

    /// The server has been told.
    pub(super) fn left(&mut self) {
        self.to_leave.pop_first();
    }

    /// The next subscription to ask the server for.
    pub(super) fn to_join(&self) -> Option<(SubscriptionId, Action)> {
        let subscription = self.by_channel.get(self.to_join.first()?)?;
        let since = subscription.position;
        let last = subscription.wants.last.filter(|_| since.is_none());
        // Whoever goes on gets keys only if it says which.
        let after = since.and(match &subscription.keys {
            Keys::Complete => None,
            Keys::All => Some(Box::default()),
            Keys::After(key) => Some(key.clone()),
        });
        Some((subscription.id, Action::Subscribe(Subscribe { since, last, after, ..subscription.wants.clone() })))
    }

    /// The server has been asked for this one.
    pub(super) fn asked(&mut self, id: SubscriptionId) -> Asking {
        self.asked += 1;
        let asking = Asking { id, number: self.asked };
        if let Some(channel) = self.channels.get(&id).cloned() {
            self.enter(&channel, Phase::Asked(asking.number));
        }
        asking
    }

    /// The server has agreed; says whether the answer is about that channel.
    pub(super) fn subscribed(&mut self, asking: Asking, reply: Box<Subscribed>, outputs: &mut VecDeque<Output>) -> bool {
        // The user may have left it, or set it aside, since.
        let Some(subscription) = self.asking(asking) else { return true };
        if subscription.wants.channel != reply.channel {
            return false;
        }
        outputs.push_back(Output::Event(asking.id, subscription.subscribed(reply)));
        true
    }

    /// How often in a row the server has refused this one, if it is still wanted.
    pub(super) fn refusals(&mut self, asking: Asking) -> Option<u32> {
        self.asking(asking).map(|subscription| subscription.refusals)
    }

    fn asking(&mut self, asking: Asking) -> Option<&mut Subscription> {
        let subscription = self.by_channel.get_mut(self.channels.get(&asking.id)?)?;
        (subscription.phase == Phase::Asked(asking.number)).then_some(subscription)
    }

    /// The server has refused it for now.
    pub(super) fn refused(&mut self, id: SubscriptionId, until: Duration) {
        let Some(channel) = self.channels.get(&id).cloned() else { return };
        self.enter(&channel, Phase::Refused(until));
    }

    /// The server has refused it, or ended it, for good.
    pub(super) fn end(&mut self, id: SubscriptionId, why: ErrorReply, outputs: &mut VecDeque<Output>) {
        let Some(channel) = self.channels.get(&id).cloned() else { return };
        self.forget(&channel);
        outputs.push_back(Output::Event(id, Event::Ended(why)));
    }

    /// Something was pushed in a channel.
    pub(super) fn push(&mut self, push: Push, outputs: &mut VecDeque<Output>) {
        let (Push::Join { channel, .. }
        | Push::Leave { channel, .. }
        | Push::State { channel, .. }
        | Push::Gap { channel, .. }
        | Push::Unsubscribed { channel, .. }
        | Push::Cancel { channel, .. }) = &push
        else {
            let channel = match &push {
                Push::Publication(publication) => &publication.channel,
                Push::Append(piece) => &piece.channel,
                _ => return,
            };
            let Some(subscription) = self.live(channel) else { return };
            outputs.extend(subscription.published(push));
            return;
        };
        let Some(subscription) = self.live(channel) else { return };
        let id = subscription.id;
        let event = match push {
            Push::Join { member, .. } => Event::Join(member),
            Push::Leave { member, .. } => Event::Leave(member),
            Push::State { entries, done, .. } => {
                let first = match subscription.keys {
                    Keys::Complete => return,
                    Keys::All => true,
                    Keys::After(_) => false,
                };
                if done {
                    subscription.keys = Keys::Complete;
                } else if let Some(key) = entries.last().and_then(|last| last.rare.as_ref()?.key.clone()) {
                    subscription.keys = Keys::After(key);
                }
                Event::State { entries, first, done }
            }
            Push::Gap { offset, .. } => {
                if !subscription.advance(offset) {
                    return;
                }
                Event::Gap(offset)
            }
            Push::Unsubscribed { channel, code } => {
                let why = super::output::refusal(code, &channel);
                return self.end(id, why, outputs);
            }
            Push::Cancel { .. } | Push::Publication(_) | Push::Append(_) => return,
        };
        outputs.push_back(Output::Event(id, event));
    }

    fn live(&mut self, channel: &str) -> Option<&mut Subscription> {
        self.by_channel.get_mut(channel).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// Whatever the server has of it is to end.
    fn leave(&mut self, channel: &Arc<str>) {
        let known = |subscription: &Subscription| matches!(subscription.phase, Phase::Asked(_) | Phase::Live);
        if self.by_channel.get(channel).is_some_and(known) {
            self.to_leave.insert(channel.clone());
        }
    }

    fn forget(&mut self, channel: &Arc<str>) {
        self.enter(channel, Phase::Aside);
        if let Some(subscription) = self.by_channel.remove(channel) {
            self.channels.remove(&subscription.id);
        }
    }

    /// Changes the phase, and the lists with it.
    fn enter(&mut self, channel: &Arc<str>, phase: Phase) {
        let Some(subscription) = self.by_channel.get_mut(channel) else { return };
        match subscription.phase {
            Phase::Idle => drop(self.to_join.remove(channel)),
            Phase::Refused(until) => drop(self.refused.remove(&(until, channel.clone()))),
            Phase::Asked(_) | Phase::Live | Phase::Aside => {}
        }
        match phase {
            Phase::Idle => drop(self.to_join.insert(channel.clone())),
            Phase::Refused(until) => {
                subscription.refusals += 1;
                self.refused.insert((until, channel.clone()));
            }
            Phase::Asked(_) | Phase::Live | Phase::Aside => {}
        }
        subscription.phase = phase;
    }

    /// # Panics
    /// If the lists are not of one mind.
    pub(super) fn check(&self) {
        assert_eq!(self.channels.len(), self.by_channel.len());
        for (channel, subscription) in &self.by_channel {
            assert_eq!(self.channels.get(&subscription.id), Some(channel), "channel of {:?}", subscription.id);
            assert_eq!(self.to_join.contains(channel), subscription.phase == Phase::Idle, "{channel} is to be joined");
            let refused = self.refused.iter().any(|(_, refused)| refused == channel);
            assert_eq!(refused, matches!(subscription.phase, Phase::Refused(_)), "{channel} is refused");
        }
        assert!(self.to_join.len() + self.refused.len() <= self.by_channel.len());
    }
}

impl Subscription {
    /// The server has agreed: what that means for what was before.
    fn subscribed(&mut self, reply: Box<Subscribed>) -> Event {
        self.phase = Phase::Live;
        self.refusals = 0;
        let has_keys = self.wants.state && reply.options.state;
        let before = self.position;
        let continues = before.is_some_and(|before| {
            before.epoch == reply.position.epoch
                && reply.position.offset <= before.offset
                && !matches!(reply.recovered, Some(Err(_)))
        });
        if continues {
            if !has_keys {
                self.keys = Keys::Complete;
            }
            return Event::Recovered(reply);
        }
        self.keys = if has_keys { Keys::All } else { Keys::Complete };
        let Some(before) = before else {
            self.position = Some(reply.position);
            return Event::Subscribed(reply);
        };
        let reason = match reply.recovered {
            Some(Err(reason)) => reason,
            _ if before.epoch != reply.position.epoch => Unrecovered::Epoch,
            _ => Unrecovered::Expired,
        };
        self.position = Some(reply.position);
        Event::Missed(reason, reply)
    }

    /// A publication or a piece, unless it has come before.
    fn published(&mut self, push: Push) -> Option<Output> {
        let event = match push {
            Push::Publication(publication) if publication.offset == 0 || self.advance(publication.offset) => {
                Event::Publication(publication)
            }
            Push::Append(piece) if self.advance(piece.offset) => Event::Append(piece),
            _ => return None,
        };
        Some(Output::Event(self.id, event))
    }

    /// Whether that is beyond the position, which then is there.
    fn advance(&mut self, offset: u64) -> bool {
        match &mut self.position {
            Some(position) if offset > position.offset => {
                position.offset = offset;
                true
            }
            _ => false,
        }
    }
}
