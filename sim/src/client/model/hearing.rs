//! What the model makes of what it is told.

use std::sync::Arc;

use longwire_protocol::{Connected, ErrorCode, Position, Publication, Publish, Push, Reply, StreamEnd};

use super::{Expected, Line, Model, Phase, Stream};
use crate::chance::Chance;
use crate::truth::{Entry, Truth, text_of};
use crate::watcher::Verdict;

impl Model {
    pub(super) fn connected(&mut self, connected: &Connected, chance_seed: u64) -> Verdict {
        if connected.resumed != (self.identity.as_ref().map(|(session, _)| *session) == Some(connected.session)) {
            return Err(format!("client {}: resumed is {} for another session", self.number, connected.resumed));
        }
        if !connected.resumed {
            // Only the session that began a stream may go on with it.
            self.streams.clear();
        }
        self.identity = Some((connected.session, connected.key.clone()));
        self.own.insert(connected.session);
        self.line = Line::Connected;
        let mut chance = Chance::new(chance_seed);
        let wanted: Vec<_> =
            self.subscriptions.iter().filter(|(_, at)| at.wanted).map(|(channel, _)| channel.clone()).collect();
        for channel in wanted {
            self.subscribe(&channel, &mut chance, None);
        }
        for publish in self.unanswered.clone() {
            self.send_publish(publish, &mut chance);
        }
        Ok(())
    }

    pub(super) fn reply(&mut self, id: Option<u32>, reply: Reply, truth: &Truth) -> Verdict {
        // What was said without an id and went well is not answered.
        let expected = loop {
            let Some((next, expected)) = self.expected.pop_front() else {
                let shown = format!("{reply:?}").chars().take(200).collect::<String>();
                return Err(format!("client {}: {shown} for nothing", self.number));
            };
            if next == id {
                break expected;
            }
            if next.is_some() {
                return Err(format!("client {}: the answer to {next:?} is missing, {id:?} came", self.number));
            }
        };
        let shown = format!("{reply:?} for {expected:?}").chars().take(300).collect::<String>();
        let wrong = Err(format!("client {}: {shown}", self.number));
        match (expected, reply) {
            (Expected::Connected, Reply::Connected(reply)) => self.connected(&reply, u64::from(reply.session.0[11]))?,
            (Expected::Subscribed { since, state, channel }, Reply::Subscribed(reply)) => {
                let leaving = self.leaving(&channel);
                let Some(subscription) = self.subscriptions.get_mut(&channel) else { return wrong };
                if reply.channel != channel {
                    return wrong;
                }
                subscription.watcher.begun(since, state, &reply, truth)?;
                // Unless it has been left since, and entered anew perhaps.
                if subscription.phase == Phase::Asked && !leaving {
                    subscription.phase = Phase::Live;
                }
            }
            // It was unsubscribed from before it was answered.
            (Expected::Subscribed { channel, .. }, Reply::Error(error)) => {
                let leaving = self.leaving(&channel);
                if error.code != ErrorCode::NotSubscribed || !leaving {
                    return wrong;
                }
            }
            (Expected::Unsubscribed(channel), Reply::Unsubscribed { .. }) => {
                let leaving = self.leaving(&channel);
                let Some(subscription) = self.subscriptions.get_mut(&channel) else { return wrong };
                subscription.watcher.stopped();
                if subscription.phase == Phase::Leaving && !leaving {
                    subscription.phase = Phase::Idle;
                }
            }
            (Expected::Published { publish }, reply) => self.published(&publish, &reply, truth)?,
            (Expected::Appended { channel, began }, reply) => self.appended(&channel, began, &reply),
            (Expected::History(channel), Reply::History { publications, head, .. }) => {
                for publication in &publications {
                    self.is_true(&channel, head, publication, truth)?;
                }
                if !publications.is_sorted_by_key(|publication| publication.offset) {
                    return Err(format!("{channel}: a history out of order"));
                }
            }
            (Expected::Error, Reply::Error(_)) => {}
            (
                Expected::Other,
                Reply::Presence { .. } | Reply::State { .. } | Reply::Cancelled { .. } | Reply::Pong | Reply::Error(_),
            ) => {}
            _ => return wrong,
        }
        Ok(())
    }

