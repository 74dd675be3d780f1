//! The accept loop of one worker, and the drain at its end. An error of accept backs off and never ends the loop; past
//! the limit on connections a client is told so and closed.

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

use super::{
    Handler,
    conn_limit::{ConnLimit, ConnPermit},
    conn_table::ConnTable,
    connection::{self, AcceptedSocket},
    drain::{Drain, Phase},
    refusal::RefusalReason,
    settings::ServerLimits,
    tls::TlsSource,
};
use crate::base::spawn::Tasks;

/// How long to wait when accept fails for want of descriptors or memory.
const BACKOFF: Duration = Duration::from_millis(100);

/// What the servers of all workers have in common.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Read again for each connection; clocks, at each look at it.
    pub limits: Arc<ArcSwap<ServerLimits>>,
    pub drain: Drain,
    pub census: ConnLimit,
    /// `None`: plain connections only.
    pub tls: Option<TlsSource>,
}

struct Server<H> {
    terms: ServeOptions,
    handler: H,
    tasks: Tasks,
    register: Rc<ConnTable>,
}

/// Serves until the drain begins, then until every connection has ended or was cut after `limits.drain`.
///
/// # Errors
/// A listener could not be given to the runtime.
pub async fn serve<H: Handler>(
    listeners: Vec<std::net::TcpListener>,
    terms: ServeOptions,
    handler: H,
    tasks: Tasks,
) -> io::Result<()> {
    let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
    let register = ConnTable::new(Arc::clone(&terms.limits));
    let server = Server { terms, handler, tasks, register: Rc::clone(&register) };
    tokio::select! {
        () = server.accept_all(listeners) => {}
        () = register.sweep() => {}
        () = server.terms.drain.reached(Phase::Draining) => {}
    }
    server.finish().await;
    Ok(())
}

impl<H: Handler> Server<H> {
    async fn accept_all(&self, listeners: Vec<TcpListener>) {
        loop {
            match poll_fn(|cx| poll_accept(&listeners, cx)).await {
                Ok((stream, address)) => self.receive(stream, address),
                Err(error) if concerns_one(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(BACKOFF).await;
                }
            }
        }
    }

    fn receive(&self, stream: TcpStream, address: SocketAddr) {
        let Some(guest) = self.terms.census.admit(self.terms.limits.load().connections) else {
            tracing::debug!(peer = %address, "too many connections");
            if self.terms.tls.is_none() {
                turn_away(&stream, &self.handler);
            }
            return;
        };
        hasten(&stream);
        self.open(stream, address, guest);
    }

    fn open(&self, stream: TcpStream, address: SocketAddr, guest: ConnPermit) {
        let entry = self.register.enter(address);
        let opening = AcceptedSocket {
            stream,
            tls: self.terms.tls.as_ref().map(TlsSource::current),
            vital: Rc::clone(&entry.0),
            handler: self.handler.clone(),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(async move {
            connection::run(opening).await;
            drop((entry, guest));
        });
    }

    /// Idle connections close at once, the others after what they are answering.
    async fn finish(&self) {
        self.register.finish_all();
        let sweeping = async {
            tokio::select! {
                () = self.register.emptied() => {}
                () = self.register.sweep() => {}
            }
        };
        if timeout(self.terms.limits.load().drain, sweeping).await.is_err() {
            self.register.cut_all();
            self.register.emptied().await;
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

/// A connection that died in the backlog is no reason to wait.
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Frames leave when they are written. Fails only when the client has left already, which reading will tell.
fn hasten(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// Says why, in plain HTTP/1.1, if the socket takes it at once. What the client sent is read first: closing over unread bytes would reset
/// the connection and could destroy the answer.
fn turn_away<H: Handler>(stream: &TcpStream, handler: &H) {
    let mut sent = [0; 4096];
    let _ = stream.try_read(&mut sent);
    let reason = RefusalReason::TooManyConnections;
    let _ = stream.try_write(&reason.response(&handler.refuse(reason)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_do_not_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!stream.nodelay().unwrap());
        hasten(&stream);
        assert!(stream.nodelay().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_sockets_keep_little_unsent() {
        let listen = crate::server::Listen { host: "127.0.0.1".to_owned(), port: 0, tls: None };
        let bound = crate::server::bind(&listen, 1).unwrap();
        let listener = bound.per_worker.into_iter().flatten().next().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let _client = TcpStream::connect(bound.addresses[0]).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert_eq!(socket2::SockRef::from(&stream).tcp_notsent_lowat().unwrap(), 128 * 1024);
    }
}
