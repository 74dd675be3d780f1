//! The tables of a room: numbered steps, each applied once and in order, all that are missing in one transaction. Two
//! processes that start at once wait for one another. A database that a later thalweg has changed is refused.

use super::{Cell, Connection, DatabaseError};

/// Held in PostgreSQL while tables are changed; any number that nobody else uses.
const LOCK: i64 = 0x0074_6861_6c77_6567;

#[derive(Debug)]
pub struct Schema {
    /// The room: each has versions of its own.
    pub part: &'static str,
    /// Version 1, version 2, …: only ever added to. `{blob}` stands for bytes, `{clustered}` at a table's
    /// end keeps its rows in the order of its primary key where that can be said.
    pub steps: &'static [&'static [&'static str]],
}

impl Schema {
    fn known(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }
}

impl Connection {
    /// Brings the tables up to date.
    ///
    /// # Errors
    /// They are newer than we are, or the database's own error; then nothing has been changed.
    pub async fn migrate(&mut self, schema: &Schema) -> Result<(), DatabaseError> {
        if self.version(schema).await.ok() == Some(schema.known()) {
            return Ok(());
        }
        self.begin().await?;
        let migrated = self.apply(schema).await;
        if migrated.is_ok() {
            self.commit().await?;
        } else {
            // The error that led here says more than one of going back.
            let _ = self.run("ROLLBACK", Vec::new()).await;
        }
        migrated
    }

    async fn version(&mut self, schema: &Schema) -> Result<i64, DatabaseError> {
        let sql = "SELECT version FROM thalweg_schema WHERE part = $1";
        let found = self.fetch(sql, vec![Cell::text(schema.part)]).await?;
        Ok(found.first().map(|record| record.int(0)).transpose()?.flatten().unwrap_or(0))
    }

    async fn apply(&mut self, schema: &Schema) -> Result<(), DatabaseError> {
        let (blob, clustered) = match self {
            Self::Sqlite(_) => ("BLOB", "WITHOUT ROWID"),
            Self::Postgres(_) => {
                self.run(format!("SELECT pg_advisory_xact_lock({LOCK})"), Vec::new()).await?;
                ("BYTEA", "")
            }
        };
        let table =
            "CREATE TABLE IF NOT EXISTS thalweg_schema (part TEXT PRIMARY KEY, version BIGINT NOT NULL)";
        self.run(table, Vec::new()).await?;
        let (found, known) = (self.version(schema).await?, schema.known());
        if found > known {
            return Err(DatabaseError::Newer { part: schema.part, found, known });
        }
        for step in schema.steps.iter().skip(usize::try_from(found).unwrap_or(0)) {
            for statement in *step {
                self.run(statement.replace("{blob}", blob).replace("{clustered}", clustered), Vec::new())
                    .await?;
            }
        }
        let sql = "INSERT INTO thalweg_schema (part, version) VALUES ($1, $2) \
                   ON CONFLICT (part) DO UPDATE SET version = excluded.version";
        self.run(sql, vec![Cell::text(schema.part), known.into()]).await.map(|_| ())
    }
}
