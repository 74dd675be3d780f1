//! The tests' clients: a raw socket for bytes that no library sends or shows, and hyper's HTTP/1.1 and HTTP/2
//! clients for the rest.
//!
//! - [`call`]: a request and its answer
//! - [`conn`]: hyper's connections
//! - [`raw`]: bytes as they are
//! - [`chunked`]: a decoder that shares no code with the gateway

pub mod call;
pub mod chunked;
pub mod conn;
pub mod raw;

pub use self::{
    call::{Answer, Call},
    conn::{Client, Version},
    raw::Raw,
};
