//! Clients of the test's own: a raw socket for what no library would send or show, and hyper's HTTP/1.1 and HTTP/2
//! clients for the rest.
//!
//! - [`call`]: a request and its answer
//! - [`conn`]: hyper's connections
//! - [`raw`]: bytes as they are
//! - [`chunked`]: a decoder that shares nothing with the gateway's

pub mod call;
pub mod chunked;
pub mod conn;
pub mod raw;

pub use self::{
    call::{Answer, Call},
    conn::{Client, Version},
    raw::Raw,
};
