//! The operator's settings of the ledger.

use std::{path::PathBuf, time::Duration};

use crate::database::{DatabaseSettings, DatabaseUrl};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// False: nothing is stored.
    pub enabled: bool,
    /// How long rows are kept; zero: for ever. Roll-ups are kept for ever.
    pub retention: Duration,
    /// The file in which rows wait while the database is down. `None`: beside the SQLite file, or in the
    /// current folder.
    pub spool: Option<PathBuf>,
    /// The most bytes that may wait there; rows beyond are lost and counted.
    pub spool_size: u64,
    /// The most rows of one transaction.
    pub batch_rows: usize,
    /// How long a row waits for others.
    pub batch_delay: Duration,
    pub patience: LedgerPatience,
}

/// How long the ledger waits for the database. Not the operator's to set; tests set it, so that a busy
/// machine changes no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerPatience {
    /// Rows older than this in memory are also spooled.
    pub spool_after: Duration,
    /// For one batch from the queue.
    pub write: Duration,
    /// How long a statement waits for others' locks before rows go to the spool.
    pub lock: Duration,
    pub connect: Duration,
    /// How long the last rows may take when the process ends.
    pub finish: Duration,
}

impl Default for LedgerPatience {
    fn default() -> Self {
        Self {
            spool_after: Duration::from_millis(80),
            write: Duration::from_secs(2),
            lock: Duration::from_millis(500),
            connect: Duration::from_secs(5),
            finish: Duration::from_secs(5),
        }
    }
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            retention: Duration::from_secs(30 * 24 * 3600),
            spool: None,
            spool_size: 256 << 20,
            batch_rows: 2000,
            batch_delay: Duration::from_millis(100),
            patience: LedgerPatience::default(),
        }
    }
}

impl LedgerSettings {
    /// The spool for this database.
    #[must_use]
    pub fn spool_at(&self, database: &DatabaseSettings) -> PathBuf {
        match (&self.spool, &database.url) {
            (Some(file), _) => file.clone(),
            (None, DatabaseUrl::Sqlite(file)) => {
                let mut name = file.clone().into_os_string();
                name.push(".spool");
                name.into()
            }
            (None, DatabaseUrl::Postgres(_)) => "thalweg.spool".into(),
        }
    }
}
