//! How a subscription gets from its beginning to the present, and what happens when it falls behind.
//!
//! A subscription enters a channel at some offset, gets page after page of what came after, and is *live* once it has caught up
//! with what has been delivered here meanwhile. From then on it shares the bytes of the hub. A subscriber who reads too slowly
//! may fall out of the hub again, and catches up when it has room.

use std::collections::VecDeque;
use std::sync::Arc;

use longwire_protocol::{Abilities, CloseCode, Member, Message, Position, Publication, Push, Reply, Subscribe, Subscribed};

use super::{CREDIT, Engine, FOR_SUBSCRIPTION, Lines, Reader};
use crate::broker::{Answer, Ask, Delivery, Enter, Entered, Failure, Page, Request, What, size};
use crate::hub::{Encoder, Refused};
use crate::options::{ChannelOptions, Slow, Who};

/// Deliveries that are kept for those who are about to be live, and their bytes. Of more, they ask for another page.
const RECENT: usize = 256;
const RECENT_BYTES: usize = 128 * 1024;
/// Keys in one push.
const ENTRIES: usize = 100;

/// A subscription that is not live.
pub(super) struct Entering {
    pub(super) channel: Arc<str>,
    /// The number of the question that it waits for, or 0.
    pub(super) asked: u32,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// The channel is asked what a new subscriber gets.
    Asking { slot: u32, subscribe: Box<Subscribe> },
    /// It has answered, but commands before this one are not answered yet. `stale` if who is there has changed since.
    Answered { slot: u32, subscribe: Box<Subscribe>, entered: Box<Entered>, stale: bool },
    /// Keys, then publications, are on their way to the client. Without a page, the next is asked for.
    CatchingUp { entries: Option<VecDeque<Arc<Publication>>>, page: Option<Page>, end: Position, head: u64, behind: Behind },
    /// The client was too slow, and waits for room.
    Lagging { since: Option<Position> },
}

/// How a subscription is behind that is not live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// It gets everything.
    Nothing,
    /// It has fallen behind, and is not told of it yet.
    Untold { latest: bool },
    /// It has been told that there is a gap; of what is still to come, with `latest`, it gets only the newest of each key.
    Told { latest: bool },
}

/// A channel that subscriptions are about to enter.
#[derive(Default)]
pub(super) struct Waiting {
    lines: Vec<u32>,
    /// What was delivered here lately.
    recent: VecDeque<Delivery>,
    /// What it weighs, in bytes, about.
    bytes: usize,
    /// The newest offset that is no longer in `recent`.
    pub(super) dropped: u64,
}

impl Waiting {
    /// What is here of what came after a position.
    pub(super) fn after(&self, end: Position) -> impl Iterator<Item = &Delivery> {
        let is_newer = move |delivery: &&Delivery| {
            delivery.position.is_some_and(|position| position.epoch == end.epoch && position.offset > end.offset)
        };
        let is_old = |delivery: &Delivery| delivery.position.is_none_or(|position| position.offset <= end.offset);
        self.recent.range(self.recent.partition_point(is_old)..).filter(is_newer)
    }
}

impl Entering {
    pub(super) fn new(subscribe: Subscribe, slot: u32) -> Self {
        let channel = subscribe.channel.clone();
        Self { channel, asked: slot, stage: Stage::Asking { slot, subscribe: Box::new(subscribe) } }
    }

    /// The number of the command that began it, if it is not answered yet.
    pub(super) fn is_unanswered(&self) -> Option<u32> {
        match self.stage {
            Stage::Asking { slot, .. } | Stage::Answered { slot, .. } => Some(slot),
            _ => None,
        }
    }
}

impl<E: Encoder> Engine<E> {
    pub(super) fn start_waiting(&mut self, line: u32, channel: &Arc<str>) {
        self.waiting.entry(channel.clone()).or_default().lines.push(line);
    }

    pub(super) fn stop_waiting(&mut self, line: u32, channel: &Arc<str>, lines: &mut impl Lines<E>) {
        let Some(waiting) = self.waiting.get_mut(channel) else { return };
        if let Some(at) = waiting.lines.iter().position(|waits| *waits == line) {
            waiting.lines.swap_remove(at);
        }
        if waiting.lines.is_empty() {
            self.waiting.remove(channel);
            self.unfollow(channel, lines);
        }
    }

