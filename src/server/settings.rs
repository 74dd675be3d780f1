//! The settings of the downstream side, checked by the configuration: addresses, certificates, limits and
//! deadlines. Plain values; nothing here reads a file or opens a socket.

use std::{path::PathBuf, time::Duration};

/// The addresses to listen on. `localhost` means every loopback address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub host: String,
    /// 0: the kernel chooses one.
    pub port: u16,
    /// `None`: plain connections only.
    pub tls: Option<TlsFiles>,
}

/// PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Limits and deadlines of one client and of all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Bytes of a request head.
    pub head_size: usize,
    /// Number of request headers.
    pub header_count: usize,
    /// Bytes of a request body (413 beyond).
    pub body_size: usize,
    /// Bytes that the bodies of all requests hold, until each is answered.
    pub body_memory: usize,
    /// Bytes that the bodies of one key's requests hold.
    pub body_memory_per_key: usize,
    /// Bytes that the bodies of one key's requests hold before they have arrived whole.
    pub unfinished_per_key: usize,
    /// From the end of a connection's last response, or from its accept, to the end of the next request's
    /// head. The connection is closed, without an error code.
    pub head_timeout: Duration,
    /// From a request's head to the end of its body. 408 `request_timeout`.
    pub body_timeout: Duration,
    /// From a write to a client that has to wait to progress. The connection is closed, an HTTP/2 stream is
    /// reset; `client_write_timeout` in the log.
    pub write_timeout: Duration,
    /// Open connections, over all workers.
    pub connections: usize,
    /// Open streams of one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// From SIGTERM to the start of the drain: everything is served while `/readyz` denies readiness, so that
    /// balancers choose another process first.
    pub shutdown_delay: Duration,
    /// From the end of `shutdown_delay` to the end of the last request; the rest are refused or cut, with
    /// `shutting_down`.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_size: 64 * 1024,
            header_count: 100,
            body_size: 32 * 1024 * 1024,
            body_memory: 1024 * 1024 * 1024,
            body_memory_per_key: 256 * 1024 * 1024,
            unfinished_per_key: 4 * 1024 * 1024,
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            connections: 65_536,
            streams_per_connection: 256,
            shutdown_delay: Duration::from_secs(1),
            drain: Duration::from_secs(30),
        }
    }
}
