//! Settings become a running process.
//!
//! - [`gateway`]: start and stop, in order
//! - `worker`: one core's runtime, listeners, pools and corridor
//! - `listing`: asks providers for their models, in the background
//! - `build`: the first snapshot

mod build;
pub mod gateway;
mod listing;
mod worker;

pub use gateway::{Gateway, StartError, start};
