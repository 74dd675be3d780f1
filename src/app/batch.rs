//! The thread that keeps and runs batches of files: the store, and a gateway of its own, so that items take
//! nothing from the workers' threads. Ends when the drain begins and the items under way have ended, or the
//! drain's time is over.

use std::{
    rc::Rc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{interval, sleep},
};

use super::{
    StartError,
    worker::{self, WorkerConfig},
};
use crate::{
    base::{Episode, spawn::Tasks},
    batch::{BatchDesk, BatchRunner, BatchStore, DeskQueue},
    config::Settings,
    database::DatabaseSettings,
    exchange::CompletionQueue,
    proxy::{self, Gateway},
    server::Phase,
    telemetry::WorkerGauges,
    upstream::Upstream,
};

/// Between two sweeps of idle connections to providers.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Between two attempts to open the database.
const OPEN_INTERVAL: Duration = Duration::from_secs(1);
/// How long questions wait for a database that does not open.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// How long the store keeps its connection while another part waits for one.
const RELEASE_INTERVAL: Duration = Duration::from_millis(50);

/// The thread's parts that are made before the workers'.
pub(super) struct PreparedBatches {
    database: DatabaseSettings,
    queue: DeskQueue,
    gauges: WorkerGauges,
}

/// The way to the store, and the parts of its thread, whose gauges are added to `gauges`. `None`: no files
/// and batches are kept.
pub(super) fn prepare(
    settings: &Settings,
    gauges: &mut Vec<WorkerGauges>,
) -> Option<(BatchDesk, PreparedBatches)> {
    let database = settings.database.clone().filter(|_| settings.batch.enabled)?;
    let (desk, queue) = BatchDesk::open();
    let own = WorkerGauges::default();
    gauges.push(own.clone());
    Some((desk, PreparedBatches { database, queue, gauges: own }))
}

/// Starts the thread, which shares with the workers what they share among themselves.
///
/// # Errors
/// The system gave no thread.
pub(super) fn start(
    prepared: Option<PreparedBatches>,
    worker: &WorkerConfig,
) -> Result<Option<JoinHandle<()>>, StartError> {
    let Some(PreparedBatches { database, queue, gauges }) = prepared else { return Ok(None) };
    // Its own way to the store would keep the thread from its end.
    let config = WorkerConfig { desk: None, ..worker.clone() };
    let thread = thread::Builder::new().name("batches".to_owned()).spawn(move || match worker::runtime() {
        Ok(runtime) => runtime.block_on(run(config, database, queue, gauges)),
        Err(error) => tracing::error!(%error, "batches do not run"),
    });
    thread.map(Some).map_err(StartError::Thread)
}

async fn run(config: WorkerConfig, database: DatabaseSettings, mut queue: DeskQueue, gauges: WorkerGauges) {
    let tasks = Tasks::new();
    let upstream = Upstream::new(config.pools, config.pool_settings, gauges.clone());
    let completions = Rc::<CompletionQueue>::default();
    let telemetry = config.telemetry.clone();
    telemetry.batches.show();
    let drain = config.serve.drain.clone();
    let snapshot = std::sync::Arc::clone(&config.snapshot);
    let gateway = Rc::new(Gateway::new(
        config.snapshot,
        upstream.clone(),
        Rc::clone(&completions),
        gauges,
        telemetry.traces,
        (config.bodies, config.background),
    ));
    let (settlement, carried) = (config.settlement.clone(), Rc::clone(&completions));
    tasks.spawn_watched("completions", async move { settlement.carry(carried).await });
    let requests = Rc::clone(&completions);
    tasks.spawn_watched("running", async move { config.running.answer(requests).await });
    tasks.spawn_watched("sweep", async move {
        let mut interval = interval(SWEEP_INTERVAL);
        loop {
            interval.tick().await;
            upstream.sweep();
            let snapshot = snapshot.load();
            let targets = snapshot.providers.iter().flat_map(proxy::snapshot::Provider::targets);
            upstream.follow(targets, snapshot.pool);
        }
    });
    let opened = tokio::select! {
        store = open(&database) => Some(Rc::new(store)),
        () = async { sleep(OPEN_PATIENCE).await; queue.turn_away().await } => None,
        () = drain.reached(Phase::Draining) => None,
    };
    if let Some(store) = opened {
        let (stopping, stop) = watch::channel(false);
        let runner = BatchRunner {
            store: Rc::clone(&store),
            gateway: Rc::clone(&gateway),
            settings: config.batch,
            gauges: telemetry.batches,
            stop,
        };
        let last = async {
            drain.reached(Phase::Draining).await;
            stopping.send_replace(true);
            sleep(config.serve.limits.load().drain).await;
            gateway.end();
        };
        let release = async {
            loop {
                database.connections.wanted().await;
                store.release().await;
                sleep(RELEASE_INTERVAL).await;
            }
        };
        tokio::select! {
            // Files go up and down until the workers have ended, which hold the desk.
            ((), ()) = async { tokio::join!(Box::pin(runner.run()), queue.serve(&store)) } => {}
            () = last => {}
            () = release => {}
        }
        store.close().await;
    }
    gateway.detached().close().await;
    completions.emptied().await;
    config.settlement.flush(&completions);
}

async fn open(database: &DatabaseSettings) -> BatchStore {
    let mut outage = Episode::default();
    loop {
        match BatchStore::open(database).await {
            Ok(store) => return store,
            Err(error) => {
                if outage.begin() {
                    tracing::warn!(%error, "batches wait for the database");
                }
                sleep(OPEN_INTERVAL).await;
            }
        }
    }
}
