//! The beginning of a connection: TLS handshake and choice of the protocol, which then serves it to its last
//! byte. A plain connection's protocol is seen in its first bytes, which the protocol then reads first.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{
    socket::{ClientStream, FirstBytes, Socket},
    state::{ConnFate, ConnRecord},
    table::ConnEntry,
};
use crate::{
    base::{GaugeGuard, spawn::Tasks},
    http1::read_block,
    server::{
        h1,
        h2::{self, H2ConnState},
        handler::Handler,
    },
};

/// The beginning of HTTP/2 by prior knowledge (RFC 9113 section 3.4), as far as no HTTP/1.1 request begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

#[derive(Clone, Copy, PartialEq, Eq)]
enum HttpVersion {
    Http1,
    Http2,
}

/// A socket just accepted, and all that serving it needs.
pub(in crate::server) struct AcceptedSocket<H> {
    pub(in crate::server) stream: TcpStream,
    /// `None`: a plain connection.
    pub(in crate::server) tls: Option<Arc<ServerConfig>>,
    pub(in crate::server) entry: ConnEntry,
    /// Its place among the connections of all workers.
    pub(in crate::server) permit: GaugeGuard,
    pub(in crate::server) handler: H,
    pub(in crate::server) tasks: Tasks,
}

/// Serves one connection until it ends or its fate ends it.
// No `async fn`, and nothing is matched on across an `await`, because the future, which is a connection's
// task, would keep the arguments and the matched values twice.
pub(in crate::server) fn run<H: Handler>(accepted: AcceptedSocket<H>) -> impl Future<Output = ()> {
    let AcceptedSocket { stream, tls, entry, permit, handler, tasks } = accepted;
    let opening: Pin<Box<dyn Future<Output = io::Result<Opened>>>> = match tls {
        None => Box::pin(open_plain(stream)),
        Some(config) => Box::pin(open_tls(stream, config)),
    };
    async move {
        let record = &entry.record;
        if let Some((socket, version)) = opened(while_live(record, opening).await, record) {
            let ended = if version == HttpVersion::Http1 {
                h1::serve(socket, handler, record).await
            } else {
                h2::serve(socket, handler, record, tasks).await
            };
            if let Err(error) = ended {
                tracing::debug!(peer = %record.peer.address, %error, "connection ended");
            }
        }
        drop(permit);
    }
}

/// The socket of a connection that was opened, with the state of its protocol set.
fn opened(opened: Option<io::Result<Opened>>, record: &Rc<ConnRecord>) -> Option<(Socket, HttpVersion)> {
    match opened? {
        Ok((stream, version, first)) => {
            if version == HttpVersion::Http2 {
                record.set_h2(H2ConnState::default());
            }
            Some((Socket::new(stream, first, Rc::clone(record)), version))
        }
        Err(error) => {
            tracing::debug!(peer = %record.peer.address, %error, "connection not opened");
            None
        }
    }
}

/// `None` if the connection is to end before the future does.
async fn while_live<F: Future + ?Sized>(record: &ConnRecord, mut future: Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|cx| {
        record.register_waker(cx.waker());
        if record.fate() > ConnFate::Live { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }
    })
    .await
}

/// A connection whose protocol is known, and the bytes that were read to know it.
type Opened = (ClientStream, HttpVersion, Option<FirstBytes>);

/// HTTP/2 by prior knowledge, or HTTP/1.1.
async fn open_plain(mut stream: TcpStream) -> io::Result<Opened> {
    let mut first = BytesMut::new();
    loop {
        let read = poll_fn(|cx| read_block::of_worker(&mut stream, cx)).await?;
        if read.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first.is_empty() && recognize(&read).is_some() {
            first = read;
        } else {
            // A client that sends no more would hold a block of the worker's by these few bytes.
            first.extend_from_slice(&read);
        }
        if let Some(version) = recognize(&first) {
            return Ok((ClientStream::Plain(stream), version, Some(FirstBytes::new(first))));
        }
    }
}

/// The protocol of ALPN; HTTP/1.1 with a client that offers none.
async fn open_tls(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Opened> {
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => HttpVersion::Http2,
        Some(_) | None => HttpVersion::Http1,
    };
    Ok((ClientStream::Tls(Box::new(stream)), version, None))
}

/// The protocol that begins with these bytes. `None`: more are needed.
fn recognize(first: &[u8]) -> Option<HttpVersion> {
    if first.starts_with(PREFACE) {
        Some(HttpVersion::Http2)
    } else if PREFACE.starts_with(first) {
        None
    } else {
        Some(HttpVersion::Http1)
    }
}
