//! Settings become a running process.
//!
//! - [`gateway`]: start and stop, in order
//! - `worker`: one core's runtime, listeners, pools and corridor
//! - `prober`: watches the providers in the background; `probed_provider` is one of them, `probe` one look at it
//! - `key_sync`: keeps keys as the database has them
//! - `warmup`: connections opened before anybody asks
//! - `administration`: the listener for operators
//! - `state`: what is known of providers over a restart
//! - `handler`: the site as the server's handler
//! - `build`: settings to a snapshot
//! - `reload`: another snapshot while it runs; `changes` says what it changes

mod administration;
mod build;
mod changes;
pub mod gateway;
mod handler;
mod key_sync;
mod probe;
mod probed_provider;
mod prober;
mod reload;
mod state;
mod traces;
mod warmup;
mod worker;

pub use gateway::{Process, ProcessContext, StartError, start, start_in};
