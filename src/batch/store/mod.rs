//! Files and batches in the database. Every statement may run twice, and each is one step, so that a process
//! that is killed leaves nothing half done. Times are seconds since 1970; leases are by the database's clock,
//! because replicas' clocks differ.
//!
//! - `schema`: the tables
//! - [`files`]: uploaded files, and the files of answers
//! - [`jobs`]: batches as their keys see them; [`leases`]: as their runner does
//! - [`lines`]: the lines of files, and the answers to items

pub mod files;
pub mod jobs;
pub mod leases;
pub mod lines;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use crate::{
    base::id::IdSource,
    database::{ColumnKind, Database, DatabaseError, DatabaseSettings, DatabaseUrl, Insert},
};

pub use files::{FileKind, StoredFile, Upload};
pub use jobs::{BatchJob, BatchStatus};

/// The tables of files and batches, for the tasks of one thread.
#[derive(Debug)]
pub struct BatchStore {
    database: Database,
    /// The database's clock, in SQL.
    clock: &'static str,
    insert_lines: Insert,
    ids: RefCell<IdSource>,
    /// Changes when a batch was made or cancelled here.
    news: watch::Sender<u64>,
}

impl BatchStore {
    /// Connects, and migrates the tables.
    ///
    /// # Errors
    /// The database cannot be opened, or its tables were made by a later version.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let columns = vec![
            ("file", ColumnKind::Text),
            ("number", ColumnKind::Int),
            ("bytes", ColumnKind::Int),
            ("text", ColumnKind::Blob),
        ];
        Ok(Self {
            database: Database::open(settings, &[&schema::SCHEMA]).await?,
            clock: match settings.url {
                DatabaseUrl::Sqlite(_) => "CAST(strftime('%s', 'now') AS BIGINT)",
                DatabaseUrl::Postgres(_) => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)",
            },
            insert_lines: Insert::new("batch_lines", columns, "ON CONFLICT (file, number) DO NOTHING"),
            ids: RefCell::default(),
            news: watch::Sender::new(0),
        })
    }

    /// Closes the connection; the next statement opens one.
    pub async fn release(&self) {
        if self.database.is_idle() {
            self.database.close().await;
        }
    }

    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Changes when a batch was made or cancelled here.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The name of a runner of this process.
    pub(super) fn make_runner(&self) -> String {
        self.make_id("runner-")
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// A new id with this prefix.
    fn make_id(&self, prefix: &str) -> String {
        let id = self.ids.borrow_mut().make();
        format!("{prefix}{}", id.as_str().trim_start_matches("req_"))
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
