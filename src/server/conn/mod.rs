//! The common part of both protocols' connections. Owns a connection's state and deadlines, its socket and
//! its beginning; leaves requests and responses to `h1` and `h2`.
//!
//! - [`state`]: one connection, and the state of its protocol
//! - [`table`]: the connections of a worker; a sweep checks their deadlines
//! - [`socket`]: the socket, plain or TLS, observed as it writes
//! - [`open`]: TLS handshake, choice of the protocol
//! - [`request_body`]: a request's body as the handler sees it
//! - [`discard`]: limits on reading a body that no handler wants

pub(super) mod discard;
pub(super) mod open;
mod request_body;
pub(super) mod socket;
pub(super) mod state;
pub(super) mod table;

pub use request_body::RequestBody;
