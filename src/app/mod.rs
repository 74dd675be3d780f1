//! Settings become a running process.
//!
//! - [`gateway`]: start and stop, in order
//! - `worker`: one core's runtime, listeners, pools and corridor
//! - `listing`: asks providers for their models, in the background
//! - `warmup`: connections opened before anybody asks
//! - `administration`: the listener for operators
//! - `door`: the site as the server's handler
//! - `build`: settings to a snapshot
//! - `reload`: another snapshot while it runs; `changes` says what it changes

mod administration;
mod build;
mod changes;
mod door;
pub mod gateway;
mod listing;
mod reload;
mod warmup;
mod worker;

pub use gateway::{Gateway, StartError, Surroundings, start, start_in};
