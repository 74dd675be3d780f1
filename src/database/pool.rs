//! A pool of connections. Cloning shares it. [`Database::open`] migrates tables; [`Database::prepare`] opens
//! no connection yet.

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, PgPool, Sqlite, SqlitePool, pool::PoolConnection};

use super::{
    Cell, Connection, DatabaseError, DatabaseSettings, DatabaseUrl, ResultRow, Schema, engine, postgres,
    sqlite,
};

#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// A pool without connections. It has to be made inside a tokio runtime.
    ///
    /// # Errors
    /// The URL is not valid.
    pub fn prepare(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Ok(match &settings.url {
            DatabaseUrl::Sqlite(file) => {
                sqlite::create(file);
                Self::Sqlite(sqlite::pool(file))
            }
            DatabaseUrl::Postgres(url) => Self::Postgres(postgres::pool(url.expose(), settings.connections)?),
        })
    }

    /// Connects, migrates these tables and returns a pool.
    ///
    /// # Errors
    /// The database cannot be opened, or its tables were made by a later version.
    pub async fn open(settings: &DatabaseSettings, schemas: &[&Schema]) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(settings).await?;
        for schema in schemas {
            connection.migrate(schema).await?;
        }
        connection.close().await;
        Self::prepare(settings)
    }

    /// Runs one statement; returns the number of rows that it changed.
    ///
    /// # Errors
    /// The database's own.
    pub async fn run(
        &self,
        sql: impl Into<Cow<'static, str>>,
        cells: Vec<Cell>,
    ) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                let ran = engine::run(&mut *connection, AssertSqlSafe(sql.into()), cells).await;
                give_back(connection).await;
                ran
            }
            Self::Postgres(pool) => engine::run(pool, AssertSqlSafe(sql.into()), cells).await,
        }
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
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                let fetched = engine::fetch(&mut *connection, AssertSqlSafe(sql.into()), cells).await;
                give_back(connection).await;
                fetched
            }
            Self::Postgres(pool) => engine::fetch(pool, AssertSqlSafe(sql.into()), cells).await,
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Gives a connection back before the next statement. Dropping it would give it back by a task of its own,
/// too late for a statement that follows at once, which would open a second connection and with it another
/// thread.
async fn give_back(mut connection: PoolConnection<Sqlite>) {
    connection.return_to_pool().await;
}
