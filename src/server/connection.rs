//! From a fresh socket to its last byte. Which HTTP it carries is seen by a look at its first bytes, which stay in the
//! kernel: an HTTP/1.1 connection pays one system call for it in all of its life and no memory.

use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    ops::DerefMut,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{
    Handler, Peer,
    activity::ActivityTracked,
    conn_table::{ConnFate, ConnState},
    linger::linger,
    refusal::RefusalReason,
    service::{HyperService, ResponseBody},
    settings::ServerLimits,
    socket::{ClientStream, Socket},
    streamed::{self, Handoff, Streamed},
};
use crate::base::{spawn::Tasks, turn};

/// How HTTP/2 begins by prior knowledge (RFC 9113 section 3.4), as far as no HTTP/1.1 request does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// hyper's buffers: what a read may take at once and what may wait to be written.
const BUFFER: usize = 64 * 1024;

/// What a client may send on one stream, and on all of a connection's together, before we read it.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What may wait to be written per HTTP/2 stream.
const SEND_BUFFER: usize = 64 * 1024;

#[derive(Clone, Copy)]
enum Version {
    Http1,
    Http2,
}

/// A socket just accepted, and what is to be done with it.
pub(super) struct AcceptedSocket<H> {
    pub(super) stream: TcpStream,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) vital: Rc<ConnState>,
    pub(super) handler: H,
    pub(super) tasks: Tasks,
}

/// Serves one connection until it ends or is told to.
pub(super) async fn run<H: Handler>(opening: AcceptedSocket<H>) {
    let AcceptedSocket { stream, tls, vital, handler, tasks } = opening;
    let peer = Peer { address: vital.address, tls: tls.is_some() };
    let begun = match tls {
        None => unless_condemned(&vital, Box::pin(begin_plain(stream))).await,
        Some(config) => unless_condemned(&vital, Box::pin(begin_tls(stream, config))).await,
    };
    let (stream, version) = match begun {
        Some(Ok(begun)) => begun,
        Some(Err(error)) => return tracing::debug!(peer = %peer.address, %error, "TLS handshake failed"),
        None => return,
    };
    let limits = vital.limits();
    let socket = Socket::new(stream, Rc::clone(&vital));
    let ended = match version {
        Version::Http1 => converse(socket, &limits, handler, peer, &vital).await,
        Version::Http2 => {
            vital.multiplex();
            let executor = Local { tasks, vital: Rc::clone(&vital) };
            let door = HyperService { handler, peer, vital: Rc::clone(&vital), handoff: None };
            let io = TokioIo::new(socket);
            let connection = http2_builder(&limits, executor).serve_connection(io, door);
            drive(&mut Box::pin(connection), &vital, || false).await.map_err(Into::into)
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "connection ended");
    }
}

/// HTTP/1.1: hyper reads the requests and writes what is at hand; streams are written by [`streamed`].
async fn converse<H: Handler>(
    mut socket: Socket,
    limits: &ServerLimits,
    handler: H,
    peer: Peer,
    vital: &Rc<ConnState>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        let (returned, driven, streamed) = receive(socket, limits, handler.clone(), peer, vital).await;
        socket = returned;
        let goes_on = match streamed {
            Some(streamed) => streamed::write(&mut socket, vital, streamed).await?,
            None => false,
        };
        if !goes_on {
            return part(&mut socket, vital, driven, &handler).await;
        }
    }
}

/// hyper has the connection until it ends or a response is a stream.
async fn receive<H: Handler>(
    socket: Socket,
    limits: &ServerLimits,
    handler: H,
    peer: Peer,
    vital: &Rc<ConnState>,
) -> (Socket, hyper::Result<()>, Option<Streamed<ResponseBody<H::Body>>>) {
    let handoff = Handoff::default();
    let door = HyperService { handler, peer, vital: Rc::clone(vital), handoff: Some(handoff.clone()) };
    let mut connection = Box::new(http1_builder(limits).serve_connection(TokioIo::new(socket), door));
    let driven = drive(&mut Pin::new(&mut *connection), vital, || handoff.is_laid()).await;
    (connection.into_parts().io.into_inner(), driven, handoff.take())
}

