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
    /// It did not answer in time.
    Late,
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
            Self::Late => f.write_str("the database did not answer in time"),
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Driver(error) => error.source(),
            Self::Newer { .. } | Self::Column(_) | Self::Late => None,
        }
    }
}
