//! What the gateway serves for the people who run it, beside the corridor for completions.
//!
//! - [`site`]: the handler: which requests are whose
//! - [`event_feed`]: news as they happen
//! - [`compare`]: one prompt through every mode, against the provider itself

pub mod compare;
pub mod event_feed;
pub mod site;

pub use site::Site;
