//! Bulk inserts of rows that are much alike. A column that is null in all rows of a batch is left out of the
//! statement, and one with the same value in all is bound once; only the others are bound row by row. Binding
//! costs more than writing, so a batch of like rows takes half the time of [`super::bulk`]'s.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::{
    ColumnKind, Connection, DatabaseError, RowBatch, cell::BoundColumns, connection::DriverConnection,
    postgres, row_batch::ColumnUse, sqlite,
};

/// Batches after which a statement forgets columns that one of them needed and no later one. Preparing
/// another takes 0.1 ms.
const BATCHES_PER_FORM: u32 = 1000;
/// The most rows of a statement on SQLite, and the most values that all its rows bind. Each statement is a
/// turn of the driver's thread, some 10 µs of switches between it and the caller's, so the last rows go into
/// one statement that has room for them. A large one takes memory for as long as it is prepared.
const MAX_ROWS: usize = 256;
const MAX_VALUES: usize = 2048;
/// Each size of statement is so much smaller than the one before; the last has one row.
const SIZE_STEP: usize = 8;

/// An insert of rows into one table. Its statements follow the rows: they grow with a batch that needs more
/// columns, so that like batches use the same prepared ones.
#[derive(Debug)]
pub struct RowInsert {
    table: &'static str,
    /// The first is the key.
    columns: Vec<(&'static str, ColumnKind)>,
    conflict: &'static str,
    uses: Vec<ColumnUse>,
    /// Batches since the columns were last forgotten.
    batches: u32,
    form: InsertForm,
}

/// The statements for some uses of the columns.
#[derive(Debug, Default)]
struct InsertForm {
    columns: BoundColumns,
    /// By their numbers of rows, the largest first. There are few, so that all stay prepared.
    sqlite: Vec<(usize, Arc<str>)>,
    postgres: Arc<str>,
}

impl RowInsert {
    /// `conflict` follows the rows in the statement: `ON CONFLICT …`.
    #[must_use]
    pub fn new(
        table: &'static str,
        columns: Vec<(&'static str, ColumnKind)>,
        conflict: &'static str,
    ) -> Self {
        Self {
            table,
            uses: vec![ColumnUse::Null; columns.len()],
            columns,
            conflict,
            batches: 0,
            form: InsertForm::default(),
        }
    }

    /// Makes the statements fit for these rows.
    fn fit(&mut self, rows: &RowBatch) {
        let mut uses = self.uses.clone();
        if self.batches == 0 {
            uses.fill(ColumnUse::Null);
        }
        self.batches = (self.batches + 1) % BATCHES_PER_FORM;
        for (column, (widened, found)) in uses.iter_mut().zip(rows.uses()).enumerate() {
            // The key differs, also of a single row.
            *widened = if column == 0 { ColumnUse::Differs } else { found.max(*widened) };
        }
        if uses != self.uses {
            self.uses = uses;
            self.form = self.form();
        }
    }

    fn form(&self) -> InsertForm {
        let used = |wanted: ColumnUse| {
            let columns = self.columns.iter().zip(&self.uses).enumerate();
            let used = columns.filter(move |(_, (_, found))| **found == wanted);
            used.map(|(column, ((_, kind), _))| (column, *kind)).collect::<Vec<_>>()
        };
        let (same, differing) = (used(ColumnUse::Same), used(ColumnUse::Differs));
        let name = |(column, _): &(usize, ColumnKind)| self.columns.get(*column).map_or("", |(name, _)| name);
        let names: Vec<&str> = same.iter().chain(&differing).map(name).collect();
        let into = format!("INSERT INTO {} ({})", self.table, names.join(", "));
        let conflict = self.conflict;

        let row = |width: usize| format!("({})", vec!["?"; width].join(","));
        // A value that is bound once stands for each row.
        let mut read = vec!["?".to_owned(); same.len()];
        read.extend((1..=differing.len()).map(|at| format!("d.column{at}")));
        let sqlite = sizes(differing.len()).map(|size| {
            let rows = vec![row(differing.len()); size].join(",");
            // Places that are left over have no key.
            let from = format!("FROM (VALUES {rows}) d WHERE d.column1 IS NOT NULL");
            (size, format!("{into} SELECT {} {from} {conflict}", read.join(", ")).into())
        });
        let sqlite = sqlite.collect();

        let value = |((_, kind), number): (&(usize, ColumnKind), usize)| {
            format!("${number}::{}", postgres::name(*kind))
        };
        let mut read: Vec<String> = same.iter().zip(1..).map(value).collect();
        read.extend((1..=differing.len()).map(|at| format!("d.c{at}")));
        let arrays: Vec<String> =
            differing.iter().zip(1 + same.len()..).map(|column| value(column) + "[]").collect();
        let given: Vec<String> = (1..=differing.len()).map(|at| format!("c{at}")).collect();
        let from = format!("FROM UNNEST({}) d({})", arrays.join(", "), given.join(", "));
        let postgres = format!("{into} SELECT {} {from} {conflict}", read.join(", ")).into();
        InsertForm { columns: BoundColumns { same, differing }, sqlite, postgres }
    }
}

/// Numbers of rows of statements with so many values in a row.
fn sizes(width: usize) -> impl Iterator<Item = usize> {
    let largest = (MAX_VALUES / width.max(1)).clamp(1, MAX_ROWS);
    std::iter::successors(Some(largest), |size| (*size > 1).then_some((size / SIZE_STEP).max(1)))
}

impl Connection {
    /// Inserts rows; returns the number of rows changed.
    ///
    /// # Errors
    /// The database's own. Some rows may be inserted then, so the caller needs a transaction.
    pub async fn insert_rows(
        &mut self,
        insert: &mut RowInsert,
        rows: &RowBatch,
    ) -> Result<u64, DatabaseError> {
        if rows.is_empty() {
            return Ok(0);
        }
        insert.fit(rows);
        let form = &insert.form;
        match &mut self.driver {
            DriverConnection::Sqlite(connection) => {
                let (mut from, mut changed) = (0, 0);
                while from < rows.len() {
                    let left = rows.len() - from;
                    let fitting = form.sqlite.iter().rfind(|(size, _)| left <= *size);
                    let Some((size, sql)) = fitting.or_else(|| form.sqlite.first()) else { break };
                    let part = from..rows.len().min(from + size);
                    from = part.end;
                    // A pointer to the text is copied, not the text.
                    let sql = AssertSqlSafe(Arc::clone(sql));
                    changed += sqlite::insert(&mut *connection, sql, &form.columns, rows, part).await?;
                }
                Ok(changed)
            }
            DriverConnection::Postgres(_) => {
                self.run_on_postgres(async |connection| {
                    postgres::insert_rows(connection, (&form.postgres, &form.columns), rows).await
                })
                .await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{RowCells, Schema, TableRow, tests::Scratch};

    const SCHEMA: Schema = Schema {
        part: "test",
        steps: &[&["CREATE TABLE things (id {blob} PRIMARY KEY, name TEXT, size BIGINT, colour TEXT)"]],
    };

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Thing(Vec<u8>, Option<String>, Option<i64>, Option<String>);

    impl TableRow for Thing {
        fn put(&self, mut row: RowCells<'_>) {
            row.blob(Some(&self.0));
            row.text(self.1.as_deref());
            row.int(self.2);
            row.text(self.3.as_deref());
        }
    }

    fn insert() -> RowInsert {
        let columns = vec![
            ("id", ColumnKind::Blob),
            ("name", ColumnKind::Text),
            ("size", ColumnKind::Int),
            ("colour", ColumnKind::Text),
        ];
        RowInsert::new("things", columns, "ON CONFLICT (id) DO NOTHING")
    }

    async fn stored(connection: &mut Connection) -> Vec<Thing> {
        let sql = "SELECT id, name, size, colour FROM things ORDER BY id";
        let found = connection.fetch(sql, Vec::new()).await.unwrap();
        let text = |row: &crate::database::ResultRow, at| row.text(at).unwrap().map(str::to_owned);
        let thing = |row: &crate::database::ResultRow| {
            Thing(row.blob(0).unwrap().unwrap().to_vec(), text(row, 1), row.int(2).unwrap(), text(row, 3))
        };
        found.iter().map(thing).collect()
    }

    /// Batches of every use of a column, one after the other with one insert: of one row, of several
    /// statements, all null, all the same, one that differs at the end.
    #[tokio::test]
    async fn rows_of_every_form_are_stored_as_they_are() {
        for scratch in Scratch::each().await {
            let mut connection = Connection::open(&scratch.settings).await.unwrap();
            connection.migrate(&SCHEMA).await.unwrap();
            let (mut insert, mut all) = (insert(), Vec::new());
            for (form, count) in (0..64_i64).zip([1, 2, 73, 64, 9, 137, 1, 300].into_iter().cycle()) {
                // Two bits for each column: null, the same, the last differs, the last is not null.
                let use_of = |column: i64, is_last: bool| match (form >> (2 * column) & 3, is_last) {
                    (1, _) | (2, false) => Some(7),
                    (2, true) => Some(8),
                    (3, true) => Some(form),
                    _ => None,
                };
                let things = (0..count).map(|at: i64| {
                    let is_last = at == count - 1;
                    let id = [form.to_be_bytes(), at.to_be_bytes()].concat();
                    let [name, size, colour] = [0, 1, 2].map(|column| use_of(column, is_last));
                    let text = |value: Option<i64>| value.map(|value| format!("é{value}'"));
                    Thing(id, text(name), size, text(colour))
                });
                let things: Vec<Thing> = things.collect();
                let batch: RowBatch = things.iter().cloned().collect();
                assert_eq!(connection.insert_rows(&mut insert, &batch).await.unwrap(), count as u64);
                assert_eq!(connection.insert_rows(&mut insert, &batch).await.unwrap(), 0, "the second time");
                all.extend(things);
            }
            all.sort();
            assert_eq!(stored(&mut connection).await, all);
            assert_eq!(connection.insert_rows(&mut insert, &RowBatch::default()).await.unwrap(), 0);
            connection.close().await;
        }
    }

    #[test]
    fn statements_are_large_where_rows_have_few_values() {
        let of = |width| sizes(width).collect::<Vec<_>>();
        assert_eq!((of(8), of(1)), (vec![256, 32, 4, 1], vec![256, 32, 4, 1]));
        assert_eq!((of(49), of(1000), of(5000)), (vec![41, 5, 1], vec![2, 1], vec![1]));
    }

    #[test]
    fn a_statement_keeps_its_columns_until_they_are_forgotten() {
        let thing = |name: Option<&str>, size| Thing(vec![1], name.map(str::to_owned), size, None);
        let mut insert = insert();
        let mut fit = |things: &[Thing]| {
            insert.fit(&things.iter().cloned().collect());
            Arc::clone(&insert.form.sqlite[0].1)
        };
        let first = fit(&[thing(Some("a"), None)]);
        assert!(first.starts_with("INSERT INTO things (name, id) SELECT ?, d.column1 FROM"), "{first}");
        let same = fit(&[thing(Some("b"), None), thing(Some("b"), None)]);
        assert!(Arc::ptr_eq(&first, &same), "the same columns");
        let wide = fit(&[thing(Some("b"), Some(1)), thing(None, Some(1))]);
        assert!(wide.starts_with("INSERT INTO things (size, id, name)"), "{wide}");
        for _ in 3..BATCHES_PER_FORM {
            assert!(Arc::ptr_eq(&wide, &fit(&[thing(None, None)])));
        }
        let narrow = fit(&[thing(None, None)]);
        assert!(narrow.starts_with("INSERT INTO things (id) SELECT d.column1 FROM (VALUES"), "{narrow}");
    }
}
