//! Lines that give one answer: they enter their channels, say what there is, and end.
//!
//! Such a line is held until the client's place in every channel is known, so that no answer is without one of them. What comes
//! after the places comes then, as long as there is room in the answer; the next poll goes on from there.

use std::time::Duration;

use super::Shard;
use super::heartbeat::ticks;
use super::requests::Polled;
use super::slab::Key;

/// An answer goes once it has so many bytes.
const ENOUGH_BYTES: usize = 1 << 20;
/// How much longer than it wants to a poll waits until the places are known: without them it has no answer.
const PLACES_WAIT: Duration = Duration::from_secs(10);

/// The one answer of a line, while it comes together.
pub(crate) struct Once {
    /// Its session is there between one answer and the next.
    pub(super) stays: bool,
    lines: Vec<u8>,
    /// Channels of which the client's place is not known yet.
    unanswered: usize,
    /// It waits until there is some news.
    waits: bool,
    is_news: bool,
    /// What comes after the places may come.
    is_released: bool,
    /// Nothing more comes.
    is_over: bool,
    /// The time for it was put off.
    is_late: bool,
}

impl Once {
    /// With what has happened in so many channels; if `waits`, not before there is something.
    pub(crate) fn new(channels: usize, waits: bool, stays: bool) -> Self {
        Self {
            stays,
            lines: Vec::new(),
            unanswered: channels,
            waits,
            is_news: false,
            is_released: false,
            is_over: false,
            is_late: false,
        }
    }

    /// Takes messages, each on a line.
    fn take(&mut self, lines: &[u8]) {
        self.lines.extend_from_slice(lines);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if is_of(line, "connected") {
                continue;
            }
            let is_place = is_of(line, "subscribed");
            if is_place || is_of(line, "error") {
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            self.is_news |= !is_place || says_missed(line);
            self.is_over |= is_of(line, "close");
        }
    }

    fn is_refused(&self) -> bool {
        self.lines.split(|byte| *byte == b'\n').any(|line| is_of(line, "error"))
    }
}

impl Shard {
    /// Takes what a line that gives one answer has to say, and gives the answer if that is all that is waited for.
    pub(super) fn gather(&mut self, key: Key) {
        if self.take_into_answer(key) {
            self.engine(|engine, ways| engine.release(key.index, ways));
            self.take_into_answer(key);
        }
        let is_settled = self.core.channels.engine.is_settled(key.index);
        let Some(once) = self.once(key) else { return };
        let is_all = is_settled && (once.is_news || !once.waits);
        let is_enough = once.is_news && once.lines.len() >= ENOUGH_BYTES;
        if once.is_over || once.unanswered == 0 && (is_all || is_enough) {
            self.answer_once(key);
        }
    }

    /// Answers with what there is, and ends the line. It may go on for a while if it is not known where its client is.
    pub(super) fn answer_once(&mut self, key: Key) {
        self.take_into_answer(key);
        let now = self.core.now;
        let cursor = self.core.channels.followed.cursor(key.index);
        let Some(requests) = self.lines.get_mut(key).and_then(|line| line.out.requests()) else { return };
        let (Some(once), poll) = (requests.once.as_deref_mut(), &mut requests.poll) else { return };
        let answer = match cursor.or_else(|| once.is_refused().then(Vec::new)) {
            Some(cursor) => Polled::Once { lines: std::mem::take(&mut once.lines), cursor },
            None if !once.is_over && !std::mem::replace(&mut once.is_late, true) => {
                if let Some(poll) = poll {
                    poll.until = Some(now.wrapping_add(ticks(PLACES_WAIT)));
                }
                return;
            }
            None => Polled::Nothing,
        };
        self.answer_poll(key, answer);
        self.remove(key);
    }

    fn once(&mut self, key: Key) -> Option<&mut Once> {
        self.lines.get_mut(key)?.out.requests()?.once.as_deref_mut()
    }

    /// Takes what waits to be sent into the one answer of a line. True once, when the client's place in each channel is known.
    fn take_into_answer(&mut self, key: Key) -> bool {
        let lines = self.take_unwritten(key);
        let Some(once) = self.once(key) else { return false };
        once.take(&lines);
        once.unanswered == 0 && !std::mem::replace(&mut once.is_released, true)
    }
}

/// Whether a line of JSON is a message of this type.
pub(crate) fn is_of(line: &[u8], kind: &str) -> bool {
    let rest = line.strip_prefix(b"{\"type\":\"").and_then(|line| line.strip_prefix(kind.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\""))
}

/// Whether a message in JSON says that something was missed, which is news. Where nothing is numbered nothing can be continued.
pub(crate) fn says_missed(line: &[u8]) -> bool {
    let has = |text: &[u8]| line.windows(text.len()).any(|window| window == text);
    has(b"\"recovered\":false") && !has(b"\"epoch\":\"00000000\"")
}
