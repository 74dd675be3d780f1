//! The stream as hyper sees it: every read is shown to [`Framing`](super::framing), every write that has to wait is
//! noted for the write deadline. Adds no buffer and no copy; vectored writes pass through. TLS is boxed, so that a plain
//! connection does not pay for its size.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::conn_table::ConnState;

#[derive(Debug)]
pub(super) enum ClientStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: ClientStream,
    pub(super) vital: Rc<ConnState>,
    /// hyper's own answer to what it could not read was taken and dropped: it has no body. Ours follows.
    muted: bool,
}

impl Socket {
    pub(super) const fn new(stream: ClientStream, vital: Rc<ConnState>) -> Self {
        Self { stream, vital, muted: false }
    }

    /// Whether hyper was muted; what is written from here on leaves.
    pub(super) fn unmute(&mut self) -> bool {
        self.vital.answer();
        std::mem::take(&mut self.muted)
    }

    /// Whether what hyper writes is to be dropped.
    fn mutes(&mut self) -> bool {
        self.muted |= self.vital.speaks_unasked();
        self.muted
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Some(bytes) = buf.filled_mut().get_mut(before..)
            && !bytes.is_empty()
        {
            self.vital.framing.borrow_mut().read(bytes);
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.mutes() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.vital.wrote(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.mutes() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.vital.wrote(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        // What TLS has taken and not yet written waits here.
        self.vital.wrote(result.is_pending());
        if result.is_ready() {
            self.vital.flushed();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.muted {
            return Poll::Ready(Ok(()));
        }
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.vital.wrote(result.is_pending());
        result
    }
}
