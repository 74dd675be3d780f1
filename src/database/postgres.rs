//! PostgreSQL: options, pool, and the insert over arrays. Connections are made on demand and closed when they
//! have been idle.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Postgres,
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult},
};

use super::{
    Cell, ColumnKind, DatabaseError,
    engine::{Engine, ValueType},
};

const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn options(url: &str) -> Result<PgConnectOptions, DatabaseError> {
    let options = PgConnectOptions::from_str(url)?;
    Ok(options.application_name("thalweg").statement_cache_capacity(32).disable_statement_logging())
}

pub(super) fn pool(url: &str, connections: u32) -> Result<PgPool, DatabaseError> {
    let pool = PgPoolOptions::new().max_connections(connections.max(1)).idle_timeout(IDLE_TIMEOUT);
    Ok(pool.acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options(url)?))
}

/// Inserts rows with one array per column.
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
    // For each column, the index of its array among those of its type.
    let mut places = Vec::with_capacity(width);
    for (_, kind) in columns {
        places.push(match kind {
            ColumnKind::Int => add_array(&mut ints, rows),
            ColumnKind::Text => add_array(&mut texts, rows),
            ColumnKind::Blob => add_array(&mut blobs, rows),
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

/// Adds an array; returns its index.
fn add_array<T>(columns: &mut Vec<Vec<T>>, rows: usize) -> usize {
    columns.push(Vec::with_capacity(rows));
    columns.len() - 1
}

impl Engine for Postgres {
    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn value_type(name: &str) -> Option<ValueType> {
        match name {
            "INT8" => Some(ValueType::Int8),
            "INT4" => Some(ValueType::Int4),
            "TEXT" | "VARCHAR" => Some(ValueType::Text),
            "BYTEA" => Some(ValueType::Blob),
            _ => None,
        }
    }
}
