//! Changes of stored keys: add, limit, revoke, rotate. Each change is one transaction and raises the version
//! that running gateways poll.

use std::time::{Duration, SystemTime};

use super::{
    Digest, KeyLimits,
    limit::LimitValues,
    store::{COLUMNS, IN_FORCE, SCHEMA, StoredKey, sum_of, text},
};
use crate::{
    base::time::unix_millis,
    database::{Cell, Connection, DatabaseError, DatabaseSettings},
};

/// Why a key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another key has this name.
    #[error("there is a key named {0} already")]
    Taken(String),
    /// No key in force has this name or id.
    #[error("there is no key in force by the name or id {0}")]
    Unknown(String),
    /// The token in force, as it is shown, is not the one that a rotation counts on.
    #[error("the key was rotated already: its token is {0} now")]
    Rotated(String),
    /// No other administrator's key is in force.
    #[error("{0} is the only administrator's key in force")]
    LastAdmin(String),
}

/// How long after the end of the former token a rotation that names no token counts as a repeat.
const REPEAT: Duration = Duration::from_secs(10);

/// A key's id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    pub id: String,
    pub name: String,
}

/// Changes keys over one connection, one transaction each.
#[derive(Debug)]
pub struct KeyEditor(pub(super) Connection);

impl KeyEditor {
    /// Connects and migrates the tables.
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
    /// The name is taken, or the database's own error.
    pub async fn add(&mut self, key: &StoredKey) -> Result<(), StoreError> {
        self.begin().await?;
        if self.name(&key.name).await?.is_some() {
            return Err(StoreError::Taken(key.name.clone()));
        }
        let sql = "INSERT INTO api_keys (id, name, shown, digest, admin, models, rpm, tpm, concurrent, budget, expires, \
                   strategies, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let mut cells = vec![
            Cell::text(&key.id),
            Cell::text(&key.name),
            Cell::text(&key.shown),
            key.digest.to_hex().into(),
            i64::from(key.admin).into(),
        ];
        cells.extend(limits(&key.limits));
        cells.push(unix_millis(key.created).into());
        self.0.run(sql, cells).await?;
        Ok(self.0.commit().await?)
    }

    /// Changes a key's limits.
    ///
    /// # Errors
    /// No key has this name or id, or the database's own error.
    pub async fn limit(
        &mut self,
        name_or_id: &str,
        change: impl FnOnce(&mut KeyLimits) + Send,
    ) -> Result<StoredKey, StoreError> {
        self.change(name_or_id, |key| {
            change(&mut key.limits);
            let sql = "UPDATE api_keys SET models = $2, rpm = $3, tpm = $4, concurrent = $5, budget = $6, expires = $7, \
                       strategies = $8 WHERE id = $1";
            Ok((sql, limits(&key.limits)))
        })
        .await
    }

    /// Makes a key invalid from now on.
    ///
    /// # Errors
    /// No key has this name or id, or the database's own error.
    pub async fn revoke(&mut self, name_or_id: &str, now: SystemTime) -> Result<KeyName, StoreError> {
        self.revoke_if(name_or_id, now, false).await
    }

    /// As [`Self::revoke`], but not the only administrator's key in force.
    ///
    /// # Errors
    /// No key has this name or id, it is that one, or the database's own error.
    pub async fn revoke_but_last_admin(
        &mut self,
        name_or_id: &str,
        now: SystemTime,
    ) -> Result<KeyName, StoreError> {
        self.revoke_if(name_or_id, now, true).await
    }

    async fn revoke_if(
        &mut self,
        name_or_id: &str,
        now: SystemTime,
        keeps_admin: bool,
    ) -> Result<KeyName, StoreError> {
        self.begin().await?;
        // Only id and name are read, because a key with an unreadable row must be revocable too.
        let named = self.name(name_or_id).await?.ok_or_else(|| StoreError::Unknown(name_or_id.to_owned()))?;
        if keeps_admin && self.is_last_admin(&named.id, now).await? {
            return Err(StoreError::LastAdmin(named.name));
        }
        let sql = "UPDATE api_keys SET revoked = $2 WHERE id = $1";
        self.0.run(sql, vec![Cell::text(&named.id), unix_millis(now).into()]).await?;
        self.0.commit().await?;
        Ok(named)
    }

    /// Replaces a key's secret; the former one is accepted until `until`. `is_meant` says whether the key is
    /// still as the caller knows it.
    ///
    /// # Errors
    /// No key has this name or id, it is not meant, or the database's own error.
    pub async fn rotate(
        &mut self,
        name_or_id: &str,
        (digest, shown): (Digest, String),
        until: SystemTime,
        is_meant: impl FnOnce(&StoredKey) -> bool + Send,
    ) -> Result<StoredKey, StoreError> {
        self.change(name_or_id, |key| {
            if !is_meant(key) {
                return Err(StoreError::Rotated(key.shown.clone()));
            }
            key.old = Some((key.digest, until));
            (key.digest, key.shown) = (digest, shown);
            let cells = vec![
                key.digest.to_hex().into(),
                Cell::text(&key.shown),
                key.old.map_or_else(String::new, |(old, _)| old.to_hex()).into(),
                unix_millis(until).into(),
            ];
            let sql =
                "UPDATE api_keys SET digest = $2, shown = $3, old_digest = $4, old_until = $5 WHERE id = $1";
            Ok((sql, cells))
        })
        .await
    }

    pub async fn close(self) {
        self.0.close().await;
    }

    /// Finds a key, changes it and runs the update, with the id as its value `$1`.
    async fn change(
        &mut self,
        name_or_id: &str,
        update: impl FnOnce(&mut StoredKey) -> Result<(&'static str, Vec<Cell>), StoreError> + Send,
    ) -> Result<StoredKey, StoreError> {
        self.begin().await?;
        let mut key =
            self.find(name_or_id).await?.ok_or_else(|| StoreError::Unknown(name_or_id.to_owned()))?;
        let (sql, mut cells) = update(&mut key)?;
        cells.insert(0, Cell::text(&key.id));
        self.0.run(sql, cells).await?;
        self.0.commit().await?;
        Ok(key)
    }

    /// The key in force with this name or id.
    async fn find(&mut self, name_or_id: &str) -> Result<Option<StoredKey>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE {IN_FORCE}");
        let found = self.0.fetch(sql, vec![Cell::text(name_or_id)]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let key = StoredKey::read(row)?;
        let sql = "SELECT spent FROM api_key_spending WHERE id = $1";
        let spent = sum_of(&self.0.fetch(sql, vec![Cell::text(&key.id)]).await?);
        Ok(Some(StoredKey { spent, ..key }))
    }

    /// The id and name of the key in force with this name or id.
    async fn name(&mut self, name_or_id: &str) -> Result<Option<KeyName>, DatabaseError> {
        let sql = format!("SELECT id, name FROM api_keys WHERE {IN_FORCE}");
        let found = self.0.fetch(sql, vec![Cell::text(name_or_id)]).await?;
        found.first().map(|row| Ok(KeyName { id: text(row, 0)?, name: text(row, 1)? })).transpose()
    }

    /// Whether this key is an administrator's, and no other one in force is.
    async fn is_last_admin(&mut self, id: &str, now: SystemTime) -> Result<bool, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE revoked IS NULL AND admin <> 0");
        let rows = self.0.fetch(sql, Vec::new()).await?;
        // A row that cannot be read is no key that is accepted.
        let keys = rows.iter().filter_map(|row| StoredKey::read(row).ok());
        let in_force = keys.filter(|key| key.limits.expires.is_none_or(|at| at > now));
        let ids: Vec<String> = in_force.map(|key| key.id).collect();
        Ok(ids == [id])
    }

    /// Begins a change. It raises the version first, so that of changes at once, of several gateways, each
    /// sees the ones before it.
    async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.0.begin().await?;
        self.0.run("UPDATE api_key_version SET version = version + 1", Vec::new()).await.map(|_| ())
    }
}

impl StoredKey {
    /// Whether a rotation by HTTP is meant, and no repeat of the last one: it names the token in force as it
    /// is shown (`seen`), or the token before has not been accepted for a while.
    #[must_use]
    pub fn may_rotate(&self, seen: Option<&str>, now: SystemTime) -> bool {
        match seen {
            Some(seen) => seen.trim_end_matches('…') == self.shown.trim_end_matches('…'),
            None => self.old.is_none_or(|(_, until)| until + REPEAT <= now),
        }
    }
}

fn limits(limits: &KeyLimits) -> Vec<Cell> {
    let LimitValues { requests, tokens, concurrent, budget } = limits.allowance;
    // Serializing strings into a String cannot fail.
    let list = |names: &[String]| serde_json::to_string(names).unwrap_or_default();
    let mut cells = vec![list(&limits.models).into()];
    cells.extend([requests, tokens, concurrent].map(|limit| Cell::Int(limit.map(i64::from))));
    cells.extend([budget, limits.expires.map(unix_millis)].map(Cell::Int));
    cells.push(Cell::Text(limits.strategies.as_deref().map(list)));
    cells
}
