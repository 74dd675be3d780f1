//! The socket as hyper sees it. HTTP/1.1's framing observes every read; a write that has to wait is noted for
//! `write_timeout`. Adds no buffer and no copy; vectored writes pass through.
//!
//! hyper does not read while it holds bytes that follow the request in flight, and so would not see the
//! client leave. Until the response begins, the socket is then read at a flush, which hyper does at each of
//! its turns; the bytes are dropped, because the connection ends with this request.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::state::ConnRecord;
use crate::server::h1::H1ConnState;

/// Plain or TLS. TLS is boxed, so that a plain connection does not pay for its size.
#[derive(Debug)]
pub(in crate::server) enum ClientStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Bytes that were read before the protocol was known. Boxed, because nearly every connection has none.
#[derive(Debug)]
pub(super) struct FirstBytes(Box<Bytes>);

impl FirstBytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Box::new(Bytes::copy_from_slice(bytes)))
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

    fn poll_read_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    /// Drops bytes that follow the request in flight.
    ///
    /// # Errors
    /// The client has left.
    fn drop_excess(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut dropped = ReadBuf::uninit(&mut buffer);
            match self.poll_read_stream(cx, &mut dropped) {
                Poll::Ready(Ok(())) if dropped.filled().is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Whether the bytes that hyper writes are to be dropped.
    fn drops_writes(&self) -> bool {
        self.record.h1().is_some_and(H1ConnState::drops_writes)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = match &mut self.first {
            None => self.poll_read_stream(cx, buf),
            Some(FirstBytes(first)) => {
                buf.put_slice(&first.split_to(first.len().min(buf.remaining())));
                if first.is_empty() {
                    self.first = None;
                }
                Poll::Ready(Ok(()))
            }
        };
        if let Some(bytes) = buf.filled_mut().get_mut(before..)
            && !bytes.is_empty()
            && let Some(h1) = self.record.h1()
        {
            h1.framing.borrow_mut().read(bytes);
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.drops_writes() {
            return Poll::Ready(Ok(buf.len()));
        }
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
        if self.drops_writes() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
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
        if self.record.h1().is_some_and(|h1| h1.framing.borrow().has_excess()) {
            self.drop_excess(cx)?;
        }
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        // Bytes that TLS has taken and not yet written wait here.
        self.record.note_write(result.is_pending());
        if result.is_ready() {
            self.record.note_flush();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.record.h1().is_some_and(H1ConnState::has_dropped_refusal) {
            return Poll::Ready(Ok(()));
        }
        let result = match &mut self.stream {
            ClientStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.record.note_write(result.is_pending());
        result
    }
}
