//! HTTP/1.1 as bytes (RFC 9112), shared by both sides of the gateway: where a head and a body end, and how a
//! chunked body is written. Owns no connection, no timeout and no policy: [`crate::server`] and
//! [`crate::upstream`] decide which messages are served and when a connection closes. Nothing here parses
//! header values or allocates per frame.
//!
//! - [`head`]: a request head, scanned line by line as it arrives
//! - [`decode`]: a message body, decoded in place
//! - [`chunk`]: a chunked body, written one chunk at a time

pub mod chunk;
pub mod decode;
pub mod head;

pub use chunk::ChunkWriter;
pub use decode::{BodyFraming, DecodeError, Decoded, Decoder};
pub use head::HeadScanner;
