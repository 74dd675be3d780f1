//! The directory of all records, one for the process. A candidate is found by what it is (provider's name, base URL,
//! model), so what did not change keeps its record over a reload. Looked into when a catalogue is built, never by a
//! request; bounded, since model lists come from strangers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{budget::Budgets, candidate_stats::CandidateStats, provider_health::ProviderHealth};

/// Candidates with a record of their own; the rest share their provider's.
const MOST: usize = 16_384;

/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct StatsRegistry {
    shelf: Arc<Mutex<StatsMap>>,
    budgets: Arc<Budgets>,
}

#[derive(Debug, Default)]
struct StatsMap {
    providers: HashMap<CandidateId, Arc<ProviderHealth>>,
    candidates: HashMap<(CandidateId, Option<Box<str>>), Arc<CandidateStats>>,
}

type CandidateId = (Box<str>, Box<str>);

impl StatsRegistry {
    /// The record of everything behind this provider.
    #[must_use]
    pub fn provider(&self, name: &str, base: &str) -> Arc<ProviderHealth> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shelf.providers.entry((name.into(), base.into())).or_default())
    }

    /// The record of one model there; without a name, of all that nobody listed.
    #[must_use]
    pub fn candidate(&self, name: &str, base: &str, model: Option<&str>) -> Arc<CandidateStats> {
        let standing = self.provider(name, base);
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let full = shelf.candidates.len() >= MOST;
        let id: CandidateId = (name.into(), base.into());
        let key = (id.clone(), model.map(Into::into));
        let key = if full && !shelf.candidates.contains_key(&key) { (id, None) } else { key };
        let model = key.1.clone();
        let made =
            || Arc::new(CandidateStats::new(standing, model.as_deref(), number(name, model.as_deref())));
        Arc::clone(shelf.candidates.entry(key).or_insert_with(made))
    }

    /// Forgets what no catalogue and no request holds any more.
    pub fn prune(&self) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.candidates.retain(|_, record| Arc::strong_count(record) > 1);
        shelf.providers.retain(|_, standing| Arc::strong_count(standing) > 1);
    }

    #[must_use]
    pub const fn budgets(&self) -> &Arc<Budgets> {
        &self.budgets
    }
}

/// FNV-1a of provider and model: the same in every process, so that replicas of the gateway agree.
fn number(name: &str, model: Option<&str>) -> u64 {
    let bytes = name.bytes().chain([b'/']).chain(model.unwrap_or_default().bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_change_keeps_its_record() {
        let records = StatsRegistry::default();
        let (first, again) =
            (records.candidate("p", "http://p", Some("m")), records.candidate("p", "http://p", Some("m")));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(Arc::ptr_eq(first.provider(), &records.provider("p", "http://p")));
        for other in [
            records.candidate("p", "http://p", None),
            records.candidate("p", "http://q", Some("m")),
            records.candidate("q", "http://p", Some("m")),
        ] {
            assert!(!Arc::ptr_eq(&first, &other));
        }
        records.prune();
        assert_eq!(records.shelf.lock().unwrap().candidates.len(), 1);
        drop((first, again));
        records.prune();
        assert!(records.shelf.lock().unwrap().candidates.is_empty());
    }

    #[test]
    fn is_bounded() {
        let records = StatsRegistry::default();
        let held: Vec<_> =
            (0..MOST + 10).map(|n| records.candidate("p", "b", Some(&n.to_string()))).collect();
        assert!(records.shelf.lock().unwrap().candidates.len() <= MOST + 1);
        assert_eq!(held.last().unwrap().model(), None);
    }
}
