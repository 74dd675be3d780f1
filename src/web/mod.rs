//! What the gateway serves for the people who run it, beside the corridor for completions.
//!
//! - [`site`]: the handler: which requests are whose
//! - [`feed`]: news as they happen
//! - [`compare`]: one prompt through every mode, against the provider itself

pub mod compare;
pub mod feed;
pub mod site;

pub use site::Site;
