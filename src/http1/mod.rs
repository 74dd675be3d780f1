//! HTTP/1.1 as bytes (RFC 9112), shared by both sides of the gateway: where a head and a body end, and how a
//! body is written. Owns no connection, no timeout and no policy: [`crate::server`] and [`crate::upstream`]
//! decide which messages are served and when a connection closes. Nothing here parses header values or
//! allocates per frame.
//!
//! - [`read_block`]: the memory that a worker's connections read into
//! - [`head`]: the end of a request head, found as it arrives
//! - [`decode`]: a message body, decoded in place
//! - [`chunk`]: a body, written one chunk at a time

pub mod chunk;
pub mod decode;
pub mod head;
pub mod read_block;

pub use chunk::ChunkWriter;
pub use decode::{BodyFraming, DecodeError, Decoded, Decoder};
pub use head::HeadScanner;
pub use read_block::ReadBlock;
