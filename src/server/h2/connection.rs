//! An HTTP/2 connection from its preface to its last stream, by hyper. Its streams are tasks of the
//! connection's own worker, each ended alone when its client does not read it.

use std::{
    error::Error,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::Poll,
};

use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::TokioIo;

use super::{activity::ActivityTracked, service::H2Service, state::H2ConnState};
use crate::{
    base::{spawn::Tasks, turn},
    server::{
        conn::{
            socket::Socket,
            state::{ConnFate, ConnRecord},
        },
        handler::Handler,
        settings::ServerLimits,
    },
};

/// Bytes that a client may send on one stream before the handler reads them.
const STREAM_WINDOW: u32 = 512 * 1024;
/// Bytes that a client may send on all streams of a connection together before the handlers read them.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes that may wait to be written, per stream.
const SEND_BUFFER_SIZE: usize = 64 * 1024;

/// Spawns the streams of a connection on its own worker.
#[derive(Clone, Debug)]
struct StreamExecutor {
    tasks: Tasks,
    record: Rc<ConnRecord>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let stream = Box::pin(future);
        match self.record.h2().and_then(H2ConnState::take_opening) {
            Some(activity) => self.tasks.spawn(ActivityTracked { stream, activity }),
            None => self.tasks.spawn(stream),
        };
    }
}

type H2Connection<H> = http2::Connection<TokioIo<Socket>, H2Service<H>, StreamExecutor>;

/// Serves the connection until it ends.
pub(in crate::server) async fn serve<H: Handler>(
    socket: Socket,
    handler: H,
    record: &Rc<ConnRecord>,
    tasks: Tasks,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let limits = &record.limits();
    let executor = StreamExecutor { tasks, record: Rc::clone(record) };
    let service = H2Service { handler, record: Rc::clone(record), header_count: limits.header_count };
    let connection = builder(limits, executor).serve_connection(TokioIo::new(socket), service);
    drive(Box::pin(connection), record).await.map_err(Into::into)
}

/// Runs the connection until it ends, and applies its fate when that changes: hyper's graceful shutdown for a
/// connection that is to finish, an end for one that is cut.
async fn drive<H: Handler>(
    mut connection: Pin<Box<H2Connection<H>>>,
    record: &ConnRecord,
) -> hyper::Result<()> {
    let mut is_finishing = false;
    poll_fn(|cx| {
        turn::begin();
        record.register_waker(cx.waker());
        match record.fate() {
            ConnFate::Live => {}
            ConnFate::Finish | ConnFate::End if is_finishing => {}
            ConnFate::Finish | ConnFate::End => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            ConnFate::Cut => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    })
    .await
}

fn builder(limits: &ServerLimits, executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER_SIZE);
    builder
}