    /// Asks the channel what the subscription with this number gets.
    pub(super) fn ask_to_enter(&mut self, line: u32, number: u32, lines: &mut impl Lines<E>) {
        let ticket = self.ticket(line | FOR_SUBSCRIPTION, number);
        let Some(at) = self.line(line) else { return };
        let member = at.session.as_ref().map(|session| session.member.clone());
        let looks = self.readers.get(&line) == Some(&Reader::Looks);
        let member = member.filter(|_| !looks);
        let Some(at) = self.line(line) else { return };
        let Some(entering) = at.entering.iter_mut().find(|entering| entering.is_unanswered() == Some(number)) else { return };
        let (Stage::Asking { subscribe, .. } | Stage::Answered { subscribe, .. }) = &entering.stage else { return };
        let Subscribe { channel, since, last, state, after, members } = Subscribe::clone(subscribe);
        entering.asked = number;
        entering.stage = Stage::Asking { slot: number, subscribe: subscribe.clone() };
        if let Some(session) = &mut at.session {
            session.leftover.retain(|(_, left)| *left != channel);
        }
        at.asked = at.asked.saturating_add(1);
        let enter = Enter { since, last, state, after, members, member };
        lines.ask(Request { channel, ticket, ask: Ask::Enter(enter) });
    }

    /// The answer to a question of a subscription.
    pub(super) fn paged(&mut self, line: u32, entering: usize, answer: Result<Answer, Failure>, lines: &mut impl Lines<E>) {
        let Some(at) = self.line(line) else { return };
        let entering = &mut at.entering[entering];
        entering.asked = 0;
        match (answer, &mut entering.stage) {
            (Ok(Answer::Entered(entered)), Stage::Asking { slot, subscribe }) => {
                let (slot, subscribe) = (*slot, subscribe.clone());
                entering.stage = Stage::Answered { slot, subscribe, entered, stale: false };
                self.flush_slots(line, lines);
            }
            (Ok(Answer::Page(page)), Stage::CatchingUp { page: next, .. }) => {
                *next = Some(page);
                self.advance_entering(line, lines);
            }
            (answer, Stage::Asking { slot, .. }) => {
                let slot = *slot;
                let channel = entering.channel.clone();
                let failure = answer.err().unwrap_or_else(|| longwire_protocol::ErrorCode::Internal.into());
                // It may have come so far that the session is among those who are there.
                if self.options_of(&channel).is_some_and(|options| options.presence)
                    && let Some(session) = self.session_of(line)
                {
                    self.ask_silently(channel.clone(), Ask::Leave { session }, lines);
                }
                self.forget_entering(line, &channel, lines);
                if self.is_followed(&channel) {
                    // Others here rely on its being asked for; it may be that nobody has asked but this one, in vain.
                    self.ask_silently(channel.clone(), Ask::Follow, lines);
                }
                self.fail(line, slot, failure, Some(channel), lines);
            }
            // Its channel cannot say what comes next: the client comes back and asks again.
            (Err(_), _) => lines.close(line, CloseCode::ServerError),
            (Ok(_), _) => {}
        }
    }

