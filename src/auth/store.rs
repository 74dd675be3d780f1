//! Keys in the database: their digests, their limits, and what they have spent. Every change raises a version, so that a
//! running gateway sees by one cheap question whether there is anything to read again.

use std::time::{Duration, SystemTime};

use super::{Digest, Limits};
use crate::{
    base::lease::Allowance,
    database::{Cell, Connection, Database, DatabaseError, DatabaseSettings, Record, Schema},
};

const SCHEMA: Schema = Schema {
    part: "auth",
    steps: &[&[
        "CREATE TABLE api_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, shown TEXT NOT NULL, \
         digest TEXT NOT NULL UNIQUE, old_digest TEXT, old_until BIGINT, admin BIGINT NOT NULL, \
         models TEXT NOT NULL, rpm BIGINT, tpm BIGINT, concurrent BIGINT, budget BIGINT, expires BIGINT, \
         created BIGINT NOT NULL, revoked BIGINT)",
        "CREATE UNIQUE INDEX api_keys_by_name ON api_keys (name) WHERE revoked IS NULL",
        "CREATE TABLE api_key_spending (id TEXT PRIMARY KEY, spent BIGINT NOT NULL)",
        "CREATE TABLE api_key_version (version BIGINT NOT NULL)",
        "INSERT INTO api_key_version (version) VALUES (1)",
    ]],
};

const COLUMNS: &str = "k.id, k.name, k.shown, k.digest, k.old_digest, k.old_until, k.admin, k.models, k.rpm, k.tpm, \
                       k.concurrent, k.budget, k.expires, k.created, k.revoked, s.spent";

/// A key as the database has it. The key itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub id: String,
    pub name: String,
    /// Its first letters, by which a person knows it again.
    pub shown: String,
    pub digest: Digest,
    /// The one before a rotation, and until when it is accepted beside the new one.
    pub old: Option<(Digest, SystemTime)>,
    pub admin: bool,
    pub limits: Limits,
    pub created: SystemTime,
    pub revoked: Option<SystemTime>,
    /// Millionths of the currency. Not written with the key.
    pub spent: i64,
}

/// Why a key was not changed.
#[derive(Debug)]
pub enum StoreError {
    Database(DatabaseError),
    /// There is one of this name already.
    Taken(String),
    /// There is none that is in force by this name or id.
    Unknown(String),
}

/// The keys' tables. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct Store(Database);

impl Store {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// The database's own.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Database::open(settings, &[&SCHEMA]).await.map(Self)
    }

    /// Raised by every change of a key.
    ///
    /// # Errors
    /// The database's own.
    pub async fn version(&self) -> Result<i64, DatabaseError> {
        let found = self.0.fetch("SELECT version FROM api_key_version", Vec::new()).await?;
        found.first().map_or(Ok(0), |record| number(record, 0))
    }

    /// All keys, those that were revoked among them, by age.
    ///
    /// # Errors
    /// The database's own.
    pub async fn keys(&self) -> Result<Vec<StoredKey>, DatabaseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM api_keys k LEFT JOIN api_key_spending s ON s.id = k.id ORDER BY k.created, k.id"
        );
        self.0.fetch(sql, Vec::new()).await?.iter().map(StoredKey::read).collect()
    }

    /// What all keys have spent, those of the configuration among them, by id.
    ///
    /// # Errors
    /// The database's own.
    pub async fn spending(&self) -> Result<Vec<(String, i64)>, DatabaseError> {
        let found = self.0.fetch("SELECT id, spent FROM api_key_spending", Vec::new()).await?;
        found.iter().map(|record| Ok((text(record, 0)?, number(record, 1)?))).collect()
    }

    /// Adds to what a key has spent; gives what that makes in all.
    ///
    /// # Errors
    /// The database's own; whether it was added is not known when the connection broke.
    pub async fn spend(&self, id: &str, amount: i64) -> Result<i64, DatabaseError> {
        let sql = "INSERT INTO api_key_spending (id, spent) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET spent = api_key_spending.spent + excluded.spent RETURNING spent";
        let found = self.0.fetch(sql, vec![Cell::text(id), amount.into()]).await?;
        found.first().map_or(Ok(amount), |record| number(record, 0))
    }

    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Changes of keys: one connection, one transaction each.
#[derive(Debug)]
pub struct Registrar(Connection);

