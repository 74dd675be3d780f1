//! The background task that shows running requests to subscribers (`/events?running=true`): one reading of
//! all workers for all subscribers together. Without a subscriber it sleeps.

use std::io;

use tokio::time::{Duration, Instant, sleep};

use super::background::{Background, BackgroundTask};
use crate::{
    exchange::{JoinedView, RunningBoard},
    server::{Drain, Phase},
    telemetry::Telemetry,
};

/// Between two views, at least.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// A view takes at most this share of a worker's time, and of this task's.
pub(super) const SHARE: u32 = 200;
const MAX_INTERVAL: Duration = Duration::from_secs(5);
/// The same when subscribers come, however many: a tenth of the pause otherwise, or the time that the board
/// makes readers wait.
const MIN_EARLY_INTERVAL: Duration = Duration::from_millis(100);
const EARLY_SHARE: u32 = SHARE / 10;

/// Starts the task, which ends when the drain begins.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    (telemetry, board): (Telemetry, RunningBoard),
    drain: Drain,
    background: &Background,
) -> io::Result<BackgroundTask> {
    background.spawn("running", move || async move {
        tokio::select! {
            () = run(telemetry, board) => {}
            () = drain.reached(Phase::Draining) => {}
        }
    })
}

async fn run(telemetry: Telemetry, board: RunningBoard) {
    let bus = &telemetry.bus;
    loop {
        let scopes = bus.running.scopes();
        if scopes.is_empty() {
            bus.running.subscribed().await;
            continue;
        }
        let keys = scopes.iter().map(|scope| scope.key.clone()).collect();
        let mut reading = board.read(keys).await;
        let formatting = Instant::now();
        for (scope, view) in scopes.iter().zip(&mut reading.views) {
            if scope.of_all {
                let joined = JoinedView::new(telemetry.instance.name(), view, &scope.key, &board.others());
                bus.publish_running(scope, joined.is_empty(), || joined.json());
            } else {
                bus.publish_running(scope, view.is_empty(), || view.json());
            }
        }
        let took = reading.took.max(formatting.elapsed());
        pause(took, bus.running.subscribed()).await;
    }
}

/// Until the next view, after one that took so long.
async fn pause(took: Duration, subscribed: impl Future<Output = ()>) {
    let early = (took * EARLY_SHARE).clamp(MIN_EARLY_INTERVAL, MAX_INTERVAL);
    let pause = (took * SHARE).clamp(MIN_INTERVAL, MAX_INTERVAL);
    sleep(early).await;
    tokio::select! {
        () = sleep(pause.saturating_sub(early)) => {}
        // A new subscriber has the last view of its scope, or none, and waits for the next.
        () = subscribed => {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_view_takes_a_bounded_share_also_when_subscribers_come() {
        for (took, rest, early) in [(0, 250, 100), (10, 2000, 200), (25, 5000, 500), (1000, 5000, 5000)] {
            let begun = Instant::now();
            pause(Duration::from_millis(took), pending()).await;
            assert_eq!(begun.elapsed().as_millis(), rest, "{took}");
            let begun = Instant::now();
            pause(Duration::from_millis(took), ready(())).await;
            assert_eq!(begun.elapsed().as_millis(), early, "{took}");
        }
    }
}
