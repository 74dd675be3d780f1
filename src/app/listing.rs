//! Asks the providers whose models are not configured for their lists (`GET {base}/models`, S1.1), in the background:
//! at start, again soon while a provider does not answer, and once an hour.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{HeaderMap, Method};
use serde::Deserialize;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout_at},
};

use crate::{
    base::{ByteList, Clock, Fault, Kind, Moment, Sent, Stage, spawn::Tasks},
    proxy::{Provider, Snapshot},
    relay::whole,
    routing::{Listing, Means},
    upstream::{Deadline, Request, Target, Upstream},
};

const REFRESH: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(30);
/// Bytes of a list.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// One task per provider that is to be asked.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<(Arc<Target>, JoinHandle<()>)>);

impl Lists {
    /// Keeps the lists of the providers in `snapshot` fresh, and no others'; called again after a reload. A provider that
    /// did not change is not asked anew.
    pub(super) fn follow(&mut self, snapshot: &Arc<ArcSwap<Snapshot>>, upstream: &Upstream, tasks: &Tasks) {
        let current = snapshot.load();
        let asked = |index: &usize| !current.catalog.is_configured(*index);
        let wanted: Vec<&Provider> = (0..current.providers.len())
            .filter(asked)
            .filter_map(|index| current.providers.get(index))
            .collect();
        self.0.retain(|(target, task)| {
            let stays = wanted.iter().any(|provider| Arc::ptr_eq(&provider.target, target));
            if !stays {
                task.abort();
            }
            stays
        });
        for provider in wanted {
            if self.0.iter().any(|(target, _)| Arc::ptr_eq(&provider.target, target)) {
                continue;
            }
            let (snapshot, upstream, own) = (Arc::clone(snapshot), upstream.clone(), provider.clone());
            let task = tasks.spawn(async move {
                loop {
                    sleep(refresh(&snapshot, &upstream, &own).await).await;
                }
            });
            self.0.push((Arc::clone(&provider.target), task));
        }
    }
}

/// One round; gives the time to the next.
async fn refresh(snapshot: &ArcSwap<Snapshot>, upstream: &Upstream, provider: &Provider) -> Duration {
    match fetch(upstream, provider).await {
        Ok(Some(models)) => {
            provider.standing.note(true, Means::Models, Moment::now());
            tracing::info!(provider = %provider.target.name, models = models.len(), "models listed");
            let listing = Listing::Fetched(models);
            snapshot.rcu(|current| {
                let same = |other: &Provider| Arc::ptr_eq(&other.target, &provider.target);
                let mut next = Snapshot::clone(current);
                // A reload may have come in between.
                if let Some(index) = current.providers.iter().position(same) {
                    next.catalog = current.catalog.with_listing(index, listing.clone());
                }
                Arc::new(next)
            });
            REFRESH
        }
        Ok(None) => {
            provider.standing.note(true, Means::Models, Moment::now());
            tracing::debug!(provider = %provider.target.name, "lists no models");
            REFRESH
        }
        Err(fault) => {
            provider.standing.note(false, Means::Models, Moment::now());
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
