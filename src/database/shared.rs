//! A connection for a part that asks now and then. Cloning shares it. It is opened when it is needed, stays
//! open until the part releases it, and is opened anew when the server has ended it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{Cell, Connection, DatabaseError, DatabaseSettings, DatabaseUrl, Insert, ResultRow, Schema};

#[derive(Clone, Debug)]
pub struct Database(Arc<SharedConnection>);

#[derive(Debug)]
struct SharedConnection {
    settings: DatabaseSettings,
    /// Taken out while a statement runs: a statement that is given up takes its connection with it.
    connection: Mutex<Option<Connection>>,
}

impl Database {
    /// No connection yet.
    #[must_use]
    pub fn prepare(settings: &DatabaseSettings) -> Self {
        Self::with(settings, None)
    }

    fn with(settings: &DatabaseSettings, connection: Option<Connection>) -> Self {
        Self(Arc::new(SharedConnection { settings: settings.clone(), connection: Mutex::new(connection) }))
    }

    /// Connects and migrates these tables.
    ///
    /// # Errors
    /// The database cannot be opened, or its tables were made by a later version.
    pub async fn open(settings: &DatabaseSettings, schemas: &[&Schema]) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(settings).await?;
        for schema in schemas {
            connection.migrate(schema).await?;
        }
        Ok(Self::with(settings, Some(connection)))
    }

    /// Runs one statement; returns the number of rows that it changed. It may run twice, so twice must be as
    /// good as once.
    ///
    /// # Errors
    /// The database's own.
    pub async fn run(
        &self,
        sql: impl Into<Cow<'static, str>>,
        cells: Vec<Cell>,
    ) -> Result<u64, DatabaseError> {
        let sql = sql.into();
        self.with_connection(async |connection| connection.run(sql.clone(), cells.clone()).await).await
    }

    /// Runs a query. Numbers must be `BIGINT`: `CAST(SUM(x) AS BIGINT)`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn fetch(
        &self,
        sql: impl Into<Cow<'static, str>>,
        cells: Vec<Cell>,
    ) -> Result<Vec<ResultRow>, DatabaseError> {
        let sql = sql.into();
        self.with_connection(async |connection| connection.fetch(sql.clone(), cells.clone()).await).await
    }

    /// Inserts rows, as [`Connection::insert`]. It may run twice.
    ///
    /// # Errors
    /// The database's own. Some rows may be inserted then.
    pub async fn insert(&self, insert: &Insert, cells: Vec<Cell>) -> Result<u64, DatabaseError> {
        self.with_connection(async |connection| connection.insert(insert, cells.clone()).await).await
    }

    /// A connection that the server ended since its last statement is replaced once.
    async fn with_connection<T>(
        &self,
        work: impl AsyncFn(&mut Connection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut place = self.0.connection.lock().await;
        if let Some(mut connection) = place.take() {
            match work(&mut connection).await {
                Err(error) if error.is_about_connection() => {}
                result => {
                    *place = Some(connection);
                    return result;
                }
            }
        }
        let mut connection = Connection::open(&self.0.settings).await?;
        let result = work(&mut connection).await;
        if result.is_ok() {
            *place = Some(connection);
        } else {
            connection.close().await;
        }
        result
    }

    /// How far a standby of PostgreSQL's lags behind its primary. `None`: it is none, or does not say.
    pub async fn lag(&self) -> Option<Duration> {
        if matches!(self.0.settings.url, DatabaseUrl::Sqlite(_)) {
            return None;
        }
        // Connected, and everything that has arrived is replayed: a primary without work, and no lag. After a
        // start the standby has replayed more than it has received since.
        let sql = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL \
                   WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() \
                   AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE pid IS NOT NULL) THEN 0 \
                   ELSE CAST(EXTRACT(EPOCH FROM now() - pg_last_xact_replay_timestamp()) * 1000 AS BIGINT) END";
        let rows = self.fetch(sql, Vec::new()).await.ok()?;
        let millis = rows.first()?.int(0).ok()??;
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }

    /// A connection is open and no statement runs on it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.connection.try_lock().is_ok_and(|connection| connection.is_some())
    }

    /// Closes the connection; the next statement opens one.
    pub async fn close(&self) {
        if let Some(connection) = self.0.connection.lock().await.take() {
            connection.close().await;
        }
    }
}
