//! Keys in the database: digests, limits and spending. Every change of a key raises a version, so that a
//! running gateway notices changes by one cheap query.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{Digest, KeyLimits, generate, limit::LimitValues};
use crate::base::Secret;
use crate::database::{Cell, Connection, Database, DatabaseError, DatabaseSettings, ResultRow, Schema};

pub(super) const SCHEMA: Schema = Schema {
    part: "auth",
    steps: &[
        &[
            "CREATE TABLE api_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, shown TEXT NOT NULL, \
         digest TEXT NOT NULL UNIQUE, old_digest TEXT, old_until BIGINT, admin BIGINT NOT NULL, \
         models TEXT NOT NULL, rpm BIGINT, tpm BIGINT, concurrent BIGINT, budget BIGINT, expires BIGINT, \
         created BIGINT NOT NULL, revoked BIGINT)",
            "CREATE UNIQUE INDEX api_keys_by_name ON api_keys (name) WHERE revoked IS NULL",
            // Each process stores one total per key, so storing it twice changes nothing. The totals of
            // processes that have ended in order are merged into one row, with an empty owner.
            "CREATE TABLE api_key_spending (id TEXT NOT NULL, owner TEXT NOT NULL, spent BIGINT NOT NULL, \
         PRIMARY KEY (id, owner))",
            "CREATE TABLE api_key_version (version BIGINT NOT NULL)",
            "INSERT INTO api_key_version (version) VALUES (1)",
        ],
        &["ALTER TABLE api_keys ADD COLUMN strategies TEXT"],
    ],
};

pub const COLUMNS: &str = "id, name, shown, digest, old_digest, old_until, admin, models, rpm, tpm, concurrent, budget, \
                       expires, created, revoked, strategies";

const REVOKED_COLUMN: usize = 14;
/// The key in force with the name or id `$1`.
pub(super) const IN_FORCE: &str = "revoked IS NULL AND (name = $1 OR id = $1)";

/// A key as stored. The token itself is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub id: String,
    pub name: String,
    /// The first letters of the token, by which a person recognises it.
    pub shown: String,
    pub digest: Digest,
    /// The digest before a rotation, and until when it is accepted beside the new one.
    pub old: Option<(Digest, SystemTime)>,
    pub admin: bool,
    pub limits: KeyLimits,
    pub created: SystemTime,
    pub revoked: Option<SystemTime>,
    /// Millionths of the currency. Stored apart from the key.
    pub spent: i64,
}

/// A row in force that cannot be read, because another program wrote it. The key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {id} cannot be read, and is not accepted: its {column} is wrong")]
pub struct UnreadableKey {
    pub id: String,
    /// The wrong column.
    pub column: &'static str,
}

/// All rows of the store. An unreadable row affects no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRows {
    /// Oldest first.
    pub keys: Vec<StoredKey>,
    pub unreadable: Vec<UnreadableKey>,
}

impl KeyRows {
    /// Reads rows of [`COLUMNS`], with the spending of their keys.
    #[must_use]
    pub fn read(rows: &[ResultRow], spending: &HashMap<String, i64>) -> Self {
        let mut found = Self::default();
        for row in rows {
            match StoredKey::read(row) {
                Ok(key) => {
                    let spent = spending.get(&key.id).copied().unwrap_or(0);
                    found.keys.push(StoredKey { spent, ..key });
                }
                // A revoked key is refused anyway.
                Err(_) if matches!(row.int(REVOKED_COLUMN), Ok(Some(_))) => {}
                Err(error) => found.unreadable.push(UnreadableKey::of(row, &error)),
            }
        }
        found
    }
}

/// The sums of rows of an id and its spending. A row without an id is of no key.
#[must_use]
pub fn read_spending(rows: &[ResultRow]) -> HashMap<String, i64> {
    let mut spending = HashMap::new();
    for row in rows {
        let Ok(id) = text(row, 0) else { continue };
        if number(row, 1).is_err() {
            tracing::error!(id, "the spending of this key cannot be read, and counts as its whole budget");
        }
        // Summed here, because a sum that is too large would be an error in the database.
        let sum = spending.entry(id).or_insert(0_i64);
        *sum = sum.saturating_add(spent(row, 1));
    }
    spending
}

