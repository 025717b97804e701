//! The functions that can handle what happens to sockets.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use longwire_socketio::Arguments;
use serde::de::DeserializeOwned;

use super::IntoArguments;
use super::socket::{ConnectRefused, Reason, Socket};

/// What is left to do of a handler that is async.
pub(crate) type Future = Pin<Box<dyn std::future::Future<Output = ()>>>;

pub(crate) type Connect = Arc<dyn Fn(Socket) -> Option<Future> + Send + Sync>;
pub(crate) type Disconnect = Arc<dyn Fn(Socket, Reason) -> Option<Future> + Send + Sync>;
pub(crate) type Event = Arc<dyn Fn(Socket, &Arguments, Option<u64>) -> Option<Future> + Send + Sync>;
pub(crate) type Judge =
    Arc<dyn Fn(Socket) -> Pin<Box<dyn std::future::Future<Output = Result<(), ConnectRefused>>>> + Send + Sync>;

/// Answers an event, once.
#[derive(Debug)]
pub struct Ack {
    pub(super) socket: Socket,
    /// None if the client does not want one.
    pub(super) id: Option<u64>,
}

impl Ack {
    /// Answers with these arguments; nothing, if the client has not asked for an answer, or has gone.
    pub fn send(self, arguments: impl IntoArguments) {
        let mut answer = Arguments::new();
        match arguments.append_to(&mut answer) {
            Ok(()) => self.send_arguments(answer),
            Err(error) => tracing::error!(%error, "an ack cannot be written"),
        }
    }

    /// As [`send`](Self::send), with arguments that came from elsewhere.
    pub fn send_arguments(self, arguments: Arguments) {
        if let Some(id) = self.id {
            self.socket.acknowledge(id, arguments);
        }
    }

    /// Whether the client wants an answer.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }
}

/// Marks functions that return nothing.
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

impl<F: Fn(Socket) + Send + Sync + 'static> ConnectHandler<Plain> for F {
    fn call(&self, socket: Socket) -> Option<Future> {
        self(socket);
        None
    }
}

impl<F, Fut> ConnectHandler<Async> for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output = ()> + 'static,
{
    fn call(&self, socket: Socket) -> Option<Future> {
        Some(Box::pin(self(socket)))
    }
}

/// What can handle the end of a socket: a function of the [`Socket`] and the [`Reason`].
pub trait DisconnectHandler<M>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, socket: Socket, reason: Reason) -> Option<Pin<Box<dyn std::future::Future<Output = ()>>>>;
}

impl<F: Fn(Socket, Reason) + Send + Sync + 'static> DisconnectHandler<Plain> for F {
    fn call(&self, socket: Socket, reason: Reason) -> Option<Future> {
        self(socket, reason);
        None
    }
}

impl<F, Fut> DisconnectHandler<Async> for F
where
    F: Fn(Socket, Reason) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output = ()> + 'static,
{
    fn call(&self, socket: Socket, reason: Reason) -> Option<Future> {
        Some(Box::pin(self(socket, reason)))
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
/// first), and, if it likes, of the [`Ack`]; async or not.
pub trait EventHandler<M>: Send + Sync + 'static {
    /// Calls it; `ack` is the number under which the client wants an answer.
    fn call(
        &self,
        socket: Socket,
        arguments: &Arguments,
        ack: Option<u64>,
    ) -> Option<Pin<Box<dyn std::future::Future<Output = ()>>>>;
}

/// The arguments as a handler wants them; if they are something else, that is logged.
fn read<T: DeserializeOwned>(socket: &Socket, arguments: &Arguments) -> Option<T> {
    let complain = |error: &dyn Display| {
        let event = arguments.event_name();
        tracing::debug!(socket = socket.id(), ?event, %error, "an event has other arguments than its handler takes");
    };
    arguments.read_event().inspect_err(|error| complain(error)).ok()
}

impl<F, T> EventHandler<(Plain, T)> for F
where
    F: Fn(Socket, T) + Send + Sync + 'static,
    T: DeserializeOwned,
{
    fn call(&self, socket: Socket, arguments: &Arguments, _: Option<u64>) -> Option<Future> {
        let read = read(&socket, arguments)?;
        self(socket, read);
        None
    }
}

impl<F, T> EventHandler<(Plain, T, Ack)> for F
where
    F: Fn(Socket, T, Ack) + Send + Sync + 'static,
    T: DeserializeOwned,
{
    fn call(&self, socket: Socket, arguments: &Arguments, id: Option<u64>) -> Option<Future> {
        let read = read(&socket, arguments)?;
        let ack = Ack { socket: socket.clone(), id };
        self(socket, read, ack);
        None
    }
}

impl<F, T, Fut> EventHandler<(Async, T)> for F
where
    F: Fn(Socket, T) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output = ()> + 'static,
    T: DeserializeOwned,
{
    fn call(&self, socket: Socket, arguments: &Arguments, _: Option<u64>) -> Option<Future> {
        let read = read(&socket, arguments)?;
        Some(Box::pin(self(socket, read)))
    }
}

impl<F, T, Fut> EventHandler<(Async, T, Ack)> for F
where
    F: Fn(Socket, T, Ack) -> Fut + Send + Sync + 'static,
    Fut: std::future::Future<Output = ()> + 'static,
    T: DeserializeOwned,
{
    fn call(&self, socket: Socket, arguments: &Arguments, id: Option<u64>) -> Option<Future> {
        let read = read(&socket, arguments)?;
        let ack = Ack { socket: socket.clone(), id };
        Some(Box::pin(self(socket, read, ack)))
    }
}

impl<F: Fn(Socket, Arguments, Ack) + Send + Sync + 'static> EventHandler<Raw> for F {
    fn call(&self, socket: Socket, arguments: &Arguments, id: Option<u64>) -> Option<Future> {
        let ack = Ack { socket: socket.clone(), id };
        self(socket, arguments.clone(), ack);
        None
    }
}
