//! Keeps a running gateway's keys as the store has them: asks every half second whether anything has changed, and brings
//! what keys with a budget have spent to the store. While the store is away, the keys in memory go on being accepted and
//! what is spent is kept; that is said once, and when it is over.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Keys, Principal, Ring, Tokens,
    store::{Store, StoredKey},
};
use crate::database::{DatabaseError, DatabaseSettings};

/// Between two looks at the store. A key that was revoked is refused within twice this.
pub const PERIOD: Duration = Duration::from_millis(400);
/// A store that does not answer within this is away.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Keeper {
    settings: DatabaseSettings,
    /// `None`: not opened yet.
    store: Option<Store>,
    keys: Keys,
    /// The store's version that is in the ring.
    version: Option<i64>,
    /// The keys of the configuration whose spending has been read.
    tokens: Tokens,
    away: bool,
}

impl Keeper {
    #[must_use]
    pub fn new(settings: DatabaseSettings, keys: Keys) -> Self {
        Self { settings, store: None, keys, version: None, tokens: Tokens::default(), away: false }
    }

    /// One look: spending to the store, and whatever has changed from it. True: the store answered.
    pub async fn look(&mut self, tokens: &Tokens) -> bool {
        let looked = tokio::time::timeout(PATIENCE, self.try_look(tokens)).await;
        let error = match looked {
            Ok(Ok(())) => {
                if std::mem::take(&mut self.away) {
                    tracing::info!("the database answers again; keys are as it has them");
                }
                return true;
            }
            Ok(Err(error)) => error,
            Err(_) => DatabaseError::Late,
        };
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(%error, "the database of keys is away; the keys in memory stay in force");
        }
        false
    }

    async fn try_look(&mut self, tokens: &Tokens) -> Result<(), DatabaseError> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self.store.insert(Store::open(&self.settings).await?).clone(),
        };
        self.bring_spending(&store, tokens).await?;
        let version = store.version().await?;
        if self.version != Some(version) {
            self.keys.replace(ring(&store.keys().await?, &self.keys.ring()));
            self.version = Some(version);
        }
        if !self.tokens.is_same(tokens) {
            let spending: HashMap<String, i64> = store.spending().await?.into_iter().collect();
            for principal in tokens.principals() {
                note_spent(principal, spending.get(&*principal.id).copied().unwrap_or(0));
            }
            self.tokens = tokens.clone();
        }
        Ok(())
    }

    /// What was spent since the last time.
    async fn bring_spending(&self, store: &Store, tokens: &Tokens) -> Result<(), DatabaseError> {
        let ring = self.keys.ring();
        for principal in ring.values().chain(tokens.principals()) {
            let Some(meter) = &principal.meter else { continue };
            let unsaved = meter.unsaved();
            if unsaved != 0 {
                let spent = store.spend(&principal.id, unsaved).await?;
                meter.note_saved(unsaved, spent);
            }
        }
        Ok(())
    }

    /// Ends the connections.
    pub async fn close(self) {
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}

/// The keys in force, with what those of `before` have used.
fn ring(stored: &[StoredKey], before: &Ring) -> Ring {
    let known: HashMap<&str, _> = before.values().map(|known| (&*known.id, &known.meter)).collect();
    let mut ring = Ring::new();
    for key in stored.iter().filter(|key| key.revoked.is_none()) {
        let meter = known.get(&*key.id).and_then(|meter| (*meter).clone());
        let is_new = meter.is_none();
        let principal = |meter, expires| {
            let limits = super::Limits { expires, ..key.limits.clone() };
            Arc::new(Principal::new(
                key.id.as_str().into(),
                key.name.as_str().into(),
                key.admin,
                limits,
                meter,
            ))
        };
        let current = principal(meter, key.limits.expires);
        if is_new {
            note_spent(&current, key.spent);
        }
        if let Some((digest, until)) = key.old {
            let expires = key.limits.expires.map_or(until, |expires| expires.min(until));
            ring.insert(digest, principal(current.meter.clone(), Some(expires)));
        }
        ring.insert(key.digest, current);
    }
    ring
}

fn note_spent(principal: &Principal, spent: i64) {
    if let Some(meter) = &principal.meter {
        meter.note_saved(0, spent);
    }
}
