//! The socket to a provider, plain or TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{deadline::KeptTimer, places::Place};
use crate::http1::ReadBlock;

#[derive(Debug)]
pub(super) enum ProviderStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug)]
pub(super) struct Io {
    stream: ProviderStream,
    /// Watches the wait for the head of each response.
    pub(super) timer: KeptTimer,
    /// Given back after the socket is closed.
    _place: Place,
}

impl Io {
    pub(super) const fn new(stream: ProviderStream, place: Place) -> Self {
        Self { stream, timer: KeptTimer::new(), _place: place }
    }

    /// The kernel acknowledges every second small packet instead of each, until one has to wait 40 ms for the
    /// next. The client sees none of it.
    #[cfg(target_os = "linux")]
    pub(super) fn acknowledge_late(&self) {
        let _ = self.tcp().set_quickack(false);
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) const fn acknowledge_late(&self) {}

    /// Whether a close resets the connection: the provider notices it at once and the kernel drops its unsent
    /// bytes. Otherwise the kernel goes on sending them, megabytes of a request that was cancelled.
    pub(super) fn reset_on_close(&self, resets: bool) {
        let linger = resets.then_some(std::time::Duration::ZERO);
        let _ = socket2::SockRef::from(self.tcp()).set_linger(linger);
    }

    /// Whether nothing has come on an idle connection: neither its end nor bytes without a request. Nothing
    /// is woken when it comes, so a plain socket is asked without a waker.
    pub(super) fn is_quiet(&mut self, block: &ReadBlock) -> bool {
        match &self.stream {
            ProviderStream::Plain(stream) => {
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            ProviderStream::Tls(_) => {
                block.poll_read(self, &mut Context::from_waker(Waker::noop())).is_pending()
            }
        }
    }

    fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }
}

impl ProviderStream {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            ProviderStream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            ProviderStream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            ProviderStream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            ProviderStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            ProviderStream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            ProviderStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            ProviderStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            ProviderStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            ProviderStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            ProviderStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn late_acknowledgement_reaches_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let place = crate::upstream::places::Places::new(1).try_take().unwrap();
        let io = Io::new(ProviderStream::Plain(stream), place);
        io.acknowledge_late();
        assert!(!io.tcp().quickack().unwrap());
    }
}
