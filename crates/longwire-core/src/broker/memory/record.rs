//! What a store must keep of the channels.

use std::sync::Arc;

use longwire_protocol::{Epoch, Piece, Position, Publication};

/// One change to be written down. What belongs together comes together, and is to be kept or lost together.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A channel has a numbering.
    Epoch {
        /// Which channel.
        channel: Arc<str>,
        /// Its epoch. With another one than before, what had that is of no use, and goes; unless that was [`Epoch::NONE`].
        epoch: Epoch,
        /// The newest offset: a store has to give back the largest that it has seen in any record of the channel.
        head: u64,
    },
    /// What is numbered belongs to another epoch from now on, or, with [`Epoch::NONE`], the channel numbers nothing any more. It has
    /// lost its keys.
    Renumbered {
        /// Which channel.
        channel: Arc<str>,
        /// The epoch.
        epoch: Epoch,
    },
    /// A publication was made. If it is a stream, its pieces follow.
    Publication(Arc<Publication>),
    /// A stream has become longer, or has ended.
    Piece(Arc<Piece>),
    /// The history no longer reaches back to `floor`: what has a smaller or the same offset goes, of streams that of their
    /// newest piece. Streams in `except` stay.
    Trim {
        /// Which channel.
        channel: Arc<str>,
        /// The offset.
        floor: u64,
        /// Streams that have not ended, by the offset of their beginning.
        except: Vec<u64>,
    },
    /// A key has a value, or, without a publication, no longer has one. The publication may be in the history, too.
    Key {
        /// Which channel.
        channel: Arc<str>,
        /// Which key.
        key: Box<str>,
        /// The offset at which this was done.
        offset: u64,
        /// Its value.
        publication: Option<Arc<Publication>>,
    },
    /// A publication was made with an idempotency key.
    Once {
        /// Which channel.
        channel: Arc<str>,
        /// Which key.
        key: Box<str>,
        /// Where the publication is.
        position: Option<Position>,
        /// Milliseconds since 1970 at which it may be forgotten.
        until: u64,
    },
    /// Nothing is kept of the channel any more.
    Gone {
        /// Which channel.
        channel: Arc<str>,
    },
}

impl Record {
    /// The channel that it is about.
    pub fn channel(&self) -> &Arc<str> {
        match self {
            Self::Publication(publication) => &publication.channel,
            Self::Piece(piece) => &piece.channel,
            Self::Epoch { channel, .. }
            | Self::Renumbered { channel, .. }
            | Self::Trim { channel, .. }
            | Self::Key { channel, .. }
            | Self::Once { channel, .. }
            | Self::Gone { channel } => channel,
        }
    }
}
