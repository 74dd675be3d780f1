//! Keeps a running gateway's keys as the store has them: asks more than once a second whether anything has changed, and then
//! brings what keys with a budget have spent to the store, as a sum that may be told twice: whether a statement was run
//! is not known when its answer does not come. While the store is away, the keys in memory go on being accepted and
//! what is spent is kept; that is said once, and when it is over.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use super::{
    ConfiguredKeys, KeyMap, Principal, StoredKeys, generate,
    limit::LimitMeter,
    store::{KeyStore, StoredKey},
};
use crate::{
    base::Episode,
    database::{DatabaseError, DatabaseSettings},
};

/// Between two looks at the store. A key that was revoked is refused a second later, whose rest is for the store to answer.
pub const PERIOD: Duration = Duration::from_millis(600);
/// A store that does not answer within this is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the store may take for what one key has spent.
const SPENDING: Duration = Duration::from_millis(400);
/// Between looks while the process waits for the last spending to be taken.
const BREATH: Duration = Duration::from_millis(20);
/// How long the end waits for this process's sums to be added to those of the ones before.
const FOLDING: Duration = Duration::from_secs(1);
/// With more sums than this in doubt it is left: a statement takes so many values and no more.
const DOUBTS: usize = 1000;

#[derive(Debug)]
pub struct KeySync {
    settings: DatabaseSettings,
    /// `None`: not opened yet.
    store: Option<KeyStore>,
    keys: StoredKeys,
    /// The store's version that is in the ring.
    version: Option<i64>,
    /// The keys of the configuration whose spending has been read.
    tokens: ConfiguredKeys,
    account: SpendReporter,
    away: Episode,
}

/// What this process has told the store of spending.
#[derive(Debug)]
struct SpendReporter {
    /// The process, as the store knows it: nobody else has this name.
    owner: String,
    /// By the address of their meter, which they keep alive: a key may be here under two secrets.
    debtors: HashMap<usize, PendingSpend>,
    /// What the store was told of each key, in all. Kept when the key is gone: it may come back.
    told: HashMap<Arc<str>, i64>,
    /// Keys whose spending the store did not take in time. They come last, so that the others need not wait for them.
    stuck: HashSet<Arc<str>>,
    /// Keys of whom the store was told something that it did not answer: it may be run at any time yet.
    doubtful: HashSet<Arc<str>>,
    /// Something is left that the store did not take.
    behind: Episode,
}

/// Whoever has something to pay, or may have yet: what a request costs is known at its end, and its key may be revoked by
/// then, or gone from the configuration.
#[derive(Debug)]
struct PendingSpend {
    id: Arc<str>,
    meter: Arc<LimitMeter>,
}

impl KeySync {
    #[must_use]
    pub fn new(settings: DatabaseSettings, keys: StoredKeys) -> Self {
        let account = SpendReporter {
            owner: generate::make_owner(),
            debtors: HashMap::new(),
            told: HashMap::new(),
            stuck: HashSet::new(),
            doubtful: HashSet::new(),
            behind: Episode::new(),
        };
        Self {
            settings,
            store: None,
            keys,
            version: None,
            tokens: ConfiguredKeys::default(),
            account,
            away: Episode::new(),
        }
    }

    /// One look: whatever has changed from the store, and spending to it. `None`: the keys of the configuration are not
    /// known yet. True: the store answered.
    pub async fn look(&mut self, tokens: Option<&ConfiguredKeys>) -> bool {
        let looked = timeout(PATIENCE, self.try_look(tokens)).await;
        let error = match looked {
            Ok(Ok(store)) => {
                if self.away.end() {
                    tracing::info!("the database answers again; keys are as it has them");
                }
                self.account.bring(&store).await;
                return true;
            }
            Ok(Err(error)) => error,
            Err(_) => DatabaseError::Late,
        };
        if self.away.begin() {
            tracing::warn!(%error, "the database of keys is away; the keys in memory stay in force");
        }
        false
    }

