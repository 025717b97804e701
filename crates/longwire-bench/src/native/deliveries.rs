//! Deliveries of one channel's publications to its subscribers.

use std::sync::Arc;

use longwire_protocol::{Data, Message, Publication, Push};

use super::publisher::Publisher;
use super::{Speech, Text};
use crate::events;
use crate::wording::Heard;

/// Recognises them: the first delivery of a publication is read and checked, the others are compared with it.
#[derive(Debug)]
pub(crate) struct Deliveries {
    speech: Speech,
    channel: Arc<str>,
    text: Text,
    base: u64,
    /// Each at its number modulo the length, which is a power of two.
    seen: Box<[Seen]>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    sequence: u32,
    /// As it first came; nothing before that.
    bytes: Vec<u8>,
}

impl Deliveries {
    /// Of what a publisher says from now on, as subscribers hear it; `base` is the channel's offset before that.
    pub(super) fn new(publisher: &Publisher, speech: Speech, base: u64, slots: usize) -> Deliveries {
        Deliveries {
            speech,
            channel: publisher.channel.clone(),
            text: publisher.text.clone(),
            base,
            seen: vec![Seen::default(); slots].into_boxed_slice(),
        }
    }

    /// The publication with this number goes out.
    pub(super) fn announce(&mut self, sequence: u32) {
        let seen = self.seen(sequence);
        seen.sequence = sequence;
        seen.bytes.clear();
    }

    fn seen(&mut self, sequence: u32) -> &mut Seen {
        let at = sequence as usize & (self.seen.len() - 1);
        &mut self.seen[at]
    }

    /// Takes the publication off the front of what arrived, if its bytes stand there as others have got them.
    #[inline]
    pub(super) fn expect(&mut self, sequence: u32, binary: bool, rest: &mut &[u8]) -> bool {
        let speech = self.speech;
        let seen = self.seen(sequence);
        if seen.bytes.is_empty() || binary != speech.is_binary() {
            return false;
        }
        let Some(after) = rest.strip_prefix(&seen.bytes[..]) else { return false };
        // Only JSON in WebSocket messages has something between two of them.
        match after.split_first().filter(|_| !speech.is_binary() && !speech.is_events()) {
            Some((b'\n', after)) => *rest = after,
            Some(_) => return false,
            None => *rest = after,
        }
        true
    }

    /// Takes the next message off the front and reads it.
    pub(super) fn next(&mut self, binary: bool, rest: &mut &[u8]) -> Heard {
        let (whole, piece) = if self.speech.is_events() {
            let Some(event) = events::next(rest) else { return Heard::Nothing };
            // A heartbeat has no data.
            let Some(data) = event.data else { return Heard::Nothing };
            (event.whole, data)
        } else {
            let Some(piece) = self.speech.split(rest) else { return Heard::Nothing };
            (piece, piece)
        };
        if binary != self.speech.is_binary() {
            return Heard::Damaged;
        }
        match self.speech.read(piece) {
            Some(Message::Push(Push::Publication(publication))) => self.publication(&publication, whole),
            // What is not going to come is noticed as missing; others coming and going is none of our business.
            Some(Message::Push(Push::Gap { .. } | Push::Join { .. } | Push::Leave { .. })) => Heard::Nothing,
            _ => Heard::Damaged,
        }
    }

    fn publication(&mut self, publication: &Publication, whole: &[u8]) -> Heard {
        let text = match &publication.data {
            Some(Data::Text(text)) => &text[..],
            Some(Data::Json(json)) => json.strip_prefix(b"\"").and_then(|json| json.strip_suffix(b"\"")).unwrap_or_default(),
            _ => &[],
        };
        let Some(stamp) = self.text.stamp(text) else { return Heard::Damaged };
        let offset = self.base + 1 + u64::from(stamp.sequence);
        if publication.channel != self.channel || publication.offset != offset || publication.rare.is_some() {
            return Heard::Damaged;
        }
        let seen = self.seen(stamp.sequence);
        if seen.sequence == stamp.sequence && seen.bytes.is_empty() {
            seen.bytes.extend_from_slice(whole);
        }
        Heard::Message(stamp)
    }
}

#[cfg(test)]
mod tests {
    use longwire_protocol::Form;

    use super::*;
    use crate::message::Stamp;

