//! The one fake provider: a server on loopback for HTTP/1.1 by hand and HTTP/2 through `h2`, driven by a
//! script of steps. It answers exactly the bytes of the script, at the moments of the script, and reports
//! connections, requests as raw bytes, and when and how each peer left.
//!
//! - [`script`]: steps, and the answers made of them
//! - [`log`]: the events seen, and waiting for them
//! - [`h1`], [`h2`]: playing the steps
//! - [`tls`]: certificates of the test's own
//! - `check`: tests of the rig itself

mod check;
pub mod h1;
pub mod h2;
pub mod log;
pub mod script;
pub mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

pub use self::{
    log::{Event, How, Log, Seen},
    script::{Framing, Gate, Step},
};

/// Which steps answer the n-th request (counted from 0 over all connections).
type Scripts = Arc<dyn Fn(usize, &Seen) -> Vec<Step> + Send + Sync>;

/// The protocol of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    H1,
    H2,
}

/// A running upstream. Dropping it closes its listener and all its connections.
pub struct Upstream {
    pub address: SocketAddr,
    pub log: Arc<Log>,
    pub speaks: Speaks,
    acceptor: tokio::task::JoinHandle<()>,
}

/// The shared state of all connections.
#[derive(Clone)]
pub struct Stage {
    scripts: Scripts,
    requests: Arc<AtomicUsize>,
    pub log: Arc<Log>,
}

impl Stage {
    /// The script for a request that was read.
    pub fn steps(&self, seen: Seen) -> (usize, Vec<Step>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let steps = (self.scripts)(number, &seen);
        self.log.push(Event::Request(Arc::new(seen)));
        (number, steps)
    }
}

impl Upstream {
    /// Answers every request with `steps`.
    pub fn always(speaks: Speaks, steps: Vec<Step>) -> Self {
        Self::by(speaks, move |_, _| steps.clone())
    }

    /// Answers the first request with the first script, and so on; the last one repeats.
    pub fn in_turn(speaks: Speaks, scripts: Vec<Vec<Step>>) -> Self {
        Self::by(speaks, move |number, _| scripts[number.min(scripts.len() - 1)].clone())
    }

    /// Answers the n-th request with `scripts(n)`.
    pub fn by(speaks: Speaks, scripts: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(speaks, None, None, scripts)
    }

    /// The same with TLS, and with kernel send buffers of at most `send_buffer` bytes per connection.
    pub fn start(
        speaks: Speaks,
        tls: Option<TlsAcceptor>,
        send_buffer: Option<u32>,
        scripts: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = send_buffer {
            socket.set_send_buffer_size(size).unwrap();
        }
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let stage = Stage { scripts: Arc::new(scripts), requests: Arc::default(), log: Arc::clone(&log) };
        let acceptor = tokio::spawn(accept(listener, speaks, tls, stage));
        Self { address, log, speaks, acceptor }
    }

    /// The payload that the kernel has taken once it takes no more: unchanged for 50 ms.
    pub async fn settled(&self) -> u64 {
        let mut before = 0;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.log.written.load(Ordering::Relaxed);
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
        panic!("the kernel takes and takes: {before} bytes");
    }

    /// Its base URL, as in a provider's configuration.
    pub fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, speaks: Speaks, tls: Option<TlsAcceptor>, stage: Stage) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        let Ok((socket, _)) = listener.accept().await else { return };
        socket.set_nodelay(true).unwrap();
        stage.log.push(Event::Opened { connection: number });
        connections.spawn(serve(socket, number, speaks, tls.clone(), stage.clone()));
    }
}

async fn serve(socket: TcpStream, number: usize, speaks: Speaks, tls: Option<TlsAcceptor>, stage: Stage) {
    // A second handle on the same socket, kept to turn its close into a reset.
    let linger = socket2::SockRef::from(&socket).try_clone().unwrap();
    match (tls, speaks) {
        (None, Speaks::H1) => h1::serve(socket, linger, number, stage).await,
        (None, Speaks::H2) => h2::serve(socket, number, stage).await,
        (Some(tls), speaks) => {
            let Ok(stream) = tls.accept(socket).await else { return };
            match speaks {
                Speaks::H1 => h1::serve(stream, linger, number, stage).await,
                Speaks::H2 => h2::serve(stream, number, stage).await,
            }
        }
    }
}
