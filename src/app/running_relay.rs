//! The background task that shows this replica's running requests to the others, for
//! `/events?running=true&scope=cluster`, and reads theirs: a document of each replica, once a second, only
//! while another replica wants it. Without a page that is open anywhere it asks Redis nothing.

use std::{io, sync::Arc};

use tokio::{
    sync::watch,
    time::{Duration, sleep},
};

use super::{
    background::{Background, BackgroundTask},
    running_task::SHARE,
};
use crate::{
    cluster::{DocumentBoard, RedisFault},
    exchange::{ReplicaViews, RunningBoard, running_view::RunningScope},
    server::{Drain, Phase},
    telemetry::Telemetry,
};

/// Between two documents of a replica, and between two looks at those of the others, at least.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Where reading takes the workers long. Below [`MAX_AGE`], so that a document is shown until the next one.
const MAX_INTERVAL: Duration = Duration::from_secs(3);
/// An older document is not shown: its replica has stopped, or is wanted no more.
const MAX_AGE: Duration = Duration::from_secs(4);

/// The views that other replicas want of this one.
pub(super) type WantedViews = watch::Receiver<Arc<[RunningScope]>>;

/// Starts the task, which ends when the drain begins.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    (telemetry, board): (Telemetry, RunningBoard),
    (documents, wanted): (DocumentBoard, WantedViews),
    drain: Drain,
    background: &Background,
) -> io::Result<BackgroundTask> {
    let relay = RunningRelay { place: telemetry.instance.place(), telemetry, board, documents, wanted };
    background.spawn("running-relay", move || async move {
        tokio::select! {
            () = relay.run() => {}
            () = drain.reached(Phase::Draining) => {}
        }
    })
}

struct RunningRelay {
    place: String,
    telemetry: Telemetry,
    board: RunningBoard,
    documents: DocumentBoard,
    wanted: WantedViews,
}

impl RunningRelay {
    async fn run(mut self) {
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            let mut took = Duration::ZERO;
            if !wanted.is_empty() {
                let mut reading = self.board.read(Arc::clone(&wanted)).await;
                took = reading.took;
                let instance = self.telemetry.instance.name();
                let document = ReplicaViews::document(instance, &wanted, &mut reading.views);
                // An outage is the connection's to log, and the events say it.
                let _ = self.documents.put(&self.place, &document).await;
            }
            let others = if self.telemetry.bus.running.has_readers_of_all() {
                self.read().await.unwrap_or_default()
            } else {
                Arc::default()
            };
            self.board.set_others(others);
            tokio::select! {
                () = sleep(interval(took)) => {}
                Ok(()) = self.wanted.changed() => {}
            }
        }
    }

    async fn read(&self) -> Result<Arc<[ReplicaViews]>, RedisFault> {
        let mut documents = self.documents.read(&self.place).await?;
        documents.sort_by(|one, other| one.place.cmp(&other.place));
        let fresh = documents.iter().filter(|document| document.age <= MAX_AGE);
        Ok(fresh.filter_map(|document| ReplicaViews::read(&document.bytes)).collect())
    }
}

/// Until the next document, after one whose reading took a worker so long.
fn interval(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(MIN_INTERVAL, MAX_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_less_often_where_reading_takes_long() {
        for (took, pause) in [(0, 1000), (5, 1000), (10, 2000), (15, 3000), (100, 3000)] {
            assert_eq!(interval(Duration::from_millis(took)).as_millis(), pause, "{took}");
        }
        assert!(MAX_INTERVAL < MAX_AGE);
    }
}
