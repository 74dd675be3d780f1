//! The socket to a client, plain or TLS; a write that has to wait is noted for `write_timeout`. Adds no
//! buffer and no copy; vectored writes pass through.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::state::ConnRecord;

/// Plain or TLS. TLS is boxed, so that a plain connection does not pay for its size.
#[derive(Debug)]
pub(in crate::server) enum ClientStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Bytes that were read before the protocol was known. Boxed, because they are there for a moment only.
#[derive(Debug)]
pub(super) struct FirstBytes(Box<BytesMut>);

impl FirstBytes {
    pub(super) fn new(bytes: BytesMut) -> Self {
        Self(Box::new(bytes))
    }
}

#[derive(Debug)]
pub(in crate::server) struct Socket {
    stream: ClientStream,
    /// Read before all others.
    first: Option<FirstBytes>,
    record: Rc<ConnRecord>,
}

impl Socket {
    pub(super) const fn new(stream: ClientStream, first: Option<FirstBytes>, record: Rc<ConnRecord>) -> Self {
        Self { stream, first, record }
    }

    /// A close resets the connection, and bytes that are not sent yet are lost. One with TLS ends without its
    /// own end, which shows the same.
    pub(in crate::server) fn reset_on_close(&self) {
        if let ClientStream::Plain(stream) = &self.stream {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// The bytes that were read before the protocol was known.
    pub(in crate::server) fn take_first(&mut self) -> Option<BytesMut> {
        self.first.take().map(|first| *first.0)
    }

    fn poll_read_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.first {
            None => self.poll_read_stream(cx, buf),
            Some(FirstBytes(first)) => {
                buf.put_slice(&first.split_to(first.len().min(buf.remaining())));
                if first.is_empty() {
                    self.first = None;
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.record.note_write(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.record.note_write(result.is_pending());
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
        // Bytes that TLS has taken and not yet written wait here.
        self.record.note_write(result.is_pending());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.record.note_write(result.is_pending());
        result
    }
}
