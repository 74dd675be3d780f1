//! The background task that shows running requests to subscribers (`/events?running=true`): one reading of
//! all workers for all subscribers together. Without a subscriber it sleeps.

use std::{io, sync::Arc};

use tokio::time::{Duration, Instant, sleep};

use super::background::{Background, BackgroundTask};
use crate::{
    exchange::RunningBoard,
    server::{Drain, Phase},
    telemetry::events::EventBus,
};

/// Between two views, at least.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// A view takes at most this share of a worker's time, and of this task's.
const SHARE: u32 = 200;
const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the task, which ends when the drain begins.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    (bus, board): (EventBus, RunningBoard),
    drain: Drain,
    background: &Background,
) -> io::Result<BackgroundTask> {
    background.spawn("running", move || async move {
        tokio::select! {
            () = run(bus, board) => {}
            () = drain.reached(Phase::Draining) => {}
        }
    })
}

async fn run(bus: EventBus, board: RunningBoard) {
    loop {
        let scopes = bus.running.scopes();
        if scopes.is_empty() {
            bus.running.subscribed().await;
            continue;
        }
        let mut reading = board.read(Arc::clone(&scopes)).await;
        let formatting = Instant::now();
        for (scope, view) in scopes.iter().zip(&mut reading.views) {
            bus.publish_running(scope, view.is_empty(), || view.json());
        }
        let took = reading.took.max(formatting.elapsed());
        tokio::select! {
            () = sleep((took * SHARE).clamp(MIN_INTERVAL, MAX_INTERVAL)) => {}
            // A new subscriber has the last view of its scope, or none, and waits for the next.
            () = bus.running.subscribed() => {}
        }
    }
}
