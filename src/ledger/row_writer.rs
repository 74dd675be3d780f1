//! Rows into the database: the rows themselves and what they add to the roll-ups, in one transaction. A row that is there
//! already is left alone and counted nowhere, so a replay changes nothing.

use std::collections::HashSet;

use super::{rollup, row::Row, schema::SCHEMA};
use crate::database::{ColumnKind, Connection, DatabaseError, DatabaseSettings, Insert};

/// An open connection that rows go through.
#[derive(Debug)]
pub struct RowWriter {
    connection: Connection,
    rows: Insert,
    rollups: Insert,
}

/// What became of rows: those that were neither were there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteResult {
    pub new: usize,
    /// The database refused what is in them.
    pub lost: usize,
}

impl RowWriter {
    /// Opens the database and brings the ledger's tables up to date.
    ///
    /// # Errors
    /// It cannot be had, or its tables are newer than we are.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(settings).await?;
        connection.migrate(&SCHEMA).await?;
        let mut columns = vec![("id", ColumnKind::Blob), ("at", ColumnKind::Int)];
        columns.extend(Row::COLUMNS);
        let rows = Insert::new("requests", columns, "ON CONFLICT (id) DO NOTHING");
        Ok(Self { connection, rows, rollups: rollup::insert() })
    }

    /// The connection, for what is neither a row nor a roll-up.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Writes rows; gives how many were new. With `again`, some may be there already.
    ///
    /// # Errors
    /// The database's own. Nothing was written then, or, when the connection broke at the last moment, all of it.
    pub async fn write(&mut self, rows: &[Row], again: bool) -> Result<usize, DatabaseError> {
        self.connection.begin().await?;
        let written = self.write_inside(rows, again).await;
        match written {
            Ok(count) => self.connection.commit().await.map(|()| count),
            Err(error) => {
                // The error that led here says more than one of going back.
                let _ = self.connection.run("ROLLBACK", Vec::new()).await;
                Err(error)
            }
        }
    }

    /// Writes rows as [`RowWriter::write`] does. Those that the database refuses for what is in them are left out, and given
    /// as lost: they would be refused for ever, and keep all others waiting.
    ///
    /// # Errors
    /// The database's own; some rows may have been written.
    pub async fn write_all(&mut self, rows: &[Row], again: bool) -> Result<WriteResult, DatabaseError> {
        let all = |new| WriteResult { new, lost: 0 };
        match self.write(rows, again).await {
            Err(DatabaseError::Repeated) if !again => self.write(rows, true).await.map(all),
            Err(error) if error.is_about_values() => {
                let mut written = WriteResult::default();
                for row in rows {
                    match self.write(std::slice::from_ref(row), true).await {
                        Err(error) if error.is_about_values() => {
                            tracing::error!(%error, request = row.request_id, "the database refuses a row");
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

    async fn write_inside(&mut self, rows: &[Row], again: bool) -> Result<usize, DatabaseError> {
        let fresh: Vec<Row>;
        let mut rows = rows;
        if again {
            let ids = rows.iter().map(|row| row.id.0.to_vec());
            let known: HashSet<Vec<u8>> = self.connection.known("requests", ids).await?.into_iter().collect();
            if !known.is_empty() {
                fresh = rows.iter().filter(|row| !known.contains(&row.id.0[..])).cloned().collect();
                rows = &fresh;
            }
        }
        let cells = rows.iter().flat_map(Row::cells).collect();
        let inserted = self.connection.insert(&self.rows, cells).await?;
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
