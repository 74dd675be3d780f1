//! The beginning of a connection: TLS handshake and choice of the protocol, which then serves it to its last
//! byte. A plain connection's protocol is seen by a look at its first bytes, which stay in the kernel: an
//! HTTP/1.1 connection pays one system call for it in all of its life, and no memory. Only the bytes of an
//! unfinished preface are read, because a look does not wait for more of them and does not show their end.

use std::{io, rc::Rc, sync::Arc};

use rustls::ServerConfig;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    drive::while_live,
    socket::{ClientStream, FirstBytes, Socket},
    state::{ConnRecord, ConnState},
};
use crate::{
    base::spawn::Tasks,
    server::{
        h1::{self, H1ConnState},
        h2::{self, H2ConnState},
        handler::{Handler, Peer},
    },
};

/// The beginning of HTTP/2 by prior knowledge (RFC 9113 section 3.4), as far as no HTTP/1.1 request begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

#[derive(Clone, Copy)]
enum HttpVersion {
    Http1,
    Http2,
}

/// A socket just accepted, and all that serving it needs.
pub(in crate::server) struct AcceptedSocket<H> {
    pub(in crate::server) stream: TcpStream,
    /// `None`: a plain connection.
    pub(in crate::server) tls: Option<Arc<ServerConfig>>,
    pub(in crate::server) record: Rc<ConnRecord>,
    pub(in crate::server) handler: H,
    pub(in crate::server) tasks: Tasks,
}

/// Serves one connection until it ends or its fate ends it.
pub(in crate::server) async fn run<H: Handler>(accepted: AcceptedSocket<H>) {
    let AcceptedSocket { stream, tls, record, handler, tasks } = accepted;
    let peer = Peer { address: record.address, tls: tls.is_some() };
    let opened = match tls {
        None => while_live(&record, Box::pin(open_plain(stream))).await,
        Some(config) => while_live(&record, Box::pin(open_tls(stream, config))).await,
    };
    let (stream, version, first) = match opened {
        Some(Ok(opened)) => opened,
        Some(Err(error)) => return tracing::debug!(peer = %peer.address, %error, "connection not opened"),
        None => return,
    };
    let limits = record.limits();
    let socket = Socket::new(stream, first, Rc::clone(&record));
    let ended = match version {
        HttpVersion::Http1 => {
            record.set_protocol(ConnState::H1(H1ConnState::default()));
            h1::serve(socket, &limits, handler, peer, &record).await
        }
        HttpVersion::Http2 => {
            record.set_protocol(ConnState::H2(H2ConnState::default()));
            h2::serve(socket, &limits, handler, peer, &record, tasks).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "connection ended");
    }
}

/// A connection whose protocol is known, and the bytes that were read to know it.
type Opened = (ClientStream, HttpVersion, Option<FirstBytes>);

/// HTTP/2 by prior knowledge, or HTTP/1.1.
async fn open_plain(mut stream: TcpStream) -> io::Result<Opened> {
    let mut seen = [0; PREFACE.len()];
    let count = stream.peek(&mut seen).await?;
    let (version, first) = match recognize(seen.get(..count).unwrap_or_default()) {
        Some(version) => (version, None),
        None => read_preface(&mut stream).await?,
    };
    Ok((ClientStream::Plain(stream), version, first))
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

/// The protocol that begins with these bytes. `None`: more are needed. hyper ends a connection without bytes.
fn recognize(seen: &[u8]) -> Option<HttpVersion> {
    if seen == PREFACE {
        Some(HttpVersion::Http2)
    } else if seen.is_empty() || !PREFACE.starts_with(seen) {
        Some(HttpVersion::Http1)
    } else {
        None
    }
}

/// Reads until the bytes are a preface or not one.
async fn read_preface(stream: &mut TcpStream) -> io::Result<(HttpVersion, Option<FirstBytes>)> {
    let mut first = [0; PREFACE.len()];
    let mut count = 0;
    loop {
        match stream.read(first.get_mut(count..).unwrap_or_default()).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => count += more,
        }
        let read = first.get(..count).unwrap_or_default();
        if let Some(version) = recognize(read) {
            return Ok((version, Some(FirstBytes::new(read))));
        }
    }
}
