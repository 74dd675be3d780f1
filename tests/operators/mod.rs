//! What an operator uses: statistics, events, traces, the ledger, the log, reloads.

mod events;
mod ledger;
pub mod reload;
mod reload_process;
mod request_log;
mod statistics;
mod traces;
