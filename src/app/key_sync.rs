//! The background task that keeps keys as the database has them. It starts first, so that the first request
//! finds its key, and stops last, when all spending has been written. Owns the waits of start-up and stop;
//! the queries are [`KeySync`]'s. Invariant: a start waits for a slow database for a bounded time, and then
//! goes on without it.

use std::{
    io,
    sync::{Arc, mpsc},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::background::{Background, BackgroundTask};
use crate::{
    auth::{KeySync, StoredKeys, sync::POLL_INTERVAL},
    config::Settings,
    database::DatabaseError,
    proxy::Snapshot,
};

/// How long a start waits for each of the first two queries.
const START_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a stop waits until the last spending is written.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

type SharedSnapshot = Arc<ArcSwap<Snapshot>>;
/// Receives the first answer of the database.
type FirstSync = mpsc::SyncSender<Result<(), DatabaseError>>;

/// The keys' task, as it is known after its first query.
#[derive(Debug)]
pub(super) enum KeySyncStart {
    /// There is no database.
    Absent,
    Started(StartingKeySync),
    /// The database is another program's; the task has ended.
    Refused(DatabaseError),
}

/// Reads the keys of the database; those of the configuration are not known to it yet. Dropping it ends the
/// task.
#[derive(Debug)]
pub(super) struct StartingKeySync {
    begin: oneshot::Sender<(SharedSnapshot, FirstSync)>,
    stop: oneshot::Sender<()>,
    task: BackgroundTask,
    /// The database has answered.
    answered: bool,
}

/// Also reports the spending of the configuration's keys. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct RunningKeySync {
    stop: oneshot::Sender<()>,
    task: BackgroundTask,
}

/// Starts the task and waits for its first query.
pub(super) fn start(
    settings: &Settings,
    keys: &StoredKeys,
    background: &Background,
) -> io::Result<KeySyncStart> {
    let Some(database) = settings.database.clone() else { return Ok(KeySyncStart::Absent) };
    keys.await_store();
    let sync = KeySync::new(database, keys.clone());
    let (begin, begun) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (looked, first) = mpsc::sync_channel(1);
    let task = background.spawn("keys", move || run(sync, looked, begun, stopped))?;
    // Its errors have been logged by `KeySync`.
    let answered = match first.recv_timeout(START_TIMEOUT) {
        Ok(Err(error @ DatabaseError::Foreign { .. })) => {
            drop((begin, stop));
            task.join();
            return Ok(KeySyncStart::Refused(error));
        }
        Ok(Ok(())) => true,
        Ok(Err(_)) | Err(_) => false,
    };
    Ok(KeySyncStart::Started(StartingKeySync { begin, stop, task, answered }))
}

async fn run(
    mut sync: KeySync,
    first: FirstSync,
    begun: oneshot::Receiver<(SharedSnapshot, FirstSync)>,
    mut stopped: oneshot::Receiver<()>,
) {
    let answered = sync.try_look(None).await;
    // Fails if the start has gone on without it.
    let _ = first.try_send(answered);
    let Ok((snapshot, second)) = begun.await else { return };
    let tokens = snapshot.load().tokens.clone();
    let _ = second.try_send(sync.try_look(Some(&tokens)).await);
    let mut period = interval_at(Instant::now() + POLL_INTERVAL, POLL_INTERVAL);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = period.tick() => {}
            () = sync.wanted() => {
                sync.release().await;
                continue;
            }
            _ = &mut stopped => break,
        }
        let tokens = snapshot.load().tokens.clone();
        sync.look(Some(&tokens)).await;
    }
    let tokens = snapshot.load().tokens.clone();
    let _ = timeout(STOP_TIMEOUT, sync.settle(&tokens)).await;
    sync.close().await;
}

impl StartingKeySync {
    /// From now on the keys of the configuration take part. Waits for a bounded time until their spending has
    /// been read, and not at all if the database has not answered yet.
    pub(super) fn begin(self, snapshot: &SharedSnapshot) -> RunningKeySync {
        let (looked, second) = mpsc::sync_channel(1);
        // Fails if the task has panicked, which was logged.
        let _ = self.begin.send((Arc::clone(snapshot), looked));
        if self.answered {
            let _ = second.recv_timeout(START_TIMEOUT);
        }
        RunningKeySync { stop: self.stop, task: self.task }
    }
}

impl RunningKeySync {
    /// Blocks until the last spending is written and the connections are closed, or their time is over.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        self.task.join();
    }
}
