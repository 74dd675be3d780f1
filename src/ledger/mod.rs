//! What every request was and cost, kept in the database: rows for a while, roll-ups for ever. Never on the line: rows
//! come in batches from the thread that settles, and when the database is away they wait in a file.
//!
//! - [`settings`]: whether, how long, how much may wait
//! - [`price`]: what tokens cost

pub mod price;
pub mod settings;

pub use price::{Price, Prices, Tokens};
pub use settings::LedgerSettings;
