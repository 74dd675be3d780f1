//! SQLite: one file, one writer at a time, a thread per connection (the driver's). Small caches: the ledger appends, and
//! what it asks is in roll-ups.

use std::{fs::OpenOptions, path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Sqlite, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult, SqliteSynchronous,
    },
};
use tokio::time::{Instant, sleep};

use super::engine::{Engine, ValueType};

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
