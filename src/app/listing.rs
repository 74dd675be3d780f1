//! Asks the providers whose models are not configured for their lists (`GET {base}/models`, S1.1), in the background:
//! at start, again soon while a provider does not answer, and once an hour.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{HeaderMap, Method};
use serde::Deserialize;
use tokio::time::{sleep, timeout_at};

use crate::{
    base::{ByteList, Clock, Fault, Kind, Sent, Stage, spawn::Tasks},
    proxy::{Provider, Snapshot},
    relay::whole,
    routing::Listing,
    upstream::{Deadline, Request, Upstream},
};

const REFRESH: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(30);
/// Bytes of a list.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// Keeps the lists of `snapshot` fresh until the tasks are dropped.
pub(super) fn watch(snapshot: &Arc<ArcSwap<Snapshot>>, upstream: &Upstream, tasks: &Tasks) {
    let providers = snapshot.load().providers.clone();
    for (index, provider) in providers.into_iter().enumerate() {
        if snapshot.load().catalog.is_configured(index) {
            continue;
        }
        let (snapshot, upstream) = (Arc::clone(snapshot), upstream.clone());
        tasks.spawn(async move {
            loop {
                sleep(refresh(&snapshot, &upstream, index, &provider).await).await;
            }
        });
    }
}

/// One round; gives the time to the next.
async fn refresh(
    snapshot: &ArcSwap<Snapshot>,
    upstream: &Upstream,
    index: usize,
    provider: &Provider,
) -> Duration {
    match fetch(upstream, provider).await {
        Ok(Some(models)) => {
            provider.health.note(true);
            tracing::info!(provider = %provider.target.name, models = models.len(), "models listed");
            let listing = Listing::Fetched(models);
            snapshot.rcu(|current| {
                let mut next = Snapshot::clone(current);
                next.catalog = current.catalog.with_listing(index, listing.clone());
                Arc::new(next)
            });
            REFRESH
        }
        Ok(None) => {
            provider.health.note(true);
            tracing::debug!(provider = %provider.target.name, "lists no models");
            REFRESH
        }
        Err(fault) => {
            provider.health.note(false);
            tracing::warn!(provider = %provider.target.name, %fault, "cannot list models");
            RETRY
        }
    }
}

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: Box<str>,
}

/// `None`: it answered, but not with a list.
async fn fetch(upstream: &Upstream, provider: &Provider) -> Result<Option<Vec<Box<str>>>, Fault> {
    let target = &*provider.target;
    let headers = HeaderMap::new();
    let request =
        Request { method: Method::GET, path: "/models", headers: &headers, accept: "application/json" };
    let deadline = Deadline::new(Clock::Total, target.clocks.total);
    let response = upstream.send(target, &request, ByteList::new(), deadline).await?;
    if response.status.is_server_error() {
        let kind = Kind::Status(response.status.as_u16());
        return Err(Fault::provider(Stage::Head, kind, Sent::Some));
    }
    let success = response.status.is_success();
    let collected = timeout_at(deadline.at, whole::collect(response.body, ByteList::new(), MAX_LIST)).await;
    let body = collected.unwrap_or_else(|_| Err(deadline.fault(Stage::Body)))?;
    let list = serde_json::from_slice::<List>(&body.join()).ok().filter(|_| success);
    Ok(list.map(|list| list.data.into_iter().map(|model| model.id).collect()))
}
