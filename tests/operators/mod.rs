//! The operator's side: statistics, events, traces, the ledger, logs, reloads, commands, shutdown.

mod command_line;
mod compression;
mod configuration_page;
mod database_connections;
pub mod events;
mod first_start;
mod ledger;
mod log_file;
mod managed_keys;
mod pages;
mod pseudo_terminal;
pub mod reload;
mod reload_process;
mod request_log;
mod running;
pub mod sessions;
mod shutdown;
pub mod statistics;
mod top;
mod traces;
