//! One publishing session: what it publishes, and what it is answered.

use std::sync::Arc;

use longwire_protocol::{Action, Command, Data, Message, Position, Publish, Reply};

use super::{Speech, Text};
use crate::histogram::Histogram;
use crate::message::Stamp;

/// Publishes in one channel, any number ahead of the acknowledgements. These come in the order of the publications.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(super) speech: Speech,
    pub(super) channel: Arc<str>,
    pub(super) text: Text,
    /// The channel's position before the first publication; none until the first acknowledgement tells.
    base: Option<Position>,
    /// Whether nobody else publishes there, so that every offset is known beforehand.
    alone: bool,
    /// How many have been published, and how many of them answered.
    next: u32,
    acked: u32,
    /// When those that wait were published, each at its number modulo the length, which is a power of two.
    sent: Box<[u64]>,
    /// The offsets that were acknowledged.
    offsets: Offsets,
    refused: u64,
    refusal: Option<String>,
}

/// Offsets of one publisher: how many, from where to where, and their sum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offsets {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) sum: u128,
}

impl Publisher {
    /// As many as `slots`, a power of two, may wait for their acknowledgement.
    pub(crate) fn new(
        speech: Speech,
        channel: Arc<str>,
        size: usize,
        base: Option<Position>,
        alone: bool,
        slots: usize,
    ) -> Publisher {
        Publisher {
            speech,
            channel,
            text: Text::new(size),
            base,
            alone,
            next: 0,
            acked: 0,
            sent: vec![0; slots].into_boxed_slice(),
            offsets: Offsets::default(),
            refused: 0,
            refusal: None,
        }
    }

    /// Appends the publication with this stamp; its number must follow on the last one's.
    pub(crate) fn say(&mut self, stamp: Stamp, now: u64, out: &mut Vec<u8>) {
        debug_assert_eq!(stamp.sequence, self.next);
        let publish = Publish::new(self.channel.clone(), Data::from(self.text.of(stamp)));
        self.speech.say(&[Command { id: Some(id(self.next)), action: Action::Publish(publish) }], out);
        let at = self.at(self.next);
        self.sent[at] = now;
        self.next = self.next.wrapping_add(1);
    }

    /// Takes acknowledgements, and notes how long each took. Gives how many there were.
    pub(crate) fn answered(&mut self, now: u64, binary: bool, payload: &[u8], latency: &mut Histogram) -> u64 {
        let (mut rest, before) = (payload, self.acked);
        while let Some(piece) = self.speech.split(&mut rest) {
            match self.speech.read(piece).filter(|_| binary == self.speech.is_binary()) {
                Some(Message::Reply(Some(answered), reply)) if self.unanswered() > 0 && answered == id(self.acked) => {
                    latency.record(now.saturating_sub(self.sent[self.at(self.acked)]));
                    self.acknowledged(reply);
                    self.acked = self.acked.wrapping_add(1);
                }
                Some(Message::Push(_)) => {}
                other => {
                    self.refuse(
                        other.map_or("no message of the protocol".to_owned(), |other| format!("unexpected: {other:?}")),
                    );
                }
            }
        }
        self.acked.wrapping_sub(before).into()
    }

    fn acknowledged(&mut self, reply: Reply) {
        match reply {
            Reply::Published { channel, position: Some(position), repeated: false, .. }
                if channel == self.channel && self.fits(position) =>
            {
                let offsets = &mut self.offsets;
                if offsets.count == 0 {
                    offsets.first = position.offset;
                }
                (offsets.count, offsets.last) = (offsets.count + 1, position.offset);
                offsets.sum += u128::from(position.offset);
            }
            Reply::Error(error) => self.refuse(error.to_string()),
            other => self.refuse(format!("unexpected: {other:?}")),
        }
    }

    /// Alone, the offset must be the one after the last; among others, a later one.
    fn fits(&mut self, Position { epoch, offset }: Position) -> bool {
        let base = *self.base.get_or_insert(Position { epoch, offset: offset.saturating_sub(1) });
        let last = base.offset.max(self.offsets.last);
        epoch == base.epoch && if self.alone { offset == last + 1 } else { offset > last }
    }

    fn refuse(&mut self, why: String) {
        self.refused += 1;
        self.refusal.get_or_insert(why);
    }

    fn at(&self, sequence: u32) -> usize {
        sequence as usize & (self.sent.len() - 1)
    }

    /// The number of the next publication.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    pub(crate) fn unanswered(&self) -> u32 {
        self.next.wrapping_sub(self.acked)
    }

    /// Publications that were refused, or acknowledged wrongly.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// What the server said first when it refused something.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    pub(crate) fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    pub(crate) fn offsets(&self) -> Offsets {
        self.offsets
    }
}

/// The command's id of a publication: from 1.
fn id(sequence: u32) -> u32 {
    sequence % (u32::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use longwire_protocol::{Epoch, ErrorCode, Form};

    use super::*;

    const BASE: Position = Position { epoch: Epoch(9), offset: 40 };

    fn publisher(alone: bool) -> Publisher {
        let mut publisher = Publisher::new(Speech::new(Form::Json), "c".into(), 20, Some(BASE), alone, 8);
        for sequence in 0..4 {
            publisher.say(Stamp { tag: 1, sequence }, 100, &mut Vec::new());
        }
        publisher
    }

    fn published(id: u32, offset: u64) -> Message {
        let position = Some(Position { offset, ..BASE });
        Message::Reply(Some(id), Reply::Published { channel: "c".into(), position, repeated: false, lease: None })
    }

    fn answer(publisher: &mut Publisher, messages: &[Message]) -> (u64, Histogram) {
        let (mut payload, mut latency) = (Vec::new(), Histogram::new());
        messages.iter().for_each(|message| Form::Json.push_message(message, &mut payload));
        (publisher.answered(150, false, &payload, &mut latency), latency)
    }

    #[test]
    fn acknowledgements_are_timed_in_order() {
        let mut publisher = publisher(true);
        let (count, latency) = answer(&mut publisher, &[published(1, 41), published(2, 42)]);
        assert_eq!((count, latency.count(), latency.max()), (2, 2, 50));
        assert_eq!((publisher.unanswered(), publisher.refused()), (2, 0));
        let offsets = publisher.offsets();
        assert_eq!((offsets.count, offsets.first, offsets.last, offsets.sum), (2, 41, 42, 83));
    }

    #[test]
    fn a_hole_matters_only_to_who_is_alone() {
        let mut alone = publisher(true);
        answer(&mut alone, &[published(1, 41), published(2, 43)]);
        assert_eq!((alone.refused(), alone.unanswered()), (1, 2));
        let mut among_others = publisher(false);
        answer(&mut among_others, &[published(1, 41), published(2, 43), published(3, 43)]);
        assert_eq!((among_others.refused(), among_others.unanswered()), (1, 1), "an offset came twice");
    }

    #[test]
    fn refusals_and_answers_to_nothing_are_counted_and_kept_in_words() {
        let mut publisher = publisher(true);
        let refused = Message::Reply(Some(1), Reply::Error(ErrorCode::Overloaded.into()));
        answer(&mut publisher, &[refused, published(7, 41)]);
        assert_eq!((publisher.refused(), publisher.unanswered()), (2, 3));
        assert!(publisher.refusal().expect("the first").starts_with("overloaded"));
    }
}