    /// Looks until all that was spent is in the store. One that is away is waited for only if there is something to tell.
    pub async fn settle(&mut self, tokens: &ConfiguredKeys) {
        loop {
            self.look(Some(tokens)).await;
            if self.account.is_settled() {
                return;
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    async fn try_look(&mut self, tokens: Option<&ConfiguredKeys>) -> Result<KeyStore, DatabaseError> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self.store.insert(KeyStore::open(&self.settings).await?).clone(),
        };
        let version = store.version().await?;
        if self.version != Some(version) {
            let found = store.keys().await?;
            for unreadable in &found.unreadable {
                tracing::error!(id = unreadable.id, "{unreadable}");
            }
            let ring = ring(&found.keys, &self.keys.ring());
            self.account.note(ring.values());
            self.keys.replace(ring);
            self.version = Some(version);
        }
        if let Some(tokens) = tokens.filter(|tokens| !self.tokens.is_same(tokens)) {
            // Under the names that they were spent under: a meter may have another from here on.
            self.account.bring(&store).await;
            let spending = store.spending().await?;
            self.account.note(tokens.principals());
            for principal in tokens.principals() {
                principal.note_spent(spending.get(&*principal.id).copied().unwrap_or(0));
            }
            self.tokens = tokens.clone();
        }
        Ok(store)
    }

    /// Ends the connections, and leaves no row of this process's own, if the store is there.
    pub async fn close(self) {
        let Some(store) = self.store else { return };
        store.close().await;
        let SpendReporter { owner, told, doubtful, .. } = &self.account;
        if self.away.holds() || told.values().all(|sum| *sum == 0) || doubtful.len() > DOUBTS {
            return;
        }
        let folded = timeout(FOLDING, KeyStore::fold(&self.settings, owner, doubtful.iter().map(|id| &**id)));
        if let Err(error) = folded.await.unwrap_or(Err(DatabaseError::Late)) {
            // Nothing is lost: the rows count as they are.
            tracing::debug!(%error, "what keys have spent stays in rows of this process's own");
        }
    }
}

impl SpendReporter {
    /// These are accepted from now on, and may spend.
    fn note<'a>(&mut self, accepted: impl Iterator<Item = &'a Arc<Principal>>) {
        for principal in accepted {
            let Some(meter) = &principal.meter else { continue };
            let debtor = PendingSpend { id: Arc::clone(&principal.id), meter: Arc::clone(meter) };
            self.debtors.insert(Arc::as_ptr(meter).addr(), debtor);
        }
    }

    fn is_settled(&self) -> bool {
        self.debtors.values().all(|debtor| debtor.meter.unsaved() == 0)
    }

    /// What was spent since the last time. What the store does not take is kept, and comes again.
    async fn bring(&mut self, store: &KeyStore) {
        // Whose meter nobody else has spends no more. Seen before what it has spent is: nothing comes between.
        self.debtors
            .retain(|_, debtor| Arc::get_mut(&mut debtor.meter).is_none() || debtor.meter.unsaved() != 0);
        let mut owing: Vec<&PendingSpend> =
            self.debtors.values().filter(|debtor| debtor.meter.unsaved() != 0).collect();
        owing.sort_by_key(|debtor| self.stuck.contains(&debtor.id));
        let mut failed = None;
        for PendingSpend { id, meter } in owing {
            let unsaved = meter.unsaved();
            // Before it is asked: whoever waits may be gone before the answer.
            let is_first = self.doubtful.insert(Arc::clone(id));
            let told = self.told.entry(Arc::clone(id)).or_default();
            let sum = told.saturating_add(unsaved);
            match timeout(SPENDING, store.spend(id, &self.owner, sum)).await {
                Ok(Ok(spent)) => {
                    *told = sum;
                    meter.note_saved(unsaved, spent);
                    self.stuck.remove(id);
                    if is_first {
                        self.doubtful.remove(id);
                    }
                }
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(_) => {
                    self.stuck.insert(Arc::clone(id));
                    failed = failed.or(Some(DatabaseError::Late));
                    // Revocations must not wait for more than one.
                    break;
                }
            }
        }
        let Some(error) = failed else {
            self.behind.end();
            return;
        };
        if self.behind.begin() {
            tracing::warn!(%error, "what keys have spent is not taken by the database; it is kept, and comes again");
        }
    }
}

/// The keys in force, with what those of `before` have used.
fn ring(stored: &[StoredKey], before: &KeyMap) -> KeyMap {
    let known: HashMap<&str, _> = before.values().map(|known| (&*known.id, &known.meter)).collect();
    let mut ring = KeyMap::new();
    for key in stored.iter().filter(|key| key.revoked.is_none()) {
        let meter = known.get(&*key.id).and_then(|meter| (*meter).clone());
        let is_new = meter.is_none();
        let principal = |meter, expires| {
            let limits = super::KeyLimits { expires, ..key.limits.clone() };
            let (id, name) = (key.id.as_str().into(), key.name.as_str().into());
            let principal = Principal::new(id, name, key.admin, limits, meter);
            principal.note_known();
            Arc::new(principal)
        };
        let current = principal(meter, key.limits.expires);
        if is_new {
            current.note_spent(key.spent);
        }
        if let Some((digest, until)) = key.old {
            let expires = key.limits.expires.map_or(until, |expires| expires.min(until));
            ring.insert(digest, principal(current.meter.clone(), Some(expires)));
        }
        ring.insert(key.digest, current);
    }
    ring
}
