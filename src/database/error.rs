//! What goes wrong with a database. No message holds a password: the driver's do not, and ours name no URL.

use std::{error::Error, fmt};

#[derive(Debug)]
pub enum DatabaseError {
    /// The driver's own word.
    Driver(sqlx::Error),
    /// The tables were made by a later thalweg than this.
    Newer { part: &'static str, found: i64, known: i64 },
    /// A column is missing or of another kind than the statement's author thought.
    Column(usize),
    /// A row that should have been new is there already.
    Repeated,
    /// It did not answer in time.
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

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => error.fmt(f),
            Self::Newer { part, found, known } => write!(
                f,
                "the {part} tables are of version {found}, made by a later thalweg; this one knows version {known}"
            ),
            Self::Column(column) => write!(f, "column {column} is not as expected"),
            Self::Repeated => f.write_str("a row is there already"),
            Self::Late => f.write_str("the database did not answer in time"),
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Driver(error) => error.source(),
            Self::Newer { .. } | Self::Column(_) | Self::Repeated | Self::Late => None,
        }
    }
}
