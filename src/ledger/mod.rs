//! Every request with its cost, kept in the database: rows for a limited time, roll-ups for ever. Nothing on
//! a request's path waits for the ledger: rows come in batches from the settlement thread, and while the
//! database is down they wait in a file.
//!
//! - [`settings`]: on or off, retention, limits
//! - [`row`]: a row; [`price`]: the cost of tokens
//! - [`rollup`]: sums over hours and days, with durations in the classes of [`histogram`]
//! - [`schema`]: the tables; [`row_writer`]: rows and their sums, in one transaction
//! - [`spool`]: the file in which rows wait while the database is down
//! - [`writer`]: the thread with the loop and the database; `queue` in front of it, `buffer` between queue
//!   and database, `retention` deletes old rows, `outage_log` reports outages
//! - [`query`]: sums on request; [`gauges`]: the ledger's state; [`reader`]: both for other rooms

mod buffer;
pub mod gauges;
pub mod histogram;
mod outage_log;
pub mod price;
pub mod query;
mod queue;
pub mod reader;
mod retention;
pub mod rollup;
pub mod row;
pub mod row_writer;
pub mod schema;
pub mod settings;
pub mod spool;
#[cfg(test)]
mod tests;
pub mod writer;

pub use gauges::{LedgerGauges, LedgerState};
pub use price::{Price, PricedTokens, Prices};
pub use reader::LedgerReader;
pub use row::{Row, RowIds, RowOutcome};
pub use settings::LedgerSettings;
pub use writer::{LedgerWriter, start};
