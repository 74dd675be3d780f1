//! Response bytes on their way to the client: unchanged, in order, within their deadlines, and held back no more than
//! a client wants.

mod backpressure;
mod bytes;
mod commit_point;
mod digests;
mod modes;
mod timeouts;
mod usage;
