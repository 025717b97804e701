//! A line as an async handler sees it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use longwire_ws::{CloseCode, Message as Received};
use pin_project_lite::pin_project;

use crate::handler::{Closed, ClosingReply, End, EndedBy, LineHandler, Opening, PublishError};
use crate::name::ChannelName;
use crate::node::Node;
use crate::shard::{self, Key, Line, Pauses};
use longwire_ws::OwnedMessage as Message;

/// A line, for an async handler: receives and sends messages. It belongs to its shard's thread, and so does the handler's future,
/// which need not be `Send`.
///
/// Dropping it closes the line: with 1000, or 1011 if the handler panics.
///
/// ```
/// use longwire_server::{Closed, Socket};
///
/// async fn echo(mut socket: Socket) -> Result<(), Closed> {
///     while let Some(message) = socket.recv().await {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
/// ```
pub struct Socket {
    sender: SocketSender,
}

/// The sending half of a [`Socket`]: as many as needed, for other tasks of the same shard.
#[derive(Clone)]
pub struct SocketSender {
    shared: Rc<Shared>,
}

struct Shared {
    key: Key,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    inbox: VecDeque<Message>,
    inbox_bytes: usize,
    /// Reading waits until the inbox is emptier.
    paused: bool,
    end: Option<Box<End>>,
    receiver: Option<Waker>,
    /// Those who wait for room in the outbox.
    senders: Vec<Waker>,
}

impl Socket {
    /// The next message; `None` once the line has ended and all that came before was received.
    pub fn recv(&mut self) -> impl Future<Output = Option<Message>> {
        // Not an async function: its future would hold what it captures twice, in every line that waits.
        poll_fn(move |cx| {
            let shared = &self.sender.shared;
            let mut state = shared.state.borrow_mut();
            if let Some(message) = state.inbox.pop_front() {
                state.inbox_bytes -= cost(message.as_bytes());
                if state.paused && state.inbox.is_empty() {
                    state.paused = false;
                    drop(state);
                    shard::with(|shard| shard.resume(shared.key, Pauses::HANDLER));
                }
                return Poll::Ready(Some(message));
            }
            if state.end.is_some() {
                drop(state);
                shard::with(|shard| shard.finish_ending(shared.key));
                return Poll::Ready(None);
            }
            match &mut state.receiver {
                Some(waker) => waker.clone_from(cx.waker()),
                None => state.receiver = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
    }

    /// How the line ended, once [`recv`](Self::recv) has said `None`.
    pub fn end(&self) -> Option<End> {
        self.sender.shared.state.borrow().end.as_deref().cloned()
    }

    /// A sending half for another task on this shard.
    pub fn sender(&self) -> SocketSender {
        self.sender.clone()
    }

    /// Closes the line with a code and a reason of at most 123 bytes.
    pub fn close(self, code: CloseCode, reason: &str) {
        self.sender.close(code, reason);
    }
}

impl SocketSender {
    /// Sends a message to the client, once there is room in the outbox.
    ///
    /// # Errors
    /// [`Closed`] if the line has ended.
    pub fn send<M: Into<Message>>(&self, message: M) -> impl Future<Output = Result<(), Closed>> + use<'_, M> {
        let message = message.into();
        poll_fn(move |cx| match shard::with(|shard| shard.send(self.shared.key, &message)) {
            Some(Ok(true)) => Poll::Ready(Ok(())),
            Some(Ok(false)) => {
                self.shared.state.borrow_mut().wait_for_room(cx.waker());
                Poll::Pending
            }
            Some(Err(Closed)) | None => Poll::Ready(Err(Closed)),
        })
    }

    /// Sends a ping with at most 125 bytes. The server pings quiet lines by itself; this is for those who want more.
    ///
    /// # Errors
    /// [`Closed`] if the line has ended.
    pub fn ping(&self, payload: &[u8]) -> Result<(), Closed> {
        shard::with(|shard| shard.ping(self.shared.key, payload)).unwrap_or(Err(Closed))
    }

    /// From now on the client gets what is published in `channel`, without the handler. False if it did already.
    ///
    /// # Errors
    /// [`Closed`] if the line has ended.
    pub fn subscribe(&self, channel: &str) -> Result<bool, Closed> {
        shard::with(|shard| shard.subscribe(self.shared.key, channel)).unwrap_or(Err(Closed))
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// [`Closed`] if the line has ended, and its subscriptions with it.
    pub fn unsubscribe(&self, channel: &str) -> Result<(), Closed> {
        shard::with(|shard| shard.unsubscribe_from(self.shared.key, channel)).unwrap_or(Err(Closed))
    }

    /// Publishes to all who are subscribed to `channel`, this line included if it is.
    ///
    /// # Errors
    /// [`PublishError`] if too much is on its way already, or there is no such namespace; nothing is published then.
    pub fn publish(&self, channel: impl ChannelName, message: impl Into<Message>) -> Result<(), PublishError> {
        match self.node() {
            Some(node) => node.publish(channel, message),
            None => Err(PublishError::Overloaded(message.into())),
        }
    }

    /// The node that the line is connected to; `None` once its shard has ended.
    pub fn node(&self) -> Option<Node> {
        shard::with(|shard| shard.node().clone())
    }

    /// Closes the line with a code and a reason of at most 123 bytes.
    pub fn close(&self, code: CloseCode, reason: &str) {
        shard::with(|shard| {
            shard.close(self.shared.key, code, reason);
            shard.wake_driver();
        });
    }
}

impl Deref for Socket {
    type Target = SocketSender;

    fn deref(&self) -> &SocketSender {
        &self.sender
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.sender.close(CloseCode::INTERNAL_ERROR, "handler failed");
        } else {
            self.sender.close(CloseCode::NORMAL, "");
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl fmt::Debug for SocketSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketSender").finish_non_exhaustive()
    }
}

/// What can handle the lines of a path: an async function of a [`Socket`], or of a [`Socket`] and the [`Opening`], that returns
/// nothing or a `Result` whose error can be displayed.
pub trait AsyncHandler<Args>: Send + Sync + 'static {
    /// Starts it for one line.
    fn start(&self, socket: Socket, opening: Opening) -> impl Future<Output = ()> + use<Self, Args> + 'static;
}

/// What an async handler may return.
pub trait Outcome {
    /// Logs what went wrong, at debug level: that a client is gone is no event for an operator.
    fn log(self);
}

impl Outcome for () {
    fn log(self) {}
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn log(self) {
        if let Err(error) = self {
            sparsely!(DEBUG, %error, "handler ended");
        }
    }
}

impl<F, Fut> AsyncHandler<(Socket,)> for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + 'static,
{
    fn start(&self, socket: Socket, _: Opening) -> impl Future<Output = ()> + use<F, Fut> + 'static {
        Logged { run: self(socket) }
    }
}

impl<F, Fut> AsyncHandler<(Socket, Opening)> for F
where
    F: Fn(Socket, Opening) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + 'static,
{
    fn start(&self, socket: Socket, opening: Opening) -> impl Future<Output = ()> + use<F, Fut> + 'static {
        Logged { run: self(socket, opening) }
    }
}

