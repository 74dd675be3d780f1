//! Settings become a running process.
//!
//! - [`gateway`]: start and stop, in order
//! - `worker`: one core's runtime, listeners, pools and corridor
//! - `key_sync`: keeps keys as the database has them
//! - `warmup`: connections opened before anybody asks
//! - `administration`: the listener for operators
//! - `handler`: the site as the server's handler
//! - `build`: settings to a snapshot; `settlement`: the part of a snapshot that settlement reads
//! - `reload`: another snapshot while it runs; `changes` says what it changes

mod administration;
mod build;
mod changes;
pub mod gateway;
mod handler;
mod key_sync;
mod reload;
mod settlement;
mod traces;
mod warmup;
mod worker;

pub use gateway::{Process, ProcessContext, StartError, start, start_in};
