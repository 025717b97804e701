//! Accepting connections: one thread that deals them to the shards in turn, so that each has its share.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::to_bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::come_again;
use crate::http::MAX_HEAD_BYTES;
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::places::Refusal;
use crate::shard::{Command, Place};
use crate::upgrade;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// How long to wait when no descriptor is left.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections that are told so at the same time; beyond it they are just closed.
const MAX_REFUSALS: usize = 64;
/// How long a refused client may take to say what it asks for.
const HEAD_TIME: Duration = Duration::from_millis(500);
/// How long it may take to read why, with that.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Binds an address, so that a taken port is known before anything starts.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // Lets a restarted server have its port at once; it does not share it with another that listens.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts to accept on `listeners` until the node stops.
///
/// # Errors
/// The system has no thread, or no descriptors, for it.
pub(crate) fn spawn(node: Node, listeners: Vec<TcpListener>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _runtime = runtime.enter();
        listeners.into_iter().map(tokio::net::TcpListener::from_std).collect::<io::Result<Vec<_>>>()?
    };
    std::thread::Builder::new().name("longwire-accept".into()).spawn(move || {
        runtime.block_on(async {
            let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
            for listener in listeners {
                drop(tokio::spawn(accept(node.clone(), listener, refusals.clone())));
            }
            let stop = node.0.stop.notified();
            if !node.is_stopping() {
                stop.await;
            }
        });
    })
}

async fn accept(node: Node, listener: tokio::net::TcpListener, refusals: Arc<Semaphore>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                sparsely!(WARN, %error, "cannot accept a connection; trying again");
                tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await;
                continue;
            }
        };
        let places = &node.0.places;
        let place = match places.connection(Some(peer.ip())) {
            Ok(permit) => Ok(Place::Permit(permit)),
            Err(Refusal::Full) => places.try_out().map(Place::Trial).ok_or(Refusal::Full),
            Err(refusal) => Err(refusal),
        };
        match place {
            Ok(place) => match stream.set_nodelay(true).and_then(|()| stream.into_std()) {
                Ok(stream) => {
                    let arrival = node.arrival();
                    node.mailbox(node.next_shard()).push(Command::Serve(stream, place, arrival));
                    // On a machine whose cores are all busy the shards go on: those who are in come before those who come in.
                    std::thread::yield_now();
                }
                Err(error) => sparsely!(DEBUG, %error, "connection lost before it was served"),
            },
            Err(refusal) => {
                let (_, code, why) = refusal.answer();
                sparsely!(INFO, code, %peer, "a connection is refused: {why}");
                if let Ok(place) = refusals.clone().try_acquire_owned() {
                    let node = node.clone();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream, refusal, &node.0.origins)).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// Says why, in the way that its request asks for, and waits for the client to close: closing over its unread request would take the answer
/// away from it.
async fn refuse(mut stream: TcpStream, refusal: Refusal, origins: &OriginPolicy) -> io::Result<()> {
    // Who says nothing is told all the same.
    let asked = tokio::time::timeout(HEAD_TIME, head(&mut stream)).await.unwrap_or_default();
    let mut response = come_again::told(*upgrade::refused(refusal), come_again::reads_events(&asked)).await;
    origins.page(&asked).may_read(&mut response);
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_HEAD_BYTES).await.map_err(io::Error::other)?;
    let mut answer =
        format!("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n", parts.status, body.len()).into_bytes();
    for (name, value) in &parts.headers {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(&body);
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// The headers of a client's first request, as far as they are any.
async fn head(stream: &mut TcpStream) -> HeaderMap {
    let mut head = Vec::new();
    let mut seen = 0;
    while head.len() < MAX_HEAD_BYTES && !head[seen..].windows(4).any(|end| end == b"\r\n\r\n") {
        seen = head.len().saturating_sub(3);
        match stream.read_buf(&mut head).await {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
    let lines = head.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::trim_ascii).take_while(|line| !line.is_empty());
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    lines.filter_map(header).collect()
}
