//! A line over what is no plain socket, such as TLS inside somebody's application: a task carries its bytes to one that is.

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
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::Config;

/// What is carried in one go.
const CARRY_BYTES: usize = 16 * 1024;

/// Starts the task; gives the line's end.
pub(crate) fn open(upgraded: Upgraded, config: &Config) -> io::Result<OwnedFd> {
    let (line, ours) = UnixStream::pair()?;
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
            tracing::debug!(%error, "bridged connection ended");
        }
    });
    Ok(line.into_std()?.into())
}

/// A body that says what is written to a line's end.
pub(crate) fn body() -> io::Result<(OwnedFd, Body)> {
    let (line, ours) = UnixStream::pair()?;
    Ok((line.into_std()?.into(), Body::new(Carried(ours))))
}

struct Carried(UnixStream);

impl hyper::body::Body for Carried {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut buffer = [0; CARRY_BYTES];
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        let read = read.filled();
        Poll::Ready((!read.is_empty()).then(|| Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }
}

/// Copies until the end of `from`, which it passes on. A `to` that takes nothing for so long ends it.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, patience: Duration) -> io::Result<()> {
    let mut buffer = vec![0; CARRY_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return timeout(patience, to.shutdown()).await?;
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let taken = timeout(patience, to.write(rest)).await??;
            rest = &rest[taken..];
        }
        timeout(patience, to.flush()).await??;
    }
}