    fn is_true(&self, channel: &Arc<str>, head: Position, publication: &Publication, truth: &Truth) -> Verdict {
        let Some(numbering) = truth.numbering(channel, head.epoch) else {
            return Err(format!("{channel}: history of no epoch"));
        };
        let stream = publication.rare.as_ref().and_then(|rare| rare.stream.as_ref());
        let text = match (stream, numbering.entries.get(&publication.offset)) {
            (Some(stream), _) => numbering.stream(stream.began, publication.offset).map(|(text, _)| text),
            (None, Some(Entry::Publication(truth))) => Some(text_of(truth)),
            _ => None,
        };
        if text != Some(text_of(publication)) || publication.offset > head.offset {
            return Err(format!("{channel}: the history has another publication at {}", publication.offset));
        }
        Ok(())
    }

    fn published(&mut self, publish: &Publish, reply: &Reply, truth: &Truth) -> Verdict {
        if publish.once.is_some() {
            self.unanswered.retain(|unanswered| unanswered.once != publish.once);
        }
        let Reply::Published { channel, position, repeated, .. } = reply else {
            let allowed = match reply {
                Reply::Error(error) => matches!(error.code, ErrorCode::StateFull | ErrorCode::Overloaded | ErrorCode::TooLarge),
                _ => false,
            };
            let shown = || format!("{reply:?} for {publish:?}").chars().take(300).collect::<String>();
            return if allowed { Ok(()) } else { Err(format!("client {}: {}", self.number, shown())) };
        };
        if *repeated && publish.once.is_none() {
            return Err(format!("client {}: repeated without an idempotency key", self.number));
        }
        let options = self.options(channel);
        let Some(position) = position else {
            let wrong = options.is_numbered() && !publish.ephemeral;
            return if wrong { Err(format!("{channel}: published without a position")) } else { Ok(()) };
        };
        let data = publish.data.as_ref().map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned()).unwrap_or_default();
        match truth.numbering(channel, position.epoch).and_then(|numbering| numbering.entries.get(&position.offset)) {
            Some(Entry::Publication(truth)) if text_of(truth) == data => {}
            Some(Entry::Removal) if publish.remove => {}
            Some(Entry::Passed) if !options.has_history() => {}
            other => {
                return Err(format!(
                    "{channel}: published at {position:?}, and there is {}",
                    format!("{other:?}").chars().take(200).collect::<String>()
                ));
            }
        }
        if publish.stream {
            let known = data.len() as u64;
            self.streams.push(Stream { channel: channel.clone(), began: position.offset, text: data, known, end: None });
            if self.streams.len() > 4 {
                self.streams.remove(0);
            }
        }
        Ok(())
    }

    fn appended(&mut self, channel: &Arc<str>, began: u64, reply: &Reply) {
        let Some(at) = self.streams.iter().position(|stream| stream.channel == *channel && stream.began == began) else {
            return;
        };
        match reply {
            Reply::Appended { length, .. } => {
                let stream = &mut self.streams[at];
                stream.known = stream.known.max((*length).min(stream.text.len() as u64));
                if stream.end.is_some() && stream.known == stream.text.len() as u64 {
                    self.streams.remove(at);
                }
            }
            _ => drop(self.streams.remove(at)),
        }
    }

    pub(super) fn push(&mut self, push: Push, truth: &Truth) -> Verdict {
        let channel = match &push {
            Push::Publication(publication) => publication.channel.clone(),
            Push::Append(piece) => piece.channel.clone(),
            Push::Join { channel, .. }
            | Push::Leave { channel, .. }
            | Push::State { channel, .. }
            | Push::Gap { channel, .. }
            | Push::Unsubscribed { channel, .. }
            | Push::Cancel { channel, .. } => channel.clone(),
        };
        if let Push::Cancel { stream, .. } = push {
            let stream = self.streams.iter_mut().find(|at| at.channel == channel && at.began == stream);
            if let Some(stream) = stream {
                stream.end = stream.end.or(Some(StreamEnd::Cancelled));
            }
            return Ok(());
        }
        let Some(subscription) = self.subscriptions.get_mut(&channel) else {
            return Err(format!("client {}: a push of {channel} for nothing", self.number));
        };
        let (watcher, own) = (&mut subscription.watcher, &self.own);
        match push {
            Push::Publication(publication) => watcher.publication(&publication, own, truth),
            Push::Append(piece) => watcher.piece(&piece, own, truth),
            Push::Join { member, .. } => watcher.join(&member),
            Push::Leave { member, .. } => watcher.leave(&member),
            Push::State { entries, done, .. } => watcher.state(&entries, done),
            Push::Gap { offset, .. } => watcher.gap(offset, truth),
            Push::Unsubscribed { code, .. } => Err(format!("{channel}: unsubscribed by the server, {code:?}")),
            Push::Cancel { .. } => Ok(()),
        }
    }
}
