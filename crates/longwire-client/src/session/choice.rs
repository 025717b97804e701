//! Which transport comes next.

use std::collections::VecDeque;

use crate::transport::Transport;

/// Attempts come in rounds, between which the session waits. A round begins with the transport that worked last; a wide one goes on
/// through the others at once. The first is wide. After a line that stood, and after a wide round, comes one that is not, so that a
/// server that is away for a moment is not taken for a network that lets nothing through.
#[derive(Debug)]
pub(super) struct Choice {
    /// From the best on; never empty.
    all: Vec<Transport>,
    /// To be tried, or in use.
    current: Transport,
    /// Which worked last.
    first: Transport,
    /// What comes after it in this round.
    left: VecDeque<Transport>,
    wide: bool,
}

impl Choice {
    /// Of these, from the best on; of none is of the WebSocket.
    pub(super) fn new(wanted: &[Transport]) -> Self {
        let mut all: Vec<Transport> = Vec::with_capacity(Transport::ALL.len());
        for transport in wanted {
            if !all.contains(transport) {
                all.push(*transport);
            }
        }
        if all.is_empty() {
            all.push(Transport::WebSocket);
        }
        let best = all[0];
        let mut choice = Self { all, current: best, first: best, left: VecDeque::new(), wide: true };
        choice.begin(true);
        choice
    }

    pub(super) fn current(&self) -> Transport {
        self.current
    }

    /// Those that are better than the one in use, from the best on.
    pub(super) fn better(&self) -> &[Transport] {
        let at = self.all.iter().position(|transport| *transport == self.current).unwrap_or(0);
        &self.all[..at]
    }

    /// Whether another is tried at once if this one fails.
    pub(super) fn more(&self) -> bool {
        !self.left.is_empty()
    }

    /// It failed; says whether there is another to be tried at once.
    pub(super) fn failed(&mut self) -> bool {
        match self.left.pop_front() {
            Some(next) => {
                self.current = next;
                true
            }
            None => {
                self.begin(!self.wide);
                false
            }
        }
    }

    /// The server has answered over it: the round is over.
    pub(super) fn worked(&mut self) {
        self.first = self.current;
        self.wide = false;
        self.left.clear();
    }

    /// The line stood for a while, and is lost now; or the failure was not the transport's. Always false: it is tried again first.
    pub(super) fn dropped(&mut self) -> bool {
        self.begin(false);
        false
    }

    /// A better one takes over.
    pub(super) fn climbs(&mut self, to: Transport) {
        self.current = to;
    }

    /// If the one in use falls at once, this one is there, and then the others.
    pub(super) fn fall_back_to(&mut self, transport: Transport) {
        self.begin(true);
        self.left.retain(|left| *left != transport);
        self.left.push_front(transport);
    }

    fn begin(&mut self, wide: bool) {
        self.wide = wide;
        self.current = self.first;
        self.left.clear();
        if wide {
            self.left.extend(self.all.iter().filter(|transport| **transport != self.first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Choice;
    use crate::transport::Transport::{self, Poll, Stream, WebSocket};

    /// The transports in the order in which they are tried when all fail; `None` for a wait.
    fn tried(choice: &mut Choice, times: usize) -> Vec<Option<Transport>> {
        let mut tried = Vec::new();
        for _ in 0..times {
            tried.push(Some(choice.current()));
            if !choice.failed() {
                tried.push(None);
            }
        }
        tried
    }

    #[test]
    fn the_first_round_goes_through_all_and_then_every_second() {
        let mut choice = Choice::new(&Transport::ALL);
        let (w, s, p) = (Some(WebSocket), Some(Stream), Some(Poll));
        assert_eq!(tried(&mut choice, 7), [w, s, p, None, w, None, w, s, p, None]);
    }

    #[test]
    fn what_worked_is_tried_twice_before_the_others() {
        let mut choice = Choice::new(&Transport::ALL);
        assert!(choice.failed());
        choice.worked();
        assert_eq!((choice.current(), choice.better()), (Stream, &[WebSocket][..]));
        assert!(!choice.more());
        choice.dropped();
        let (w, s, p) = (Some(WebSocket), Some(Stream), Some(Poll));
        assert_eq!(tried(&mut choice, 4), [s, None, s, w, p, None]);
    }

    #[test]
    fn the_one_before_is_there_when_a_better_one_falls_at_once() {
        let mut choice = Choice::new(&Transport::ALL);
        assert!(choice.failed() && choice.failed());
        choice.worked();
        choice.climbs(WebSocket);
        choice.worked();
        choice.fall_back_to(Poll);
        let (w, s, p) = (Some(WebSocket), Some(Stream), Some(Poll));
        assert_eq!(tried(&mut choice, 4), [w, p, s, None, w, None]);
    }

    #[test]
    fn one_alone_never_has_another() {
        for wanted in [&[][..], &[WebSocket, WebSocket]] {
            let mut choice = Choice::new(wanted);
            let w = Some(WebSocket);
            assert_eq!(tried(&mut choice, 3), [w, None, w, None, w, None]);
        }
    }
}
