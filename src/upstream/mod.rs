//! One attempt to one target: from a pooled or fresh connection to the last byte of the body. Owns the sockets to
//! providers and everything about them; knows nothing of clients, models or JSON.
//!
//! - [`target`]: where a provider is and how it wants to be spoken to
//! - `send`: one attempt, in order: `connection` (`pool`, `dial`, `tls`, `pinned`), then `h1` or `h2`
//! - [`head`]: request heads built, response heads parsed; what may not pass
//! - `io`: the socket and the worker's read block

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::base::Fault;

mod connection;
mod dial;
mod h1;
mod h2;
pub mod head;
mod io;
mod pinned;
mod pool;
mod send;
pub mod target;
#[cfg(test)]
mod tests;
mod tls;

pub use head::Request;
pub use pool::SharedPools;
pub use send::{Deadline, Response, Upstream};
pub use target::{BaseUrl, BaseUrlError, KeyHeader, PoolSettings, Protocol, Target};

/// A response body of either protocol. Dropping it before its end cancels the request at the provider.
#[derive(Debug)]
pub enum Body {
    H1(h1::Body),
    H2(h2::Body),
}

impl Body {
    /// The next bytes as they came. `None` at the end; after an error, nothing.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self {
            Self::H1(body) => body.poll_frame(cx),
            Self::H2(body) => body.poll_frame(cx),
        }
    }

    /// The connection may acknowledge every second small packet instead of each, unless its provider was found to wait
    /// for them. Of one that streams share nothing is asked: HTTP/2 sends packets of its own back.
    pub fn acknowledge_late(&self) {
        match self {
            Self::H1(body) => body.acknowledge_late(),
            Self::H2(_) => {}
        }
    }

    /// The provider waits for acknowledgements: none to it will be late any more.
    pub fn acknowledge_at_once(&self) {
        match self {
            Self::H1(body) => body.acknowledge_at_once(),
            Self::H2(_) => {}
        }
    }

    /// All of it has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::H1(body) => body.is_done(),
            Self::H2(body) => body.is_done(),
        }
    }
}
