//! Translation between dialects, event by event. Pure: bytes in, bytes out, no I/O.
//!
//! - [`api`]: the dialects; [`context`]: the facts of a request that its answer's translation needs
//! - [`json`]: writing JSON into a byte buffer; [`string_inside`]: reading its strings; [`json_scratch`]: the
//!   memory that an answer is read in
//! - [`reasoning`]: the signature that reasoning goes back by
//! - [`request`]: a request of one dialect becomes a request of another
//! - [`answer`]: a stream, a whole answer or an error of one dialect becomes one of another

pub mod answer;
pub mod api;
pub mod context;
pub mod json;
pub mod json_scratch;
pub mod reasoning;
pub mod request;
#[cfg(test)]
mod round_trip;
pub mod string_inside;

pub use api::ApiDialect;
