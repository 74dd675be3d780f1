//! What every request was and cost, kept in the database: rows for a while, roll-ups for ever. Never on the line: rows
//! come in batches from the thread that settles, and when the database is away they wait in a file.
//!
//! - [`settings`]: whether, how long, how much may wait
//! - [`entry`]: a row; [`price`]: what tokens cost
//! - [`rollup`]: sums over hours and days, with times in the classes of [`histogram`]
//! - [`schema`]: the tables; [`book`]: rows and their sums into them, at once or not at all
//! - [`spool`]: where rows wait while the database is away
//! - [`writer`]: the thread that does all this, with `queue` before it; `hands` has what is between queue and database,
//!   `retention` lets old rows go, `episode` says what is to be said
//! - [`query`]: what it is asked; [`gauges`]: how it fares; [`report`]: both for others

pub mod book;
pub mod entry;
mod episode;
pub mod gauges;
mod hands;
pub mod histogram;
pub mod price;
pub mod query;
mod queue;
pub mod report;
mod retention;
pub mod rollup;
pub mod schema;
pub mod settings;
pub mod spool;
#[cfg(test)]
mod tests;
pub mod writer;

pub use entry::{Outcome, Row, RowIds};
pub use gauges::{LedgerGauges, LedgerState};
pub use price::{Price, Prices, Tokens};
pub use report::Outlook;
pub use settings::LedgerSettings;
pub use writer::{Inbox, start};
