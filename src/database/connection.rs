//! One connection, for a task that writes much and must notice at once that the database is gone. After an
//! error inside a transaction the connection is best dropped, because that rolls the transaction back.

use std::{borrow::Cow, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, SqliteConnection};

use super::{Cell, DatabaseError, DatabaseSettings, DatabaseUrl, ResultRow, engine, postgres, sqlite};

#[derive(Debug)]
pub enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    /// # Errors
    /// The database cannot be reached or opened.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Ok(match &settings.url {
            DatabaseUrl::Sqlite(file) => {
                sqlite::create(file);
                Self::Sqlite(sqlite::connect(file).await?)
            }
            DatabaseUrl::Postgres(url) => Self::Postgres(postgres::options(url.expose())?.connect().await?),
        })
    }

    /// Limits how long a statement waits for other transactions.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_lock_timeout(&mut self, limit: Duration) -> Result<(), DatabaseError> {
        let millis = limit.as_millis();
        let sql = match self {
            Self::Sqlite(_) => format!("PRAGMA busy_timeout = {millis}"),
            Self::Postgres(_) => format!("SET lock_timeout = {millis}"),
        };
        self.fetch(sql, Vec::new()).await.map(|_| ())
    }

    /// Begins a writing transaction. On SQLite it takes the write lock, so a locked database is an error here
    /// and not later.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin(&mut self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE", Vec::new()).await,
            Self::Postgres(_) => self.run("BEGIN", Vec::new()).await,
        }
        .map(|_| ())
    }

    /// # Errors
    /// The database's own; it is unknown then whether the transaction was committed.
    pub async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.run("COMMIT", Vec::new()).await.map(|_| ())
    }

    /// Runs one statement; returns the number of rows that it changed.
    ///
    /// # Errors
    /// The database's own.
    pub async fn run(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        cells: Vec<Cell>,
    ) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(connection) => engine::run(connection, AssertSqlSafe(sql.into()), cells).await,
            Self::Postgres(connection) => engine::run(connection, AssertSqlSafe(sql.into()), cells).await,
        }
    }

    /// Runs a query. Numbers must be `BIGINT`: `CAST(SUM(x) AS BIGINT)`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn fetch(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        cells: Vec<Cell>,
    ) -> Result<Vec<ResultRow>, DatabaseError> {
        match self {
            Self::Sqlite(connection) => engine::fetch(connection, AssertSqlSafe(sql.into()), cells).await,
            Self::Postgres(connection) => engine::fetch(connection, AssertSqlSafe(sql.into()), cells).await,
        }
    }

    /// Closes the connection in order; SQLite removes its write-ahead log.
    pub async fn close(self) {
        // An error changes nothing: the connection is gone.
        let _ = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
    }
}
