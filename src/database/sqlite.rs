//! SQLite: one file, one writer at a time, a thread per connection (the driver's). Small caches: the ledger appends, and
//! what it asks is in roll-ups.

use std::{borrow::Cow, fs::OpenOptions, path::Path, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Executor, Row as _, Sqlite, SqliteConnection, SqlitePool,
    TypeInfo, ValueRef,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use tokio::time::{Instant, sleep};

use super::{Cell, DatabaseError, ResultRow};

/// How long a statement waits for another's transaction.
const BUSY: Duration = Duration::from_secs(5);
/// Between attempts to open a file that others are opening for the first time.
const BREATH: Duration = Duration::from_millis(5);
/// Readers beside the one that writes.
const CONNECTIONS: u32 = 3;
/// Idle connections and their caches go after this.
const IDLE: Duration = Duration::from_secs(30);

pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode a crash of the process loses nothing that was committed and a crash of the machine corrupts
        // nothing.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY)
        .statement_cache_capacity(32)
        // KiB.
        .pragma("cache_size", "-1024")
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging()
}

/// Opens one connection. Whoever makes a new file a WAL one at the same moment as others is told at once that it is locked,
/// whatever its patience for others' transactions: it tries again.
pub(super) async fn connect(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let until = Instant::now() + BUSY;
    loop {
        match options(file).connect().await {
            Err(error) if is_locked(&error) && Instant::now() < until => sleep(BREATH).await,
            connected => return connected,
        }
    }
}

/// `SQLITE_BUSY`, the primary code being the lower byte.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

pub(super) fn pool(file: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .idle_timeout(IDLE)
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .connect_lazy_with(options(file))
}

/// Makes the file, if there is none, such that only its owner reads it: it tells who asked what and from where.
pub(super) fn prepare(file: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // What is wrong here will be wrong again when the file is opened, and is told then.
    let _ = options.open(file);
}

fn query(sql: Cow<'static, str>, cells: Vec<Cell>) -> Query<'static, Sqlite, SqliteArguments> {
    let query = match sql {
        Cow::Borrowed(sql) => sqlx::query(sql),
        // Put together here from parts that are all ours.
        Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)),
    };
    bind(query, cells)
}

fn bind(
    query: Query<'static, Sqlite, SqliteArguments>,
    cells: Vec<Cell>,
) -> Query<'static, Sqlite, SqliteArguments> {
    cells.into_iter().fold(query, |query, cell| match cell {
        Cell::Int(value) => query.bind(value),
        Cell::Text(value) => query.bind(value),
        Cell::Blob(value) => query.bind(value),
    })
}

pub(super) async fn run<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: Cow<'static, str>,
    cells: Vec<Cell>,
) -> Result<u64, DatabaseError> {
    Ok(query(sql, cells).execute(executor).await?.rows_affected())
}

/// A statement that is run again and again, without copying its text.
pub(super) async fn run_shared<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: &Arc<str>,
    cells: Vec<Cell>,
) -> Result<u64, DatabaseError> {
    let query = bind(sqlx::query(AssertSqlSafe(Arc::clone(sql))), cells);
    Ok(query.execute(executor).await?.rows_affected())
}

pub(super) async fn fetch<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: Cow<'static, str>,
    cells: Vec<Cell>,
) -> Result<Vec<ResultRow>, DatabaseError> {
    let rows = query(sql, cells).fetch_all(executor).await?;
    rows.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> Result<ResultRow, DatabaseError> {
    let cells = row.columns().iter().map(|column| {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Int(None));
        }
        Ok(match raw.type_info().name() {
            "INTEGER" | "INT4" | "BIGINT" => Cell::Int(row.try_get(at)?),
            "TEXT" => Cell::Text(row.try_get(at)?),
            "BLOB" => Cell::Blob(row.try_get(at)?),
            _ => return Err(DatabaseError::Column(at)),
        })
    });
    cells.collect::<Result<_, _>>().map(ResultRow)
}
