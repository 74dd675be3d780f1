//! The background task that puts the statistics of this replica up in Redis, for `/stats?scope=cluster` of
//! the others. Two commands each time, and only when there is news or half of the document's life is over.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::background::{Background, BackgroundTask};
use crate::{
    cluster::{DocumentBoard, board::DOCUMENT_LIFE},
    ledger::LedgerGauges,
    proxy::Snapshot,
    telemetry::Telemetry,
    web::ReplicaStats,
};

/// Between two looks at the statistics.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a stop waits until the document is taken down.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);

/// Dropping it ends the task.
#[derive(Debug)]
pub(super) struct RunningStatsTask {
    stop: oneshot::Sender<()>,
    task: BackgroundTask,
}

/// The statistics of this replica, from where they are read.
#[derive(Debug)]
pub(super) struct StatsSource {
    pub(super) telemetry: Telemetry,
    pub(super) ledger: LedgerGauges,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
}

/// Starts the task.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    source: StatsSource,
    board: DocumentBoard,
    background: &Background,
) -> io::Result<RunningStatsTask> {
    let (stop, stopped) = oneshot::channel();
    let task = background.spawn("stats", move || run(Arc::new(source), board, stopped))?;
    Ok(RunningStatsTask { stop, task })
}

async fn run(source: Arc<StatsSource>, board: DocumentBoard, mut stopped: oneshot::Receiver<()>) {
    let place = source.telemetry.instance.place();
    let mut period = interval(LOOK_INTERVAL);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<(u64, Instant)> = None;
    loop {
        tokio::select! {
            _ = period.tick() => {}
            // Also ends when the sender is gone.
            _ = &mut stopped => break,
        }
        let gathered = Arc::clone(&source);
        // Grows with the number of names, so not on the runtime that all tasks share.
        let document = spawn_blocking(move || {
            let StatsSource { telemetry, ledger, snapshot } = &*gathered;
            ReplicaStats::gather(telemetry, ledger.read(), &snapshot.load()).document(telemetry)
        });
        let Ok(document) = document.await else { continue };
        let is_known = |(news, at): (u64, Instant)| news == document.news && at.elapsed() < DOCUMENT_LIFE / 2;
        if last.is_some_and(is_known) {
            continue;
        }
        let put = board.put(&place, &document.bytes).await;
        // An outage is the connection's to log.
        last = put.is_ok().then(|| (document.news, Instant::now()));
    }
    let _ = timeout(STOP_TIMEOUT, board.take_down(&place)).await;
}

impl RunningStatsTask {
    /// Blocks until the document is taken down, but not long.
    pub(super) fn stop(self) {
        drop(self.stop);
        self.task.join();
    }
}
