//! HTTP/1.1 to clients, by a loop of our own over httparse. Requests are not pipelined.
//!
//! - [`head`]: a request's head, parsed and checked
//! - [`reader`]: where heads and bodies begin and end in the bytes of a connection
//! - [`wire`]: the socket and its reader, shared with the body of the request in flight
//! - [`read_readiness`]: notices that the client leaves during a response
//! - [`body`]: a response's body; [`response`]: writes a response
//! - [`linger`]: the close of a connection while its client may still be sending
//! - [`connection`]: from the first request to the close

mod body;
mod connection;
mod head;
mod linger;
mod read_readiness;
mod reader;
mod response;
mod wire;

pub(super) use connection::serve;
pub use head::{ParsedHead, RefusedHead};
pub use reader::{HeadLimits, RequestReader};
pub(super) use wire::H1RequestBody;