impl Registrar {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// The database's own.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(settings).await?;
        connection.migrate(&SCHEMA).await?;
        Ok(Self(connection))
    }

    /// Adds a key.
    ///
    /// # Errors
    /// Its name is taken, or the database's own error.
    pub async fn add(&mut self, key: &StoredKey) -> Result<(), StoreError> {
        self.0.begin().await?;
        if self.find(&key.name).await?.is_some() {
            return Err(StoreError::Taken(key.name.clone()));
        }
        let sql = "INSERT INTO api_keys (id, name, shown, digest, admin, models, rpm, tpm, concurrent, budget, expires, \
                   created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let mut cells = vec![
            Cell::text(&key.id),
            Cell::text(&key.name),
            Cell::text(&key.shown),
            key.digest.to_hex().into(),
            i64::from(key.admin).into(),
        ];
        cells.extend(limits(&key.limits));
        cells.push(millis(key.created).into());
        self.0.run(sql, cells).await?;
        self.commit().await
    }

    /// Other limits for a key.
    ///
    /// # Errors
    /// There is none by this name or id, or the database's own error.
    pub async fn limit(
        &mut self,
        who: &str,
        change: impl FnOnce(&mut Limits) + Send,
    ) -> Result<StoredKey, StoreError> {
        self.change(who, |key| {
            change(&mut key.limits);
            let sql = "UPDATE api_keys SET models = $2, rpm = $3, tpm = $4, concurrent = $5, budget = $6, expires = $7 \
                       WHERE id = $1";
            (sql, limits(&key.limits))
        })
        .await
    }

    /// From now on the key is not accepted.
    ///
    /// # Errors
    /// There is none by this name or id, or the database's own error.
    pub async fn revoke(&mut self, who: &str, now: SystemTime) -> Result<StoredKey, StoreError> {
        self.change(who, |key| {
            key.revoked = Some(now);
            ("UPDATE api_keys SET revoked = $2 WHERE id = $1", vec![millis(now).into()])
        })
        .await
    }

    /// Another secret for the same key; the one before is accepted until `until`.
    ///
    /// # Errors
    /// There is none by this name or id, or the database's own error.
    pub async fn rotate(
        &mut self,
        who: &str,
        (digest, shown): (Digest, String),
        until: SystemTime,
    ) -> Result<StoredKey, StoreError> {
        self.change(who, |key| {
            key.old = Some((key.digest, until));
            (key.digest, key.shown) = (digest, shown);
            let cells = vec![
                key.digest.to_hex().into(),
                Cell::text(&key.shown),
                key.old.map_or_else(String::new, |(old, _)| old.to_hex()).into(),
                millis(until).into(),
            ];
            let sql =
                "UPDATE api_keys SET digest = $2, shown = $3, old_digest = $4, old_until = $5 WHERE id = $1";
            (sql, cells)
        })
        .await
    }

    pub async fn close(self) {
        self.0.close().await;
    }

    /// Finds a key, changes it by `update` (whose first value is the id), and raises the version.
    async fn change(
        &mut self,
        who: &str,
        update: impl FnOnce(&mut StoredKey) -> (&'static str, Vec<Cell>) + Send,
    ) -> Result<StoredKey, StoreError> {
        self.0.begin().await?;
        let mut key = self.find(who).await?.ok_or_else(|| StoreError::Unknown(who.to_owned()))?;
        let (sql, mut cells) = update(&mut key);
        cells.insert(0, Cell::text(&key.id));
        self.0.run(sql, cells).await?;
        self.commit().await?;
        Ok(key)
    }

    /// The key in force of this name or id.
    async fn find(&mut self, who: &str) -> Result<Option<StoredKey>, DatabaseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM api_keys k LEFT JOIN api_key_spending s ON s.id = k.id \
             WHERE k.revoked IS NULL AND (k.name = $1 OR k.id = $1)"
        );
        self.0.fetch(sql, vec![Cell::text(who)]).await?.first().map(StoredKey::read).transpose()
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.0.run("UPDATE api_key_version SET version = version + 1", Vec::new()).await?;
        Ok(self.0.commit().await?)
    }
}

impl StoredKey {
    fn read(record: &Record) -> Result<Self, DatabaseError> {
        let digest = |column| Ok::<_, DatabaseError>(record.text(column)?.and_then(Digest::from_hex));
        let limit =
            |column| Ok::<_, DatabaseError>(record.int(column)?.and_then(|limit| limit.try_into().ok()));
        let (old, until) = (digest(4)?, moment(record, 5)?);
        let allowance = Allowance {
            requests: limit(8)?,
            tokens: limit(9)?,
            concurrent: limit(10)?,
            budget: record.int(11)?,
        };
        let models = serde_json::from_str(&text(record, 7)?).map_err(|_| DatabaseError::Column(7))?;
        Ok(Self {
            id: text(record, 0)?,
            name: text(record, 1)?,
            shown: text(record, 2)?,
            digest: digest(3)?.ok_or(DatabaseError::Column(3))?,
            old: old.zip(until),
            admin: number(record, 6)? != 0,
            limits: Limits { models, allowance, expires: moment(record, 12)? },
            created: moment(record, 13)?.unwrap_or(SystemTime::UNIX_EPOCH),
            revoked: moment(record, 14)?,
            spent: record.int(15)?.unwrap_or(0),
        })
    }
}

fn limits(limits: &Limits) -> Vec<Cell> {
    let Allowance { requests, tokens, concurrent, budget } = limits.allowance;
    // Strings into a String: cannot fail.
    let models = serde_json::to_string(&limits.models).unwrap_or_default();
    let mut cells = vec![models.into()];
    cells.extend([requests, tokens, concurrent].map(|limit| Cell::Int(limit.map(i64::from))));
    cells.extend([budget, limits.expires.map(millis)].map(Cell::Int));
    cells
}

fn text(record: &Record, column: usize) -> Result<String, DatabaseError> {
    record.text(column)?.map(str::to_owned).ok_or(DatabaseError::Column(column))
}

fn number(record: &Record, column: usize) -> Result<i64, DatabaseError> {
    record.int(column)?.ok_or(DatabaseError::Column(column))
}

fn moment(record: &Record, column: usize) -> Result<Option<SystemTime>, DatabaseError> {
    let millis = record.int(column)?.map(|millis| u64::try_from(millis).unwrap_or(0));
    Ok(millis.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)))
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Taken(name) => write!(f, "there is a key named {name} already"),
            Self::Unknown(who) => write!(f, "there is no key in force by the name or id {who}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(error) => error.source(),
            Self::Taken(_) | Self::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
