//! Building, running and embedding a server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use longwire_core::BadNamespace;
use longwire_protocol::Form;
use longwire_store::Error as StoreError;
use longwire_ws::handshake::server::ServerOptions;

use crate::allowed::origins;
use crate::api::{self, Access, Api, ApiKeys, Door, KeyKind};
use crate::come_again;
use crate::config::Config;
use crate::engine_io::{self, EngineIo, EngineOptions, Hooks};
use crate::error::Error;
use crate::event_stream;
use crate::handler::{LineHandler, Opening};
use crate::host;
use crate::http::{Http, error};
use crate::http_line;
use crate::local_key::LocalKey;
use crate::node::{MAX_SHARDS, Node};
use crate::places::Always;
use crate::poll;
use crate::shard::loading;
use crate::shard::{KEPT_SOCKETS, NativeHandler, SocketIoHandler, kept_sockets};
use crate::signals::{Caught, Signals};
use crate::socket::{AsyncHandler, TaskHandler};
use crate::socketio::{self, SocketIo};
use crate::upgrade::{self, Gate, MakeHandler};
use crate::{listen, shard};

/// A server to be. Start with [`Server::builder`].
///
/// ```no_run
/// use longwire_server::{Closed, Server, Socket};
///
/// async fn hello(mut socket: Socket) -> Result<(), Closed> {
///     socket.send("hello").await?;
///     while let Some(message) = socket.recv().await {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
///
/// Server::builder().websocket("/ws", hello).run("127.0.0.1:8000").unwrap();
/// ```
#[derive(Debug)]
pub struct Server;

impl Server {
    /// A server without any path.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            config: Config::default(),
            routes: Vec::new(),
            engines: Vec::new(),
            sockets: Vec::new(),
            event_streams: None,
            http_lines: None,
            polls: None,
            router: Router::new(),
            api: None,
            health: Vec::new(),
        }
    }
}

/// A path that speaks WebSocket.
struct Route {
    path: String,
    make: MakeHandler,
    /// Its lines speak the native protocol.
    native: bool,
}

/// A path that speaks Engine.IO.
struct Engine {
    path: String,
    make: MakeHandler,
    options: EngineOptions,
    hooks: Hooks,
}

/// Collects the paths and settings of a server.
pub struct ServerBuilder {
    config: Config,
    routes: Vec<Route>,
    engines: Vec<Engine>,
    sockets: Vec<(String, SocketIo)>,
    event_streams: Option<String>,
    http_lines: Option<String>,
    polls: Option<String>,
    router: Router,
    api: Option<(String, ApiKeys)>,
    health: Vec<String>,
}

