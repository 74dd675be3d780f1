//! The beginning of a connection: TLS handshake and choice of the protocol, which then serves it to its last
//! byte. A plain connection's protocol is seen by a look at its first bytes, which stay in the kernel: an
//! HTTP/1.1 connection pays one system call for it in all of its life, and no memory.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{
    drive::while_live,
    socket::{ClientStream, Socket},
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

/// Between two looks at a preface of which only a part has come.
const PEEK_INTERVAL: Duration = Duration::from_millis(5);

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
    let (stream, version) = match opened {
        Some(Ok(opened)) => opened,
        Some(Err(error)) => return tracing::debug!(peer = %peer.address, %error, "TLS handshake failed"),
        None => return,
    };
    let limits = record.limits();
    let socket = Socket::new(stream, Rc::clone(&record));
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

/// HTTP/2 by prior knowledge, or HTTP/1.1.
async fn open_plain(stream: TcpStream) -> io::Result<(ClientStream, HttpVersion)> {
    let version = peek(&stream).await;
    Ok((ClientStream::Plain(stream), version))
}

/// The protocol of ALPN; HTTP/1.1 with a client that offers none.
async fn open_tls(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<(ClientStream, HttpVersion)> {
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => HttpVersion::Http2,
        Some(_) | None => HttpVersion::Http1,
    };
    Ok((ClientStream::Tls(Box::new(stream)), version))
}

/// Looks at the first bytes without taking them, and again while they are the beginning of a preface.
async fn peek(stream: &TcpStream) -> HttpVersion {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = match stream.peek(&mut first).await {
            Ok(count) => first.get(..count).unwrap_or_default(),
            // hyper meets the same error and ends the connection.
            Err(_) => return HttpVersion::Http1,
        };
        if seen == PREFACE {
            return HttpVersion::Http2;
        }
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return HttpVersion::Http1;
        }
        sleep(PEEK_INTERVAL).await;
    }
}