    /// If the subscription whose turn it is to be answered is known: answers and begins it. False if it is not.
    pub(super) fn enter_if_ready(&mut self, line: u32, number: u32, id: Option<u32>, lines: &mut impl Lines<E>) -> bool {
        let Some(at) = self.line(line) else { return false };
        let Some(entering) = at.entering.iter_mut().find(|entering| entering.is_unanswered() == Some(number)) else {
            return false;
        };
        let Stage::Answered { subscribe, entered, stale, .. } = &mut entering.stage else { return false };
        if *stale {
            self.ask_to_enter(line, number, lines);
            return false;
        }
        let Entered { position, recovered, page, entries, members } = Entered::clone(entered);
        let channel = subscribe.channel.clone();
        let head = page.head;
        let entries = entries.map(VecDeque::from);
        let keys_follow = entries.is_some();
        entering.stage = Stage::CatchingUp { entries, page: Some(page), end: position, head, behind: Behind::Nothing };
        at.slots.pop_front();
        let bytes = 256 + members.iter().flatten().map(member_weight).sum::<usize>();
        let encoding = at.encoding;
        let is_user = at.session.as_ref().is_some_and(|session| session.member.user.is_some());
        let options = self.options_of(&channel).map(|options| abilities(options, is_user)).unwrap_or_default();
        let subscribed = Subscribed { channel: channel.clone(), position, head, recovered, members, options };
        lines.send(line, encoding, &Message::Reply(id, Reply::Subscribed(Box::new(subscribed))));
        if lines.holds(line) {
            self.hold(line);
        }
        if keys_follow {
            lines.keys_follow(line, encoding, &channel);
        }
        self.charge(line, bytes, lines);
        self.advance_entering(line, lines);
        true
    }

    /// Brings the subscriptions of a line nearer to the present, as far as there is room.
    pub(super) fn advance_entering(&mut self, line: u32, lines: &mut impl Lines<E>) {
        let together = self.in_order(line);
        if !together.is_empty() {
            self.advance_together(line, &together, lines);
        }
        let mut next = 0;
        while let Some(Some(at)) = self.lines.get(line as usize)
            && let Some(entering) = at.entering.get(next)
        {
            if at.held {
                return;
            }
            if at.credit <= 0 {
                return lines.want_room(line);
            }
            let channel = entering.channel.clone();
            if !together.is_empty() && self.is_in_order(entering) || !self.advance_one(line, next, lines) {
                next += 1;
            } else {
                self.forget_entering(line, &channel, lines);
            }
        }
    }

    /// Whether the subscription is live now.
    fn advance_one(&mut self, line: u32, entering: usize, lines: &mut impl Lines<E>) -> bool {
        let channel = self.line(line).and_then(|at| at.entering.get(entering)).map(|entering| entering.channel.clone());
        let closes = channel.is_some_and(|channel| self.slow(&channel) == Slow::Close);
        loop {
            let Some(at) = self.line(line) else { return false };
            let encoding = at.encoding;
            let Some(Entering { channel, asked, stage }) = at.entering.get_mut(entering) else { return false };
            let channel = channel.clone();
            match stage {
                Stage::Asking { .. } | Stage::Answered { .. } => return false,
                Stage::Lagging { since } => {
                    let since = *since;
                    self.leave_lag(line, entering, channel, since, lines);
                    return false;
                }
                Stage::CatchingUp { entries: Some(entries), .. } => {
                    if at.credit <= 0 {
                        lines.want_room(line);
                        return false;
                    }
                    let (mut some, mut bytes) = (Vec::new(), 0);
                    while some.len() < ENTRIES
                        && at.credit > bytes as isize
                        && let Some(entry) = entries.pop_front()
                    {
                        bytes += size(&entry);
                        some.push(entry);
                    }
                    let done = entries.is_empty();
                    if done && let Stage::CatchingUp { entries, .. } = stage {
                        *entries = None;
                    }
                    lines.send(line, encoding, &Message::Push(Push::State { channel, entries: some, done }));
                    self.charge(line, bytes, lines);
                }
                Stage::CatchingUp { page: page @ Some(_), end, head, behind, .. } => {
                    if at.credit <= 0 {
                        lines.want_room(line);
                        return false;
                    }
                    let Some(Page { publications, end: page_end, head: newest, lost }) = page.take() else { return false };
                    (*end, *head) = (page_end, newest);
                    let mut lost = lost;
                    if lost && closes && *behind == Behind::Nothing {
                        // It was too slow even for the past: it comes back, and is told what it has missed.
                        self.close_slow(line, channel, lines);
                        return false;
                    }
                    if let Behind::Untold { latest } = *behind {
                        // What has no place may be missing, too.
                        (lost, *behind) = (true, Behind::Told { latest });
                    }
                    // What is missing is said before what comes after it: else a line that ends in between would hide it.
                    let gap = |offset| Message::Push(Push::Gap { channel: channel.clone(), offset });
                    let (mut bytes, mut last) = (0, None);
                    for publication in publications {
                        if lost && last.is_none_or(|last| publication.offset > last + 1) {
                            lines.send(line, encoding, &gap(publication.offset - 1));
                        }
                        last = Some(publication.offset);
                        bytes += size(&publication);
                        lines.send(line, encoding, &Message::Push(Push::Publication(publication)));
                    }
                    if lost && last.is_none_or(|last| page_end.offset > last) {
                        lines.send(line, encoding, &gap(page_end.offset));
                    }
                    self.charge(line, bytes, lines);
                }
                Stage::CatchingUp { page: None, end, head, behind, .. } => {
                    if *asked != 0 {
                        return false;
                    }
                    let (since, latest) =
                        (*end, matches!(behind, Behind::Untold { latest: true } | Behind::Told { latest: true }));
                    if since.offset >= *head && self.go_live(line, &channel, since, lines) {
                        return true;
                    }
                    let ask = if latest { Ask::Latest { since } } else { Ask::Page { since } };
                    self.ask_page(line, entering, channel, ask, lines);
                    return false;
                }
            }
        }
    }

