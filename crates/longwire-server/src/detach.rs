//! The ways out of hyper's HTTP/1.1. In the middle of a response: hyper has written the head, and a shard writes the body, for as
//! long as it lasts, without a task and without buffers. And at the very beginning: what the client speaks is HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::patience::Patience;

/// What becomes of the socket.
type Then = Box<dyn FnOnce(TcpStream) + Send>;

/// RFC 9113, 3.4: what HTTP/2 begins with, and no HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The way out of hyper for one connection; requests have it among their extensions.
#[derive(Clone, Default)]
pub(crate) struct Detach(Arc<Mutex<WayOut>>);

#[derive(Default)]
enum WayOut {
    /// None is asked for.
    #[default]
    Closed,
    /// At the next flush.
    Then(Then),
    /// Taken, before any request.
    Http2(Connection),
}

impl Detach {
    /// The body of a response: once its head is written, `then` gets the socket.
    pub(crate) fn body(&self, then: impl FnOnce(TcpStream) + Send + 'static) -> Body {
        Body::new(Detached { detach: self.clone(), then: Some(Box::new(then)) })
    }

    /// The connection, if HTTP/1.1 has ended because the client speaks HTTP/2.
    pub(crate) fn http2(&self) -> Option<Connection> {
        match self.replace(WayOut::Closed) {
            WayOut::Http2(connection) => Some(connection),
            WayOut::Closed | WayOut::Then(_) => None,
        }
    }

    fn then(&self) -> Option<Then> {
        match self.replace(WayOut::Closed) {
            WayOut::Then(then) => Some(then),
            WayOut::Closed | WayOut::Http2(_) => None,
        }
    }

    fn replace(&self, way: WayOut) -> WayOut {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), way)
    }
}

struct Detached {
    detach: Detach,
    then: Option<Then>,
}

impl hyper::body::Body for Detached {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        // The head is in hyper's buffer by now, and will be flushed since there is nothing more to write.
        if let Some(then) = self.then.take() {
            self.detach.replace(WayOut::Then(then));
        }
        Poll::Pending
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // The client has gone before it was flushed.
        self.detach.replace(WayOut::Closed);
    }
}

/// A connection as hyper sees it: when its socket is taken away it seems to be at its end.
pub(crate) struct Connection {
    stream: Option<TcpStream>,
    detach: Detach,
    /// What was read already, and is read again.
    again: Bytes,
    /// How much of the preface has come, until it is known whether it is one.
    preface: Option<usize>,
    /// How long HTTP/1.1 waits for its client.
    patience: Option<Patience>,
}

impl Connection {
    /// A fresh one, that HTTP/1.1 is spoken on unless it begins with HTTP/2's preface.
    pub(crate) fn new(stream: TcpStream, detach: Detach, patience: Patience) -> Self {
        Self { stream: Some(stream), detach, again: Bytes::new(), preface: Some(0), patience: Some(patience) }
    }

    /// # Errors
    /// It was taken away before.
    pub(crate) fn into_stream(self) -> io::Result<TcpStream> {
        self.stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads until it is known whether this is the preface. Of HTTP/1.1 the first bytes tell, but where they are few: a `P` may
    /// become `POST`. If it is, HTTP/1.1 finds itself at the end of the connection.
    fn poll_preface(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        while let (Some(came), Some(stream)) = (self.preface, &mut self.stream) {
            buffer.put_slice(&PREFACE[..came]);
            let read = Pin::new(stream).poll_read(cx, buffer);
            if !matches!(read, Poll::Ready(Ok(()))) {
                buffer.set_filled(start);
                return read;
            }
            let bytes = &buffer.filled()[start..];
            let is_end = bytes.len() == came;
            if bytes.starts_with(PREFACE) {
                let again = Bytes::copy_from_slice(bytes);
                let http2 =
                    Self { stream: self.stream.take(), detach: Detach::default(), again, preface: None, patience: None };
                self.detach.replace(WayOut::Http2(http2));
            } else if is_end || !PREFACE.starts_with(bytes) {
                self.preface = None;
                return read;
            } else {
                self.preface = Some(bytes.len());
            }
            buffer.set_filled(start);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let read = self.poll_more(cx, buffer);
        if let Some(patience) = &mut self.patience {
            if read.is_pending() && patience.is_over(cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if buffer.filled().len() > start {
                patience.heard();
            }
        }
        read
    }
}

impl Connection {
    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(patience), true) = (&mut self.patience, written.is_ready()) {
            patience.said();
        }
        written
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.preface.is_some() {
            return self.poll_preface(cx, buffer);
        }
        if !self.again.is_empty() {
            let count = self.again.len().min(buffer.remaining());
            buffer.put_slice(&self.again.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let written = Pin::new(stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Once it is taken away, what the way out holds is for who took it.
        if self.stream.is_some()
            && let Some(then) = self.detach.then()
            && let Some(stream) = self.stream.take()
        {
            then(stream);
            // Hyper is to look, and to find that it is over.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let written = Pin::new(stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
