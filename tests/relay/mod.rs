//! Response bytes on their way to the client: unchanged, in order, within their timeouts, with bounded
//! buffers.

mod backpressure;
mod bytes;
mod commit_point;
mod digests;
mod modes;
mod timeouts;
mod usage;
