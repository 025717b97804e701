//! A subscription in the hands of its user.

use std::fmt;
use std::sync::Arc;

use longwire_protocol::Position;

use super::Client;
use super::feed::Feed;
use crate::session::{Event, SubscriptionId};

/// Where a subscription begins, and with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Go on after this position.
    pub since: Option<Position>,
    /// Or begin with the last so many publications, as far as the history has them.
    pub last: Option<u32>,
    /// Begin with the keys of the channel and their values.
    pub state: bool,
    /// Begin with who is there.
    pub members: bool,
}

/// A subscription to a channel. Dropping it ends it.
///
/// Whoever takes its events slowly makes the client read slowly, until the server notices. Nothing is lost by that in a channel with
/// history: when there is room again, the subscription goes on from where it was.
pub struct Subscription {
    client: Client,
    channel: Arc<str>,
    id: SubscriptionId,
    feed: Arc<Feed>,
}

impl Subscription {
    pub(super) fn new(client: Client, channel: Arc<str>, id: SubscriptionId, feed: Arc<Feed>) -> Self {
        Self { client, channel, id, feed }
    }

    /// What happens next; `None` once the subscription or the client has ended. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        let (event, room) = self.feed.next().await?;
        if room {
            self.client.handle.0.changed.notify_one();
        }
        Some(event)
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// How far [`next`](Self::next) has come: whoever keeps it can go on there with [`SubscribeOptions::since`]. `None` before the
    /// subscription has begun.
    pub fn position(&self) -> Option<Position> {
        self.feed.position()
    }

    /// The client that it belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.client.handle.0.unsubscribe(self.id);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("channel", &self.channel)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
