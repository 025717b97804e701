//! How a client is set up.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use longwire_protocol::{Action, Connect, Form};
use longwire_ws::handshake::deflate::DeflateConfig;

use super::Client;
use super::shared::{Handle, Shared};
use super::task::{Line, Task};
use crate::error::Error;
use crate::session::{Config, Session};
use crate::transport::{Routes, Target, Transport};
use crate::websocket::{WebSocket, WebSocketBuilder};

/// The native protocol's path.
const PATH: &str = "/v1/ws";
/// The session has a heartbeat of its own, which knows when the line is not read.
const NO_HEARTBEAT: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) type TokenSource = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// How to connect. Start with [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    address: String,
    config: Config,
    tokens: Option<TokenSource>,
    form: Form,
    http: Option<String>,
    headers: HeaderMap,
    line: Box<dyn FnOnce(WebSocketBuilder) -> WebSocketBuilder + Send>,
}

impl ClientBuilder {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            config: Config { transports: Transport::ALL.to_vec(), ..Config::default() },
            tokens: None,
            form: Form::Binary,
            http: None,
            headers: HeaderMap::new(),
            line: Box::new(|line| line),
        }
    }

    /// Says who one is.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.config.token = Some(token.into());
        self
    }

    /// Gets tokens: before the first line is opened, and whenever the last one is about to expire. `None` is for when there is none
    /// to be had at the moment; it is asked again later.
    ///
    /// ```no_run
    /// # async fn fetch_token() -> Option<String> { None }
    /// # fn example() -> Result<(), longwire_client::Error> {
    /// let client = longwire_client::Client::builder("ws://localhost:8000").tokens(|| async { fetch_token().await }).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tokens<F>(mut self, source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        self.tokens = Some(Arc::new(move || Box::pin(source())));
        self.config.renews_token = true;
        self
    }

    /// What this client says of itself: JSON of up to 1 KiB, for others to see in presence and beside its publications.
    pub fn info(mut self, json: impl Into<String>) -> Self {
        self.config.info = Some(json.into().into());
        self
    }

    /// What may carry the line, from the best on. Default: [all of them](Transport::ALL).
    ///
    /// The first is tried first. If it cannot be opened, or the server does not answer on it within
    /// [`open_timeout`](Config::open_timeout), the next is tried at once; when all have failed, there is a wait, as always. A line that
    /// stood and is lost comes back over what carried it, and the others are tried only after two failures in a row. While a lesser one
    /// carries the line, better ones are tried beside it from time to time ([`climb`](Config::climb)); one that works takes over, without
    /// a loss or a repetition. Which it is says [`Client::transport`].
    ///
    /// ```no_run
    /// use longwire_client::{Client, Transport};
    ///
    /// # fn example() -> Result<(), longwire_client::Error> {
    /// let client = Client::builder("ws://localhost:8000").transports([Transport::WebSocket]).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.config.transports = transports.into_iter().collect();
        self
    }

    /// Where lines over HTTP are: `http://HOST[:PORT]/PATH`. Default: the `/http` beside an address that ends in `/ws`, so
    /// `/v1/http` beside `/v1/ws`; beside another there are none.
    pub fn http(mut self, address: impl Into<String>) -> Self {
        self.http = Some(address.into());
        self
    }

    /// Sends a header with each opening request, such as `Authorization`, and with each request of a line over HTTP.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name.clone(), value.clone());
        self.line(move |line| line.header(name, value))
    }

    /// Offers compression of a WebSocket. Default: none.
    pub fn deflate(self, config: DeflateConfig) -> Self {
        self.line(move |line| line.deflate(config))
    }

    /// JSON or binary, on a WebSocket; over HTTP it is always JSON. Default: binary.
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Changes times and bounds.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn example() -> Result<(), longwire_client::Error> {
    /// let client = longwire_client::Client::builder("ws://localhost:8000")
    ///     .configure(|config| config.max_backoff = Duration::from_secs(5))
    ///     .connect()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    fn line(mut self, change: impl FnOnce(WebSocketBuilder) -> WebSocketBuilder + Send + 'static) -> Self {
        let before = self.line;
        self.line = Box::new(move |line| change(before(line)));
        self
    }

    /// Starts the client, on the tokio runtime that this is called on. It connects by itself, now and whenever the line is lost:
    /// there is no need to wait for it.
    ///
    /// # Errors
    /// [`Error::Address`] if an address is wrong, or none of the transports can be had with it, [`Error::Refused`] with `bad_value` if [`info`](Self::info) is not what it must be,
    /// [`Error::Io`] if the system has no randomness.
    pub fn connect(mut self) -> Result<Client, Error> {
        let address = address(&self.address)?;
        let http = self.http.or_else(|| http_beside(&address));
        let http = http.map(|http| Target::new(&http, self.headers)).transpose()?.map(Arc::new);
        self.config.transports.retain(|transport| *transport == Transport::WebSocket || http.is_some());
        if self.config.transports.is_empty() {
            let why = "there is no transport: the address of lines over HTTP is not known, and no WebSocket is wanted";
            return Err(Error::Address(format!("{:?}: {why}", self.address)));
        }
        let info = self.config.info.clone();
        Action::Connect(Connect { info, ..Connect::default() }).check().map_err(Error::Refused)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| Error::Io(std::io::Error::other(error)))?;
        let websocket = (self.line)(
            WebSocket::builder(&address)
                .subprotocol(self.form.subprotocol())
                .connect_timeout(self.config.connect_timeout)
                .heartbeat(NO_HEARTBEAT, NO_HEARTBEAT),
        );
        let shared = Arc::new(Shared::new(Session::new(self.config, u64::from_ne_bytes(seed))));
        let task = Task {
            shared: shared.clone(),
            routes: Routes { websocket, http },
            tokens: self.tokens,
            line: Line::None,
            climber: Line::None,
            token: None,
            full: BTreeSet::new(),
            crowded: false,
        };
        tokio::spawn(task.run());
        Ok(Client { handle: Arc::new(Handle(shared)) })
    }
}

