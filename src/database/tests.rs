//! Tests on both databases. PostgreSQL is tested when `THALWEG_TEST_POSTGRES` holds its URL.

use std::{
    path::PathBuf,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{connection::DriverConnection, *};

/// A database of one test, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    pub settings: DatabaseSettings,
    pub folder: PathBuf,
}

impl Scratch {
    fn folder() -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("thalweg-database-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub fn sqlite() -> Self {
        let folder = Self::folder();
        Self { settings: DatabaseSettings::new(DatabaseUrl::Sqlite(folder.join("t.db"))), folder }
    }

    /// A new schema in the PostgreSQL of the tests.
    pub async fn postgres() -> Option<Self> {
        static SAID: Once = Once::new();
        let Ok(url) = std::env::var("THALWEG_TEST_POSTGRES") else {
            SAID.call_once(|| {
                eprintln!("THALWEG_TEST_POSTGRES is not set: tests on PostgreSQL are left out");
            });
            return None;
        };
        let folder = Self::folder();
        let name = folder.file_name().unwrap().to_str().unwrap().replace('-', "_");
        let server = DatabaseUrl::Postgres(crate::base::Secret::new(url.clone()));
        let mut connection = Connection::open(&DatabaseSettings::new(server)).await.unwrap();
        connection.run(format!("DROP SCHEMA IF EXISTS {name} CASCADE"), Vec::new()).await.unwrap();
        connection.run(format!("CREATE SCHEMA {name}"), Vec::new()).await.unwrap();
        connection.close().await;
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}options=-c%20search_path%3D{name}");
        let settings = DatabaseSettings::new(DatabaseUrl::Postgres(crate::base::Secret::new(url)));
        Some(Self { settings, folder })
    }

    pub async fn each() -> Vec<Self> {
        [Some(Self::sqlite()), Self::postgres().await].into_iter().flatten().collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const FIRST: Schema = Schema {
    part: "test",
    steps: &[&["CREATE TABLE things (id {blob} PRIMARY KEY, name TEXT, size BIGINT NOT NULL)"]],
};
const SECOND: Schema = Schema {
    part: "test",
    steps: &[FIRST.steps[0], &["ALTER TABLE things ADD COLUMN colour TEXT", "DELETE FROM things"]],
};

#[tokio::test]
async fn tables_come_up_to_date_once_and_a_newer_database_is_refused() {
    for scratch in Scratch::each().await {
        let database = Database::open(&scratch.settings, &[&FIRST]).await.unwrap();
        let sql = "INSERT INTO things (id, name, size) VALUES ($1, $2, $3)";
        let cells = vec![vec![1, 2].into(), Cell::Text(None), 7.into()];
        assert_eq!(database.run(sql, cells.clone()).await.unwrap(), 1);
        // The step is not applied a second time.
        let database = Database::open(&scratch.settings, &[&FIRST]).await.unwrap();
        let found = database.fetch("SELECT id, name, size FROM things", Vec::new()).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].blob(0).unwrap(), Some(&[1, 2][..]));
        assert_eq!((found[0].text(1).unwrap(), found[0].int(2).unwrap()), (None, Some(7)));
        assert!(found[0].int(3).is_err() && found[0].text(2).is_err());
        let database = Database::open(&scratch.settings, &[&SECOND]).await.unwrap();
        assert!(database.fetch("SELECT colour FROM things", Vec::new()).await.unwrap().is_empty());
        let refused = Database::open(&scratch.settings, &[&FIRST]).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Newer { found: 2, known: 1, .. }), "{refused}");
        database.close().await;
    }
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_behind() {
    const BROKEN: Schema = Schema {
        part: "test",
        steps: &[&["CREATE TABLE half (id BIGINT)", "CREATE TABLE half (id BIGINT)"]],
    };
    for scratch in Scratch::each().await {
        assert!(Database::open(&scratch.settings, &[&BROKEN]).await.is_err());
        let database = Database::open(&scratch.settings, &[&FIRST]).await.unwrap();
        assert!(database.fetch("SELECT id FROM half", Vec::new()).await.is_err());
        database.close().await;
    }
}

/// CASES F9: `DATABASE_URL` may be another application's.
#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    for scratch in Scratch::each().await {
        let mut other = Connection::open(&scratch.settings).await.unwrap();
        if let DriverConnection::Sqlite(_) = other.driver {
            other.fetch("PRAGMA journal_mode = DELETE", Vec::new()).await.unwrap();
        }
        other.run("CREATE TABLE customers (name TEXT)", Vec::new()).await.unwrap();
        other.close().await;
        let file = scratch.folder.join("t.db");
        let before = std::fs::read(&file).ok();
        let refused = Database::open(&scratch.settings, &[&FIRST]).await.unwrap_err();
        assert!(matches!(&refused, DatabaseError::Foreign { table } if table == "customers"), "{refused}");
        assert_eq!(std::fs::read(&file).ok(), before, "not a byte");
        let mut other = Connection::open(&scratch.settings).await.unwrap();
        assert!(other.fetch("SELECT version FROM thalweg_schema", Vec::new()).await.is_err());
        other.run("DROP TABLE customers", Vec::new()).await.unwrap();
        other.close().await;
        let database = Database::open(&scratch.settings, &[&FIRST]).await.unwrap();
        database.run("CREATE TABLE reports (name TEXT)", Vec::new()).await.unwrap();
        database.close().await;
        // Tables that an operator puts beside thalweg's are no reason to refuse.
        Database::open(&scratch.settings, &[&SECOND]).await.unwrap().close().await;
    }
}

/// A copy by `VACUUM INTO` is not in WAL mode.
#[tokio::test]
async fn a_copy_of_a_database_is_turned_to_wal_mode() {
    let scratch = Scratch::sqlite();
    let mut connection = Connection::open(&scratch.settings).await.unwrap();
    connection.migrate(&FIRST).await.unwrap();
    connection.fetch("PRAGMA journal_mode = DELETE", Vec::new()).await.unwrap();
    connection.migrate(&FIRST).await.unwrap();
    let mode = connection.fetch("PRAGMA journal_mode", Vec::new()).await.unwrap();
    assert_eq!(mode[0].text(0).unwrap(), Some("wal"));
    connection.close().await;
}

/// A server that takes no writes, as a former primary after a failover, is left for a new connection.
#[tokio::test]
async fn a_server_that_takes_no_writes_is_left() {
    let Some(scratch) = Scratch::postgres().await else { return };
    let database = Database::open(&scratch.settings, &[&FIRST]).await.unwrap();
    database.run("SET default_transaction_read_only = on", Vec::new()).await.unwrap();
    let cells = vec![vec![1].into(), Cell::Text(None), 7.into()];
    let insert = database.run("INSERT INTO things (id, name, size) VALUES ($1, $2, $3)", cells);
    assert_eq!(insert.await.unwrap(), 1);
    database.close().await;
}

#[tokio::test]
async fn many_may_open_at_once() {
    for scratch in Scratch::each().await {
        let open = || Database::open(&scratch.settings, &[&FIRST]);
        let (a, b, c) = tokio::join!(open(), open(), open());
        for database in [a, b, c] {
            database.unwrap().close().await;
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_made_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::sqlite();
    Database::open(&scratch.settings, &[&FIRST]).await.unwrap().close().await;
    let mode = std::fs::metadata(scratch.folder.join("t.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
