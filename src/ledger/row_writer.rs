//! Writes rows into the database together with their sums, in one transaction. A row that is there already is
//! skipped and counted nowhere, so a replay changes nothing.

use std::collections::HashSet;

use super::{
    rollup,
    row::{ID, Row},
    schema::SCHEMAS,
};
use crate::database::{ColumnKind, Connection, DatabaseError, DatabaseSettings, Insert, RowBatch, RowInsert};

/// An open connection with prepared inserts.
#[derive(Debug)]
pub struct RowWriter {
    connection: Connection,
    rows: RowInsert,
    rollups: Insert,
}

/// The outcome of a write. Rows that are neither were there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteResult {
    pub new: usize,
    /// Rows with values that the database refused.
    pub lost: usize,
}

impl RowWriter {
    /// Opens the database and migrates the ledger's tables.
    ///
    /// # Errors
    /// The database cannot be opened, or its tables are of a later version.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(settings).await?;
        for schema in SCHEMAS {
            connection.migrate(schema).await?;
        }
        let mut columns = vec![("id", ColumnKind::Blob), ("at", ColumnKind::Int)];
        columns.extend(Row::COLUMNS);
        let rows = RowInsert::new("requests", columns, "ON CONFLICT (id) DO NOTHING");
        Ok(Self { connection, rows, rollups: rollup::insert() })
    }

    /// The connection, for statements that concern neither rows nor roll-ups.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Writes rows; returns how many were new. With `is_replay`, some may be there already.
    ///
    /// # Errors
    /// The database's own. No row was written then or, if the connection broke during the commit, all of
    /// them.
    pub async fn write(&mut self, rows: &RowBatch, is_replay: bool) -> Result<usize, DatabaseError> {
        self.connection.begin().await?;
        let written = self.write_inside(rows, is_replay).await;
        match written {
            Ok(count) => self.connection.commit().await.map(|()| count),
            Err(error) => {
                self.connection.roll_back().await;
                Err(error)
            }
        }
    }

    /// Writes rows as [`RowWriter::write`] does. Rows with values that the database refuses are left out and
    /// counted as lost, because they would be refused for ever and keep all others waiting.
    ///
    /// # Errors
    /// The database's own; some rows may have been written.
    pub async fn write_all(
        &mut self,
        rows: &RowBatch,
        is_replay: bool,
    ) -> Result<WriteResult, DatabaseError> {
        let all = |new| WriteResult { new, lost: 0 };
        match self.write(rows, is_replay).await {
            Err(DatabaseError::Repeated) if !is_replay => self.write(rows, true).await.map(all),
            Err(error) if error.is_about_values() => {
                let mut written = WriteResult::default();
                for at in 0..rows.len() {
                    let mut row = RowBatch::default();
                    row.extend(rows, at..at + 1);
                    match self.write(&row, true).await {
                        Err(error) if error.is_about_values() => {
                            let request = Row::of(rows, at).request_id;
                            tracing::error!(%error, request = request.as_deref(), "the database refuses a row");
                            written.lost += 1;
                        }
                        outcome => written.new += outcome?,
                    }
                }
                Ok(written)
            }
            outcome => outcome.map(all),
        }
    }

    async fn write_inside(&mut self, rows: &RowBatch, is_replay: bool) -> Result<usize, DatabaseError> {
        let mut new = RowBatch::default();
        let mut rows = rows;
        if is_replay {
            let id = |at| rows.blob(at, ID).unwrap_or_default();
            let ids = (0..rows.len()).map(|at| id(at).to_vec());
            let known: HashSet<Vec<u8>> = self.connection.known("requests", ids).await?.into_iter().collect();
            if !known.is_empty() {
                (0..rows.len())
                    .filter(|at| !known.contains(id(*at)))
                    .for_each(|at| new.extend(rows, at..at + 1));
                rows = &new;
            }
        }
        let inserted = self.connection.insert_rows(&mut self.rows, rows).await?;
        if inserted != rows.len() as u64 {
            return Err(DatabaseError::Repeated);
        }
        let sums = rollup::cells(rollup::roll_up(rows));
        self.connection.insert(&self.rollups, sums).await?;
        Ok(rows.len())
    }

    pub async fn close(self) {
        self.connection.close().await;
    }
}
