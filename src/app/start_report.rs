//! The answers of the providers to their first check, for the start-up lines. Asks within the process and
//! sends nothing: the prober checks the providers, and this waits for its results, for a bounded time.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::proxy::{Provider, Snapshot};

/// The checks run beside the start, so their results may be late.
const RESULTS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the last provider is waited for when a model is known already.
const REST_TIMEOUT: Duration = Duration::from_millis(300);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The findings about the providers shortly after the start.
#[derive(Debug, Default)]
pub struct StartReport {
    /// All offered models, in the providers' order.
    pub models: Vec<String>,
    /// Providers that cannot be used, with the reason.
    pub down: Vec<ProviderFailure>,
}

#[derive(Debug)]
pub struct ProviderFailure {
    pub provider: Arc<str>,
    pub reason: String,
}

/// Waits until every provider has answered or failed, but not long.
pub(super) fn wait(snapshot: &ArcSwap<Snapshot>) -> StartReport {
    let begun = Instant::now();
    loop {
        let current = snapshot.load();
        let has_model = !current.catalog.offered().is_empty();
        let is_complete = current.providers.iter().all(is_settled);
        let limit = if has_model { REST_TIMEOUT } else { RESULTS_TIMEOUT };
        if (is_complete && (has_model || begun.elapsed() >= REST_TIMEOUT)) || begun.elapsed() >= limit {
            return report(&current, begun.elapsed() >= RESULTS_TIMEOUT);
        }
        drop(current);
        thread::sleep(LOOK_INTERVAL);
    }
}

/// A result of this process is there: a finding of the state file has no reason.
fn is_settled(provider: &Provider) -> bool {
    provider.standing.is_alive() == Some(true) || provider.standing.last_reason().is_some()
}

/// `is_late`: the longest time is over.
fn report(snapshot: &Snapshot, is_late: bool) -> StartReport {
    let models = snapshot.catalog.offered().iter().map(|offered| offered.model.to_owned()).collect();
    let down = snapshot.providers.iter().filter_map(|provider| {
        let standing = &provider.standing;
        let reason = match (standing.is_alive(), standing.last_reason()) {
            (Some(true), _) => return None,
            (Some(false) | None, Some(reason)) => reason,
            (Some(false), None) => "did not answer when it was last asked".to_owned(),
            (None, None) if is_late => format!("has not answered within {RESULTS_TIMEOUT:?}"),
            (None, None) => return None,
        };
        Some(ProviderFailure { provider: Arc::clone(&provider.target.name), reason })
    });
    StartReport { models, down: down.collect() }
}
