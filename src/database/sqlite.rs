//! SQLite: one file, one writer at a time, a thread per connection (the driver's). Caches are small, because
//! the ledger appends and its queries read the small roll-ups.

use std::{
    fs::{self, OpenOptions},
    ops::Range,
    path::Path,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Arguments as _, ConnectOptions, SqlSafeStr, Sqlite, SqliteConnection,
    error::BoxDynError,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteQueryResult, SqliteSynchronous,
    },
};
use tokio::time::{Instant, sleep};

use super::{
    CellRef, ColumnKind, DatabaseError, RowBatch,
    cell::BoundColumns,
    engine::{Engine, ValueType},
};

/// How long a statement waits for the transaction of another connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts to open a file that others are opening for the first time.
const OPEN_RETRY_INTERVAL: Duration = Duration::from_millis(5);

pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    // The mode is written into the file, which may be another program's.
    let options = if is_new(file) { options.journal_mode(SqliteJournalMode::Wal) } else { options };
    options
        // In WAL mode a crash of the process loses no commit, and a crash of the machine corrupts nothing.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(32)
        // KiB.
        .pragma("cache_size", "-1024")
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging()
}

fn is_new(file: &Path) -> bool {
    fs::metadata(file).map_or(true, |found| found.len() == 0)
}

/// Opens one connection. Turning a new file to WAL mode fails at once when other processes do the same; the
/// busy timeout does not apply to it. So the attempt is repeated.
pub(super) async fn connect(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options(file).connect().await {
            Err(error) if is_locked(&error) && Instant::now() < until => sleep(OPEN_RETRY_INTERVAL).await,
            connected => return connected,
        }
    }
}

/// `SQLITE_BUSY`: the primary code is the lower byte.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Creates a missing file so that only its owner can read it, because it holds client names and addresses.
pub(super) fn create(file: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // An error here comes again when the file is opened, and is reported then.
    let _ = options.open(file);
}

/// Inserts rows, at most as many as the statement has places for: the driver leaves the other places NULL.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    sql: impl SqlSafeStr,
    bound: &BoundColumns,
    rows: &RowBatch,
    part: Range<usize>,
) -> Result<u64, DatabaseError> {
    let arguments = arguments(bound, rows, part).map_err(sqlx::Error::Encode)?;
    Ok(sqlx::query_with(sql, arguments).execute(connection).await?.rows_affected())
}

fn arguments(
    bound: &BoundColumns,
    rows: &RowBatch,
    part: Range<usize>,
) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(bound.same.len() + bound.differing.len() * part.len(), 0);
    let mut bind = |row: usize, columns: &[(usize, ColumnKind)]| {
        columns.iter().try_for_each(|(column, _)| match rows.cell(row, *column) {
            CellRef::Int(value) => arguments.add(value),
            // Of the driver's types for a text this one takes the fewest allocations.
            CellRef::Text(value) => arguments.add(value.map(Arc::<str>::from)),
            CellRef::Blob(value) => arguments.add(value),
        })
    };
    bind(part.start, &bound.same)?;
    part.into_iter().try_for_each(|row| bind(row, &bound.differing))?;
    Ok(arguments)
}

impl Engine for Sqlite {
    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn value_type(name: &str) -> Option<ValueType> {
        match name {
            // SQLite's integers have 64 bits, whatever the column was declared as.
            "INTEGER" | "INT4" | "BIGINT" => Some(ValueType::Int8),
            "TEXT" => Some(ValueType::Text),
            "BLOB" => Some(ValueType::Blob),
            _ => None,
        }
    }
}
