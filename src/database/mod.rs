//! SQLite or PostgreSQL: opening, migrating tables, single statements and bulk inserts. Rooms that store data
//! have their tables and statements themselves. Statements are written once, with `$1` for values, which both
//! databases accept. Nothing on a request's path waits for this room.
//!
//! - [`settings`]: which database, and how many connections
//! - [`bound`]: the bound on connections that all parts of a process share
//! - [`shared`]: [`Database`], a connection that is opened when needed; [`connection`]: one connection, for
//!   frequent writes
//! - [`bulk`]: inserts of many rows; [`row_batch`]: rows that are much alike, and [`rows`]: their inserts
//! - [`schema`]: the tables of a room, migrated when the database is opened
//! - [`cell`]: values to bind and values read; [`error`]: errors, without passwords
//! - `engine`: one statement on either database; `sqlite`, `postgres`: the differences

pub mod bound;
pub mod bulk;
pub mod cell;
pub mod connection;
pub mod error;
pub mod row_batch;
pub mod rows;
pub mod schema;
pub mod settings;
pub mod shared;

mod engine;
mod postgres;
mod sqlite;
#[cfg(test)]
pub mod tests;

pub use bound::ConnectionBound;
pub use bulk::Insert;
pub use cell::{Cell, CellRef, ColumnKind, ResultRow};
pub use connection::Connection;
pub use error::DatabaseError;
pub use row_batch::{RowBatch, RowCells, TableRow};
pub use rows::RowInsert;
pub use schema::Schema;
pub use settings::{DatabaseSettings, DatabaseUrl};
pub use shared::Database;
