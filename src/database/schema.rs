//! The tables of a room as numbered steps. Each step is applied once and in order; all missing steps run in
//! one transaction. Two processes that start at once wait for each other. Tables of a later version of
//! thalweg are refused, and so is a database that holds another program's tables and none of thalweg's.

use super::{Cell, Connection, DatabaseError, connection::DriverConnection};

/// PostgreSQL's advisory lock during a migration. Any number that no other program uses.
const MIGRATION_LOCK: i64 = 0x0074_6861_6c77_6567;

/// The table of versions.
const VERSIONS: &str = "thalweg_schema";

#[derive(Debug)]
pub struct Schema {
    /// The name of the room: each room has its own version.
    pub part: &'static str,
    /// The steps to version 1, version 2, …. Released steps are never changed. `{blob}` becomes the type of
    /// bytes; `{clustered}` at the end of a table keeps its rows in the order of the primary key, where the
    /// database can.
    pub steps: &'static [&'static [&'static str]],
}

impl Schema {
    fn latest(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }
}

impl Connection {
    /// Applies the missing steps.
    ///
    /// # Errors
    /// The tables are of a later version or of another program, or the database's own error; nothing is
    /// changed then.
    pub async fn migrate(&mut self, schema: &Schema) -> Result<(), DatabaseError> {
        if self.version(schema).await.ok() == Some(schema.latest()) {
            self.write_ahead().await;
            return Ok(());
        }
        self.begin().await?;
        let migrated = self.apply(schema).await;
        if migrated.is_ok() {
            self.commit().await?;
            self.write_ahead().await;
        } else {
            self.roll_back().await;
        }
        migrated
    }

    /// Turns a SQLite file that is known as thalweg's to WAL mode: a copy of a database may have another.
    async fn write_ahead(&mut self) {
        if let DriverConnection::Sqlite(_) = self.driver {
            // It fails while others use the file. Then the next connection does it.
            let _ = self.fetch("PRAGMA journal_mode = WAL", Vec::new()).await;
        }
    }

    /// # Errors
    /// The database holds tables, and no table of versions is among them.
    async fn refuse_foreign(&mut self) -> Result<(), DatabaseError> {
        // Tables of extensions belong to the server.
        let sql = match self.driver {
            DriverConnection::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
            }
            DriverConnection::Postgres(_) => {
                "SELECT CAST(c.relname AS TEXT) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT EXISTS \
                 (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
            }
        };
        let tables = self.fetch(sql, Vec::new()).await?;
        let names: Vec<&str> = tables.iter().filter_map(|row| row.text(0).ok().flatten()).collect();
        match names.first() {
            Some(table) if !names.contains(&VERSIONS) => {
                Err(DatabaseError::Foreign { table: (*table).to_owned() })
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn version(&mut self, schema: &Schema) -> Result<i64, DatabaseError> {
        let sql = "SELECT version FROM thalweg_schema WHERE part = $1";
        let found = self.fetch(sql, vec![Cell::text(schema.part)]).await?;
        Ok(found.first().map(|record| record.int(0)).transpose()?.flatten().unwrap_or(0))
    }

    async fn apply(&mut self, schema: &Schema) -> Result<(), DatabaseError> {
        let (blob, clustered) = match self.driver {
            DriverConnection::Sqlite(_) => ("BLOB", "WITHOUT ROWID"),
            DriverConnection::Postgres(_) => {
                self.run(format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"), Vec::new()).await?;
                ("BYTEA", "")
            }
        };
        self.refuse_foreign().await?;
        let table =
            "CREATE TABLE IF NOT EXISTS thalweg_schema (part TEXT PRIMARY KEY, version BIGINT NOT NULL)";
        self.run(table, Vec::new()).await?;
        let (found, known) = (self.version(schema).await?, schema.latest());
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
