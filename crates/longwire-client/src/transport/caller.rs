//! HTTP requests to one place, one at a time on a connection that stays open between them (RFC 9112, 9.3).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::websocket::MAX_MESSAGE_BYTES;

/// An answer that says what is wrong is read up to so many bytes.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// Where lines over HTTP are.
#[derive(Debug)]
pub(crate) struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    /// Without a slash at its end.
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Target {
    /// Of `http://HOST[:PORT]/PATH`; the headers go with each request.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub(crate) fn new(address: &str, headers: HeaderMap) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Address(format!("{address:?}: {why}"));
        let uri: Uri = address.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("https:// is not supported yet; use http://, or a proxy that speaks TLS")),
            _ => return Err(wrong("it is not of the form http://HOST[:PORT]/PATH")),
        }
        let Some(authority) = uri.authority() else { return Err(wrong("it names no host")) };
        let port = authority.port_u16().unwrap_or(80);
        // RFC 9110, 7.2: what stands before an @ is not part of it.
        let named = authority.as_str().rsplit('@').next().unwrap_or_default();
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: HeaderValue::from_str(named).map_err(|_| wrong("its host cannot be said in a header"))?,
            path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(str::to_owned),
            headers,
        })
    }

    fn request(&self, method: Method, line: Option<&str>, query: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let line = line.map(|line| format!("/{line}")).unwrap_or_default();
        let queries: Vec<&str> = self.query.as_deref().into_iter().chain((!query.is_empty()).then_some(query)).collect();
        let query = if queries.is_empty() { String::new() } else { format!("?{}", queries.join("&")) };
        let uri = format!("{}{line}{query}", self.path);
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = if uri.is_empty() { Uri::from_static("/") } else { uri.parse().map_err(text)? };
        *request.headers_mut() = self.headers.clone();
        if method == Method::POST {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        }
        *request.method_mut() = method;
        request.headers_mut().insert(header::HOST, self.authority.clone());
        Ok(request)
    }
}

/// Why a request did not do what it should.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server does not know the line any more.
    Gone,
    /// Anything else, for people.
    Otherwise(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Otherwise(why)
    }
}

/// One who asks. Dropping it cuts its connection, and with it the request that is not answered.
pub(crate) struct Caller {
    target: Arc<Target>,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Caller {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, connection: None }
    }

    /// Asks about a line, or for a new one; the answer is there as soon as it begins, if it is a good one.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        line: Option<&str>,
        query: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Incoming), Failed> {
        let request = self.target.request(method, line, query, body)?;
        let answer = self.sender().await?.send_request(request).await.map_err(text)?;
        let (status, body) = (answer.status(), answer.into_body());
        if status.is_success() {
            return Ok((status, body));
        }
        if status == StatusCode::NOT_FOUND && line.is_some() {
            return Err(Failed::Gone);
        }
        let said = Limited::new(body, MAX_ERROR_BYTES).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let said = said_error(&said).map(|said| format!(": {said}")).unwrap_or_default();
        Err(Failed::Otherwise(format!("the server answered {status}{said}")))
    }

    /// Asks, and takes the whole answer: at most as much as a message may have.
    pub(crate) async fn ask_whole(
        &mut self,
        method: Method,
        line: Option<&str>,
        query: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failed> {
        let (status, body) = self.ask(method, line, query, body).await?;
        let body = Limited::new(body, MAX_MESSAGE_BYTES).collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        let usable = match &mut self.connection {
            Some(connection) => connection.sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.connection = Some(self.connect().await.map_err(|error| format!("cannot reach the server: {error}"))?);
        }
        self.connection.as_mut().map(|connection| &mut connection.sender).ok_or_else(String::new)
    }

    async fn connect(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends is told to the request that is on it.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, task })
    }
}

/// The message of an error as Longwire's servers write it; anything else, such as the page of a proxy, says nothing.
fn said_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        message: String,
    }
    serde_json::from_slice::<Said>(body).ok().map(|said| said.error.message)
}

fn text(error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, header};

    use super::{Target, said_error};

    #[test]
    fn requests_are_below_the_address() {
        for (address, line, query, expected) in [
            ("http://a/v1/http", None, "stream=ndjson", "/v1/http?stream=ndjson"),
            ("http://a/v1/http/", Some("L"), "wait=5", "/v1/http/L?wait=5"),
            ("http://a/v1/http?b=c", Some("L"), "wait=5", "/v1/http/L?b=c&wait=5"),
            ("http://a/v1/http?b=c", None, "", "/v1/http?b=c"),
            ("http://a", None, "", "/"),
            ("http://a", Some("L"), "", "/L"),
        ] {
            let target = Target::new(address, HeaderMap::new()).unwrap();
            let request = target.request(Method::GET, line, query, Bytes::new()).unwrap();
            assert_eq!(request.uri().to_string(), expected, "{address}");
        }
    }

    #[test]
    fn the_host_is_said_as_it_was_given() {
        for (address, host, port, said) in [
            ("http://a", "a", 80, "a"),
            ("http://[::1]:8000/x", "::1", 8000, "[::1]:8000"),
            ("http://me:pw@a:1", "a", 1, "a:1"),
        ] {
            let target = Target::new(address, HeaderMap::new()).unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            let request = target.request(Method::GET, None, "", Bytes::new()).unwrap();
            assert_eq!(request.headers()[header::HOST], said);
        }
    }

    #[test]
    fn a_wrong_address_says_why() {
        for (address, part) in [("https://a/v1/http", "TLS"), ("ws://a", "http://HOST"), ("/v1/http", "http://HOST")] {
            let error = Target::new(address, HeaderMap::new()).unwrap_err().to_string();
            assert!(error.contains(part), "{address}: {error}");
        }
    }

    #[test]
    fn only_an_error_of_ours_is_repeated() {
        assert_eq!(said_error(br#"{"error":{"code":"overloaded","message":"no place"}}"#).as_deref(), Some("no place"));
        assert_eq!(said_error(b"<html>"), None);
    }
}