    /// Puts a subscription that has got everything up to `end` into the hub, unless something after it is missing here.
    pub(super) fn go_live(&mut self, line: u32, channel: &Arc<str>, end: Position, lines: &mut impl Lines<E>) -> bool {
        let Some(waiting) = self.waiting.get(channel) else { return false };
        if waiting.dropped > end.offset {
            return false;
        }
        let newer: Vec<Delivery> = waiting.after(end).cloned().collect();
        // What the hub still holds it has got, or gets here.
        self.deal_channel(channel, None, lines);
        let session = self.session_of(line);
        for delivery in newer.iter().filter(|delivery| delivery.except.is_none() || delivery.except != session) {
            self.send_delivery(line, delivery, lines);
        }
        if let Some(at) = self.line(line) {
            let encoding = at.encoding;
            self.hub.subscribe(line, encoding, channel);
            self.hub.begin_at(channel, newer.last().and_then(|delivery| delivery.position).unwrap_or(end));
        }
        true
    }

    pub(super) fn ask_page(&mut self, line: u32, entering: usize, channel: Arc<str>, ask: Ask, lines: &mut impl Lines<E>) {
        let number = self.next_number();
        let ticket = self.ticket(line | FOR_SUBSCRIPTION, number);
        if let Some(at) = self.line(line)
            && let Some(entering) = at.entering.get_mut(entering)
        {
            entering.asked = number;
            at.asked = at.asked.saturating_add(1);
            lines.ask(Request { channel, ticket, ask });
        }
    }

    pub(super) fn forget_entering(&mut self, line: u32, channel: &Arc<str>, lines: &mut impl Lines<E>) {
        if let Some(at) = self.line(line) {
            at.entering.retain(|entering| entering.channel != *channel);
            if at.entering.is_empty() {
                // An idle line owns no buffer.
                at.entering = Vec::new();
                lines.caught_up(line);
            }
            self.stop_waiting(line, channel, lines);
        }
    }

    /// Notes a delivery for those who are about to enter its channel.
    pub(super) fn note_for_waiting(&mut self, delivery: &Delivery, lines: &mut impl Lines<E>) {
        let Some(waiting) = self.waiting.get_mut(&delivery.channel) else { return };
        if let Some(position) = delivery.position {
            waiting.bytes += weight(delivery);
            waiting.recent.push_back(delivery.clone());
            while (waiting.recent.len() > RECENT || waiting.bytes > RECENT_BYTES)
                && let Some(dropped) = waiting.recent.pop_front()
            {
                waiting.bytes -= weight(&dropped);
                waiting.dropped = dropped.position.unwrap_or(position).offset;
            }
            return;
        }
        // What has no place cannot be caught up with.
        let changes_members = matches!(delivery.what, What::Join(_) | What::Leave(_));
        for line in waiting.lines.clone() {
            let Some(at) = self.line(line) else { continue };
            let Some(entering) = at.entering.iter_mut().find(|entering| entering.channel == delivery.channel) else { continue };
            match &mut entering.stage {
                // Its own coming is no news, and what the answer will say includes this.
                Stage::Asking { .. } => {}
                Stage::Answered { stale, entered, .. } => *stale |= changes_members && entered.members.is_some(),
                // It is told of a gap.
                Stage::Lagging { .. } | Stage::CatchingUp { behind: Behind::Untold { .. }, .. } => {}
                // And who is not told of the channel yet is not told of this.
                Stage::CatchingUp { .. } if at.held && matches!(delivery.what, What::Publication(_)) => {}
                Stage::CatchingUp { .. } => {
                    let session = at.session.as_ref().map(|session| session.id);
                    if delivery.except.is_some() && delivery.except == session {
                        continue;
                    }
                    if at.credit < -CREDIT {
                        lines.close(line, CloseCode::SlowReader);
                    } else {
                        self.send_delivery(line, delivery, lines);
                    }
                }
            }
        }
    }

