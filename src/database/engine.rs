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

    fn read(row: &Self::Row) -> Result<ResultRow, DatabaseError>;
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

    fn read(row: &Self::Row) -> Result<ResultRow, DatabaseError> {
        let cells = row.columns().iter().map(|column| {
            let column = column.ordinal();
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(Cell::Int(None));
            }
            Ok(match D::value_type(value.type_info().name()) {
                Some(ValueType::Int8) => Cell::Int(row.try_get(column)?),
                Some(ValueType::Int4) => Cell::Int(row.try_get::<Option<i32>, _>(column)?.map(i64::from)),
                Some(ValueType::Text) => Cell::Text(row.try_get(column)?),
                Some(ValueType::Blob) => Cell::Blob(row.try_get(column)?),
                None => return Err(DatabaseError::Column(column)),
            })
        });
        cells.collect::<Result<_, _>>().map(ResultRow)
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
    rows.iter().map(D::read).collect()
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