pin_project! {
    /// A handler's future, whose outcome is logged. An async block would hold the future twice.
    struct Logged<F> {
        #[pin]
        run: F,
    }
}

impl<F: Future<Output: Outcome>> Future for Logged<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().run.poll(cx).map(Outcome::log)
    }
}

pin_project! {
    /// The task of a handler. Even the part of the handler that comes before its future runs in there: the line is borrowed while
    /// it is opened, and a handler uses it.
    #[project = TaskState]
    enum Task<S, F> {
        New { start: Option<S> },
        Running { #[pin] run: F },
    }
}

impl<S: FnOnce() -> F, F: Future<Output = ()>> Future for Task<S, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let TaskState::New { start } = self.as_mut().project() {
            let Some(start) = start.take() else { return Poll::Ready(()) };
            self.set(Self::Running { run: start() });
        }
        match self.project() {
            TaskState::Running { run } => run.poll(cx),
            TaskState::New { .. } => Poll::Ready(()),
        }
    }
}

/// The line's side of an async handler: passes what comes to its task.
pub(crate) struct TaskHandler<H, Args> {
    /// What starts the task, until the line is open; boxed, since it is large and soon gone.
    start: Option<Box<(Arc<H>, Opening)>>,
    shared: Option<Rc<Shared>>,
    args: std::marker::PhantomData<fn(Args)>,
}

impl<H: AsyncHandler<Args>, Args: 'static> TaskHandler<H, Args> {
    pub(crate) fn new(handler: Arc<H>, opening: Opening) -> Self {
        Self { start: Some(Box::new((handler, opening))), shared: None, args: std::marker::PhantomData }
    }
}

impl<H: AsyncHandler<Args>, Args: 'static> LineHandler for TaskHandler<H, Args> {
    fn opened(&mut self, line: &mut Line<'_>) {
        let Some(start) = self.start.take() else { return };
        let shared = Rc::new(Shared { key: line.key(), state: RefCell::default() });
        self.shared = Some(shared.clone());
        let socket = Socket { sender: SocketSender { shared } };
        let start = move || {
            let (handler, opening) = *start;
            handler.start(socket, opening)
        };
        tokio::task::spawn_local(Task::New { start: Some(start) });
        line.handlers_woken();
    }

    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.state.borrow_mut();
        state.inbox_bytes += cost(message.as_bytes());
        state.inbox.push_back(message.into());
        if state.inbox_bytes >= line.inbox_bytes() && !state.paused {
            state.paused = true;
            line.pause();
        }
        if let Some(waker) = state.receiver.take() {
            waker.wake();
        }
        line.handlers_woken();
    }

    fn drained(&mut self, line: &mut Line<'_>) {
        if let Some(shared) = &self.shared {
            shared.state.borrow_mut().wake_senders();
            line.handlers_woken();
        }
    }

    fn closed(&mut self, end: &End) -> ClosingReply {
        let Some(shared) = &self.shared else { return ClosingReply::Now };
        let mut state = shared.state.borrow_mut();
        state.end = Some(Box::new(end.clone()));
        state.wake_senders();
        if let Some(waker) = state.receiver.take() {
            waker.wake();
        }
        // What came before the client's close is answered before it.
        let answered = end.by == EndedBy::Cut || Rc::strong_count(shared) == 1;
        if answered { ClosingReply::Now } else { ClosingReply::Later }
    }
}

/// What a message counts for in an inbox, in bytes: its place there, too, since a payload may be empty.
fn cost(payload: &[u8]) -> usize {
    size_of::<Message>() + payload.len()
}

impl State {
    /// Once for each task, however often it asks.
    fn wait_for_room(&mut self, waker: &Waker) {
        if !self.senders.iter().any(|sender| sender.will_wake(waker)) {
            self.senders.push(waker.clone());
        }
    }

    fn wake_senders(&mut self) {
        for waker in self.senders.drain(..) {
            waker.wake();
        }
    }
}
