//! The upstream side: one request to one target, from a pooled or fresh connection to the last byte of the
//! response. Owns the sockets to providers and everything about them; knows no client, no model and no JSON.
//!
//! - [`target`]: a provider's address, protocol and key, and limits of the pools
//! - [`deadline`]: the end of the wait for a response's head
//! - `send`: one request, in order: `connection` (`pool`, `places`, `dial`, `tls`, `pinned`), then `h1` or
//!   `h2`
//! - [`forwarded_headers`]: the lists of headers that pass, up and down
//! - [`head`]: builds request heads, parses response heads
//! - [`body`]: a response body of either protocol, decoded if it is compressed
//! - `tunnel`: the way to a provider through an HTTP proxy
//! - `io`: the socket and the worker's read block

pub mod body;
mod connection;
pub mod deadline;
mod dial;
pub mod forwarded_headers;
mod h1;
mod h2;
pub mod head;
mod io;
mod pinned;
mod places;
mod pool;
mod send;
pub mod target;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

pub use body::Body;
pub use deadline::Deadline;
pub use forwarded_headers::{ForwardedHeaders, HeaderPattern};
pub use head::{JSON, Request};
pub use pool::SharedPools;
pub use send::{Response, Upstream};
pub use target::{
    BaseUrl, BaseUrlError, ClientCertificate, KeyHeader, PoolSettings, Protocol, ProxyServer, Target,
    basic_authorization,
};
pub use tls::check_client_certificate;
