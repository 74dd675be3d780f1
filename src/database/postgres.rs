//! PostgreSQL: options of a connection, and the insert over arrays.

use std::{
    str::FromStr,
    sync::{Arc, Once},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, Postgres,
    postgres::{PgConnectOptions, PgQueryResult},
};

use super::{
    Cell, CellRef, ColumnKind, DatabaseError, RowBatch,
    cell::BoundColumns,
    engine::{Engine, ValueType},
};

/// Parameters of a URL that the driver knows; it logs all others with their values, at every connection.
const KNOWN_PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// Parameters for a pooler in transaction mode, which other programs need: no statement has a name here.
const POOLER_PARAMETERS: [&str; 2] = ["pgbouncer", "statement-cache-capacity"];

pub(super) fn options(url: &str) -> Result<PgConnectOptions, DatabaseError> {
    static ONCE: Once = Once::new();
    let (url, unknown) = without_unknown_parameters(url);
    if !unknown.is_empty() {
        ONCE.call_once(|| {
            tracing::warn!(
                parameters = unknown.join(", "),
                "unknown parameters of the database's URL are left out"
            );
        });
    }
    // PgBouncer refuses connections that set `extra_float_digits`; no column is a float.
    let options = PgConnectOptions::from_str(&url)?.extra_float_digits(None);
    Ok(options.application_name("thalweg").disable_statement_logging())
}

/// Names and whole texts of the parameters.
fn parameters(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| (pair.split_once('=').map_or(pair, |(name, _)| name), pair))
}

/// The URL without the parameters that the driver does not know, and their names.
fn without_unknown_parameters(url: &str) -> (String, Vec<String>) {
    let is_known = |name: &str| KNOWN_PARAMETERS.contains(&name) || name.starts_with("options[");
    let is_unknown = |name: &str| !is_known(name) && !POOLER_PARAMETERS.contains(&name);
    let unknown = parameters(url).filter(|(name, _)| is_unknown(name)).map(|(name, _)| name.to_owned());
    let known: Vec<&str> = parameters(url).filter(|(name, _)| is_known(name)).map(|(_, pair)| pair).collect();
    let base = url.split_once('?').map_or(url, |(base, _)| base);
    let separator = if known.is_empty() { "" } else { "?" };
    (format!("{base}{separator}{}", known.join("&")), unknown.collect())
}

/// Inserts rows with one array per column.
pub(super) async fn insert(
    connection: &mut PgConnection,
    (sql, columns): (&Arc<str>, &[(&'static str, ColumnKind)]),
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
    let query = sqlx::query(AssertSqlSafe(Arc::clone(sql))).persistent(false);
    let query = columns.iter().fold(query, |query, (_, kind)| match kind {
        ColumnKind::Int => query.bind(ints.next()),
        ColumnKind::Text => query.bind(texts.next()),
        ColumnKind::Blob => query.bind(blobs.next()),
    });
    Ok(query.execute(connection).await?.rows_affected())
}

/// The type of a column.
pub(super) const fn name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Int => "bigint",
        ColumnKind::Text => "text",
        ColumnKind::Blob => "bytea",
    }
}

/// Inserts rows with one value per column that is the same in all, and one array per column that is not.
pub(super) async fn insert_rows(
    connection: &mut PgConnection,
    (sql, columns): (&Arc<str>, &BoundColumns),
    rows: &RowBatch,
) -> Result<u64, DatabaseError> {
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql))).persistent(false);
    for (column, kind) in &columns.same {
        let cell = rows.cell(0, *column);
        query = match kind {
            ColumnKind::Int => query.bind(cell.int()),
            ColumnKind::Text => query.bind(cell.text()),
            ColumnKind::Blob => query.bind(cell.blob()),
        };
    }
    for (column, kind) in &columns.differing {
        let cells = (0..rows.len()).map(|row| rows.cell(row, *column));
        query = match kind {
            ColumnKind::Int => query.bind(cells.map(CellRef::int).collect::<Vec<_>>()),
            ColumnKind::Text => query.bind(cells.map(CellRef::text).collect::<Vec<_>>()),
            ColumnKind::Blob => query.bind(cells.map(CellRef::blob).collect::<Vec<_>>()),
        };
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_left_out_and_known_ones_stay() {
        let url = "postgres://u:p@h/d?sslmode=require&sslpassword=hidden&options[x]=1&channel_binding=y";
        let (kept, unknown) = without_unknown_parameters(url);
        assert_eq!(kept, "postgres://u:p@h/d?sslmode=require&options[x]=1");
        assert_eq!(unknown, ["sslpassword", "channel_binding"]);
        assert_eq!(
            without_unknown_parameters("postgres://h/d?x=1"),
            ("postgres://h/d".into(), vec!["x".into()])
        );
        assert_eq!(without_unknown_parameters("postgres://h/d").0, "postgres://h/d");
    }

    /// Parameters that other programs need for PgBouncer change nothing and are not called unknown.
    #[test]
    fn parameters_for_a_pooler_are_left_out() {
        for parameter in POOLER_PARAMETERS {
            let url = format!("postgres://h/d?sslmode=disable&{parameter}=0");
            assert_eq!(
                without_unknown_parameters(&url),
                ("postgres://h/d?sslmode=disable".into(), Vec::new())
            );
        }
        let shown = format!("{:?}", options("postgres://h/d?pgbouncer=true").unwrap());
        assert!(shown.contains("extra_float_digits: None"), "{shown}");
    }
}
