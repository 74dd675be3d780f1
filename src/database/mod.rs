//! The database, SQLite or PostgreSQL, as far as the rooms that keep something in it need to agree: how it is opened, how
//! its tables come to be, and single statements. Statements are written once, with `$1` for values, which both accept.
//! Nothing on the line comes here.
//!
//! - [`settings`]: which database, and how many connections
//! - [`pool`]: [`Database`], a pool of connections; [`connection`]: one of them, for who writes much
//! - [`bulk`]: many rows at once
//! - [`schema`]: the tables of a room, brought up to date when the database is opened
//! - [`cell`]: values on their way in and out
//! - [`error`]: the errors, without passwords
//! - `engine`: a statement on either; `sqlite`, `postgres`: what differs

pub mod bulk;
pub mod cell;
pub mod connection;
pub mod error;
pub mod pool;
pub mod schema;
pub mod settings;

mod engine;
mod postgres;
mod sqlite;
#[cfg(test)]
pub mod tests;

pub use bulk::{ColumnKind, Insert};
pub use cell::{Cell, ResultRow};
pub use connection::Connection;
pub use error::DatabaseError;
pub use pool::Database;
pub use schema::Schema;
pub use settings::{DatabaseSettings, DatabaseUrl};
