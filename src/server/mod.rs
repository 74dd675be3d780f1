//! The downstream side: listeners, accept loops, TLS, HTTP/1.1 and HTTP/2 connections, limits and drain. Generic over
//! a handler: it does not know what is served. All of it runs on the worker that accepted the connection.
//!
//! - [`bind`]: one set of listening sockets per worker
//! - [`serve`](mod@serve): the accept loop, and the drain at its end
//! - `connection`: from a fresh socket to its last byte, HTTP/1.1 or HTTP/2
//! - [`tls`]: certificates, read again when they change
//! - `socket`: the stream as hyper sees it, watched as it reads and writes
//! - `framing`: where a request begins and ends, and which heads are too ambiguous to serve
//! - `service`: the door to the handler
//! - `conn_table`: the connections of a worker, their clocks and their fate
//! - `activity`: HTTP/2 streams whose client does not read
//! - [`refusal`]: reasons for which the server answers without the handler
//! - `linger`: the end of a connection whose client is still sending
//! - [`unread`]: what a handler leaves of a request's body
//! - [`cut`]: why the server ends a response before its end
//! - [`conn_limit`]: the connections of all workers
//! - [`drain`]: how the process tells its workers to stop

use std::{error::Error, future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{Response, request::Parts};

mod activity;
pub mod bind;
pub mod conn_limit;
mod conn_table;
mod connection;
pub mod cut;
pub mod drain;
mod framing;
mod linger;
mod read_readiness;
pub mod refusal;
pub mod serve;
mod service;
pub mod settings;
mod socket;
mod streamed;
#[cfg(test)]
mod tests;
pub mod tls;
mod unread;

pub use bind::{BindError, BoundListeners, bind};
pub use conn_limit::ConnLimit;
pub use cut::{CutCause, Cuttable};
pub use drain::{Drain, Phase};
pub use framing::Ambiguity;
pub use refusal::RefusalReason;
pub use serve::{ServeOptions, serve};
pub use settings::{Listen, ServerLimits, TlsFiles};
pub use tls::TlsSource;
pub use unread::RequestBody;

/// What is served. Cloned once per connection, so cheap to clone: an `Rc` inside.
pub trait Handler: Clone + 'static {
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Cuttable
        + Unpin
        + 'static;

    /// Answers one request. The future is dropped when the client leaves before the response head, the response's body
    /// when it leaves after it.
    fn handle(
        &self,
        head: Parts,
        body: RequestBody,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;

    /// The JSON body of an answer that the server gives without [`Handler::handle`].
    fn refuse(&self, reason: RefusalReason) -> Bytes;
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    pub tls: bool,
}
