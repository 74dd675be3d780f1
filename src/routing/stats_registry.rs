//! The map of all statistics, one for the process. A candidate is found by provider name, base URL and model,
//! so an unchanged candidate keeps its statistics across a reload. Used when a catalogue is built, never by a
//! request; bounded, because model lists come from providers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{budget::Budgets, candidate_stats::CandidateStats, provider_health::ProviderHealth};
use crate::base::origins::{OriginTable, OwnerTable};

/// Candidates with their own statistics; the others share those of their provider's unlisted models.
const MAX_CANDIDATES: usize = 16_384;

/// Clones share the same map.
#[derive(Clone, Debug, Default)]
pub struct StatsRegistry {
    maps: Arc<Mutex<StatsMap>>,
    budgets: Arc<Budgets>,
    origins: Arc<OriginTable>,
    owners: Arc<OwnerTable>,
}

#[derive(Debug, Default)]
struct StatsMap {
    providers: HashMap<CandidateId, Arc<ProviderHealth>>,
    candidates: HashMap<(CandidateId, Option<Box<str>>), Arc<CandidateStats>>,
}

type CandidateId = (Box<str>, Box<str>);

impl StatsRegistry {
    /// The health of this provider.
    #[must_use]
    pub fn provider(&self, name: &str, base: &str) -> Arc<ProviderHealth> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(maps.providers.entry((name.into(), base.into())).or_default())
    }

    /// The statistics of one model at a provider. `model` is `None`: those of all unlisted models.
    #[must_use]
    pub fn candidate(&self, name: &str, base: &str, model: Option<&str>) -> Arc<CandidateStats> {
        let health = self.provider(name, base);
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let full = maps.candidates.len() >= MAX_CANDIDATES;
        let id: CandidateId = (name.into(), base.into());
        let key = (id.clone(), model.map(Into::into));
        let key = if full && !maps.candidates.contains_key(&key) { (id, None) } else { key };
        let model = key.1.clone();
        let new_stats = || {
            Arc::new(CandidateStats::new(health, model.as_deref(), candidate_hash(name, model.as_deref())))
        };
        Arc::clone(maps.candidates.entry(key).or_insert_with(new_stats))
    }

    /// Removes entries that no catalogue and no request holds any more.
    pub fn prune(&self) {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.candidates.retain(|_, stats| Arc::strong_count(stats) > 1);
        maps.providers.retain(|_, health| Arc::strong_count(health) > 1);
    }

    /// The providers that made ids and sealed texts.
    #[must_use]
    pub const fn origins(&self) -> &Arc<OriginTable> {
        &self.origins
    }

    /// The keys that made responses.
    #[must_use]
    pub const fn owners(&self) -> &Arc<OwnerTable> {
        &self.owners
    }

    #[must_use]
    pub const fn budgets(&self) -> &Arc<Budgets> {
        &self.budgets
    }
}

/// FNV-1a of provider and model: the same in every process, so that replicas of the gateway agree.
fn candidate_hash(name: &str, model: Option<&str>) -> u64 {
    let bytes = name.bytes().chain([b'/']).chain(model.unwrap_or_default().bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_change_keeps_its_record() {
        let registry = StatsRegistry::default();
        let (first, again) =
            (registry.candidate("p", "http://p", Some("m")), registry.candidate("p", "http://p", Some("m")));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(Arc::ptr_eq(first.provider(), &registry.provider("p", "http://p")));
        for other in [
            registry.candidate("p", "http://p", None),
            registry.candidate("p", "http://q", Some("m")),
            registry.candidate("q", "http://p", Some("m")),
        ] {
            assert!(!Arc::ptr_eq(&first, &other));
        }
        registry.prune();
        assert_eq!(registry.maps.lock().unwrap().candidates.len(), 1);
        drop((first, again));
        registry.prune();
        assert!(registry.maps.lock().unwrap().candidates.is_empty());
    }

    #[test]
    fn is_bounded() {
        let registry = StatsRegistry::default();
        let held: Vec<_> =
            (0..MAX_CANDIDATES + 10).map(|n| registry.candidate("p", "b", Some(&n.to_string()))).collect();
        assert!(registry.maps.lock().unwrap().candidates.len() <= MAX_CANDIDATES + 1);
        assert_eq!(held.last().unwrap().model(), None);
    }
}
