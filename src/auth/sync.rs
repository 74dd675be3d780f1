//! Keeps a running gateway's keys equal to the store's: polls the store's version, reads keys when it has
//! changed, and stores the spending of keys with a budget. Spending is stored as a total, because a statement
//! without an answer may have run, and a total may be stored twice. While the store is down, the keys in
//! memory stay accepted and spending is kept; the log has one line when that begins and one when it ends.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
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

/// Between two polls. Revocation takes at most 1 s: 600 ms poll + 400 ms query.
pub const POLL_INTERVAL: Duration = Duration::from_millis(600);
/// A store that does not answer within this counts as down.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// For storing one key's spending.
const SPEND_TIMEOUT: Duration = Duration::from_millis(400);
/// Keys whose spending is read again in one poll.
const MAX_REREAD: usize = 32;
/// Between polls while the process waits for the last spending to be stored.
const SETTLE_INTERVAL: Duration = Duration::from_millis(20);
/// For merging this process's totals at its end.
const MERGE_TIMEOUT: Duration = Duration::from_secs(1);
/// With more unconfirmed totals than this they are not merged, because a statement takes a limited number of
/// values.
const MAX_UNCONFIRMED: usize = 1000;

#[derive(Debug)]
pub struct KeySync {
    settings: DatabaseSettings,
    /// `None`: not opened yet.
    store: Option<KeyStore>,
    keys: StoredKeys,
    /// The version of the keys in memory.
    version: Option<i64>,
    /// The configured keys with known spending.
    tokens: ConfiguredKeys,
    spending_reporter: SpendReporter,
    outage: Episode,
}

/// The spending that this process has stored.
#[derive(Debug)]
struct SpendReporter {
    /// The name of this process in the store. No other process has it.
    owner: String,
    /// By the address of the meter, which stays alive here: a key may be here under two secrets.
    pending: HashMap<usize, PendingSpend>,
    /// The stored total of each key. Kept when the key is gone, because it may come back.
    reported: HashMap<Arc<str>, i64>,
    /// Keys with spending that was not stored in time. They come last, so that the others do not wait for
    /// them.
    timed_out: HashSet<Arc<str>>,
    /// Keys with a statement that was not answered: it may still run at any time.
    unconfirmed: HashSet<Arc<str>>,
    /// The last round could not store everything.
    backlog: Episode,
}

/// A key that has unstored spending or may have some later: a request's cost is known at its end, when its
/// key may be revoked or gone from the configuration.
#[derive(Debug)]
struct PendingSpend {
    id: Arc<str>,
    meter: Arc<LimitMeter>,
}

impl KeySync {
    #[must_use]
    pub fn new(settings: DatabaseSettings, keys: StoredKeys) -> Self {
        let spending_reporter = SpendReporter {
            owner: generate::make_owner(),
            pending: HashMap::new(),
            reported: HashMap::new(),
            timed_out: HashSet::new(),
            unconfirmed: HashSet::new(),
            backlog: Episode::new(),
        };
        Self {
            settings,
            store: None,
            keys,
            version: None,
            tokens: ConfiguredKeys::default(),
            spending_reporter,
            outage: Episode::new(),
        }
    }

    /// One poll: reads changed keys and stores spending. `None`: the configured keys are not known yet. True:
    /// the store answered.
    pub async fn look(&mut self, tokens: Option<&ConfiguredKeys>) -> bool {
        self.try_look(tokens).await.is_ok()
    }

    /// The same.
    ///
    /// # Errors
    /// The store did not answer, which has been logged if it is new.
    pub async fn try_look(&mut self, tokens: Option<&ConfiguredKeys>) -> Result<(), DatabaseError> {
        let looked = self.poll_once(tokens).await;
        if self.settings.connections.is_wanted() {
            self.release().await;
        }
        looked
    }

    /// Returns when another part of the process waits for a connection while this one keeps one.
    pub async fn wanted(&self) {
        if !self.store.as_ref().is_some_and(KeyStore::is_idle) {
            pending::<()>().await;
        }
        self.settings.connections.wanted().await;
    }

    /// Closes the connection; the next poll opens one.
    pub async fn release(&self) {
        if let Some(store) = &self.store {
            store.close().await;
        }
    }

    async fn poll_once(&mut self, tokens: Option<&ConfiguredKeys>) -> Result<(), DatabaseError> {
        let polled = timeout(STORE_TIMEOUT, self.try_poll(tokens)).await;
        let error = match polled {
            Ok(Ok(store)) => {
                if self.outage.end() {
                    tracing::info!("the database answers again; keys are as it has them");
                }
                self.spending_reporter.report(&store).await;
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => DatabaseError::Late,
        };
        if self.outage.begin() {
            tracing::warn!(%error, "the database of keys is away; the keys in memory stay in force");
        }
        Err(error)
    }

    /// Polls until all spending is stored. A store that is down is waited for only if there is spending to
    /// store.
    pub async fn settle(&mut self, tokens: &ConfiguredKeys) {
        loop {
            self.look(Some(tokens)).await;
            if self.spending_reporter.is_settled() {
                return;
            }
            tokio::time::sleep(SETTLE_INTERVAL).await;
        }
    }

    async fn try_poll(&mut self, tokens: Option<&ConfiguredKeys>) -> Result<KeyStore, DatabaseError> {
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
            let key_map = key_map(&found.keys, &self.keys.ring());
            self.spending_reporter.note(key_map.values());
            self.keys.replace(key_map);
            self.version = Some(version);
        }
        if let Some(tokens) = tokens.filter(|tokens| !self.tokens.is_same(tokens)) {
            // Under the former ids, because from here on a meter may belong to another id.
            self.spending_reporter.report(&store).await;
            let spending = store.spending().await?;
            self.spending_reporter.note(tokens.principals());
            for principal in tokens.principals() {
                principal.note_spent(spending.get(&*principal.id).copied().unwrap_or(0));
            }
            self.tokens = tokens.clone();
        }
        Ok(store)
    }

