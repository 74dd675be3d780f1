//! Keys in the database: their digests, their limits, and what they have spent. Every change raises a version, so that a
//! running gateway sees by one cheap question whether there is anything to read again.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{Digest, KeyLimits, limit::LimitValues};
use crate::database::{Cell, Connection, Database, DatabaseError, DatabaseSettings, ResultRow, Schema};

pub(super) const SCHEMA: Schema = Schema {
    part: "auth",
    steps: &[&[
        "CREATE TABLE api_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, shown TEXT NOT NULL, \
         digest TEXT NOT NULL UNIQUE, old_digest TEXT, old_until BIGINT, admin BIGINT NOT NULL, \
         models TEXT NOT NULL, rpm BIGINT, tpm BIGINT, concurrent BIGINT, budget BIGINT, expires BIGINT, \
         created BIGINT NOT NULL, revoked BIGINT)",
        "CREATE UNIQUE INDEX api_keys_by_name ON api_keys (name) WHERE revoked IS NULL",
        // Each process keeps one sum per key, which it tells whole: telling it twice changes nothing. Those of processes
        // that have ended well are in one row, whose owner is nobody.
        "CREATE TABLE api_key_spending (id TEXT NOT NULL, owner TEXT NOT NULL, spent BIGINT NOT NULL, \
         PRIMARY KEY (id, owner))",
        "CREATE TABLE api_key_version (version BIGINT NOT NULL)",
        "INSERT INTO api_key_version (version) VALUES (1)",
    ]],
};

pub(super) const COLUMNS: &str = "id, name, shown, digest, old_digest, old_until, admin, models, rpm, tpm, concurrent, budget, \
                       expires, created, revoked";

const REVOKED: usize = 14;
/// The key of the name or id `$1`.
pub(super) const IN_FORCE: &str = "revoked IS NULL AND (name = $1 OR id = $1)";

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
    pub limits: KeyLimits,
    pub created: SystemTime,
    pub revoked: Option<SystemTime>,
    /// Millionths of the currency. Not written with the key.
    pub spent: i64,
}

/// A row that is in force and is not understood: somebody else wrote it. It is accepted by nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {id} cannot be read, and is not accepted: its {column} is wrong")]
pub struct UnreadableKey {
    pub id: String,
    /// What of it is wrong.
    pub column: &'static str,
}

/// All rows of the store: one that cannot be read takes no other with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRows {
    /// By age.
    pub keys: Vec<StoredKey>,
    pub unreadable: Vec<UnreadableKey>,
}

/// The keys' tables. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct KeyStore(Database);

impl KeyStore {
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

