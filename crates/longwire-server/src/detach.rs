//! A connection that leaves hyper in the middle of a response: hyper has written the head, and a shard writes the body, for as long
//! as it lasts, without a task and without buffers.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What becomes of the socket.
type Then = Box<dyn FnOnce(TcpStream) + Send>;

/// The way out of hyper for one connection; requests have it among their extensions.
#[derive(Clone, Default)]
pub(crate) struct Detach(Arc<Mutex<Option<Then>>>);

impl Detach {
    /// The body of a response: once its head is written, `then` gets the socket.
    pub(crate) fn body(&self, then: impl FnOnce(TcpStream) + Send + 'static) -> Body {
        Body::new(Detached { detach: self.clone(), then: Some(Box::new(then)) })
    }

    fn ask(&self, then: Option<Then>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = then;
    }

    fn take(&self) -> Option<Then> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
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
            self.detach.ask(Some(then));
        }
        Poll::Pending
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // The client has gone before it was flushed.
        self.detach.ask(None);
    }
}

/// A connection as hyper sees it: when its socket is taken away it seems to be at its end.
pub(crate) struct Connection {
    stream: Option<TcpStream>,
    detach: Detach,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, detach: Detach) -> Self {
        Self { stream: Some(stream), detach }
    }

    /// # Errors
    /// It was taken away before.
    pub(crate) fn into_stream(self) -> io::Result<TcpStream> {
        self.stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(then) = self.detach.take()
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
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
