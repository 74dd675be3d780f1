//! HTTP/1.1 to clients. hyper reads the requests and writes the responses of known length; a stream's
//! connection is taken from hyper, written here and given back. Requests are not pipelined.
//!
//! - [`state`]: the part of a connection's state that concerns HTTP/1.1 alone
//! - [`framing`]: where a request begins and ends, and which heads are too ambiguous to serve
//! - [`connection`]: from the first request to the close
//! - [`service`]: from hyper's request to the handler's response
//! - [`streamed`]: a streamed response
//! - [`read_readiness`]: notices that the client leaves during a stream
//! - [`linger`]: the close of a connection while its client may still be sending

mod connection;
mod framing;
mod linger;
mod read_readiness;
mod service;
mod state;
mod streamed;

pub(super) use connection::serve;
pub use framing::FramingGuard;
pub(super) use state::H1ConnState;