/// The end of an HTTP/1.1 connection. A request that could not be read is answered, and a client that may still be
/// sending is let finish.
async fn part<H: Handler>(
    socket: &mut Socket,
    vital: &ConnState,
    driven: hyper::Result<()>,
    handler: &H,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let unread = match &driven {
        Err(error) if socket.unmute() => Some(RefusalReason::unread(error)),
        Err(_) | Ok(()) => None,
    };
    if unread.is_some() || vital.framing.borrow().is_last() {
        let parting = async {
            if let Some(reason) = unread {
                let _ = socket.write_all(&reason.response(&handler.refuse(reason))).await;
            }
            linger(socket).await;
        };
        unless_condemned(vital, Box::pin(parting)).await;
    }
    driven.map_err(Into::into)
}

/// HTTP/2 by prior knowledge, or HTTP/1.1.
async fn begin_plain(stream: TcpStream) -> io::Result<(ClientStream, Version)> {
    let version = look(&stream).await;
    Ok((ClientStream::Plain(stream), version))
}

/// What ALPN agreed on; HTTP/1.1 with a client that offers nothing.
async fn begin_tls(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<(ClientStream, Version)> {
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Version::Http2,
        Some(_) | None => Version::Http1,
    };
    Ok((ClientStream::Tls(Box::new(stream)), version))
}

fn http1_builder(limits: &ServerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A client that leaves is noticed by its end of stream, not by the next write.
        .half_close(false)
        // On, it would let a response pile up in memory while the client does not read.
        .pipeline_flush(false)
        .max_buf_size(BUFFER.max(limits.head_size))
        .max_header_size(limits.head_size)
        .max_headers(limits.header_count);
    builder
}

fn http2_builder(limits: &ServerLimits, executor: Local) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(executor);
    builder
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Looks at the first bytes without taking them. A client that sends its first ones singly is asked again.
async fn look(stream: &TcpStream) -> Version {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = match stream.peek(&mut first).await {
            Ok(count) => first.get(..count).unwrap_or_default(),
            // hyper will meet the same error and end the connection.
            Err(_) => return Version::Http1,
        };
        if seen == PREFACE {
            return Version::Http2;
        }
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Version::Http1;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// `None` if the connection is to end first.
async fn unless_condemned<F: Future>(vital: &ConnState, mut future: Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|cx| {
        vital.attend(cx.waker());
        if vital.fate() > ConnFate::Live { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }
    })
    .await
}

/// A hyper connection, whichever protocol it speaks.
trait HyperConnection: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<H: Handler> HyperConnection for http1::Connection<TokioIo<Socket>, HyperService<H>> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<H: Handler> HyperConnection for http2::Connection<TokioIo<Socket>, HyperService<H>, Local> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the connection until it ends or is `taken`, and carries out its fate when that changes.
async fn drive<C: HyperConnection>(
    conversation: &mut Pin<impl DerefMut<Target = C>>,
    vital: &ConnState,
    mut taken: impl FnMut() -> bool,
) -> hyper::Result<()> {
    let mut told = false;
    poll_fn(|cx| {
        turn::begin();
        vital.attend(cx.waker());
        match vital.fate() {
            ConnFate::Live => {}
            ConnFate::Finish if told => {}
            ConnFate::Finish => {
                told = true;
                conversation.as_mut().finish();
            }
            ConnFate::Cut => return Poll::Ready(Ok(())),
        }
        let polled = conversation.as_mut().poll(cx);
        if taken() { Poll::Ready(Ok(())) } else { polled }
    })
    .await
}

/// Runs the streams of an HTTP/2 connection on its own worker.
#[derive(Clone, Debug)]
struct Local {
    tasks: Tasks,
    vital: Rc<ConnState>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        let stream = Box::pin(future);
        match self.vital.take_opening() {
            Some(pulse) => self.tasks.spawn(ActivityTracked { stream, pulse }),
            None => self.tasks.spawn(stream),
        };
    }
}
