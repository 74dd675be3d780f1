//! The work that follows from a completed request, away from the line: its closing line in the log (S0.11),
//! its row in the ledger (S3.6), its place in the statistics (S0.7), its spans. Reads the configuration
//! through [`SettlementConfig`]; decides nothing about requests that are under way.
//!
//! Invariant: no request waits for settlement. Completions that it cannot keep up with are lost and counted.
//!
//! - [`thread`]: the thread and its batches
//! - [`config`]: the part of the configuration that settlement reads
//! - `log_line`: the closing line
//! - `row`: the ledger's row
//! - `fact`: the entry in the statistics
//! - `span`: the spans of a trace
//! - `events`: rows and sums for watchers

pub mod config;
mod events;
mod fact;
mod log_line;
mod row;
mod span;
pub mod thread;

pub use config::{ProviderLabels, SettlementConfig};
pub use thread::{Settlement, SettlementHandle, start};
