//! One statement on either database: its values bound, its rows read. The code is generic over the driver and
//! compiled once for each; an [`Engine`] holds the differences of a driver.
//!
//! The bulk insert is not here: SQLite wants many rows of values in one statement, PostgreSQL one array per
//! column.

use sqlx::{
    Column as _, ColumnIndex, Decode, Encode, Executor, IntoArguments, Row as _, SqlSafeStr, Type, TypeInfo,
    ValueRef, database::HasStatementCache, query::Query,
};

use super::{Cell, DatabaseError, ResultRow};

/// The type of a value that came from the database.
#[derive(Clone, Copy, Debug)]
pub(super) enum ValueType {
    Int8,
    Int4,
    Text,
    Blob,
}

/// One of the two databases.
pub(super) trait Engine: sqlx::Database<Arguments: IntoArguments<Self>> + HasStatementCache {
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// The type of that name. `None`: a type that no [`Cell`] holds.
    fn value_type(name: &str) -> Option<ValueType>;
}

/// An [`Engine`] with a driver that binds and reads the types of [`Cell`]. Its one implementation keeps these
/// bounds in one place.
pub(super) trait CellEngine: Engine {
    fn bind(
        query: Query<'static, Self, Self::Arguments>,
        cell: Cell,
    ) -> Query<'static, Self, Self::Arguments>;

    fn read(row: &Self::Row) -> ResultRow;
}

impl<D: Engine> CellEngine for D
where
    i64: for<'r> Decode<'r, D> + Type<D>,
    i32: for<'r> Decode<'r, D> + Type<D>,
    String: for<'r> Decode<'r, D> + Type<D>,
    Vec<u8>: for<'r> Decode<'r, D> + Type<D>,
    Option<i64>: for<'q> Encode<'q, D>,
    Option<String>: for<'q> Encode<'q, D>,
    Option<Vec<u8>>: for<'q> Encode<'q, D>,
    usize: ColumnIndex<D::Row>,
{
    fn bind(
        query: Query<'static, Self, Self::Arguments>,
        cell: Cell,
    ) -> Query<'static, Self, Self::Arguments> {
        match cell {
            Cell::Int(value) => query.bind(value),
            Cell::Text(value) => query.bind(value),
            Cell::Blob(value) => query.bind(value),
        }
    }

    fn read(row: &Self::Row) -> ResultRow {
        let cell = |column| {
            let value = row.try_get_raw(column).ok()?;
            if value.is_null() {
                return Some(Cell::Int(None));
            }
            match D::value_type(value.type_info().name())? {
                ValueType::Int8 => row.try_get(column).ok().map(Cell::Int),
                ValueType::Int4 => {
                    row.try_get::<Option<i32>, _>(column).ok().map(|value| Cell::Int(value.map(i64::from)))
                }
                // Not every text in SQLite is UTF-8.
                ValueType::Text => row.try_get(column).ok().map(Cell::Text),
                ValueType::Blob => row.try_get(column).ok().map(Cell::Blob),
            }
        };
        ResultRow(row.columns().iter().map(|column| cell(column.ordinal())).collect())
    }
}

/// The form in which a statement goes to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatementForm {
    /// Prepared once per connection, under a name.
    Named,
    /// Prepared without a name each time, in a transaction.
    Unnamed,
    /// As text, in one step; it takes no values.
    Plain,
}

/// Runs one statement; returns the number of rows that it changed.
pub(super) async fn run<'c, D: CellEngine>(
    executor: impl Executor<'c, Database = D>,
    sql: impl SqlSafeStr,
    cells: Vec<Cell>,
    form: StatementForm,
) -> Result<u64, DatabaseError> {
    let ran = match form {
        StatementForm::Plain => sqlx::raw_sql(sql).execute(executor).await?,
        StatementForm::Named | StatementForm::Unnamed => {
            statement(sql, cells, form).execute(executor).await?
        }
    };
    Ok(D::rows_affected(&ran))
}

/// Runs one statement; returns the rows that it gives.
pub(super) async fn fetch<'c, D: CellEngine>(
    executor: impl Executor<'c, Database = D>,
    sql: impl SqlSafeStr,
    cells: Vec<Cell>,
    form: StatementForm,
) -> Result<Vec<ResultRow>, DatabaseError> {
    let rows = match form {
        StatementForm::Plain => sqlx::raw_sql(sql).fetch_all(executor).await?,
        StatementForm::Named | StatementForm::Unnamed => {
            statement::<D>(sql, cells, form).fetch_all(executor).await?
        }
    };
    Ok(rows.iter().map(D::read).collect())
}

/// The text of every statement is this crate's own: constants, numbers and names of columns. Values are
/// always bound, so the callers' `AssertSqlSafe` holds.
fn statement<D: CellEngine>(
    sql: impl SqlSafeStr,
    cells: Vec<Cell>,
    form: StatementForm,
) -> Query<'static, D, D::Arguments> {
    let query = sqlx::query(sql).persistent(form == StatementForm::Named);
    cells.into_iter().fold(query, D::bind)
}
