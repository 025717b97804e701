//! How messages are published, and how a delivery is recognised: as plain messages here, as the native protocol's in
//! [`native`](crate::native), as Socket.IO's and as Server-Sent Events in [`relayed`](crate::relayed).

use crate::message::{Stamp, Template};

/// What a publishing load says, and what it expects to hear.
pub(crate) trait Wording {
    /// Appends the frame that publishes the message with this stamp to one of the load's channels, at the moment `now`.
    fn say(&mut self, channel: usize, stamp: Stamp, now: u64, out: &mut Vec<u8>);

    /// Takes the message with this stamp off the front of what a subscriber got, if that is what stands there, byte for byte.
    fn expect(&mut self, stamp: Stamp, binary: bool, rest: &mut &[u8]) -> bool;

    /// Takes the next message off the front, whatever it is.
    fn next(&mut self, binary: bool, rest: &mut &[u8]) -> Heard;

    /// Takes what came on the publishing line.
    fn answered(&mut self, now: u64, binary: bool, payload: &[u8]);

    /// Messages whose answer is still expected on the publishing line.
    fn unanswered(&self) -> u64;

    /// Messages that were refused, or answered wrongly.
    fn refused(&self) -> u64;
}

/// What a subscriber got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The message with this stamp.
    Message(Stamp),
    /// Something that is no message of the load, as it may be.
    Nothing,
    /// Something that must not be.
    Damaged,
}

/// A plain message as it was published. Nothing is answered to the publishing line, or it is not looked at.
impl Wording for Template {
    #[inline]
    fn say(&mut self, _channel: usize, stamp: Stamp, _now: u64, out: &mut Vec<u8>) {
        self.append(out, stamp);
    }

    #[inline]
    fn expect(&mut self, stamp: Stamp, binary: bool, rest: &mut &[u8]) -> bool {
        let found = self.is(stamp, binary, rest);
        if found {
            *rest = &[];
        }
        found
    }

    fn next(&mut self, binary: bool, rest: &mut &[u8]) -> Heard {
        self.stamp(binary, std::mem::take(rest)).map_or(Heard::Damaged, Heard::Message)
    }

    fn answered(&mut self, _now: u64, _binary: bool, _payload: &[u8]) {}

    fn unanswered(&self) -> u64 {
        0
    }

    fn refused(&self) -> u64 {
        0
    }
}
