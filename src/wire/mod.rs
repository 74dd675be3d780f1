//! Bytes in, facts out: what a request asks for and what a response says, read from the bytes that are forwarded
//! unchanged. No I/O, no async, no clock; every fact that an edit needs is a span of the original.
//!
//! - [`dialect`]: the APIs spoken, their paths and their errors

pub mod dialect;

pub use dialect::{Dialect, WireError};