/// The address with the protocol's path, if it has none of its own.
fn address(given: &str) -> Result<String, Error> {
    let wrong = |why: String| Error::Address(format!("{given:?}: {why}"));
    let uri: Uri = given.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss") => return Err(wrong("wss:// is not supported yet; use ws://, or a proxy that speaks TLS".into())),
        _ => return Err(wrong("it is not of the form ws://HOST[:PORT]".into())),
    }
    let Some(authority) = uri.authority() else { return Err(wrong("it names no host".into())) };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if uri.path() == "/" { PATH } else { uri.path() };
    Ok(format!("ws://{authority}{path}{query}"))
}

/// Where lines over HTTP are, if that can be told from the WebSocket's address.
fn http_beside(websocket: &str) -> Option<String> {
    let path = websocket.split('?').next()?.strip_suffix("/ws")?;
    Some(format!("http{}/http", path.strip_prefix("ws")?))
}

#[cfg(test)]
mod tests {
    use super::{address, http_beside};
    use crate::{Client, Transport};

    #[test]
    fn lines_over_http_are_beside_the_websocket() {
        assert_eq!(http_beside("ws://localhost:8000/v1/ws").as_deref(), Some("http://localhost:8000/v1/http"));
        assert_eq!(http_beside("ws://a/below/v1/ws?b=/ws").as_deref(), Some("http://a/below/v1/http"));
        assert_eq!(http_beside("ws://localhost/other"), None);
        assert_eq!(http_beside(&address("ws://ws").unwrap()).as_deref(), Some("http://ws/v1/http"));
    }

    #[test]
    fn without_a_transport_there_is_no_client() {
        let builder = || Client::builder("ws://localhost/other").transports([Transport::Stream, Transport::Poll]);
        let error = builder().connect().unwrap_err().to_string();
        assert!(error.contains("no transport"), "{error}");
        let error = builder().http("https://localhost/lines").connect().unwrap_err().to_string();
        assert!(error.contains("TLS"), "{error}");
    }

    #[test]
    fn an_address_without_a_path_gets_the_protocols() {
        assert_eq!(address("ws://localhost:8000").unwrap(), "ws://localhost:8000/v1/ws");
        assert_eq!(address("ws://localhost:8000/").unwrap(), "ws://localhost:8000/v1/ws");
        assert_eq!(address("ws://localhost/other?a=b").unwrap(), "ws://localhost/other?a=b");
    }

    #[test]
    fn a_wrong_address_says_why() {
        for (given, part) in
            [("localhost:8000", "ws://HOST"), ("wss://localhost", "TLS"), ("http://a", "ws://HOST"), ("ws://a b", "invalid")]
        {
            let error = address(given).unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }
}
