//! Connections opened before anybody asks (S1.9): a worker's own, to the providers of the highest priority, at start and
//! when a reload has brought others. One that cannot be had is nobody's loss: the first request dials again.

use std::sync::Arc;

use crate::{
    base::spawn::Tasks,
    proxy::Snapshot,
    upstream::{Target, Upstream},
};

/// What one worker has warmed.
#[derive(Debug, Default)]
pub(super) struct Warmup {
    warmed: Vec<Arc<Target>>,
}

impl Warmup {
    /// Opens what is missing since the last call. Costs next to nothing while providers stay the same.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, upstream: &Upstream, tasks: &Tasks) {
        for target in self.fresh(snapshot) {
            let upstream = upstream.clone();
            tasks.spawn(async move {
                match upstream.warm(&target).await {
                    Ok(opened) => tracing::debug!(provider = %target.name, opened, "warmed up"),
                    Err(fault) => tracing::debug!(provider = %target.name, %fault, "not warmed up"),
                }
            });
        }
    }

    /// Those of the first providers that were not among them before.
    fn fresh(&mut self, snapshot: &Snapshot) -> Vec<Arc<Target>> {
        let first =
            || snapshot.providers.iter().map(|provider| &provider.target).take(snapshot.health.warmup);
        if first().map(Arc::as_ptr).eq(self.warmed.iter().map(Arc::as_ptr)) {
            return Vec::new();
        }
        let mut fresh: Vec<Arc<Target>> = Vec::new();
        for target in first() {
            let is_warm = |known: &Arc<Target>| known.shares_connections(target);
            if !self.warmed.iter().chain(&fresh).any(is_warm) {
                fresh.push(Arc::clone(target));
            }
        }
        self.warmed = first().cloned().collect();
        fresh
    }
}
