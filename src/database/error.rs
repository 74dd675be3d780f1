//! What goes wrong with a database. No message holds a password: the driver's do not, and ours name no URL.

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The driver's own word.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// The tables were made by a later thalweg than this.
    #[error(
        "the {part} tables are of version {found}, made by a later thalweg; this one knows version {known}"
    )]
    Newer { part: &'static str, found: i64, known: i64 },
    /// A column is missing or of another kind than the statement's author thought.
    #[error("column {0} is not as expected")]
    Column(usize),
    /// A row that should have been new is there already.
    #[error("a row is there already")]
    Repeated,
    /// It did not answer in time.
    #[error("the database did not answer in time")]
    Late,
}

impl DatabaseError {
    /// Asking again with the same values would come to the same: PostgreSQL's classes 22 and 23, SQLite's constraint,
    /// mismatch and too big.
    #[must_use]
    pub fn is_about_values(&self) -> bool {
        let Self::Driver(sqlx::Error::Database(error)) = self else { return false };
        let code = error.code().unwrap_or_default();
        match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(_) => code.starts_with("22") || code.starts_with("23"),
            // The lower byte is the primary code.
            None => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20)),
        }
    }
}
