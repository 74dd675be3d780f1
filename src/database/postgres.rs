//! PostgreSQL: connections are made when they are needed and closed when they no longer are.

use std::{borrow::Cow, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Executor, PgConnection, PgPool, Postgres, Row as _, TypeInfo,
    ValueRef,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};

use super::{Cell, DatabaseError, ResultRow, bulk::ColumnKind};

const IDLE: Duration = Duration::from_secs(60);
const ACQUIRE: Duration = Duration::from_secs(5);

pub(super) fn options(url: &str) -> Result<PgConnectOptions, DatabaseError> {
    let options = PgConnectOptions::from_str(url)?;
    Ok(options.application_name("thalweg").statement_cache_capacity(32).disable_statement_logging())
}

pub(super) fn pool(url: &str, connections: u32) -> Result<PgPool, DatabaseError> {
    let pool = PgPoolOptions::new().max_connections(connections.max(1)).idle_timeout(IDLE);
    Ok(pool.acquire_timeout(ACQUIRE).connect_lazy_with(options(url)?))
}

fn query(sql: Cow<'static, str>, cells: Vec<Cell>) -> Query<'static, Postgres, PgArguments> {
    let query = match sql {
        Cow::Borrowed(sql) => sqlx::query(sql),
        // Put together here from parts that are all ours.
        Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)),
    };
    cells.into_iter().fold(query, |query, cell| match cell {
        Cell::Int(value) => query.bind(value),
        Cell::Text(value) => query.bind(value),
        Cell::Blob(value) => query.bind(value),
    })
}

pub(super) async fn run<'c>(
    executor: impl Executor<'c, Database = Postgres>,
    sql: Cow<'static, str>,
    cells: Vec<Cell>,
) -> Result<u64, DatabaseError> {
    Ok(query(sql, cells).execute(executor).await?.rows_affected())
}

/// One array for each column.
pub(super) async fn insert(
    connection: &mut PgConnection,
    sql: &Arc<str>,
    columns: &[(&'static str, ColumnKind)],
    cells: Vec<Cell>,
) -> Result<u64, DatabaseError> {
    let width = columns.len().max(1);
    let rows = cells.len() / width;
    let mut ints: Vec<Vec<Option<i64>>> = Vec::new();
    let mut texts: Vec<Vec<Option<String>>> = Vec::new();
    let mut blobs: Vec<Vec<Option<Vec<u8>>>> = Vec::new();
    // Which array of its kind a column is.
    let mut places = Vec::with_capacity(width);
    for (_, kind) in columns {
        places.push(match kind {
            ColumnKind::Int => push(&mut ints, rows),
            ColumnKind::Text => push(&mut texts, rows),
            ColumnKind::Blob => push(&mut blobs, rows),
        });
    }
    for (cell, place) in cells.into_iter().zip(places.iter().cycle()) {
        match cell {
            Cell::Int(value) => ints.get_mut(*place).map(|column| column.push(value)),
            Cell::Text(value) => texts.get_mut(*place).map(|column| column.push(value)),
            Cell::Blob(value) => blobs.get_mut(*place).map(|column| column.push(value)),
        };
    }
    let (mut ints, mut texts, mut blobs) = (ints.into_iter(), texts.into_iter(), blobs.into_iter());
    let query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
    let query = columns.iter().fold(query, |query, (_, kind)| match kind {
        ColumnKind::Int => query.bind(ints.next()),
        ColumnKind::Text => query.bind(texts.next()),
        ColumnKind::Blob => query.bind(blobs.next()),
    });
    Ok(query.execute(connection).await?.rows_affected())
}

/// Adds a column; gives its number.
fn push<T>(columns: &mut Vec<Vec<T>>, rows: usize) -> usize {
    columns.push(Vec::with_capacity(rows));
    columns.len() - 1
}

pub(super) async fn fetch<'c>(
    executor: impl Executor<'c, Database = Postgres>,
    sql: Cow<'static, str>,
    cells: Vec<Cell>,
) -> Result<Vec<ResultRow>, DatabaseError> {
    let rows = query(sql, cells).fetch_all(executor).await?;
    rows.iter().map(record).collect()
}

fn record(row: &PgRow) -> Result<ResultRow, DatabaseError> {
    let cells = row.columns().iter().map(|column| {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Int(None));
        }
        Ok(match raw.type_info().name() {
            "INT8" => Cell::Int(row.try_get(at)?),
            "INT4" => Cell::Int(row.try_get::<Option<i32>, _>(at)?.map(i64::from)),
            "TEXT" | "VARCHAR" => Cell::Text(row.try_get(at)?),
            "BYTEA" => Cell::Blob(row.try_get(at)?),
            _ => return Err(DatabaseError::Column(at)),
        })
    });
    cells.collect::<Result<_, _>>().map(ResultRow)
}
