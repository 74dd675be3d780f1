//! Values of the types that both databases have. A null has a type too, because PostgreSQL needs the type of
//! every value that is bound. A null that comes from the database has lost its type and is read as any.

use super::DatabaseError;

/// The type of a table's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Int,
    Text,
    Blob,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

/// A [`Cell`] that borrows its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellRef<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Blob(Option<&'a [u8]>),
}

impl<'a> CellRef<'a> {
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(self, Self::Int(None) | Self::Text(None) | Self::Blob(None))
    }

    /// The number. A value of another type is none.
    pub(super) const fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => value,
            Self::Text(_) | Self::Blob(_) => None,
        }
    }

    pub(super) const fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(value) => value,
            Self::Int(_) | Self::Blob(_) => None,
        }
    }

    pub(super) const fn blob(self) -> Option<&'a [u8]> {
        match self {
            Self::Blob(value) => value,
            Self::Int(_) | Self::Text(_) => None,
        }
    }
}

impl Cell {
    #[must_use]
    pub fn text(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Vec<u8>> for Cell {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(Some(value))
    }
}

/// A row of a result; columns are counted from 0. A column that is missing or of another type is an error of
/// that column alone. `None`: a value that no cell holds; SQLite stores any value in any column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRow(pub Vec<Option<Cell>>);

impl ResultRow {
    fn cell(&self, column: usize) -> Option<&Cell> {
        self.0.get(column)?.as_ref()
    }

    /// # Errors
    /// The column is missing or no number.
    pub fn int(&self, column: usize) -> Result<Option<i64>, DatabaseError> {
        match self.cell(column) {
            Some(Cell::Int(value)) => Ok(*value),
            Some(Cell::Text(None) | Cell::Blob(None)) => Ok(None),
            Some(Cell::Text(Some(_)) | Cell::Blob(Some(_))) | None => Err(DatabaseError::Column(column)),
        }
    }

    /// # Errors
    /// The column is missing or no text.
    pub fn text(&self, column: usize) -> Result<Option<&str>, DatabaseError> {
        match self.cell(column) {
            Some(Cell::Text(value)) => Ok(value.as_deref()),
            Some(Cell::Int(None) | Cell::Blob(None)) => Ok(None),
            Some(Cell::Int(Some(_)) | Cell::Blob(Some(_))) | None => Err(DatabaseError::Column(column)),
        }
    }

    /// # Errors
    /// The column is missing or holds no bytes.
    pub fn blob(&self, column: usize) -> Result<Option<&[u8]>, DatabaseError> {
        match self.cell(column) {
            Some(Cell::Blob(value)) => Ok(value.as_deref()),
            Some(Cell::Int(None) | Cell::Text(None)) => Ok(None),
            Some(Cell::Int(Some(_)) | Cell::Text(Some(_))) | None => Err(DatabaseError::Column(column)),
        }
    }
}

/// The columns that an insert of several rows binds: those with the same value in all rows once and first,
/// then the others for each row.
#[derive(Debug, Default)]
pub(super) struct BoundColumns {
    pub(super) same: Vec<(usize, ColumnKind)>,
    pub(super) differing: Vec<(usize, ColumnKind)>,
}
