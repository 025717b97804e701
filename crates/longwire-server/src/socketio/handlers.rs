//! The functions that can handle what happens to sockets.

use std::cell::Cell;
use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use longwire_socketio::Arguments;
use serde::de::DeserializeOwned;

use super::socket::{ConnectRefused, Reason, Socket, is_reserved};
use super::{IntoArguments, Namespace};

/// What is left to do of a handler that is async.
pub(crate) type Future = Pin<Box<dyn std::future::Future<Output = ()>>>;

pub(crate) type Connect = Arc<dyn Fn(Socket) -> Option<Future> + Send + Sync>;
pub(crate) type Disconnect = Arc<dyn Fn(Socket, Reason) -> Option<Future> + Send + Sync>;
pub(crate) type Event = Arc<dyn Fn(Socket, &Arguments, Ack) -> Option<Future> + Send + Sync>;
/// What is wrong with an event, if anything is.
pub(crate) type Filter = Arc<dyn Fn(&Socket, &Arguments) -> Option<String> + Send + Sync>;
pub(crate) type Judge =
    Arc<dyn Fn(Socket) -> Pin<Box<dyn std::future::Future<Output = Result<(), ConnectRefused>>>> + Send + Sync>;

/// Has the handlers of an event called, in their order: those for any, then those for its name.
pub(crate) fn dispatch(namespace: &Namespace, socket: &Socket, arguments: &Arguments, id: Option<u64>) -> Option<Future> {
    let ack = Ack::new(socket, id);
    let name = arguments.event_name()?;
    let mut left = Vec::new();
    let mut call = |handler: &Event| left.extend(handler(socket.clone(), arguments, ack.again()));
    namespace.any.iter().for_each(&mut call);
    if let Some(error) = namespace.filters.iter().find_map(|filter| filter(socket, arguments)) {
        sparsely!(DEBUG, socket = socket.id(), event = name_of(arguments), error, "an event is refused");
        ack.fail("refused", &error);
        return together(left);
    }
    let declared = namespace.events.get(&*name);
    let own = socket.take_handlers(&name);
    declared.into_iter().flatten().chain(&own).for_each(&mut call);
    if declared.is_none() && own.is_empty() {
        namespace.fallback.iter().for_each(&mut call);
    }
    together(left)
}

/// All of them, each as if it was alone.
fn together(mut futures: Vec<Future>) -> Option<Future> {
    if futures.len() < 2 {
        return futures.pop();
    }
    Some(Box::pin(std::future::poll_fn(move |context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })))
}

/// A handler of an event of this name.
#[track_caller]
pub(super) fn of_event<M>(event: &str, handler: impl EventHandler<M>) -> Event {
    assert!(!is_reserved(event), "{event:?} is no event: it happens to a socket by itself. See on_connect and on_disconnect");
    of_any(handler)
}

pub(super) fn of_any<M>(handler: impl EventHandler<M>) -> Event {
    Arc::new(move |socket, arguments: &_, ack| handler.call(socket, arguments, ack))
}

/// Answers an event, once: where several handlers get an event, the first answer counts.
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    /// None if the client does not want an answer, and nothing in it once it has one.
    id: Option<Rc<Cell<Option<u64>>>>,
}

impl Ack {
    fn new(socket: &Socket, id: Option<u64>) -> Self {
        Self { socket: socket.clone(), id: id.map(|id| Rc::new(Cell::new(Some(id)))) }
    }

    fn again(&self) -> Self {
        Self { socket: self.socket.clone(), id: self.id.clone() }
    }

    /// Answers with these arguments; nothing, if the client has not asked for an answer, has got one, or has gone.
    pub fn send(self, arguments: impl IntoArguments) {
        let mut answer = Arguments::new();
        match arguments.append_to(&mut answer) {
            Ok(()) => self.answer(answer),
            Err(error) => sparsely!(ERROR, %error, "an ack cannot be written"),
        }
    }

    fn answer(&self, arguments: Arguments) {
        if let Some(id) = self.id.as_ref().and_then(|id| id.take()) {
            self.socket.acknowledge(id, arguments);
        }
    }

