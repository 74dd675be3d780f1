//! The downstream side: listeners, accept loops, TLS, HTTP/1.1 and HTTP/2 connections, limits and drain. Generic over
//! a handler: it does not know what is served. All of it runs on the worker that accepted the connection.
//!
//! - [`bind`]: one set of listening sockets per worker
//! - [`serve`](mod@serve): the accept loop, and the drain at its end
//! - `connection`: from a fresh socket to its last byte, HTTP/1.1 or HTTP/2
//! - [`tls`]: certificates, read again when they change
//! - `socket`: the stream as hyper sees it, watched as it reads and writes
//! - `framing`: where a request begins and ends, and which heads are too ambiguous to serve
//! - `head`: a request head on the wire, line by line
//! - `intake`: the door to the handler
//! - `register`: the connections of a worker, their clocks and their fate
//! - `pulse`: HTTP/2 streams whose client does not read
//! - `refusal`: what is answered to what the handler never sees
//! - `linger`: the end of a connection whose client is still sending
//! - [`unread`]: what a handler leaves of a request's body
//! - [`cut`]: why the server ends a response before its end
//! - [`census`]: the connections of all workers
//! - [`drain`]: how the process tells its workers to stop

use std::{error::Error, future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{Response, request::Parts};

pub mod bind;
pub mod census;
mod chunk;
mod connection;
pub mod cut;
pub mod drain;
mod framing;
mod head;
mod intake;
mod linger;
mod pulse;
mod refusal;
mod register;
pub mod serve;
pub mod settings;
mod socket;
mod streamed;
#[cfg(test)]
mod tests;
pub mod tls;
mod unread;
mod watch;

pub use bind::{BindError, Bound, bind};
pub use census::Census;
pub use cut::{Cause, Cuttable};
pub use drain::{Drain, Phase};
pub use serve::{Terms, serve};
pub use settings::{Limits, Listen, TlsFiles};
pub use tls::TlsSource;
pub use unread::Incoming;

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
        body: Incoming,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    pub tls: bool,
}
