//! A check's result becomes the provider's health, its list of models in the snapshot, and entries of the
//! state file. One failed check may be an accident: it is noted and repeated soon. The second one in a row,
//! and an error that is certain (key or quota), sends the provider to rest.

use std::{sync::Arc, time::Duration};

use super::{
    probe::{Finding, ProbeResult},
    provider::ProbedProvider,
    runner::Prober,
    state::SavedHealth,
};
use crate::{
    base::{Fault, Moment},
    proxy::Snapshot,
    routing::{CheckMethod, FailureClass, HealthSettings, Listing, ModelDetails, Probe},
    upstream::Target,
};

/// Shortest time before a list is requested again that could not be read. A provider may limit how often it
/// is read.
const MIN_LIST_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// A list that replicas share is read at most so much earlier than it is due.
const MAX_EARLY: Duration = Duration::from_secs(60);

impl Prober {
    /// Applies the result of a check that began at `began`.
    pub(super) fn apply(&self, target: &Arc<Target>, probe: Probe, result: ProbeResult, began: Moment) {
        let now = Moment::now();
        let mut providers = self.0.providers.borrow_mut();
        // A reload may have removed it while the check was under way.
        let Some(provider) = providers.iter_mut().find(|provider| Arc::ptr_eq(&provider.target, target))
        else {
            return;
        };
        provider.busy = false;
        provider.schedule.last_probe = now;
        provider.spread = self.0.rng.borrow_mut().unit();
        let race = provider.race.take();
        let ProbeResult { method, finding } = result;
        let models = match finding {
            Finding::Down(fault, class) => {
                return self.apply_failure(provider, method, (&fault, class), (began, now));
            }
            Finding::Alive => None,
            Finding::Listed(models) => Some(models),
        };
        let was_down = provider.schedule.failures > 0;
        provider.mark_well(method, now);
        let id = provider.id.clone();
        // Replicas that have read it at the same time do not do so again.
        let mut early = Duration::ZERO;
        if let Some(models) = models.as_ref().filter(|_| self.0.shares_lists.get()) {
            let refresh = self.settings().refresh;
            provider.listed_until = Some(now + refresh);
            provider.unposted = models.document();
            early = (refresh / 10).min(MAX_EARLY).mul_f64(provider.spread);
        }
        if probe == Probe::Refresh {
            // No list from a provider that is well: the list is limited, or failed.
            let is_limited = models.is_none() && method == CheckMethod::Models;
            let HealthSettings { interval, refresh, .. } = self.settings();
            let pause = if is_limited { interval.max(MIN_LIST_RETRY_INTERVAL) } else { refresh };
            provider.schedule.list_due = provider.schedule.list_due.map(|_| now + pause - early);
        } else if models.is_some() {
            let refresh = self.settings().refresh;
            provider.schedule.list_due = provider.schedule.list_due.map(|_| now + refresh - early);
        }
        if let Some(race) = race {
            self.finish_precheck(provider, &race, began);
        }
        drop(providers);
        let name = &target.name;
        if was_down {
            tracing::info!(provider = %name, "provider is back");
        } else {
            tracing::debug!(provider = %name, means = method.as_str(), "provider is well");
        }
        self.0.state_file.update(|state, at| {
            state.health.put(&id, at, SavedHealth { alive: true, way: method.into() });
            state.keys.put(&id, at, true);
            if let Some(models) = &models {
                state.models.put(&id, at, models.names.clone());
            }
        });
        if let Some(models) = models {
            self.set_models(target, models.names, models.details, probe);
        }
    }

    /// The check failed, unless a client's request went well after the check `began`.
    fn apply_failure(
        &self,
        provider: &mut ProbedProvider,
        method: CheckMethod,
        (fault, class): (&Fault, FailureClass),
        (began, now): (Moment, Moment),
    ) {
        let name = Arc::clone(&provider.target.name);
        if provider.take_in_traffic() >= began {
            tracing::debug!(provider = %name, "a check failed, but a request went well meanwhile");
        } else {
            // A finding of the state file was logged by another process.
            if provider.schedule.failures == 0 || !provider.is_reported {
                provider.is_reported = true;
                tracing::warn!(provider = %name, %fault, class = class.as_str(), "provider found down");
            } else {
                tracing::debug!(provider = %name, %fault, class = class.as_str(), "provider still down");
            }
            self.mark_down(provider, method, (fault, class));
        }
        self.postpone_list(provider, now);
    }

    /// The list could not be read. Without this it would be due at once, and live traffic, which postpones
    /// checks, does not postpone the list.
    fn postpone_list(&self, provider: &mut ProbedProvider, now: Moment) {
        let pause = self.settings().interval.max(MIN_LIST_RETRY_INTERVAL);
        provider.schedule.list_due = provider.schedule.list_due.map(|due| due.max(now + pause));
    }

    fn mark_down(
        &self,
        provider: &mut ProbedProvider,
        method: CheckMethod,
        (fault, class): (&Fault, FailureClass),
    ) {
        let now = Moment::now();
        provider.schedule.failures = provider.schedule.failures.saturating_add(1);
        provider.health.record_check(false, method, now);
        let reason = if class == FailureClass::KeyInvalid {
            format!("{fault}: it does not take the key")
        } else {
            fault.to_string()
        };
        provider.health.record_problem(class, reason, now);
        let is_certain = matches!(class, FailureClass::KeyInvalid | FailureClass::QuotaExhausted);
        if is_certain || provider.schedule.failures > 1 {
            provider.health.rest(now + self.rest(), class, now);
            provider.rested = now;
        }
        provider.refused = class == FailureClass::KeyInvalid;
        let (id, way) = (provider.id.clone(), provider.method.into());
        self.0.state_file.update(|state, at| {
            state.health.put(&id, at, SavedHealth { alive: false, way });
            if class == FailureClass::KeyInvalid {
                state.keys.put(&id, at, false);
            }
        });
    }

    /// Puts a list of models into the snapshot unless the snapshot has it already. Other fields of the same
    /// models are taken over when none are known, and with each regular reading of the list: some providers
    /// write the time of the request into their list.
    pub(super) fn set_models(
        &self,
        target: &Arc<Target>,
        models: Vec<Box<str>>,
        details: ModelDetails,
        probe: Probe,
    ) {
        let (count, listing, details) = (models.len(), Listing::Fetched(models), Arc::new(details));
        let index_of = |snapshot: &Snapshot| {
            snapshot.providers.iter().position(|provider| Arc::ptr_eq(&provider.target, target))
        };
        let current = self.0.snapshot.load();
        let Some(index) = index_of(&current) else { return };
        // A reload has configured the provider's models meanwhile.
        if current.catalog.is_configured(index) {
            return;
        }
        let is_same = current.catalog.fetched(index).is_some_and(|known| known.has_same_models(&listing));
        let has_news = current
            .catalog
            .details(index)
            .is_some_and(|known| *known != details && (known.is_empty() || probe == Probe::Refresh));
        if is_same && !has_news {
            return;
        }
        if !is_same {
            tracing::info!(provider = %target.name, models = count, "models listed");
        }
        self.0.snapshot.rcu(|current| {
            let mut next = Snapshot::clone(current);
            if let Some(index) = index_of(current).filter(|index| !current.catalog.is_configured(*index)) {
                next.catalog = current.catalog.with_listing(index, listing.clone(), Arc::clone(&details));
            }
            Arc::new(next)
        });
        // Frees the statistics of models that no list names any more and that have no request under way.
        self.0.snapshot.load().catalog.registry().prune();
    }
}
