//! Bulk inserts: on SQLite in statements of many rows, on PostgreSQL in one statement over an array per
//! column. Each statement is prepared once per connection. The two paths differ because each is the fast one
//! of its database; single statements share [`engine`].

use std::{borrow::Cow, sync::Arc};

use sqlx::AssertSqlSafe;

use super::{
    Cell, ColumnKind, Connection, DatabaseError,
    connection::DriverConnection,
    engine::{self, StatementForm},
    postgres,
};

/// Rows per statement on SQLite. The largest size that fits comes first. There are few sizes, so that all
/// statements stay prepared.
const ROWS_PER_STATEMENT: [usize; 3] = [64, 8, 1];

/// An insert of rows into one table, with its statements for both databases.
#[derive(Debug)]
pub struct Insert {
    pub columns: Vec<(&'static str, ColumnKind)>,
    sqlite: [Arc<str>; ROWS_PER_STATEMENT.len()],
    postgres: Arc<str>,
}

impl Insert {
    /// `conflict` follows the rows in the statement: `ON CONFLICT …`.
    #[must_use]
    pub fn new(table: &str, columns: Vec<(&'static str, ColumnKind)>, conflict: &str) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let into = format!("INSERT INTO {table} ({})", names.join(", "));
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let sqlite = ROWS_PER_STATEMENT.map(|size| {
            let rows = vec![row.as_str(); size].join(",");
            format!("{into} VALUES {rows} {conflict}").into()
        });
        let arrays: Vec<String> = columns
            .iter()
            .zip(1..)
            .map(|((_, kind), number)| format!("${number}::{}[]", postgres::name(*kind)))
            .collect();
        let postgres = format!("{into} SELECT * FROM UNNEST({}) {conflict}", arrays.join(", ")).into();
        Self { columns, sqlite, postgres }
    }
}

impl Connection {
    /// Inserts rows, given as the cells of the first row, then of the second, and so on. Returns the number
    /// of rows changed.
    ///
    /// # Errors
    /// The database's own. Some rows may be inserted then, so the caller needs a transaction.
    pub async fn insert(&mut self, insert: &Insert, cells: Vec<Cell>) -> Result<u64, DatabaseError> {
        match &mut self.driver {
            DriverConnection::Sqlite(connection) => {
                let width = insert.columns.len().max(1);
                let mut left = cells.len() / width;
                let (mut cells, mut changed) = (cells.into_iter(), 0);
                for (size, sql) in ROWS_PER_STATEMENT.iter().zip(&insert.sqlite) {
                    while left >= *size {
                        let batch = cells.by_ref().take(size * width).collect();
                        // A pointer to the text is copied, not the text.
                        let sql = AssertSqlSafe(Arc::clone(sql));
                        changed += engine::run(&mut *connection, sql, batch, StatementForm::Named).await?;
                        left -= size;
                    }
                }
                Ok(changed)
            }
            DriverConnection::Postgres(_) => {
                let statement = (&insert.postgres, &insert.columns[..]);
                self.run_on_postgres(async |connection| postgres::insert(connection, statement, cells).await)
                    .await
            }
        }
    }

    /// The ids among `ids` that the table has.
    ///
    /// # Errors
    /// The database's own.
    pub async fn known(
        &mut self,
        table: &'static str,
        ids: impl ExactSizeIterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, DatabaseError> {
        const MAX_IDS: usize = 500;
        let (mut ids, mut known) = (ids, Vec::new());
        loop {
            let batch: Vec<Cell> = ids.by_ref().take(MAX_IDS).map(Cell::from).collect();
            if batch.is_empty() {
                return Ok(known);
            }
            let placeholders: Vec<String> = (1..=batch.len()).map(|number| format!("${number}")).collect();
            let sql = format!("SELECT id FROM {table} WHERE id IN ({})", placeholders.join(","));
            for record in self.fetch(Cow::Owned(sql), batch).await? {
                known.extend(record.blob(0)?.map(<[u8]>::to_vec));
            }
        }
    }
}
