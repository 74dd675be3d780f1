//! Settings become a running process.
//!
//! - [`gateway`]: start and stop, in order
//! - `worker`: one core's runtime, listeners, pools and corridor
//! - `prober`: watches the providers in the background; `watched` is one of them, `look` one look at it
//! - `keys`: keeps keys as the database has them
//! - `warmup`: connections opened before anybody asks
//! - `administration`: the listener for operators
//! - `state`: what is known of providers over a restart
//! - `door`: the site as the server's handler
//! - `build`: settings to a snapshot
//! - `reload`: another snapshot while it runs; `changes` says what it changes

mod administration;
mod build;
mod changes;
mod door;
pub mod gateway;
mod keys;
mod look;
mod prober;
mod reload;
mod state;
mod traces;
mod warmup;
mod watched;
mod worker;

pub use gateway::{Gateway, StartError, Surroundings, start, start_in};
