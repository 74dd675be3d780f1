//! The thread on which keys are kept as the database has them. It begins first, so that whoever asks first is known, and
//! ends last, when all that was spent has been booked.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::worker;
use crate::{
    auth::{KeySync, sync::PERIOD},
    proxy::Snapshot,
};

/// How long a start waits for the database.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a stop waits for it.
const FAREWELL: Duration = Duration::from_secs(5);

type SharedSnapshot = Arc<ArcSwap<Snapshot>>;
/// Told whether the store answered.
type FirstSync = mpsc::SyncSender<bool>;

/// A keeper at work. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct StartingKeySync {
    begin: oneshot::Sender<(SharedSnapshot, FirstSync)>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    /// The store has answered.
    answered: bool,
}

/// A keeper that has begun to look at the configuration's keys as well.
#[derive(Debug)]
pub(super) struct RunningKeySync {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts the thread, and waits for its first look within a bound.
pub(super) fn start(keeper: KeySync) -> io::Result<StartingKeySync> {
    let (begin, begun) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (looked, first) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("keys".to_owned()).spawn(move || match worker::runtime() {
        Ok(runtime) => runtime.block_on(keep(keeper, looked, begun, stopped)),
        Err(error) => tracing::error!(%error, "no runtime to keep keys on"),
    })?;
    // What went wrong has been said by the keeper.
    let answered = first.recv_timeout(PATIENCE) == Ok(true);
    Ok(StartingKeySync { begin, stop, thread, answered })
}

async fn keep(
    mut keeper: KeySync,
    looked: FirstSync,
    begun: oneshot::Receiver<(SharedSnapshot, FirstSync)>,
    mut stopped: oneshot::Receiver<()>,
) {
    let found = keeper.look(None).await;
    // Whoever waited has lost patience.
    let _ = looked.try_send(found);
    let Ok((snapshot, looked)) = begun.await else { return };
    let tokens = snapshot.load().tokens.clone();
    let _ = looked.try_send(keeper.look(Some(&tokens)).await);
    let mut period = interval_at(Instant::now() + PERIOD, PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = period.tick() => {}
            _ = &mut stopped => break,
        }
        let tokens = snapshot.load().tokens.clone();
        keeper.look(Some(&tokens)).await;
    }
    let tokens = snapshot.load().tokens.clone();
    let _ = timeout(FAREWELL, keeper.settle(&tokens)).await;
    keeper.close().await;
}

impl StartingKeySync {
    /// From now on the keys of the configuration are looked at as well. Waits until what they have spent is known, within
    /// a bound, unless the store is away anyway.
    pub(super) fn begin(self, snapshot: &SharedSnapshot) -> RunningKeySync {
        let (looked, second) = mpsc::sync_channel(1);
        // Gone already, if it had panicked.
        let _ = self.begin.send((Arc::clone(snapshot), looked));
        if self.answered {
            let _ = second.recv_timeout(PATIENCE);
        }
        RunningKeySync { stop: self.stop, thread: self.thread }
    }
}

impl RunningKeySync {
    /// Books what was spent, and ends.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the keeper of keys had panicked");
        }
    }
}
