//! A stream in the hands of its producer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Append, Data, ErrorCode, Position, Publish, Reply, StreamEnd};
use tokio::sync::{oneshot, watch};

use super::Client;
use super::shared::{AnswerTo, Progress, Shared, StreamKey};
use crate::error::Error;
use crate::session::{Failure, Request};

/// A stream that this client produces: a publication that grows.
///
/// Pieces are sent without waiting for one another, and again after a lost line. While it thinks, the server is told that it is
/// there. A producer that is dropped without
/// [`finish`](Self::finish) or [`fail`](Self::fail) fails its stream.
///
/// ```no_run
/// # async fn example(client: longwire_client::Client) -> Result<(), longwire_client::Error> {
/// use longwire_client::Publish;
///
/// let mut answer = client.stream(Publish { event: Some("answer".into()), ..Publish::new("ai:42", "") }).await?;
/// for word in ["It ", "is ", "42."] {
///     if answer.is_cancelled() {
///         return answer.cancel().await;
///     }
///     answer.append(word).await?;
/// }
/// answer.finish().await
/// # }
/// ```
pub struct Producer {
    client: Client,
    key: StreamKey,
    position: Position,
    /// Bytes so far.
    length: u64,
    ended: bool,
    progress: watch::Receiver<Progress>,
}

impl Producer {
    pub(super) async fn begin(client: Client, publish: Publish) -> Result<Self, Error> {
        let publish = Publish { stream: true, ..publish };
        let channel = publish.channel.clone();
        let length = publish.data.as_ref().map_or(0, |data| data.as_bytes().len() as u64);
        if !matches!(publish.data, None | Some(Data::Text(_))) {
            return Err(Error::Refused(ErrorCode::BadValue.into()));
        }
        let shared = &client.handle.0;
        let (asker, answer) = oneshot::channel();
        shared.submit(Request::Publish(publish), AnswerTo::Beginner(asker)).await?;
        let (reply, progress) = answer.await.map_err(|_| shared.error(Failure::Stopped))?;
        match (reply.map_err(|failure| shared.error(failure))?, progress) {
            (Reply::Published { position: Some(position), lease, .. }, Some(progress)) => {
                let key = (channel, position.offset);
                tokio::spawn(stay_alive(shared.clone(), key.clone(), lease));
                Ok(Self { client, key, position, length, ended: false, progress })
            }
            _ => Err(Error::Refused(ErrorCode::NotEnabled.into())),
        }
    }

    /// Where it began; the offset is what identifies it in its channel.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Adds a text. Waits only until there is room for it.
    ///
    /// # Errors
    /// The server has refused this or an earlier piece, or the client has stopped.
    pub async fn append(&mut self, text: &str) -> Result<(), Error> {
        self.check()?;
        let append = Append { data: Some(text.into()), ..self.nothing() };
        let shared = &self.client.handle.0;
        shared.submit(Request::Append(append), AnswerTo::Producer(self.key.clone())).await?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Ends the stream: all is said. Waits until the server has all of it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn finish(self) -> Result<(), Error> {
        self.end(StreamEnd::Finished, None).await
    }

    /// Ends the stream because the producer cannot go on, and says why, for people.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn fail(self, reason: &str) -> Result<(), Error> {
        self.end(StreamEnd::Failed, Some(reason.into())).await
    }

    /// Ends the stream because someone has asked for it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn cancel(self) -> Result<(), Error> {
        self.end(StreamEnd::Cancelled, None).await
    }

    /// Whether someone has asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.progress.borrow().cancel
    }

    /// Waits until someone asks to stop; for ever if nobody does. It does not borrow the producer.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut progress = self.progress.clone();
        async move {
            if progress.wait_for(|progress| progress.cancel).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn end(mut self, end: StreamEnd, reason: Option<Box<str>>) -> Result<(), Error> {
        self.check()?;
        let append = Append { end: Some(end), reason, ..self.nothing() };
        self.ended = true;
        self.client.handle.0.ask(Request::Append(append)).await?;
        // Earlier pieces were answered before.
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        let failure = self.progress.borrow().failure.clone();
        failure.map_or(Ok(()), |failure| Err(self.client.handle.0.error(failure)))
    }

    fn nothing(&self) -> Append {
        let (channel, stream) = self.key.clone();
        Append { channel, stream, data: None, at: Some(self.length), end: None, reason: None }
    }
}

/// Says that the producer is there, thrice within its lease, as long as it is: one that is silent for longer is taken for lost.
async fn stay_alive(shared: Arc<Shared>, key: StreamKey, lease: Option<u32>) {
    let Some(lease) = lease else { return };
    let every = Duration::from_secs(lease.into()) / 3;
    let (channel, stream) = key.clone();
    // With a place to put nothing at it can be said again after a lost line.
    let nothing = Append { channel, stream, data: None, at: Some(0), end: None, reason: None };
    loop {
        tokio::time::sleep(every).await;
        let (is_there, is_connected) = {
            let core = shared.core();
            (core.streams.contains_key(&key), core.session.is_connected())
        };
        // Without a line they would only pile up.
        let says = is_there && is_connected;
        if !is_there || says && shared.submit(Request::Append(nothing.clone()), AnswerTo::Producer(key.clone())).await.is_err()
        {
            return;
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let shared = &self.client.handle.0;
        shared.core().streams.remove(&self.key);
        if !self.ended {
            let reason = Some("the producer has gone".into());
            shared.try_submit(Request::Append(Append { end: Some(StreamEnd::Failed), reason, ..self.nothing() }));
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("channel", &self.key.0).field("position", &self.position).finish_non_exhaustive()
    }
}
