//! From an HTTP request to a line: the handshake, the origin, and the socket that leaves hyper.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use longwire_ws::handshake::deflate::DeflateParams;
use longwire_ws::handshake::server::{self, ServerOptions};
use tokio::net::TcpStream;

use crate::bridge::{self, Bridge};
use crate::config::Config;
use crate::detach::Connection;
use crate::handler::{LineHandler, Opening};
use crate::http::{ConnectionPermit, error, set_write_timeout};
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::places::{Permit, Refusal};
use crate::shard::{Adoption, Command, Speaks};

/// Makes the handler of a line, on its shard.
pub(crate) type MakeHandler = Arc<dyn Fn(Opening) -> Box<dyn LineHandler> + Send + Sync>;

/// What the WebSocket paths of a node have in common.
pub(crate) struct Gate {
    pub(crate) node: Node,
    pub(crate) origins: OriginPolicy,
    pub(crate) options: ServerOptions,
}

/// A path that speaks WebSocket.
pub(crate) fn route(gate: Arc<Gate>, make: MakeHandler) -> MethodRouter {
    // Any method: the handshake itself says what is wrong with one that is not GET, or over HTTP/2 not CONNECT.
    any(move |request: Request| {
        let (gate, make) = (gate.clone(), make.clone());
        async move {
            let node = gate.node.clone();
            let adopt = move |Upgrade { fd, read, deflate, opening, permit }| {
                let (speaks, handler) = (Speaks::WebSocket(deflate), Box::new(move || make(opening)));
                let adoption = Adoption { fd: Some(fd), read, speaks, requests: None, handler, permit };
                node.mailbox(node.shard_for_upgrade()).push(Command::Adopt(Box::new(adoption)));
            };
            open(&gate, request, adopt).await.unwrap_or_else(|refusal| *refusal)
        }
    })
}

/// A connection that is a WebSocket now.
pub(crate) struct Upgrade {
    pub(crate) fd: OwnedFd,
    /// What the client has sent behind its handshake.
    pub(crate) read: Bytes,
    pub(crate) deflate: Option<DeflateParams>,
    pub(crate) opening: Opening,
    pub(crate) permit: Arc<Permit>,
}

/// Answers a request that opens a WebSocket; once its connection is one, `adopt` gets it.
///
/// # Errors
/// The answer that says why it is none.
pub(crate) async fn open(
    gate: &Gate,
    request: Request,
    adopt: impl FnOnce(Upgrade) + Send + 'static,
) -> Result<Response, Box<Response>> {
    let (mut parts, _) = request.into_parts();
    let over_http2 = parts.version == Version::HTTP_2;
    let accepted = if over_http2 {
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        server::accept_connect(&parts.method, protocol, &parts.headers, &gate.options)
    } else {
        server::accept(&parts.method, parts.version, &parts.headers, &gate.options)
    };
    let accepted = accepted.map_err(|rejection| rejection.response().map(Body::from))?;
    may_open(gate, &parts.headers)?;
    let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return Err(Box::new(error(
            StatusCode::NOT_IMPLEMENTED,
            "not_upgradable",
            "this connection cannot become a WebSocket",
        )));
    };
    let params = RawPathParams::from_request_parts(&mut parts, &()).await.map_err(|error| error.into_response())?;
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let address = peer.map(|peer| peer.ip());
    let permit = match parts.extensions.remove::<ConnectionPermit>() {
        Some(ConnectionPermit(permit)) => permit,
        None if over_http2 => gate.node.0.places.bridge(address).map_err(refused)?,
        // Somebody's application has accepted the connection, so it is not counted yet.
        None => gate.node.0.places.connection(address).map_err(refused)?,
    };
    // A stream of HTTP/2 is no socket. Whether there can be one is better known before the answer.
    let bridge = over_http2.then(bridge::pair).transpose().map_err(|error| {
        sparsely!(WARN, %error, "cannot open a line over HTTP/2");
        refused(Refusal::Full)
    })?;
    let subprotocol = accepted.subprotocol.clone();
    let opening = Opening { uri: parts.uri, headers: parts.headers, peer, subprotocol, params };
    let node = gate.node.clone();
    let deflate = accepted.deflate;
    tokio::spawn(async move {
        let taken = match upgrade.await {
            Ok(upgraded) => take_socket(upgraded, bridge, node.config()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match taken {
            Ok((fd, read)) => adopt(Upgrade { fd, read, deflate, opening, permit }),
            Err(error) => sparsely!(DEBUG, error, "upgrade failed"),
        }
    });
    Ok(accepted.response().map(|()| Body::empty()))
}

/// Whether a page of this origin may open a line, and the server still opens any.
///
/// # Errors
/// The answer that says why not.
pub(crate) fn may_open(gate: &Gate, headers: &HeaderMap) -> Result<(), Box<Response>> {
    if !gate.origins.allows(headers) {
        return Err(Box::new(error(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not connect; add it to allowed_origins in the server's configuration",
        )));
    }
    if gate.node.is_stopping() {
        let mut response =
            error(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down; try again soon");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Err(Box::new(response));
    }
    Ok(())
}

/// The answer to a handshake for which there is no place.
pub(crate) fn refused(refusal: Refusal) -> Box<Response> {
    let (status, code, message) = refusal.answer();
    let mut response = error(status, code, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    Box::new(response)
}

/// The raw socket of an upgraded connection, and what was read from it already.
fn take_socket(upgraded: Upgraded, bridge: Option<(OwnedFd, Bridge)>, config: &Config) -> io::Result<(OwnedFd, Bytes)> {
    if let Some((line, bridge)) = bridge {
        bridge::carry_all(upgraded, bridge, config);
        return Ok((line, Bytes::new()));
    }
    let (stream, read) = match upgraded.downcast::<TokioIo<Connection>>() {
        Ok(parts) => (parts.io.into_inner().into_stream()?, parts.read_buf),
        // Somebody's own server.
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
                Ok(parts) => (parts.io.into_inner(), parts.read_buf),
                Err(upgraded) => return take_socket(upgraded, Some(bridge::pair()?), config),
            },
        },
    };
    let stream = stream.into_std()?;
    stream.set_nodelay(true)?;
    // From here on the shard looks after it.
    set_write_timeout(&stream, None)?;
    Ok((stream.into(), read))
}
