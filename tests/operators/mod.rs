//! What an operator uses: statistics, events, traces, the ledger, the log, reloads.

mod command_line;
mod events;
mod ledger;
mod log_file;
pub mod reload;
mod reload_process;
mod request_log;
mod shutdown;
mod statistics;
mod traces;
