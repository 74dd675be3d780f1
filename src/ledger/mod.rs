//! What every request was and cost, kept in the database: rows for a while, roll-ups for ever. Never on the line: rows
//! come in batches from the thread that settles, and when the database is away they wait in a file.
//!
//! - [`settings`]: whether, how long, how much may wait
//! - [`row`]: a row; [`price`]: what tokens cost
//! - [`rollup`]: sums over hours and days, with times in the classes of [`histogram`]
//! - [`schema`]: the tables; [`row_writer`]: rows and their sums into them, at once or not at all
//! - [`spool`]: where rows wait while the database is away
//! - [`writer`]: the thread that does all this, with `queue` before it; `buffer` has what is between queue and database,
//!   `retention` lets old rows go, `outage_log` says what is to be said
//! - [`query`]: what it is asked; [`gauges`]: how it fares; [`reader`]: both for others

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
