//! What an operator sees of a whole node, and does to it: each shard is asked for its part.

use std::sync::Arc;

use longwire_core::broker::Failure;
use longwire_protocol::{ErrorCode, LIST_MAX, Member};
use tokio::sync::oneshot;

use crate::api::{ChannelPage, SessionPage, Whom};
use crate::node::Node;
use crate::shard::{Command, Letter, Shard};

impl Node {
    /// A page of the sessions of this node, and whether there are more.
    pub(crate) async fn sessions_page(&self, page: SessionPage) -> Result<(Vec<(Arc<Member>, Option<usize>)>, bool), Failure> {
        let SessionPage { user, after, limit } = page;
        let limit = limit.unwrap_or(LIST_MAX) as usize;
        let of_each = self.each_shard(move |shard| shard.sessions(user.as_deref(), after, limit + 1)).await?;
        let mut sessions: Vec<_> = of_each.into_iter().flatten().collect();
        sessions.sort_unstable_by_key(|(member, _)| member.session);
        // One that moved between shards meanwhile may have been seen on both.
        sessions.dedup_by_key(|(member, _)| member.session);
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        Ok((sessions, more))
    }

    /// A page of the channels of this node, each with how many lines are subscribed, and whether there are more.
    pub(crate) async fn channels_page(&self, page: ChannelPage) -> Result<(Vec<(Arc<str>, usize)>, bool), Failure> {
        let ChannelPage { prefix, after, limit } = page;
        let limit = limit.unwrap_or(LIST_MAX) as usize;
        let prefix = prefix.unwrap_or_default();
        let of_each = self.each_shard(move |shard| shard.channel_names(&prefix, after.as_deref(), limit + 1)).await?;
        let mut names: Vec<_> = of_each.into_iter().flatten().collect();
        names.sort_unstable();
        let more = names.len() > limit;
        names.truncate(limit);
        let names: Arc<[Arc<str>]> = names.into();
        let asked = names.clone();
        let of_each = self.each_shard(move |shard| shard.subscribers(&asked)).await?;
        let sum = |at: usize| of_each.iter().map(|subscribers| subscribers[at]).sum();
        Ok((names.iter().enumerate().map(|(at, name)| (name.clone(), sum(at))).collect(), more))
    }

    /// Ends sessions for good; how many there were.
    pub(crate) async fn disconnect(&self, whom: Whom) -> Result<usize, Failure> {
        Ok(self.each_shard(move |shard| shard.disconnect(&whom)).await?.into_iter().sum())
    }

    /// Ends subscriptions; how many there were.
    pub(crate) async fn unsubscribe(&self, channel: Arc<str>, whom: Whom) -> Result<usize, Failure> {
        Ok(self.each_shard(move |shard| shard.unsubscribe(&channel, &whom)).await?.into_iter().sum())
    }

    /// What each shard says.
    pub(crate) async fn each_shard<T: Send + 'static>(
        &self,
        act: impl Fn(&mut Shard) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>, Failure> {
        let act = Arc::new(act);
        let ask = |shard| {
            let (sender, answer) = oneshot::channel();
            let act = act.clone();
            let letter = Letter::Act(Box::new(move |shard| drop(sender.send(act(shard)))));
            self.mailbox(shard).push(Command::Letters(vec![letter]));
            answer
        };
        let asked: Vec<_> = (0..self.shards()).map(ask).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            // The node has stopped.
            answers.push(answer.await.map_err(|_| ErrorCode::Overloaded)?);
        }
        Ok(answers)
    }
}