/// The keys' tables. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct KeyStore(Database);

impl KeyStore {
    /// Connects and migrates the tables.
    ///
    /// # Errors
    /// The database's own.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Database::open(settings, &[&SCHEMA]).await.map(Self)
    }

    /// Rises with every change of a key.
    ///
    /// # Errors
    /// The database's own.
    pub async fn version(&self) -> Result<i64, DatabaseError> {
        let found = self.0.fetch("SELECT version FROM api_key_version", Vec::new()).await?;
        found.first().map_or(Ok(0), |row| number(row, 0))
    }

    /// All keys, revoked ones included, with their spending.
    ///
    /// # Errors
    /// The database's own.
    pub async fn keys(&self) -> Result<KeyRows, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys ORDER BY created, id");
        let rows = self.0.fetch(sql, Vec::new()).await?;
        Ok(KeyRows::read(&rows, &self.spending().await?))
    }

    /// The spending of all keys by id, configured ones included, in millionths of the currency.
    ///
    /// # Errors
    /// The database's own.
    pub async fn spending(&self) -> Result<HashMap<String, i64>, DatabaseError> {
        let rows = self.0.fetch("SELECT id, spent FROM api_key_spending", Vec::new()).await?;
        Ok(read_spending(&rows))
    }

    /// Stores `sum` as all that a key has spent through the process `owner`; returns the spending through all
    /// processes. A sum below the stored one is late, and changes nothing.
    ///
    /// # Errors
    /// The database's own; after a broken connection it is unknown whether the sum was stored. It may be
    /// stored again.
    pub async fn spend(&self, id: &str, owner: &str, sum: i64) -> Result<i64, DatabaseError> {
        let sql = "INSERT INTO api_key_spending (id, owner, spent) VALUES ($1, $2, $3) \
                   ON CONFLICT (id, owner) DO UPDATE SET spent = CASE WHEN excluded.spent > api_key_spending.spent \
                   THEN excluded.spent ELSE api_key_spending.spent END";
        self.0.run(sql, vec![Cell::text(id), Cell::text(owner), sum.into()]).await?;
        self.spent(id).await
    }

    /// All that a key has spent, through all processes.
    ///
    /// # Errors
    /// The database's own.
    pub async fn spent(&self, id: &str) -> Result<i64, DatabaseError> {
        let sql = "SELECT spent FROM api_key_spending WHERE id = $1";
        let rows = self.0.fetch(sql, vec![Cell::text(id)]).await?;
        Ok(sum_of(&rows))
    }

    /// Merges the totals of `owner` into the row of ended processes, so that there is not a row for every key
    /// and process for ever. `owner` must store nothing afterwards: a total stored again would count twice.
    /// So an unconfirmed total, the statement for which may still run, stays in its row (`unconfirmed`), as
    /// do the rows of killed processes; they count all the same.
    ///
    /// # Errors
    /// The database's own. The merge happens as a whole or not at all; it must not be repeated when that is
    /// unknown.
    pub async fn merge(
        settings: &DatabaseSettings,
        owner: &str,
        unconfirmed: impl Iterator<Item = &str> + Send,
    ) -> Result<(), DatabaseError> {
        let mut cells = vec![Cell::text(owner)];
        cells.extend(unconfirmed.map(Cell::text));
        let placeholders: Vec<String> = (2..=cells.len()).map(|number| format!("${number}")).collect();
        // PostgreSQL has no `IN ()`.
        let confirmed = if placeholders.is_empty() {
            String::new()
        } else {
            format!(" AND id NOT IN ({})", placeholders.join(", "))
        };
        let max = i64::MAX;
        // Ordered, so that two processes that end at once do not deadlock.
        let add = format!(
            "INSERT INTO api_key_spending (id, owner, spent) SELECT id, '', spent FROM api_key_spending \
             WHERE owner = $1{confirmed} ORDER BY id ON CONFLICT (id, owner) DO UPDATE SET spent = \
             CASE WHEN api_key_spending.spent > {max} - excluded.spent THEN {max} \
             ELSE api_key_spending.spent + excluded.spent END"
        );
        let mut connection = Connection::open(settings).await?;
        connection.begin().await?;
        connection.run(add, cells.clone()).await?;
        connection.run(format!("DELETE FROM api_key_spending WHERE owner = $1{confirmed}"), cells).await?;
        connection.commit().await?;
        connection.close().await;
        Ok(())
    }

    /// A connection is open and no statement runs on it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    /// Closes the connection; the next statement opens one.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl StoredKey {
    /// A new key without limits, and its token, which is not stored.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn make(
        name: &str,
        admin: bool,
        now: SystemTime,
    ) -> Result<(Self, Secret<String>), generate::NoRandomness> {
        let secret = generate::make(name)?.token;
        let key = Self {
            id: generate::make_id()?,
            name: name.to_owned(),
            shown: generate::shown(secret.expose()),
            digest: Digest::of(secret.expose().as_bytes()),
            old: None,
            admin,
            limits: KeyLimits::default(),
            created: now,
            revoked: None,
            spent: 0,
        };
        Ok((key, secret))
    }

    pub(super) fn read(row: &ResultRow) -> Result<Self, DatabaseError> {
        let digest = |column| Ok::<_, DatabaseError>(row.text(column)?.and_then(Digest::from_hex));
        // An invalid limit must not be read as no limit.
        let limit = |column| {
            let limit = row.int(column)?.map(u32::try_from).transpose();
            limit.map_err(|_| DatabaseError::Column(column))
        };
        let budget = row.int(11)?;
        if budget.is_some_and(i64::is_negative) {
            return Err(DatabaseError::Column(11));
        }
        let (old, until) = (digest(4)?, time(row, 5)?);
        let allowance =
            LimitValues { requests: limit(8)?, tokens: limit(9)?, concurrent: limit(10)?, budget };
        let list = |column, text: &str| serde_json::from_str(text).map_err(|_| DatabaseError::Column(column));
        let models = list(7, &text(row, 7)?)?;
        let strategies = row.text(15)?.map(|text| list(15, text)).transpose()?;
        Ok(Self {
            id: text(row, 0)?,
            name: text(row, 1)?,
            shown: text(row, 2)?,
            digest: digest(3)?.ok_or(DatabaseError::Column(3))?,
            old: old.zip(until),
            admin: number(row, 6)? != 0,
            limits: KeyLimits { models, strategies, allowance, expires: time(row, 12)?, cache: None },
            created: time(row, 13)?.unwrap_or(SystemTime::UNIX_EPOCH),
            revoked: time(row, REVOKED_COLUMN)?,
            spent: 0,
        })
    }
}