    fn deliveries(form: Form) -> Deliveries {
        let publisher = Publisher::new(Speech::new(form), "c".into(), 20, None, true, 8);
        let mut deliveries = Deliveries::new(&publisher, publisher.speech, 40, 8);
        (0..4).for_each(|sequence| deliveries.announce(sequence));
        deliveries
    }

    fn push(form: Form, sequence: u32, offset: u64, out: &mut Vec<u8>) {
        let text = Text::new(20).of(Stamp { tag: 5, sequence });
        let data = Some(Data::from(text));
        form.push_publication(&Publication { channel: "c".into(), offset, time: 1, data, from: None, rare: None }, out);
    }

    #[test]
    fn the_first_delivery_is_read_and_the_others_are_compared() {
        for form in Form::ALL {
            let mut deliveries = deliveries(form);
            let binary = form == Form::Binary;
            let mut joined = Vec::new();
            (0..3).for_each(|sequence| push(form, sequence, 41 + u64::from(sequence), &mut joined));
            let mut first = &joined[..];
            for sequence in 0..3 {
                assert!(!deliveries.expect(sequence, binary, &mut first));
                assert_eq!(deliveries.next(binary, &mut first), Heard::Message(Stamp { tag: 5, sequence }));
            }
            let mut second = &joined[..];
            for sequence in 0..3 {
                assert!(!deliveries.expect(sequence, !binary, &mut second), "the wrong type");
                assert!(deliveries.expect(sequence, binary, &mut second));
            }
            assert!(first.is_empty() && second.is_empty());
            // A number that is used again is read again.
            deliveries.announce(8);
            assert!(!deliveries.expect(8, binary, &mut &joined[..]));
        }
    }

    #[test]
    fn events_are_compared_whole() {
        let publisher = Publisher::new(Speech::new(Form::Json), "c".into(), 20, None, true, 8);
        let mut deliveries = Deliveries::new(&publisher, Speech::events(), 40, 8);
        (0..2).for_each(|sequence| deliveries.announce(sequence));
        let mut stream = Vec::new();
        for sequence in 0..2 {
            let mut json = Vec::new();
            push(Form::Json, sequence, 41 + u64::from(sequence), &mut json);
            let json = String::from_utf8(json).unwrap();
            stream.extend_from_slice(format!(":\n\nid: 5d1c80a2:{}\ndata: {json}\n\n", 41 + sequence).as_bytes());
        }
        for is_known in [false, true] {
            let mut rest = &stream[..];
            for sequence in 0..2 {
                assert!(!deliveries.expect(sequence, false, &mut rest), "a heartbeat");
                assert_eq!(deliveries.next(false, &mut rest), Heard::Nothing);
                assert_eq!(deliveries.expect(sequence, false, &mut rest), is_known);
                if !is_known {
                    assert_eq!(deliveries.next(false, &mut rest), Heard::Message(Stamp { tag: 5, sequence }));
                }
            }
            assert!(rest.is_empty());
        }
        let other = String::from_utf8(stream).unwrap().replace("\"offset\":41", "\"offset\":42");
        let mut rest = &other.as_bytes()[3..];
        assert!(!deliveries.expect(0, false, &mut rest));
        assert_eq!(deliveries.next(false, &mut rest), Heard::Damaged);
    }

    #[test]
    fn what_differs_in_offset_channel_or_data_is_damaged() {
        for form in Form::ALL {
            let mut deliveries = deliveries(form);
            let binary = form == Form::Binary;
            let mut wrong_offset = Vec::new();
            push(form, 1, 41, &mut wrong_offset);
            assert_eq!(deliveries.next(binary, &mut &wrong_offset[..]), Heard::Damaged);
            let mut good = Vec::new();
            push(form, 1, 42, &mut good);
            let at = good.len() / 2;
            let mut noise = &good[..at];
            assert_eq!(deliveries.next(binary, &mut noise), Heard::Damaged);
            assert!(noise.is_empty());
            assert_eq!(deliveries.next(!binary, &mut &good[..]), Heard::Damaged);
            assert_eq!(deliveries.next(binary, &mut &good[..]), Heard::Message(Stamp { tag: 5, sequence: 1 }));
            let mut gap = Vec::new();
            form.push_message(&Message::Push(Push::Gap { channel: "c".into(), offset: 44 }), &mut gap);
            assert_eq!(deliveries.next(binary, &mut &gap[..]), Heard::Nothing);
        }
    }
}
