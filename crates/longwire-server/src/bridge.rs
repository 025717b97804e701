//! A line over what is no plain socket, such as a stream of HTTP/2, or TLS inside somebody's application: a task carries its bytes to
//! one that is.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::Config;

/// What is carried in one go.
const CARRY_BYTES: usize = 16 * 1024;

/// What the system keeps between a line and its bridge, in each direction.
const SOCKET_BYTES: usize = 32 * 1024;

/// The bridge's end of what it carries to and from.
pub(crate) struct Bridge(UnixStream);

/// A line's end, and the bridge's.
///
/// # Errors
/// There are no descriptors for it.
pub(crate) fn pair() -> io::Result<(OwnedFd, Bridge)> {
    let (line, ours) = UnixStream::pair()?;
    for end in [&line, &ours] {
        // Who does not read holds no more than that up.
        socket2::SockRef::from(end).set_send_buffer_size(SOCKET_BYTES)?;
    }
    Ok((line.into_std()?.into(), Bridge(ours)))
}

/// Starts the task.
pub(crate) fn carry_all(upgraded: Upgraded, Bridge(ours): Bridge, config: &Config) {
    let (write_timeout, close_timeout) = (config.write_timeout, config.close_timeout);
    tokio::spawn(async move {
        let (from_client, to_client) = tokio::io::split(TokioIo::new(upgraded));
        let (from_line, to_line) = ours.into_split();
        // The line ends when its shard closes it; here, only the client can hold things up.
        let mut inward = std::pin::pin!(carry(from_client, to_line, Duration::MAX));
        let mut outward = std::pin::pin!(carry(from_line, to_client, write_timeout));
        let ended = tokio::select! {
            // The line is told by the end of its socket, and its shard closes the other direction.
            _ = &mut inward => outward.await,
            ended = &mut outward => match ended {
                // The line is closed. The client's part is waited for as long as anybody's.
                Ok(()) => timeout(close_timeout, inward).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            sparsely!(DEBUG, %error, "bridged connection ended");
        }
    });
}

/// A body that says what is written to a line's end.
pub(crate) fn body() -> io::Result<(OwnedFd, Body)> {
    let (line, Bridge(ours)) = pair()?;
    Ok((line, Body::new(Carried(ours))))
}

struct Carried(UnixStream);

impl hyper::body::Body for Carried {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(poll_piece(Pin::new(&mut self.0), cx))?;
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }
}

/// The next bytes; none at the end. While there are none to come, nothing is held for them.
fn poll_piece(from: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut buffer = [0; CARRY_BYTES];
    let mut read = ReadBuf::new(&mut buffer);
    ready!(from.poll_read(cx, &mut read))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
}

/// Copies until the end of `from`, which it passes on. A `to` that takes nothing for so long ends it.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, patience: Duration) -> io::Result<()> {
    loop {
        let mut piece = poll_fn(|cx| poll_piece(Pin::new(&mut from), cx)).await?;
        if piece.is_empty() {
            return timeout(patience, to.shutdown()).await?;
        }
        while !piece.is_empty() {
            timeout(patience, to.write_buf(&mut piece)).await??;
        }
        timeout(patience, to.flush()).await??;
    }
}