impl ServerBuilder {
    /// Has an async function handle the lines of a path. It gets the [`Socket`](crate::Socket), and the [`Opening`] if it wants.
    ///
    /// The path is one of axum's: `/room/{name}` takes a parameter, see [`Opening::param`].
    #[must_use]
    pub fn websocket<Args: 'static>(mut self, path: &str, handler: impl AsyncHandler<Args>) -> Self {
        let handler = Arc::new(handler);
        let make = move |opening| Box::new(TaskHandler::new(handler.clone(), opening)) as Box<dyn LineHandler>;
        self.routes.push(Route { path: path.to_owned(), make: Arc::new(make), native: false });
        self
    }

    /// Has a [`LineHandler`] handle the lines of a path: plain function calls instead of a task for each line. `make` makes one
    /// for each line, on the line's shard.
    #[must_use]
    pub fn line_handler<H: LineHandler>(mut self, path: &str, make: impl Fn(&Opening) -> H + Send + Sync + 'static) -> Self {
        let make = move |opening: Opening| Box::new(make(&opening)) as Box<dyn LineHandler>;
        self.routes.push(Route { path: path.to_owned(), make: Arc::new(make), native: false });
        self
    }

    /// Has an async function handle the lines of a path that speaks Engine.IO, over WebSocket and over polling, with the change
    /// from the second to the first: a [`Socket`](crate::Socket) as any other, whose messages are those of Engine.IO. Its clients'
    /// path is `/engine.io/`, unless they say otherwise.
    #[must_use]
    pub fn engine_io<Args: 'static>(mut self, path: &str, options: EngineOptions, handler: impl AsyncHandler<Args>) -> Self {
        let handler = Arc::new(handler);
        let make = move |opening| Box::new(TaskHandler::new(handler.clone(), opening)) as Box<dyn LineHandler>;
        self.engines.push(Engine { path: path.to_owned(), make: Arc::new(make), options, hooks: Hooks::default() });
        self
    }

    /// Has a path speak Socket.IO: see [`socketio`](crate::socketio). Its clients' path is `/socket.io/`, unless they say otherwise.
    #[must_use]
    pub fn socket_io(mut self, path: &str, io: SocketIo) -> Self {
        self.sockets.push((path.to_owned(), io));
        self
    }

    /// Has the lines of a path speak the native protocol of `docs/protocol.md`: its clients subscribe to channels and publish in them,
    /// as [`Config::namespaces`] allow. Longwire's own clients look for it at `/v1/ws`.
    #[must_use]
    pub fn native(mut self, path: &str) -> Self {
        let make = |opening: Opening| Box::new(NativeHandler::new(&opening)) as Box<dyn LineHandler>;
        self.routes.push(Route { path: path.to_owned(), make: Arc::new(make), native: true });
        self
    }

    /// Gives what happens in channels as a stream of events at a path: Server-Sent Events for a browser's `EventSource` and
    /// `curl -N`, or JSON a line. `docs/event-streams.md` explains it. Longwire's own server has it at `/v1/events`.
    #[must_use]
    pub fn event_streams(mut self, path: &str) -> Self {
        self.event_streams = Some(path.to_owned());
        self
    }

    /// Gives what has happened in channels as one answer, at once or when there is something: long polling, plain polling, and
    /// conditional requests. `docs/transports.md` explains it. Longwire's own server has it at `/v1/poll`.
    #[must_use]
    pub fn polls(mut self, path: &str) -> Self {
        self.polls = Some(path.to_owned());
        self
    }

    /// Has clients that cannot have a WebSocket speak the native protocol over HTTP requests at a path: commands by `POST`, and
    /// messages by a stream or by long polls. `docs/http-lines.md` explains it. Longwire's own clients look for it at `/v1/http`.
    #[must_use]
    pub fn http_lines(mut self, path: &str) -> Self {
        self.http_lines = Some(path.to_owned());
        self
    }

    /// Adds the routes of an axum application, to be served beside the WebSockets.
    #[must_use]
    pub fn http(mut self, router: Router) -> Self {
        self.router = self.router.merge(router);
        self
    }

    /// Serves the server API below a path, usually `/api/v1`: HTTP for a product's own back end, opened by one of the keys, or with
    /// [`ApiKeys::local`] by one that the server makes for programs of its own user. `docs/api.md` says what it can do; in the
    /// process [`Node::channel`] is the way to the same.
    ///
    /// ```
    /// use longwire_server::{ApiKeys, Server};
    /// let builder = Server::builder().native("/v1/ws").api("/api/v1", ApiKeys::new(["a-long-and-random-key"])?);
    /// # Ok::<(), longwire_server::BadApiKey>(())
    /// ```
    #[must_use]
    pub fn api(mut self, path: &str, keys: ApiKeys) -> Self {
        self.api = Some((path.to_owned(), keys));
        self
    }

    /// Answers 200 and `ok` at a path, for those who ask whether the server is well: also when it has as many connections as it may.
    /// Longwire's own server does so at `/healthz`.
    #[must_use]
    pub fn health(mut self, path: &str) -> Self {
        self.router = self.router.route(path, axum::routing::get(async || "ok\n"));
        self.health.push(path.to_owned());
        self
    }

    /// How many shards to run: threads that share the lines. Default: one a core.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.config.shards = shards;
        self
    }

    /// Changes the settings.
    ///
    /// ```
    /// use std::time::Duration;
    /// let builder = longwire_server::Server::builder().configure(|config| {
    ///     config.ping_interval = Duration::from_secs(10);
    ///     config.limits.max_message_bytes = 64 << 10;
    /// });
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Serves on `address` until SIGINT or SIGTERM, then closes the lines and returns.
    ///
    /// # Errors
    /// See [`start`](Self::start); and if a shard fails.
    pub fn run(self, address: impl ToSocketAddrs) -> Result<(), Error> {
        let signals = Signals::catch()?;
        self.start(address)?.run_until(signals)
    }

    /// Starts to serve on every address that `address` resolves to, and returns.
    ///
    /// # Errors
    /// An address cannot be bound, a setting is out of bounds, or a thread cannot be started.
    pub fn start(self, address: impl ToSocketAddrs) -> Result<Running, Error> {
        let mut listeners = Vec::<TcpListener>::new();
        let mut unavailable = None;
        for address in address.to_socket_addrs().map_err(Error::Io)? {
            // `localhost:0` is one port on both families.
            let port = listeners.first().and_then(|first| first.local_addr().ok()).map_or(address.port(), |first| first.port());
            let address = SocketAddr::new(address.ip(), if address.port() == 0 { port } else { address.port() });
            match listen::bind(address) {
                Ok(listener) => listeners.push(listener),
                // `localhost` may name an address of a family that this machine does not have.
                Err(source) if source.kind() == io::ErrorKind::AddrNotAvailable => unavailable = Some((address, source)),
                Err(source) => return Err(Error::Bind { address, source }),
            }
        }
        if listeners.is_empty() {
            return Err(match unavailable {
                Some((address, source)) => Error::Bind { address, source },
                None => Error::Io(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")),
            });
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>().map_err(Error::Io)?;
        let (router, mut running) = self.launch(&addresses)?;
        running.start_shards(&router)?;
        running.acceptor = Some(listen::spawn(running.node.clone(), listeners).map_err(Error::Io)?);
        running.addresses = addresses;
        running.node.knows_its_descriptors();
        Ok(running)
    }

    /// For somebody's own server: the WebSocket paths as routes of an axum application, whose lines run on shards of their own.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # async fn hello(_: longwire_server::Socket) {}
    /// use axum::{Router, routing::get};
    ///
    /// let (websockets, running) = longwire_server::Server::builder().websocket("/ws", hello).into_router()?;
    /// let app = Router::new().route("/", get(|| async { "my page" })).merge(websockets);
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    /// // The lines end first: axum waits for what is open.
    /// axum::serve(listener, app).with_graceful_shutdown(running.stop_at_signal()?).await?;
    /// running.ended().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is out of bounds, or a thread cannot be started.
    pub fn into_router(self) -> Result<(Router, Running), Error> {
        let (router, mut running) = self.launch(&[])?;
        running.start_shards(&Router::new())?;
        running.node.knows_its_descriptors();
        let router = crate::http::embedded(router, &running.node);
        Ok((router, running))
    }

    pub(crate) fn launch(self, addresses: &[SocketAddr]) -> Result<(Router, Running), Error> {
        let Self { mut config, routes, mut engines, sockets, event_streams, http_lines, polls, router: pages, api, health } =
            self;
        if let Some(deflate) = &config.deflate {
            deflate.validate().map_err(Error::Deflate)?;
        }
        if !(1..=MAX_SHARDS).contains(&config.shards) {
            return Err(Error::Shards(config.shards));
        }
        config.allowed_origins = origins(&config.allowed_origins).map_err(Error::Origin)?;
        host::checked(&config.allowed_hosts).map_err(Error::Host)?;
        raise_descriptor_limit();
        if let Some(name) = socketio::RESERVED.into_iter().find(|name| !sockets.is_empty() && config.namespaces.has(name)) {
            let rule = "the rooms and sockets of Socket.IO are in it: give yours another name";
            return Err(Error::Namespace(BadNamespace { name: name.to_owned(), rule }));
        }
        for (_, io) in &sockets {
            let (name, options) = io.channels_needed();
            config.namespaces = Arc::new(config.namespaces.and(name, options).map_err(Error::Namespace)?);
        }
        if sockets.iter().any(|(_, io)| io.recovers()) {
            let options = kept_sockets(config.sessions.parked.max(1));
            config.namespaces = Arc::new(config.namespaces.and(KEPT_SOCKETS, options).map_err(Error::Namespace)?);
        }
        let options = engines.iter().map(|engine| &engine.options).chain(sockets.iter().map(|(_, io)| &io.options));
        let paces: Vec<_> = options.cloned().collect();
        let always = Always {
            health,
            api: api.iter().map(|(path, _)| path.trim_end_matches('/').to_owned()).collect(),
            lines: http_lines.iter().map(|path| path.trim_end_matches('/').to_owned()).collect(),
            engines: engines
                .iter()
                .map(|engine| engine.path.clone())
                .chain(sockets.iter().map(|(path, _)| path.clone()))
                .collect(),
        };
        let node = Node::new(config, &paces, always, addresses).map_err(Error::Store)?;
        let config = node.config();
        let gate = |subprotocols| {
            Arc::new(Gate {
                node: node.clone(),
                origins: node.0.origins.clone(),
                options: ServerOptions { subprotocols, deflate: config.deflate },
            })
        };
        let mut router = Router::new();
        let own = gate(config.subprotocols.clone());
        let native = gate(Form::ALL.iter().map(|form| form.subprotocol().to_owned()).collect());
        for Route { path, make, native: is_native } in routes {
            let gate = if is_native { &native } else { &own };
            router = router.route(&path, upgrade::route(gate.clone(), make));
        }
        for (path, io) in sockets {
            let (options, hooks) = (io.options.clone(), io.hooks());
            let server = Arc::new(io.running(&node));
            let make = move |opening| Box::new(SocketIoHandler::new(server.clone(), opening)) as Box<dyn LineHandler>;
            engines.push(Engine { path, make: Arc::new(make), options, hooks });
        }
        for (pace, Engine { path, make, options, hooks }) in (1..).zip(engines) {
            let server = Arc::new(EngineIo { gate: gate(Vec::new()), options, hooks, pace, make });
            router = router.route(&path, engine_io::route(server.clone()));
            if let Some(path) = path.strip_suffix('/').filter(|path| !path.is_empty()) {
                router = router.route(path, engine_io::route(server));
            }
        }
        if let Some(path) = event_streams {
            router = router.route(&path, event_stream::route(own.clone()));
        }
        if let Some(path) = polls {
            router = router.route(&path, poll::route(own.clone()));
        }
        if let Some(path) = http_lines {
            router = router.nest(&path, http_line::router(own));
        }
        let mut local_key = None;
        if let Some((path, keys)) = api {
            let door = match keys.0 {
                KeyKind::These(keys) => Door::Keys(keys),
                KeyKind::CheckedElsewhere => Door::Open,
                KeyKind::Local if addresses.is_empty() => return Err(Error::ApiKeys),
                KeyKind::Local => match LocalKey::make(addresses) {
                    Ok((kept, key)) => {
                        local_key = Some(kept);
                        Door::Keys([key].into())
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the server API is closed: no key is configured, and none can be kept for this user alone");
                        Door::Closed
                    }
                },
            };
            let access = Access::new(door, node.0.origins.clone());
            router = router.nest(&path, api::router(Api { node: node.clone(), access }));
        }
        if !node.is_loaded() {
            router = router.layer(from_fn_with_state(node.clone(), after_loading));
        }
        let router = pages.merge(router);
        Ok((
            router,
            Running { node, addresses: Vec::new(), acceptor: None, shards: Vec::new(), loader: None, _local_key: local_key },
        ))
    }
}

/// What is asked while the channels are being read waits for that, as long as a handshake may take.
async fn after_loading(State(node): State<Node>, request: Request, next: Next) -> Response {
    let _ = tokio::time::timeout(node.config().handshake_timeout, node.loaded()).await;
    let (page, reads_events) = (node.0.origins.page(request.headers()), come_again::reads_events(request.headers()));
    match node.is_loaded() {
        true => next.run(request).await,
        false => {
            let words = "the channels are being read from the disk; try again soon";
            let error = error(StatusCode::SERVICE_UNAVAILABLE, "overloaded", words);
            let refusal = ([(header::RETRY_AFTER, HeaderValue::from_static("1"))], error).into_response();
            let mut response = come_again::told(refusal, reads_events).await;
            page.may_read(&mut response);
            response
        }
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.routes.iter().map(|route| &route.path).collect();
        f.debug_struct("ServerBuilder").field("config", &self.config).field("websockets", &paths).finish_non_exhaustive()
    }
}

/// A server that runs on threads of its own.
#[derive(Debug)]
#[must_use = "dropping it begins the shutdown"]
pub struct Running {
    node: Node,
    addresses: Vec<SocketAddr>,
    acceptor: Option<JoinHandle<()>>,
    shards: Vec<JoinHandle<io::Result<()>>>,
    /// Reads the channels that the store has kept.
    loader: Option<JoinHandle<Result<(), StoreError>>>,
    /// There for as long as this is.
    _local_key: Option<LocalKey>,
}

impl Running {
    /// A handle for publishing from anywhere.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits for one of the signals, then shuts down and waits for the end. A second signal ends the process at once.
    ///
    /// # Errors
    /// A shard has failed.
    pub fn run_until(self, mut signals: Signals) -> Result<(), Error> {
        signals.wait();
        tracing::info!("shutting down: closing {} connections", self.node.connections());
        let node = self.node.clone();
        // A signal after the end is not meant for this server.
        let _until_the_end = signals.at_next(move || second_signal(&node));
        self.shutdown();
        self.join()
    }

    /// For an application that does the listening: a future that waits for SIGINT or SIGTERM, and then begins to stop. The lines have
    /// to end first, since an application that stops waits for its open answers, and an event stream is one: give it to
    /// `axum::serve(…).with_graceful_shutdown`, and await [`ended`](Self::ended) after that. A second signal ends the process at once.
    ///
    /// # Errors
    /// The system does not let the signals be caught. They are from here on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn stop_at_signal(&self) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
        let mut signals = Caught::new().map_err(Error::Io)?;
        let node = self.node.clone();
        Ok(async move {
            signals.next().await;
            tracing::info!("shutting down: closing {} connections", node.connections());
            node.shutdown();
            tokio::spawn(async move {
                signals.next().await;
                second_signal(&node);
            });
        })
    }

    /// As [`join`](Self::join), for async code.
    ///
    /// # Errors
    /// A shard has failed.
    pub async fn ended(self) -> Result<(), Error> {
        tokio::task::spawn_blocking(|| self.join()).await.map_err(|_| Error::ShardPanicked)?
    }

    /// Begins to stop; see [`Node::shutdown`].
    pub fn shutdown(&self) {
        self.node.shutdown();
    }

    /// Waits until every shard has ended, after a [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// A shard has failed.
    pub fn join(mut self) -> Result<(), Error> {
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for shard in self.shards.drain(..) {
            shard.join().map_err(|_| Error::ShardPanicked)?.map_err(Error::Io)?;
        }
        let loaded = self.loader.take().map_or(Ok(Ok(())), JoinHandle::join);
        self.node.close_store();
        loaded.map_err(|_| Error::ShardPanicked)?.map_err(Error::Store)
    }

    fn start_shards(&mut self, router: &Router) -> Result<(), Error> {
        let http = Http::new(router.clone(), self.node.clone());
        let mut homes = Vec::new();
        for index in 0..self.node.shards() {
            let (home, batches) = self.node.home_of(index);
            homes.extend(batches);
            match shard::spawn(self.node.clone(), index, http.clone(), home).map_err(Error::Io) {
                Ok(shard) => self.shards.push(shard),
                Err(error) => {
                    // Those that are there end without waiting for those that will not come.
                    (index..self.node.shards()).for_each(|_| self.node.shard_is_drained());
                    return Err(error);
                }
            }
        }
        if !homes.is_empty() {
            self.loader = Some(loading::load(self.node.clone(), self.node.weak_store(), homes).map_err(Error::Io)?);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.shutdown();
    }
}

/// Somebody does not want to wait any longer.
fn second_signal(node: &Node) {
    tracing::warn!("second signal: {} connections are dropped", node.connections());
    std::process::exit(130);
}

/// Each line is a descriptor, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
