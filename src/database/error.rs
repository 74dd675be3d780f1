//! Errors of a database. No message holds a password: the driver's messages do not, and ours name no URL.

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The driver's own error.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// The tables were made by a later version of thalweg.
    #[error(
        "the {part} tables are of version {found}, made by a later thalweg; this one knows version {known}"
    )]
    Newer { part: &'static str, found: i64, known: i64 },
    /// The database holds another program's tables and none of thalweg's. Nothing was changed in it.
    #[error(
        "it holds tables of another program ({table}) and none of thalweg's, so it is left alone; name a database of thalweg's own"
    )]
    Foreign { table: String },
    /// A column is missing or of another type than the statement needs.
    #[error("column {0} is not as expected")]
    Column(usize),
    /// A row that had to be new is there already.
    #[error("a row is there already")]
    Repeated,
    /// All connections that the settings allow are in use by other parts of this process.
    #[error(
        "no connection became free in time: `pool_size` + `max_overflow` allow {max}, and all are in use"
    )]
    Crowded { max: u32 },
    /// The database did not answer in time.
    #[error("the database did not answer in time")]
    Late,
}

impl DatabaseError {
    /// The connection cannot be used any more: it broke, or the server ended it.
    pub(super) fn is_about_connection(&self) -> bool {
        match self {
            Self::Driver(sqlx::Error::Database(error)) => {
                // Class 57: shut down, crashed, or closed by an operator or because it was idle. 25006: the
                // server takes no writes, as a former primary after a failover.
                error
                    .code()
                    .is_some_and(|code| code.starts_with("57P") || code.starts_with("08") || code == "25006")
            }
            Self::Driver(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Newer { .. }
            | Self::Foreign { .. }
            | Self::Column(_)
            | Self::Repeated
            | Self::Crowded { .. }
            | Self::Late => false,
        }
    }

    /// The database, or its disk, has no space left: SQLite's full, PostgreSQL's error 53100.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Driver(sqlx::Error::Database(error)) = self else { return false };
        let code = error.code().unwrap_or_default();
        match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(_) => code == "53100",
            None => code.parse::<u32>().is_ok_and(|code| code & 0xff == 13),
        }
    }

    /// The same values would fail again: PostgreSQL's error classes 22 and 23, SQLite's constraint, mismatch
    /// and too big.
    #[must_use]
    pub fn is_about_values(&self) -> bool {
        let Self::Driver(sqlx::Error::Database(error)) = self else { return false };
        let code = error.code().unwrap_or_default();
        match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(_) => code.starts_with("22") || code.starts_with("23"),
            // The lower byte is SQLite's primary code.
            None => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20)),
        }
    }
}
