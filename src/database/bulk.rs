//! Many rows at once: on SQLite in statements of many rows, on PostgreSQL in one statement over arrays. Both are
//! prepared once per connection.

use std::{borrow::Cow, sync::Arc};

use sqlx::AssertSqlSafe;

use super::{Cell, Connection, DatabaseError, engine, postgres};

/// The kinds of a table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Int,
    Text,
    Blob,
}

/// Rows per statement on SQLite: as many as still fit, then the next smaller. Few sizes, so that all stay prepared.
const SIZES: [usize; 3] = [64, 8, 1];

/// Where rows go, and what happens to those that are there already.
#[derive(Debug)]
pub struct Insert {
    pub columns: Vec<(&'static str, ColumnKind)>,
    sqlite: [Arc<str>; SIZES.len()],
    postgres: Arc<str>,
}

impl Insert {
    /// `conflict` is what follows the rows: `ON CONFLICT …`.
    #[must_use]
    pub fn new(table: &str, columns: Vec<(&'static str, ColumnKind)>, conflict: &str) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let into = format!("INSERT INTO {table} ({})", names.join(", "));
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let sqlite = SIZES.map(|size| {
            let rows = vec![row.as_str(); size].join(",");
            format!("{into} VALUES {rows} {conflict}").into()
        });
        let arrays: Vec<String> = columns
            .iter()
            .zip(1..)
            .map(|((_, kind), number)| match kind {
                ColumnKind::Int => format!("${number}::bigint[]"),
                ColumnKind::Text => format!("${number}::text[]"),
                ColumnKind::Blob => format!("${number}::bytea[]"),
            })
            .collect();
        let postgres = format!("{into} SELECT * FROM UNNEST({}) {conflict}", arrays.join(", ")).into();
        Self { columns, sqlite, postgres }
    }
}

impl Connection {
    /// Inserts rows, whose cells stand one after the other; gives how many rows that changed.
    ///
    /// # Errors
    /// The database's own; some rows may be in, so this wants a transaction around it.
    pub async fn insert(&mut self, insert: &Insert, cells: Vec<Cell>) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(connection) => {
                let width = insert.columns.len().max(1);
                let (mut cells, mut left, mut changed) = (cells.into_iter(), 0, 0);
                left += cells.len() / width;
                for (size, sql) in SIZES.iter().zip(&insert.sqlite) {
                    while left >= *size {
                        let part = cells.by_ref().take(size * width).collect();
                        // A pointer to the text is copied, not the text.
                        let sql = AssertSqlSafe(Arc::clone(sql));
                        changed += engine::run(&mut *connection, sql, part).await?;
                        left -= size;
                    }
                }
                Ok(changed)
            }
            Self::Postgres(connection) => {
                postgres::insert(connection, &insert.postgres, &insert.columns, cells).await
            }
        }
    }

    /// Which of these ids a table has.
    ///
    /// # Errors
    /// The database's own.
    pub async fn known(
        &mut self,
        table: &'static str,
        ids: impl ExactSizeIterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, DatabaseError> {
        const MANY: usize = 500;
        let (mut ids, mut known) = (ids, Vec::new());
        loop {
            let part: Vec<Cell> = ids.by_ref().take(MANY).map(Cell::from).collect();
            if part.is_empty() {
                return Ok(known);
            }
            let marks: Vec<String> = (1..=part.len()).map(|number| format!("${number}")).collect();
            let sql = format!("SELECT id FROM {table} WHERE id IN ({})", marks.join(","));
            for record in self.fetch(Cow::Owned(sql), part).await? {
                known.extend(record.blob(0)?.map(<[u8]>::to_vec));
            }
        }
    }
}