    /// Answers with what went wrong: one argument, `{"error": {"code": code, "message": message}}`.
    fn fail(&self, code: &str, message: &str) {
        let mut answer = Arguments::new();
        let error = serde_json::json!({ "error": { "code": code, "message": message } });
        if answer.push(&error).is_ok() {
            self.answer(answer);
        }
    }

    /// Whether the client wants an answer, and has none yet.
    pub fn is_wanted(&self) -> bool {
        self.id.as_ref().is_some_and(|id| id.get().is_some())
    }
}

/// What a handler may return: nothing, or whether it has done what it was asked to. An error is logged, and told to a client that
/// waits for an answer and has none: `{"error": {"code": "failed", "message": its text}}`.
pub trait Outcome {
    /// What went wrong.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// The type of what never returns, which has no name of its own yet (RFC 1216): a handler may be a loop without an end.
type Never = <fn() -> ! as Returning>::Returned;

/// Names what functions return.
pub trait Returning {
    /// What that is.
    type Returned;
}

impl<T> Returning for fn() -> T {
    type Returned = T;
}

impl Outcome for Never {
    fn failure(self) -> Option<String> {
        None
    }
}

/// A handler of an event has ended.
fn ended(outcome: impl Outcome, ack: &Ack, event: &str) {
    if let Some(error) = outcome.failure() {
        sparsely!(WARN, socket = ack.socket.id(), event, %error, "a handler has failed");
        ack.fail("failed", &error);
    }
}

/// A handler of something else has ended.
fn ended_otherwise(outcome: impl Outcome, socket: &Socket) {
    if let Some(error) = outcome.failure() {
        sparsely!(WARN, socket = socket.id(), %error, "a handler has failed");
    }
}

/// Marks functions that return nothing, or a result.
#[derive(Debug)]
pub struct Plain;
/// Marks functions that are async.
#[derive(Debug)]
pub struct Async;
/// Marks functions that take the arguments as they came.
#[derive(Debug)]
pub struct Raw;

/// What can handle a connected socket: a function of the [`Socket`].
pub trait ConnectHandler<M>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, socket: Socket) -> Option<Pin<Box<dyn std::future::Future<Output = ()>>>>;
}

impl<F, R> ConnectHandler<Plain> for F
where
    F: Fn(Socket) -> R + Send + Sync + 'static,
    R: Outcome,
{
    fn call(&self, socket: Socket) -> Option<Future> {
        ended_otherwise(self(socket.clone()), &socket);
        None
    }
}

impl<F, Fut> ConnectHandler<Async> for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output: Outcome> + 'static,
{
    fn call(&self, socket: Socket) -> Option<Future> {
        let left = self(socket.clone());
        Some(Box::pin(async move { ended_otherwise(left.await, &socket) }))
    }
}

/// What can handle the end of a socket: a function of the [`Socket`] and the [`Reason`].
pub trait DisconnectHandler<M>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, socket: Socket, reason: Reason) -> Option<Pin<Box<dyn std::future::Future<Output = ()>>>>;
}

impl<F, R> DisconnectHandler<Plain> for F
where
    F: Fn(Socket, Reason) -> R + Send + Sync + 'static,
    R: Outcome,
{
    fn call(&self, socket: Socket, reason: Reason) -> Option<Future> {
        ended_otherwise(self(socket.clone(), reason), &socket);
        None
    }
}

impl<F, Fut> DisconnectHandler<Async> for F
where
    F: Fn(Socket, Reason) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output: Outcome> + 'static,
{
    fn call(&self, socket: Socket, reason: Reason) -> Option<Future> {
        let left = self(socket.clone(), reason);
        Some(Box::pin(async move { ended_otherwise(left.await, &socket) }))
    }
}

/// What can decide who is let in: an async function of the [`Socket`].
pub trait Middleware<M>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, socket: Socket) -> Pin<Box<dyn std::future::Future<Output = Result<(), ConnectRefused>>>>;
}

impl<F, Fut> Middleware<Async> for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output = Result<(), ConnectRefused>> + 'static,
{
    fn call(&self, socket: Socket) -> Pin<Box<dyn std::future::Future<Output = Result<(), ConnectRefused>>>> {
        Box::pin(self(socket))
    }
}