    /// All keys, those that were revoked among them, and what they have spent.
    ///
    /// # Errors
    /// The database's own.
    pub async fn keys(&self) -> Result<KeyRows, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys ORDER BY created, id");
        let records = self.0.fetch(sql, Vec::new()).await?;
        let spending = self.spending().await?;
        let mut found = KeyRows::default();
        for record in &records {
            match StoredKey::read(record) {
                Ok(key) => {
                    let spent = spending.get(&key.id).copied().unwrap_or(0);
                    found.keys.push(StoredKey { spent, ..key });
                }
                // Refused by everybody anyway.
                Err(_) if matches!(record.int(REVOKED), Ok(Some(_))) => {}
                Err(error) => found.unreadable.push(UnreadableKey::of(record, &error)),
            }
        }
        Ok(found)
    }

    /// What all keys have spent, those of the configuration among them, by id.
    ///
    /// # Errors
    /// The database's own.
    pub async fn spending(&self) -> Result<HashMap<String, i64>, DatabaseError> {
        let records = self.0.fetch("SELECT id, spent FROM api_key_spending", Vec::new()).await?;
        let mut spending = HashMap::new();
        for record in &records {
            // Added up here: a sum that is too large would be an error there.
            let spent = spending.entry(text(record, 0)?).or_insert(0_i64);
            *spent = spent.saturating_add(number(record, 1)?);
        }
        Ok(spending)
    }

    /// Notes what a key has spent by way of `owner`, in all; gives what it has spent by way of everybody. A sum that is
    /// less than what is there already comes late, and changes nothing.
    ///
    /// # Errors
    /// The database's own; whether it was noted is not known when the connection broke. It may be told again.
    pub async fn spend(&self, id: &str, owner: &str, sum: i64) -> Result<i64, DatabaseError> {
        let sql = "INSERT INTO api_key_spending (id, owner, spent) VALUES ($1, $2, $3) \
                   ON CONFLICT (id, owner) DO UPDATE SET spent = CASE WHEN excluded.spent > api_key_spending.spent \
                   THEN excluded.spent ELSE api_key_spending.spent END";
        self.0.run(sql, vec![Cell::text(id), Cell::text(owner), sum.into()]).await?;
        let sql = "SELECT spent FROM api_key_spending WHERE id = $1";
        let records = self.0.fetch(sql, vec![Cell::text(id)]).await?;
        added_up(&records)
    }

    /// Adds what `owner` has told to what those have that have ended, so that there is not a row for every key and start
    /// for ever. It must tell nothing more: a sum told again would count twice. So what was told and not answered, and may
    /// be run yet, stays as it is (`doubtful`), as do the rows of processes that were killed; they count all the same.
    ///
    /// # Errors
    /// The database's own; it happens as a whole or not at all, and must not be tried again when that is not known.
    pub async fn fold(
        settings: &DatabaseSettings,
        owner: &str,
        doubtful: impl Iterator<Item = &str> + Send,
    ) -> Result<(), DatabaseError> {
        let mut cells = vec![Cell::text(owner)];
        cells.extend(doubtful.map(Cell::text));
        let places: Vec<String> = (2..=cells.len()).map(|number| format!("${number}")).collect();
        // `IN ()` is not PostgreSQL's.
        let certain =
            if places.is_empty() { String::new() } else { format!(" AND id NOT IN ({})", places.join(", ")) };
        let most = i64::MAX;
        // In order: two processes that end together must not wait for each other.
        let add = format!(
            "INSERT INTO api_key_spending (id, owner, spent) SELECT id, '', spent FROM api_key_spending \
             WHERE owner = $1{certain} ORDER BY id ON CONFLICT (id, owner) DO UPDATE SET spent = \
             CASE WHEN api_key_spending.spent > {most} - excluded.spent THEN {most} \
             ELSE api_key_spending.spent + excluded.spent END"
        );
        let mut connection = Connection::open(settings).await?;
        connection.begin().await?;
        connection.run(add, cells.clone()).await?;
        connection.run(format!("DELETE FROM api_key_spending WHERE owner = $1{certain}"), cells).await?;
        connection.commit().await?;
        connection.close().await;
        Ok(())
    }

    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl StoredKey {
    pub(super) fn read(record: &ResultRow) -> Result<Self, DatabaseError> {
        let digest = |column| Ok::<_, DatabaseError>(record.text(column)?.and_then(Digest::from_hex));
        // A limit that is none must not become no limit.
        let limit = |column| {
            let limit = record.int(column)?.map(u32::try_from).transpose();
            limit.map_err(|_| DatabaseError::Column(column))
        };
        let budget = record.int(11)?;
        if budget.is_some_and(i64::is_negative) {
            return Err(DatabaseError::Column(11));
        }
        let (old, until) = (digest(4)?, moment(record, 5)?);
        let allowance =
            LimitValues { requests: limit(8)?, tokens: limit(9)?, concurrent: limit(10)?, budget };
        let models = serde_json::from_str(&text(record, 7)?).map_err(|_| DatabaseError::Column(7))?;
        Ok(Self {
            id: text(record, 0)?,
            name: text(record, 1)?,
            shown: text(record, 2)?,
            digest: digest(3)?.ok_or(DatabaseError::Column(3))?,
            old: old.zip(until),
            admin: number(record, 6)? != 0,
            limits: KeyLimits { models, allowance, expires: moment(record, 12)? },
            created: moment(record, 13)?.unwrap_or(SystemTime::UNIX_EPOCH),
            revoked: moment(record, REVOKED)?,
            spent: 0,
        })
    }
}

impl UnreadableKey {
    fn of(record: &ResultRow, error: &DatabaseError) -> Self {
        let column = match error {
            DatabaseError::Column(column) => COLUMNS.split(", ").nth(*column),
            DatabaseError::Driver(_)
            | DatabaseError::Newer { .. }
            | DatabaseError::Repeated
            | DatabaseError::Late => None,
        };
        Self { id: text(record, 0).unwrap_or_default(), column: column.unwrap_or_default() }
    }
}

pub(super) fn text(record: &ResultRow, column: usize) -> Result<String, DatabaseError> {
    record.text(column)?.map(str::to_owned).ok_or(DatabaseError::Column(column))
}

fn number(record: &ResultRow, column: usize) -> Result<i64, DatabaseError> {
    record.int(column)?.ok_or(DatabaseError::Column(column))
}

/// Of the first column.
pub(super) fn added_up(records: &[ResultRow]) -> Result<i64, DatabaseError> {
    records.iter().try_fold(0_i64, |sum, record| Ok(sum.saturating_add(number(record, 0)?)))
}

fn moment(record: &ResultRow, column: usize) -> Result<Option<SystemTime>, DatabaseError> {
    let millis = record.int(column)?.map(|millis| u64::try_from(millis).unwrap_or(0));
    Ok(millis.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests;
