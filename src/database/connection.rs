//! One connection, for who writes much and wants to know at once when it is gone. After an error in a transaction it is
//! best dropped, which undoes the transaction.

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
    /// It cannot be had.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Ok(match &settings.site {
            DatabaseUrl::Sqlite(file) => {
                sqlite::prepare(file);
                Self::Sqlite(sqlite::connect(file).await?)
            }
            DatabaseUrl::Postgres(url) => Self::Postgres(postgres::options(url.expose())?.connect().await?),
        })
    }

    /// Waits no longer than this for others' transactions.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_lock_timeout(&mut self, patience: Duration) -> Result<(), DatabaseError> {
        let millis = patience.as_millis();
        let sql = match self {
            Self::Sqlite(_) => format!("PRAGMA busy_timeout = {millis}"),
            Self::Postgres(_) => format!("SET lock_timeout = {millis}"),
        };
        self.fetch(sql, Vec::new()).await.map(|_| ())
    }

    /// Begins to write: what fails for want of the lock fails here.
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
    /// The database's own; whether it was committed is not known then.
    pub async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.run("COMMIT", Vec::new()).await.map(|_| ())
    }

    /// Runs one statement; gives the number of rows that it changed.
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

    /// Asks. Numbers must come as `BIGINT`: `CAST(SUM(x) AS BIGINT)`.
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

    /// Says goodbye; SQLite tidies its journal away.
    pub async fn close(self) {
        // Gone is gone.
        let _ = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
    }
}
