//! The batches that this replica runs: it looks for free ones, takes their leases, and drives each as a task
//! of its own. Few of one key at once, so that one key's batches do not keep out another's.

use std::{collections::HashMap, rc::Rc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    run::{JobContext, run_job},
    settings::BatchSettings,
    store::{BatchStore, unix_now},
};
use crate::{
    base::{Episode, spawn::TaskSet},
    database::DatabaseError,
    proxy::Gateway,
    telemetry::BatchGauges,
};

/// Batches that run at once, in all and of one key.
const MAX_JOBS: usize = 8;
const MAX_JOBS_PER_KEY: usize = 2;
/// Between two removals of files whose time is over.
const CLEAN_INTERVAL: Duration = Duration::from_secs(3600);
/// The longest time between two looks for batches of other replicas.
const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs batches. Dropping its future ends their items; their leases run out.
pub struct BatchRunner {
    pub store: Rc<BatchStore>,
    pub gateway: Rc<Gateway>,
    pub settings: BatchSettings,
    pub gauges: BatchGauges,
    /// True: begin nothing more, and return when the items under way have ended.
    pub stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for BatchRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchRunner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl BatchRunner {
    pub async fn run(mut self) {
        let name: Rc<str> = self.store.make_runner().into();
        let places = Rc::new(Semaphore::new(usize::try_from(self.settings.max_concurrency).unwrap_or(1)));
        let mut jobs: TaskSet<(String, String), ()> = TaskSet::default();
        let mut running: HashMap<String, String> = HashMap::new();
        let mut look = interval((self.settings.lease / 3).min(MAX_LOOK_INTERVAL));
        let mut news = self.store.news();
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut cleaned, mut outage): (Option<Instant>, _) = (None, Episode::default());
        loop {
            tokio::select! {
                _ = look.tick() => {}
                Ok(()) = news.changed() => {}
                Some(((id, _), _)) = jobs.next(), if !jobs.is_empty() => {
                    running.remove(&id);
                }
                _ = self.stop.wait_for(|stop| *stop) => break,
            }
            if cleaned.is_none_or(|at| at.elapsed() >= CLEAN_INTERVAL) {
                cleaned = Some(Instant::now());
                let keep = i64::try_from(self.settings.keep.as_secs()).unwrap_or(i64::MAX);
                let _ = self.store.clean(unix_now().saturating_sub(keep)).await;
            }
            match self.take(&name, &mut running).await {
                Ok(taken) => {
                    if outage.end() {
                        tracing::info!("batches: the database answers again");
                    }
                    for (id, owner) in taken {
                        let context = JobContext {
                            store: Rc::clone(&self.store),
                            gateway: Rc::clone(&self.gateway),
                            settings: self.settings,
                            gauges: self.gauges.clone(),
                            runner: Rc::clone(&name),
                            places: Rc::clone(&places),
                            stop: self.stop.clone(),
                        };
                        jobs.spawn((id.clone(), owner.clone()), run_job(context, id, owner));
                    }
                }
                Err(error) => {
                    if outage.begin() {
                        tracing::warn!(%error, "batches: the database does not answer");
                    }
                }
            }
        }
        while jobs.next().await.is_some() {}
    }

    /// Takes the leases of free batches, while there is room.
    async fn take(
        &self,
        name: &str,
        running: &mut HashMap<String, String>,
    ) -> Result<Vec<(String, String)>, DatabaseError> {
        let mut taken = Vec::new();
        let free = self.store.free().await?;
        let found = free.len();
        for (id, owner) in free {
            let of_key = running.values().filter(|other| **other == owner).count();
            if running.len() >= MAX_JOBS || of_key >= MAX_JOBS_PER_KEY || running.contains_key(&id) {
                continue;
            }
            match self.store.lease(&id, name, self.settings.lease).await {
                Ok(true) => {
                    running.insert(id.clone(), owner.clone());
                    taken.push((id, owner));
                }
                Ok(false) => {}
                Err(error) if taken.is_empty() => return Err(error),
                // Those that are taken run.
                Err(_) => break,
            }
        }
        self.gauges.set_waiting(found - taken.len());
        Ok(taken)
    }
}