    /// Closes the connection. If the store is up, this process leaves no row of its own.
    pub async fn close(self) {
        let Some(store) = self.store else { return };
        store.close().await;
        let SpendReporter { owner, reported, unconfirmed, .. } = &self.spending_reporter;
        if self.outage.holds()
            || reported.values().all(|sum| *sum == 0)
            || unconfirmed.len() > MAX_UNCONFIRMED
        {
            return;
        }
        let merging = timeout(
            MERGE_TIMEOUT,
            KeyStore::merge(&self.settings, owner, unconfirmed.iter().map(|id| &**id)),
        );
        if let Err(error) = merging.await.unwrap_or(Err(DatabaseError::Late)) {
            // Nothing is lost: the rows count as they are.
            tracing::debug!(%error, "what keys have spent stays in rows of this process's own");
        }
    }
}

impl SpendReporter {
    /// These principals are accepted from now on, and may spend.
    fn note<'a>(&mut self, accepted: impl Iterator<Item = &'a Arc<Principal>>) {
        for principal in accepted {
            let Some(meter) = &principal.meter else { continue };
            let spend = PendingSpend { id: Arc::clone(&principal.id), meter: Arc::clone(meter) };
            self.pending.insert(Arc::as_ptr(meter).addr(), spend);
        }
    }

    /// Reads the spending of keys that refuse requests here and have nothing to store, because others may
    /// have spent all of their budget: a client that is refused for good should not try again.
    async fn reread(&self, store: &KeyStore) {
        let doubtful =
            self.pending.values().filter(|spend| spend.meter.unsaved() == 0 && spend.meter.take_doubt());
        for PendingSpend { id, meter } in doubtful.take(MAX_REREAD) {
            // Its next refusal asks again.
            let Ok(Ok(spent)) = timeout(SPEND_TIMEOUT, store.spent(id)).await else { return };
            meter.note_saved(0, spent);
        }
    }

    fn is_settled(&self) -> bool {
        self.pending.values().all(|spend| spend.meter.unsaved() == 0)
    }

    /// Stores the spending since the last time. Spending that is not stored is kept, and stored later.
    async fn report(&mut self, store: &KeyStore) {
        // A meter without another owner gets no more spending. Ownership is checked before the spending, so
        // nothing comes between.
        self.pending
            .retain(|_, spend| Arc::get_mut(&mut spend.meter).is_none() || spend.meter.unsaved() != 0);
        let mut due: Vec<&PendingSpend> =
            self.pending.values().filter(|spend| spend.meter.unsaved() != 0).collect();
        due.sort_by_key(|spend| self.timed_out.contains(&spend.id));
        let mut failed = None;
        for PendingSpend { id, meter } in due {
            let unsaved = meter.unsaved();
            // Marked before the query, because the caller may drop this future before the answer.
            let is_first = self.unconfirmed.insert(Arc::clone(id));
            let reported = self.reported.entry(Arc::clone(id)).or_default();
            let sum = reported.saturating_add(unsaved);
            match timeout(SPEND_TIMEOUT, store.spend(id, &self.owner, sum)).await {
                Ok(Ok(spent)) => {
                    *reported = sum;
                    meter.note_saved(unsaved, spent);
                    self.timed_out.remove(id);
                    if is_first {
                        self.unconfirmed.remove(id);
                    }
                }
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(_) => {
                    self.timed_out.insert(Arc::clone(id));
                    failed = failed.or(Some(DatabaseError::Late));
                    // A revocation must not wait for more than one timeout.
                    break;
                }
            }
        }
        let Some(error) = failed else {
            self.backlog.end();
            self.reread(store).await;
            return;
        };
        if self.backlog.begin() {
            tracing::warn!(%error, "what keys have spent is not taken by the database; it is kept, and comes again");
        }
    }
}

/// The keys in force, with the meters of `before`.
fn key_map(stored: &[StoredKey], before: &KeyMap) -> KeyMap {
    let known: HashMap<&str, _> = before.values().map(|known| (&*known.id, &known.meter)).collect();
    let mut key_map = KeyMap::default();
    for key in stored.iter().filter(|key| key.revoked.is_none()) {
        let meter = known.get(&*key.id).and_then(|meter| (*meter).clone());
        let is_new = meter.is_none();
        let principal = |meter, expires| {
            let limits = super::KeyLimits { expires, ..key.limits.clone() };
            let (id, name) = (key.id.as_str().into(), key.name.as_str().into());
            let principal = Principal::new(id, name, key.admin, limits, meter);
            principal.name_meter(None);
            principal.note_known();
            Arc::new(principal)
        };
        let current = principal(meter, key.limits.expires);
        if is_new {
            current.note_spent(key.spent);
        }
        if let Some((digest, until)) = key.old {
            let expires = key.limits.expires.map_or(until, |expires| expires.min(until));
            key_map.insert(digest, principal(current.meter.clone(), Some(expires)));
        }
        key_map.insert(key.digest, current);
    }
    key_map
}
