//! One connection, for a task that writes much and must notice at once that the database is gone. After an
//! error inside a transaction the connection is best dropped, because that rolls the transaction back.
//!
//! A pooler in transaction mode (PgBouncer) may run each transaction on another connection of the server's. A
//! statement with values is prepared in one step and run in the next, so on PostgreSQL it has no name and a
//! transaction around it; a setting of the session is made in each transaction.

use std::{borrow::Cow, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, SqliteConnection};
use tokio::time::sleep;

use super::{
    Cell, DatabaseError, DatabaseSettings, DatabaseUrl, ResultRow,
    bound::{ConnectionBound, ConnectionPlace},
    engine::{self, StatementForm},
    postgres, sqlite,
};

/// For how long PostgreSQL's process outlives its connection.
const SERVER_EXIT_TIME: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Connection {
    pub(super) driver: DriverConnection,
    is_in_transaction: bool,
    /// Set in each transaction of PostgreSQL's.
    lock_timeout: Option<Duration>,
    bound: ConnectionBound,
    /// Given back after the connection, whose field stands before it.
    place: ConnectionPlace,
}

#[derive(Debug)]
pub(super) enum DriverConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    /// Waits for a place among the process's connections, and connects.
    ///
    /// # Errors
    /// The database cannot be reached or opened, or no place became free in time.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let bound = settings.connections.clone();
        let place = bound.take().await?;
        let driver = match &settings.url {
            DatabaseUrl::Sqlite(file) => {
                sqlite::create(file);
                DriverConnection::Sqlite(sqlite::connect(file).await?)
            }
            DatabaseUrl::Postgres(url) => {
                DriverConnection::Postgres(postgres::options(url.expose())?.connect().await?)
            }
        };
        Ok(Self { driver, is_in_transaction: false, lock_timeout: None, bound, place })
    }

    /// Limits how long a statement waits for other transactions.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_lock_timeout(&mut self, limit: Duration) -> Result<(), DatabaseError> {
        let millis = limit.as_millis();
        let sql = match self.driver {
            DriverConnection::Sqlite(_) => format!("PRAGMA busy_timeout = {millis}"),
            DriverConnection::Postgres(_) => {
                self.lock_timeout = Some(limit);
                return Ok(());
            }
        };
        self.fetch(sql, Vec::new()).await.map(|_| ())
    }

    /// Begins a writing transaction. On SQLite it takes the write lock, so a locked database is an error here
    /// and not later.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin(&mut self) -> Result<(), DatabaseError> {
        let sql: Cow<'static, str> = match (&self.driver, self.lock_timeout) {
            (DriverConnection::Sqlite(_), _) => "BEGIN IMMEDIATE".into(),
            (DriverConnection::Postgres(_), Some(limit)) => {
                format!("BEGIN; SET LOCAL lock_timeout = {}", limit.as_millis()).into()
            }
            (DriverConnection::Postgres(_), None) => "BEGIN".into(),
        };
        self.run_once(sql, Vec::new()).await?;
        self.is_in_transaction = true;
        Ok(())
    }

    /// # Errors
    /// The database's own; it is unknown then whether the transaction was committed.
    pub async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.is_in_transaction = false;
        self.run_once("COMMIT", Vec::new()).await.map(|_| ())
    }

    /// Takes the transaction back. An error changes nothing: the connection is gone then, and with it the
    /// transaction.
    pub async fn roll_back(&mut self) {
        self.is_in_transaction = false;
        let _ = self.run_once("ROLLBACK", Vec::new()).await;
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
        let is_own = self.begin_own(!cells.is_empty()).await?;
        let ran = self.run_once(sql, cells).await;
        self.end_own(is_own, ran).await
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
        let is_own = self.begin_own(!cells.is_empty()).await?;
        let (form, sql) = (self.form(&cells), AssertSqlSafe(sql.into()));
        let fetched = match &mut self.driver {
            DriverConnection::Sqlite(connection) => engine::fetch(connection, sql, cells, form).await,
            DriverConnection::Postgres(connection) => engine::fetch(connection, sql, cells, form).await,
        };
        self.end_own(is_own, fetched).await
    }

    /// The same for a statement of PostgreSQL's alone, which the caller runs.
    pub(super) async fn run_on_postgres(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<u64, DatabaseError>,
    ) -> Result<u64, DatabaseError> {
        let is_own = self.begin_own(true).await?;
        let ran = match &mut self.driver {
            DriverConnection::Postgres(connection) => work(connection).await,
            DriverConnection::Sqlite(_) => Ok(0),
        };
        self.end_own(is_own, ran).await
    }

    /// Closes the connection in order; SQLite removes its write-ahead log.
    pub async fn close(self) {
        let is_postgres = matches!(self.driver, DriverConnection::Postgres(_));
        // An error changes nothing: the connection is gone.
        let _ = match self.driver {
            DriverConnection::Sqlite(connection) => connection.close().await,
            DriverConnection::Postgres(connection) => connection.close().await,
        };
        if is_postgres && self.bound.is_full() {
            // The next connection must not come before the server has counted this one out.
            sleep(SERVER_EXIT_TIME).await;
        }
        drop(self.place);
    }

    async fn run_once(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        cells: Vec<Cell>,
    ) -> Result<u64, DatabaseError> {
        let (form, sql) = (self.form(&cells), AssertSqlSafe(sql.into()));
        match &mut self.driver {
            DriverConnection::Sqlite(connection) => engine::run(connection, sql, cells, form).await,
            DriverConnection::Postgres(connection) => engine::run(connection, sql, cells, form).await,
        }
    }

    const fn form(&self, cells: &[Cell]) -> StatementForm {
        match (&self.driver, cells.is_empty()) {
            (DriverConnection::Sqlite(_), _) => StatementForm::Named,
            (DriverConnection::Postgres(_), false) => StatementForm::Unnamed,
            (DriverConnection::Postgres(_), true) => StatementForm::Plain,
        }
    }

    /// Begins a transaction for one statement, if it needs one. True: it did.
    async fn begin_own(&mut self, has_values: bool) -> Result<bool, DatabaseError> {
        let is_postgres = matches!(self.driver, DriverConnection::Postgres(_));
        let is_own = is_postgres && has_values && !self.is_in_transaction;
        if is_own {
            self.begin().await?;
        }
        Ok(is_own)
    }

    async fn end_own<T>(
        &mut self,
        is_own: bool,
        result: Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        if !is_own {
            return result;
        }
        match result {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }
}
