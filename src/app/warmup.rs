//! Connections opened before the first request (S1.9): each worker opens its own, to the providers of the
//! highest priority, at start and after a reload that brought others. Nothing depends on them: where one
//! cannot be opened, the first request dials.

use std::sync::Arc;

use crate::{
    base::spawn::Tasks,
    proxy::Snapshot,
    upstream::{Target, Upstream},
};

/// The providers to which one worker has opened connections.
#[derive(Debug, Default)]
pub(super) struct Warmup {
    warmed: Vec<Arc<Target>>,
}

impl Warmup {
    /// Opens connections to providers that are new since the last call. Without one it only compares some
    /// pointers.
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

    /// The providers among the first `health.warmup` that were not among them at the last call.
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
