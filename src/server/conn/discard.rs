//! Limits on the rest of a request that the client still sends after its response: it is read and dropped,
//! because a socket closed over unread bytes is reset, and an HTTP/2 stream likewise, and the reset destroys
//! a response that the client has not read yet. Past these limits the reset is accepted.

use std::time::Duration;

/// From the end of the response to the end of the client's bytes.
pub(in crate::server) const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// From some of the client's bytes to the next.
pub(in crate::server) const DISCARD_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that are read and dropped.
pub(in crate::server) const MAX_DISCARDED: usize = 256 * 1024 * 1024;