/// What can handle an event: a function of the [`Socket`], of the arguments as a tuple (or [`Arguments`], as they came, the event's name
/// first), and, if it likes, of the [`Ack`]; async or not. It returns nothing, or a result: see [`Outcome`].
///
/// Arguments that are something else are logged, at most once a second, the function is not called, and a client that waits for an
/// answer is told: `{"error": {"code": "bad_arguments", "message": what is wrong with them}}`.
pub trait EventHandler<M>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, socket: Socket, arguments: &Arguments, ack: Ack) -> Option<Pin<Box<dyn std::future::Future<Output = ()>>>>;
}

/// The arguments as a handler wants them.
fn read<T: DeserializeOwned>(socket: &Socket, arguments: &Arguments, ack: &Ack) -> Option<T> {
    let complain = |error: &dyn Display| {
        let event = name_of(arguments);
        sparsely!(WARN, socket = socket.id(), event, %error, "an event has other arguments than its handler takes");
        ack.fail("bad_arguments", &error.to_string());
    };
    arguments.read_event().inspect_err(|error| complain(error)).ok()
}

/// As they are.
fn raw(_: &Socket, arguments: &Arguments, _: &Ack) -> Option<Arguments> {
    Some(arguments.clone())
}

/// As it stands in the log.
fn name_of(arguments: &Arguments) -> String {
    arguments.event_name().unwrap_or_default().chars().take(64).collect()
}

/// Implements [`EventHandler`] for functions of the arguments as `$read` gives them, with and without the ack.
macro_rules! event_handlers {
    ($read:ident $mark:ident $type:ty $(, $generic:ident: $bound:path)?) => {
        impl<F, R, $($generic)?> EventHandler<(Plain, $mark)> for F
        where
            F: Fn(Socket, $type) -> R + Send + Sync + 'static,
            R: Outcome,
            $($generic: $bound)?
        {
            fn call(&self, socket: Socket, arguments: &Arguments, ack: Ack) -> Option<Future> {
                let read = $read(&socket, arguments, &ack)?;
                ended(self(socket, read), &ack, &name_of(arguments));
                None
            }
        }

        impl<F, R, $($generic)?> EventHandler<(Plain, $mark, Ack)> for F
        where
            F: Fn(Socket, $type, Ack) -> R + Send + Sync + 'static,
            R: Outcome,
            $($generic: $bound)?
        {
            fn call(&self, socket: Socket, arguments: &Arguments, ack: Ack) -> Option<Future> {
                let read = $read(&socket, arguments, &ack)?;
                ended(self(socket, read, ack.again()), &ack, &name_of(arguments));
                None
            }
        }

        impl<F, Fut, $($generic)?> EventHandler<(Async, $mark)> for F
        where
            F: Fn(Socket, $type) -> Fut + Send + Sync + 'static,
            Fut: std::future::Future<Output: Outcome> + 'static,
            $($generic: $bound)?
        {
            fn call(&self, socket: Socket, arguments: &Arguments, ack: Ack) -> Option<Future> {
                let left = self(socket.clone(), $read(&socket, arguments, &ack)?);
                let name = name_of(arguments);
                Some(Box::pin(async move { ended(left.await, &ack, &name) }))
            }
        }

        impl<F, Fut, $($generic)?> EventHandler<(Async, $mark, Ack)> for F
        where
            F: Fn(Socket, $type, Ack) -> Fut + Send + Sync + 'static,
            Fut: std::future::Future<Output: Outcome> + 'static,
            $($generic: $bound)?
        {
            fn call(&self, socket: Socket, arguments: &Arguments, ack: Ack) -> Option<Future> {
                let left = self(socket.clone(), $read(&socket, arguments, &ack)?, ack.again());
                let name = name_of(arguments);
                Some(Box::pin(async move { ended(left.await, &ack, &name) }))
            }
        }
    };
}

event_handlers!(read T T, T: DeserializeOwned);
event_handlers!(raw Raw Arguments);
