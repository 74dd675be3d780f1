//! An HTTP/1.1 connection from its first request to its close. hyper has the socket while it reads requests
//! and writes short responses; `streamed` has it while a stream runs.

use std::{error::Error, future::Future, pin::Pin, rc::Rc};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::{
    linger::linger,
    service::{H1ResponseBody, H1Service},
    state::H1ConnState,
    streamed::{self, Handoff, Streamed},
};
use crate::server::{
    conn::{
        drive::{HyperConnection, drive, while_live},
        socket::Socket,
        state::ConnRecord,
    },
    handler::Handler,
    refusal::RefusalReason,
    settings::ServerLimits,
};

/// Bytes that hyper reads at once and that may wait to be written.
const BUFFER_SIZE: usize = 64 * 1024;

impl<H: Handler> HyperConnection for http1::Connection<TokioIo<Socket>, H1Service<H>> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves the connection until it ends.
// No `async fn`, because its future would keep its arguments twice, for all of the connection's life.
pub(in crate::server) fn serve<H: Handler>(
    mut socket: Socket,
    handler: H,
    record: &Rc<ConnRecord>,
) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> {
    let record = Rc::clone(record);
    async move {
        loop {
            let (returned, driven, streamed) = run_hyper(socket, &handler, &record).await;
            socket = returned;
            if !streamed::write(&mut socket, &record, streamed).await? {
                return close(&mut socket, &record, driven, &handler).await;
            }
        }
    }
}

/// Runs hyper until the connection ends or a response is a stream.
async fn run_hyper<H: Handler>(
    socket: Socket,
    handler: &H,
    record: &Rc<ConnRecord>,
) -> (Socket, hyper::Result<()>, Option<Streamed<H1ResponseBody<H::Body>>>) {
    let handoff = Handoff::default();
    let service = H1Service { handler: handler.clone(), record: Rc::clone(record), handoff: handoff.clone() };
    let builder = builder(&record.limits());
    let mut connection = Box::new(builder.serve_connection(TokioIo::new(socket), service));
    let driven = drive(&mut Pin::new(&mut *connection), record, || handoff.is_put()).await;
    (connection.into_parts().io.into_inner(), driven, handoff.take())
}

/// The end of the connection. A request that hyper could not parse is answered, and a client that may still
/// be sending is let finish.
async fn close<H: Handler>(
    socket: &mut Socket,
    record: &ConnRecord,
    driven: hyper::Result<()>,
    handler: &H,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let refusal = match &driven {
        Err(error) if record.h1().is_some_and(H1ConnState::take_dropped_refusal) => {
            Some(RefusalReason::unparsed(error))
        }
        Err(_) | Ok(()) => None,
    };
    if refusal.is_some() || record.h1().is_some_and(H1ConnState::is_last_request) {
        let closing = async {
            if let Some(reason) = refusal {
                let _ = socket.write_all(&reason.response(&handler.refuse(reason, None))).await;
            }
            linger(socket).await;
        };
        while_live(record, Box::pin(closing)).await;
    }
    driven.map_err(Into::into)
}

fn builder(limits: &ServerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A client that leaves is noticed by its end of stream, not by the next write.
        .half_close(false)
        // Otherwise a response would pile up in memory while the client does not read.
        .pipeline_flush(false)
        .max_buf_size(BUFFER_SIZE.max(limits.head_size))
        .max_header_size(limits.head_size)
        .max_headers(limits.header_count);
    builder
}
