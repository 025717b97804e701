//! What is done with the sockets of a namespace.

use std::collections::HashMap;
use std::sync::Arc;

use super::handlers::{self, ConnectHandler, DisconnectHandler, EventHandler, Middleware, Outcome};
use super::rooms::Outgoing;
use super::{Arguments, Socket};

/// Declares a namespace.
#[derive(Default)]
pub struct NamespaceBuilder(Namespace);

/// A namespace: its handlers.
#[derive(Default)]
pub(crate) struct Namespace {
    pub(crate) connect: Option<handlers::Connect>,
    pub(crate) disconnect: Option<handlers::Disconnect>,
    pub(crate) middleware: Vec<handlers::Judge>,
    pub(crate) events: HashMap<Box<str>, Vec<handlers::Event>>,
    /// Before those.
    pub(crate) any: Vec<handlers::Event>,
    pub(crate) fallback: Option<handlers::Event>,
    pub(crate) filters: Vec<handlers::Filter>,
    pub(super) outgoing: Vec<Outgoing>,
    /// The namespace of channels in which its rooms are, if it is one of the application's own.
    pub(crate) rooms_in: Option<Arc<str>>,
    /// Its clients follow channels by themselves.
    pub(crate) is_of_channels: bool,
}

impl NamespaceBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn build(self) -> Namespace {
        self.0
    }

    /// A socket has connected, or has come back: see [`Socket::recovered`](super::Socket::recovered). A function of the
    /// [`Socket`](super::Socket), async or not.
    #[must_use]
    pub fn on_connect<M>(mut self, handler: impl ConnectHandler<M>) -> Self {
        self.0.connect = Some(Arc::new(move |socket| handler.call(socket)));
        self
    }

    /// A socket has gone: a function of the socket and the [`Reason`](super::Reason). It may still come back as another one with the
    /// same id.
    #[must_use]
    pub fn on_disconnect<M>(mut self, handler: impl DisconnectHandler<M>) -> Self {
        self.0.disconnect = Some(Arc::new(move |socket, reason| handler.call(socket, reason)));
        self
    }

    /// A client has emitted an event: a function of the socket, of the arguments as a tuple of whatever they should be, and, if it is to
    /// answer, of the [`Ack`](super::Ack); async or not: see [`EventHandler`]. Those of one socket are called in the order of its
    /// events. Several for one event are called in the order in which they were declared.
    ///
    /// # Panics
    /// The protocol has the name for itself, as it has `disconnect`: see [`on_disconnect`](Self::on_disconnect).
    #[must_use]
    pub fn on<M>(mut self, event: &str, handler: impl EventHandler<M>) -> Self {
        self.0.events.entry(event.into()).or_default().push(handlers::of_event(event, handler));
        self
    }

    /// As [`on`](Self::on), for each event, before those of its name; several in the order in which they were declared. With
    /// [`Arguments`](super::Arguments) a function gets them as they came.
    #[must_use]
    pub fn on_any<M>(mut self, handler: impl EventHandler<M>) -> Self {
        self.0.any.push(handlers::of_any(handler));
        self
    }

    /// As [`on_any`](Self::on_any), before those that are declared already.
    #[must_use]
    pub fn prepend_any<M>(mut self, handler: impl EventHandler<M>) -> Self {
        self.0.any.insert(0, handlers::of_any(handler));
        self
    }

    /// As [`on`](Self::on), for the events that have no handler of their name.
    #[must_use]
    pub fn fallback<M>(mut self, handler: impl EventHandler<M>) -> Self {
        self.0.fallback = Some(handlers::of_any(handler));
        self
    }

    /// Decides which events are handled: a function of the socket and of the arguments as they came, the event's name first, that returns
    /// nothing or a result. Several are asked in their order, behind [`on_any`](Self::on_any) and before all other handlers. After an
    /// error no handler is called, and a client that waits for an answer is told:
    /// `{"error": {"code": "refused", "message": the error's text}}`.
    #[must_use]
    pub fn event_middleware<R: Outcome>(
        mut self,
        middleware: impl Fn(&Socket, &Arguments) -> R + Send + Sync + 'static,
    ) -> Self {
        self.0.filters.push(Arc::new(move |socket, arguments| middleware(socket, arguments).failure()));
        self
    }

    /// Is told of each event that the server emits in this namespace, once for each `emit`, on the thread that does it: a function of the
    /// socket, if the event is for that one alone, of the event's name, and of its arguments.
    #[must_use]
    pub fn on_any_outgoing(mut self, handler: impl Fn(Option<&Socket>, &str, &Arguments) + Send + Sync + 'static) -> Self {
        self.0.outgoing.push(Arc::new(handler));
        self
    }

    /// Decides who is let in: an async function of the socket, before it is connected, that returns `Ok(())` or a
    /// [`ConnectRefused`](super::ConnectRefused). Several are asked in their order; those who come back are not asked again, but with
    /// [`SocketIo::recovery_asks_middleware`](super::SocketIo::recovery_asks_middleware).
    #[must_use]
    pub fn middleware<M>(mut self, middleware: impl Middleware<M>) -> Self {
        self.0.middleware.push(Arc::new(move |socket| middleware.call(socket)));
        self
    }

    /// Has the rooms of this namespace be the channels of a namespace of channels: the room `lobby` is the channel `chat:lobby` with
    /// `rooms_in("chat")`. What others publish there is an event for the sockets in the room, and the other way round. To let
    /// clients come back, that namespace needs a history.
    #[must_use]
    pub fn rooms_in(mut self, namespace: &str) -> Self {
        self.0.rooms_in = Some(namespace.into());
        self
    }
}

impl Namespace {
    pub(super) fn of_channels() -> Self {
        Self { is_of_channels: true, ..Self::default() }
    }
}
