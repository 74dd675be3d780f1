//! Settings become a running process.
//!
//! - [`process`]: start and stop, in order; `steps`: the steps of a start; `start_error`: why one failed;
//!   [`start_report`]: the providers' first answers
//! - `worker`: one core's runtime, listeners, pools and gateway; `handler`: the site as the server's handler;
//!   `warmup`: connections opened before the first request; `admin`: the worker for operators;
//!   `batch`: the thread that keeps and runs batches
//! - [`background`]: the one thread for everything that serves no request and does not block. Its tasks:
//!   `key_sync`, `cluster`, `stats_task`, `event_relay`, `running_task`, `running_relay`, `traces`, the
//!   prober, and `reload_task`
//! - `reload`: another snapshot while the gateway runs; `changes`: the differences; `build`: settings to a
//!   snapshot; `settlement`: the part of a snapshot that settlement reads; `demo`: the built-in provider

mod admin;
pub mod background;
mod batch;
mod build;
mod changes;
mod cluster;
mod demo;
mod event_relay;
mod handler;
mod key_sync;
pub mod process;
mod reload;
mod reload_task;
mod running_relay;
mod running_task;
mod settlement;
mod start_error;
pub mod start_report;
mod stats_task;
mod steps;
mod traces;
mod warmup;
mod worker;

pub use background::Background;
pub use process::{Process, ProcessContext, start, start_in};
pub use reload::rehearse;
pub use start_error::StartError;
pub use start_report::StartReport;
