//! What a request is decided by: one snapshot of the configuration, loaded once and kept to its end. Replaced as a
//! whole by a reload or when a provider's model list has been fetched.

use std::{collections::HashMap, sync::Arc};

use super::intake::Intake;
use crate::{
    auth::{ConfiguredKeys, StoredKeys},
    base::{Deadlines, Network, ttl_map::CacheHits},
    ledger::Prices,
    relay::{CommitPoint, StreamSettings},
    routing::{Catalog, HealthSettings, Plan, ProviderHealth},
    telemetry::TelemetrySettings,
    upstream::{PoolSettings, Target},
};

/// Where administration is served at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminAccess {
    /// With the clients; by an administrator's key, if there is one.
    #[default]
    Beside,
    /// At an address of its own only.
    Apart,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Goes up by one with each reload.
    pub generation: u64,
    pub tokens: ConfiguredKeys,
    /// Those of the store; shared by all snapshots.
    pub keys: StoredKeys,
    pub catalog: Catalog,
    /// By the catalog's index.
    pub providers: Vec<Provider>,
    pub stream: StreamSettings,
    pub intake: Intake,
    pub pool: PoolSettings,
    pub failover: bool,
    /// Commit points of single models, by the names that clients use.
    pub commits: HashMap<Arc<str>, CommitPoint>,
    pub administration: AdminAccess,
    pub telemetry: TelemetrySettings,
    pub health: HealthSettings,
    /// How often what was known before was of use; the process's.
    pub recalls: CacheHits,
    pub prices: Arc<Prices>,
    pub trusted_proxies: Arc<[Network]>,
}

impl Snapshot {
    /// The commit point that the configuration gives the model asked for. `None`: it says nothing of it.
    #[must_use]
    pub fn commit_of(&self, plan: &Plan<'_>) -> Option<CommitPoint> {
        let rule = self.catalog.settings().models.get(plan.rule?)?;
        self.commits.get(&rule.name).copied()
    }
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub target: Arc<Target>,
    pub deadlines: Deadlines,
    pub region: Option<Arc<str>>,
    /// What was heard of it; kept over a reload.
    pub standing: Arc<ProviderHealth>,
}
