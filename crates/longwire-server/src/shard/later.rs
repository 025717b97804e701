//! What can wait for a moment: when thousands lose their lines and come back at once, those who are in go on as if nothing were.

use std::time::Duration;

use tokio::time::Instant;

use super::Shard;
use super::native::Unfed;

/// How long a shard does, once a tick, what can wait, at least; and at least a quarter of what the tick has taken so far.
const SLICE: Duration = Duration::from_micros(100);
const SHARE: u32 = 4;

/// What a line waits for its turn with.
pub(crate) enum Later {
    /// The client has gone, and may have said something before; not if the connection has failed.
    Read { broken: bool },
    /// Its next command enters or reads.
    Feed(Unfed),
    /// It has taken what it was behind with, and there may be more.
    Room,
}

impl Shard {
    /// Does some of what can wait. Tells whether there was any.
    pub(super) fn do_some_of_what_waits(&mut self, tick_began: Instant) -> bool {
        if self.later.is_empty() {
            return false;
        }
        let began = Instant::now();
        let slice = SLICE.max((began - tick_began) / SHARE);
        while let Some((key, later)) = self.later.pop_front() {
            match later {
                // As every other line it is read once there is room again.
                Later::Read { .. } if self.core.node.is_congested() => self.read_later(key),
                Later::Read { broken } => {
                    self.read(key, true);
                    self.ends_unread(key, broken);
                }
                Later::Feed(unfed) => self.take_turn(key, unfed),
                Later::Room => self.engine(|engine, ways| engine.room(key.index, ways)),
            }
            // What it asks of channels is a part of the work.
            self.open_letters();
            if began.elapsed() >= slice {
                break;
            }
        }
        true
    }
}