impl UnreadableKey {
    fn of(row: &ResultRow, error: &DatabaseError) -> Self {
        let column = match error {
            DatabaseError::Column(column) => COLUMNS.split(", ").nth(*column),
            DatabaseError::Driver(_)
            | DatabaseError::Newer { .. }
            | DatabaseError::Foreign { .. }
            | DatabaseError::Repeated
            | DatabaseError::Crowded { .. }
            | DatabaseError::Late => None,
        };
        Self { id: text(row, 0).unwrap_or_default(), column: column.unwrap_or_default() }
    }
}

pub(super) fn text(record: &ResultRow, column: usize) -> Result<String, DatabaseError> {
    record.text(column)?.map(str::to_owned).ok_or(DatabaseError::Column(column))
}

fn number(row: &ResultRow, column: usize) -> Result<i64, DatabaseError> {
    row.int(column)?.ok_or(DatabaseError::Column(column))
}

/// The sum of the first column.
pub(super) fn sum_of(rows: &[ResultRow]) -> i64 {
    rows.iter().fold(0_i64, |sum, row| sum.saturating_add(spent(row, 0)))
}

/// Spending that cannot be read counts as all that a budget allows, because nothing says how much is left.
fn spent(row: &ResultRow, column: usize) -> i64 {
    number(row, column).unwrap_or(i64::MAX)
}

fn time(row: &ResultRow, column: usize) -> Result<Option<SystemTime>, DatabaseError> {
    let millis = row.int(column)?.map(|millis| u64::try_from(millis).unwrap_or(0));
    Ok(millis.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests;
