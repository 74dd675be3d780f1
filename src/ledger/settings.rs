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
