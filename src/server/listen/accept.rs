//! The accept loop of one worker, and the drain at its end. An error of accept delays the loop and never ends
//! it; a client beyond the limit on connections gets 503 and is closed. Leaves an accepted connection to
//! `conn`.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{conn_limit::ConnLimit, tls::TlsSource};
use crate::{
    base::spawn::Tasks,
    server::{
        conn::{
            open::{self, AcceptedSocket},
            table::ConnTable,
        },
        drain::{Drain, Phase},
        handler::Handler,
        peer::Peer,
        refusal::RefusalReason,
        settings::ServerLimits,
    },
};

/// From the end of the drain to the cut of the connections whose streams have not broken off by themselves.
const END_TIMEOUT: Duration = Duration::from_millis(250);

/// From a failed accept, for want of descriptors or memory, to the next.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Shared by the servers of all workers.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Read again for each connection; its deadlines, in each sweep.
    pub limits: Arc<ArcSwap<ServerLimits>>,
    pub drain: Drain,
    pub conn_limit: ConnLimit,
    /// `None`: plain connections only.
    pub tls: Option<TlsSource>,
}

struct Server<H> {
    options: ServeOptions,
    handler: H,
    tasks: Tasks,
    table: Rc<ConnTable>,
}

/// Serves until the drain begins, then until every connection has ended, or was cut after `limits.drain`.
///
/// # Errors
/// The runtime did not take a listener.
pub async fn serve<H: Handler>(
    listeners: Vec<std::net::TcpListener>,
    options: ServeOptions,
    handler: H,
    tasks: Tasks,
) -> io::Result<()> {
    let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
    let table = ConnTable::new(Arc::clone(&options.limits));
    let server = Server { options, handler, tasks, table: Rc::clone(&table) };
    tokio::select! {
        () = server.accept_all(listeners) => {}
        () = table.sweep() => {}
        () = server.options.drain.reached(Phase::Draining) => {}
    }
    server.finish().await;
    Ok(())
}

impl<H: Handler> Server<H> {
    async fn accept_all(&self, listeners: Vec<TcpListener>) {
        loop {
            match poll_fn(|cx| poll_accept(&listeners, cx)).await {
                Ok((stream, address)) => self.receive(stream, address),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn receive(&self, stream: TcpStream, address: SocketAddr) {
        let Some(permit) = self.options.conn_limit.admit(self.options.limits.load().connections) else {
            tracing::debug!(peer = %address, "too many connections");
            if self.options.tls.is_none() {
                reject(&stream, &self.handler);
            }
            return;
        };
        let tls = self.options.tls.as_ref().map(TlsSource::current);
        let accepted = AcceptedSocket {
            stream,
            entry: self.table.enter(Peer { address, tls: tls.is_some() }),
            tls,
            permit,
            handler: self.handler.clone(),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(open::run(accepted));
    }

    /// Idle connections close at once, the others after their responses in flight.
    async fn finish(&self) {
        self.table.finish_all();
        let sweeping = async {
            tokio::select! {
                () = self.table.emptied() => {}
                () = self.table.sweep() => {}
            }
        };
        if timeout(self.options.limits.load().drain, sweeping).await.is_err() {
            self.handler.end();
            self.table.end_all();
            // A client that does not read is not waited for.
            if timeout(END_TIMEOUT, self.table.emptied()).await.is_err() {
                self.table.cut_all();
                self.table.emptied().await;
            }
        }
    }
}

fn poll_accept(listeners: &[TcpListener], cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    for listener in listeners {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

/// The error of a connection that ended in the backlog: no reason to delay the next accept.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Answers 503 in plain HTTP/1.1, if the socket takes it at once. The client's bytes are read first, because
/// a close over unread bytes would reset the connection and could destroy the response.
fn reject<H: Handler>(stream: &TcpStream, handler: &H) {
    let mut unread = [0; 4096];
    let _ = stream.try_read(&mut unread);
    let reason = RefusalReason::TooManyConnections;
    let _ = stream.try_write(&reason.response(&handler.refuse(reason, None)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::keepalive::KEEPALIVE_TIME;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_sockets_do_not_delay_keep_little_unsent_and_are_kept_alive() {
        let listen = crate::server::Listen { host: "127.0.0.1".to_owned(), port: 0, tls: None };
        let bound = crate::server::bind(&listen, 1).unwrap();
        let listener = bound.per_worker.into_iter().flatten().next().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let _client = TcpStream::connect(bound.addresses[0]).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 * 1024);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_TIME);
    }
}