    /// Lines that have no room for what has happened in a channel.
    pub(super) fn refused(&mut self, refused: Vec<Refused>, lines: &mut impl Lines<E>) {
        for Refused { line, channel, since } in refused {
            if self.slow(&channel) == Slow::Close || self.line(line).is_none() {
                self.close_slow(line, channel, lines);
                continue;
            }
            // It stays among those who follow, so that the channel is not left in between.
            self.start_waiting(line, &channel);
            self.hub.unsubscribe(line, &channel);
            if let Some(at) = self.line(line) {
                at.entering.push(Entering { channel, asked: 0, stage: Stage::Lagging { since } });
                at.credit = 0;
                lines.want_room(line);
            }
        }
    }

    fn slow(&self, channel: &str) -> Slow {
        self.options_of(channel).map_or(Slow::Close, |options| options.slow)
    }

    /// Closes a line whose client is too slow for a channel, and takes it out of it at once: what comes next might be small
    /// enough, and would hide that something is missing.
    pub(super) fn close_slow(&mut self, line: u32, channel: Arc<str>, lines: &mut impl Lines<E>) {
        lines.close(line, CloseCode::SlowReader);
        if self.hub.unsubscribe(line, &channel) {
            self.unfollow(&channel, lines);
        } else {
            self.forget_entering(line, &channel, lines);
        }
        self.leave_behind(line, channel, lines);
    }

    /// A slow client has room again.
    fn leave_lag(&mut self, line: u32, entering: usize, channel: Arc<str>, since: Option<Position>, lines: &mut impl Lines<E>) {
        let slow = self.slow(&channel);
        let Some(at) = self.line(line) else { return };
        let Some(entering_at) = at.entering.get_mut(entering) else { return };
        let end = since.unwrap_or(Position { epoch: longwire_protocol::Epoch(0), offset: 0 });
        let behind = Behind::Untold { latest: slow == Slow::Latest };
        entering_at.stage = Stage::CatchingUp { entries: None, page: None, end, head: end.offset, behind };
        let ask = match slow {
            Slow::Latest => Ask::Latest { since: end },
            // What lies between is not asked for: the page begins where nothing is left.
            _ => Ask::Page { since: Position { epoch: end.epoch, offset: u64::MAX } },
        };
        self.ask_page(line, entering, channel, ask, lines);
    }
}

/// What a delivery takes, in bytes, about.
pub(super) fn weight(delivery: &Delivery) -> usize {
    match &delivery.what {
        What::Publication(publication) => size(publication),
        What::Piece(piece) => 160 + piece.data.as_ref().map_or(0, |data| data.len()),
        What::Join(member) | What::Leave(member) => member_weight(member),
    }
}

fn member_weight(member: &Arc<Member>) -> usize {
    64 + member.info.as_ref().map_or(0, bytes::Bytes::len)
}

fn abilities(options: &ChannelOptions, is_user: bool) -> Abilities {
    Abilities {
        history: options.has_history(),
        presence: options.presence,
        joins: options.joins,
        state: options.has_state(),
        streams: options.streams,
        publish: match options.publish {
            Who::Anyone => true,
            Who::Users => is_user,
            Who::Nobody => false,
        },
    }
}
