//! The configuration that a request is served by: one snapshot, loaded once per request and kept to its end.
//! Replaced as a whole by a reload or when a provider's model list has been fetched.

use std::{collections::HashMap, sync::Arc};

use super::{encode::CompressionSettings, intake::Intake, secret_mask::SecretMask};
use crate::{
    auth::{ConfiguredKeys, KeyLimits, PageSessions, Principal, StoredKeys},
    base::{
        Deadlines, Endpoint, Network,
        origins::{OriginMaker, OriginToken},
        ttl_map::CacheHits,
    },
    cache::{AnswerCache, CachePolicy, FlightRegistry, MakerPlace},
    ledger::Prices,
    relay::{CommitPoint, StreamSettings},
    routing::{Catalog, HealthSettings, NoPlan, Plan, ProviderHealth},
    telemetry::TelemetrySettings,
    upstream::{PoolSettings, Target},
    wire::{Dialect, Envelope, minted},
};

/// The listener that serves administration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminAccess {
    /// The clients' listener; by an administrator's key, if there is one.
    #[default]
    Beside,
    /// A listener of its own only.
    Apart,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Goes up by one with each reload.
    pub generation: u64,
    pub tokens: ConfiguredKeys,
    /// Keys of the store; shared by all snapshots.
    pub keys: StoredKeys,
    /// Sessions of the pages; shared by all snapshots.
    pub sessions: PageSessions,
    pub catalog: Catalog,
    /// By the catalog's index.
    pub providers: Vec<Provider>,
    pub stream: StreamSettings,
    pub compression: CompressionSettings,
    pub cache: CachePolicy,
    /// Answers that were given before; shared by all snapshots.
    pub answers: AnswerCache,
    /// Answers under way that equal requests may share; shared by all snapshots.
    pub flights: FlightRegistry,
    pub intake: Intake,
    pub pool: PoolSettings,
    pub failover: bool,
    /// Commit points of single models, by the names that clients use.
    pub commits: HashMap<Arc<str>, CommitPoint>,
    pub administration: AdminAccess,
    pub telemetry: TelemetrySettings,
    pub health: HealthSettings,
    /// Hits of the process's cache of earlier findings.
    pub recalls: CacheHits,
    pub prices: Arc<Prices>,
    pub trusted_proxies: Arc<[Network]>,
}

impl Snapshot {
    /// The provider that made a thing in the request which no other understands. `None`: none is known.
    #[must_use]
    pub fn maker(&self, dialect: Dialect, envelope: &Envelope, body: &[u8]) -> Option<OriginMaker> {
        let origins = self.catalog.registry().origins();
        minted::in_request(dialect, envelope, body, |token| origins.find(token))
    }

    /// The provider that made the response of a path. `None`: it is not known.
    #[must_use]
    pub fn maker_of_id(&self, path: &str) -> Option<OriginMaker> {
        let id = path.split('/').next().filter(|id| !id.is_empty())?;
        self.catalog.registry().origins().find(OriginToken::of(id.as_bytes()))
    }

    /// Whether a key may name the response of this id, as written. One whose maker is not known (it was made
    /// before the start, by another gateway, or long ago) may be anyone's: only a gateway with one key passes
    /// it, unless the configuration says otherwise.
    #[must_use]
    pub fn may_name(&self, principal: &Principal, id: &[u8]) -> bool {
        // No id needs an escape; one would be another text here than at the provider.
        if id.contains(&b'\\') {
            return false;
        }
        let owns = self.catalog.registry().owners().is_owner(OriginToken::of(id), &principal.id);
        owns.unwrap_or_else(|| self.catalog.settings().unknown_responses || self.is_only_key(principal))
    }

    /// The key of this id. `None`: there is none (any more).
    #[must_use]
    pub fn principal(&self, id: &str) -> Option<Arc<Principal>> {
        let stored = self.keys.ring();
        self.tokens.principals().chain(stored.values()).find(|principal| *principal.id == *id).cloned()
    }

    fn is_only_key(&self, principal: &Principal) -> bool {
        let stored = self.keys.ring();
        self.tokens.principals().chain(stored.values()).all(|other| other.id == principal.id)
    }

    /// The reason without names of models that a key with these limits may not use.
    #[must_use]
    pub fn told_to(&self, limits: &KeyLimits, mut none: NoPlan) -> NoPlan {
        if let NoPlan::Unknown(unknown) = &mut none {
            unknown.similar.retain(|model| self.allows(limits, model));
        }
        none
    }

    /// Whether a key with these limits may ask for the model of this name.
    #[must_use]
    pub fn allows(&self, limits: &KeyLimits, model: &str) -> bool {
        limits.allow_model(model, |name| self.catalog.is_provider(name))
    }

    /// The requested model's configured commit point. `None`: none is configured for it.
    #[must_use]
    pub fn commit_of(&self, plan: &Plan<'_>) -> Option<CommitPoint> {
        let rule = self.catalog.settings().models.get(plan.rule?)?;
        self.commits.get(&rule.name).copied()
    }
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub target: Arc<Target>,
    /// Where it is asked, as stored answers know it.
    pub place: MakerPlace,
    /// The place of its Gemini API. `None`: it has none, or `target` is it.
    pub gemini: Option<Arc<Target>>,
    /// The target's secrets, to be taken out of its answers.
    pub secrets: Arc<SecretMask>,
    pub deadlines: Deadlines,
    /// Whether usage is requested of it for clients that did not. `None`: as the general setting says.
    pub include_usage: Option<bool>,
    pub region: Option<Arc<str>>,
    /// The provider's health; kept over a reload.
    pub standing: Arc<ProviderHealth>,
}

impl Provider {
    /// The place of an endpoint.
    pub(super) fn target_of(&self, endpoint: Endpoint) -> &Target {
        self.gemini.as_deref().filter(|_| endpoint.is_gemini()).unwrap_or(&self.target)
    }

    /// All places at which it is asked.
    pub fn targets(&self) -> impl Iterator<Item = &Target> + Clone {
        std::iter::once(&*self.target).chain(self.gemini.as_deref())
    }
}
