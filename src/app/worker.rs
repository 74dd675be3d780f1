//! A worker: one thread with a single-threaded runtime, its own listeners and its own connection pools to
//! providers. Invariant: workers share only the snapshot, the limits of the pools, and gauges; a request
//! never changes threads.

use std::{io, net::TcpListener, rc::Rc, sync::Arc, thread, time::Duration};

use arc_swap::ArcSwap;
use tokio::{runtime::LocalRuntime, time::interval};

use super::{handler::SiteHandler, warmup::Warmup};
use crate::{
    auth::KeyDesk,
    base::{IdleMemory, spawn::Tasks},
    batch::{BatchDesk, BatchSettings},
    cluster::DocumentBoard,
    exchange::{BackgroundCharges, CompletionQueue, RunningBoard},
    ledger::LedgerReader,
    proxy::{self, BodyMemory, Gateway, Snapshot},
    server::{Phase, ServeOptions, serve},
    settlement::SettlementHandle,
    telemetry::{Telemetry, WorkerGauges},
    upstream::{PoolSettings, SharedPools, Target, Upstream},
    web::{
        ListenerRole, ReloadHandle, Site, SiteParts,
        compare::{Gate, KeptRuns},
    },
};

/// Requests at once that leave behind memory worth half a millisecond of the worker.
const BUSY_REQUESTS: usize = 16;
/// Between two sweeps of idle connections to providers.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration of a worker; each has a clone.
#[derive(Clone, Debug)]
pub(super) struct WorkerConfig {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) pools: SharedPools,
    pub(super) pool_settings: PoolSettings,
    pub(super) bodies: BodyMemory,
    pub(super) background: BackgroundCharges,
    pub(super) serve: ServeOptions,
    pub(super) settlement: SettlementHandle,
    pub(super) keys: KeyDesk,
    /// This gateway as the target of its own comparisons.
    pub(super) own: Target,
    pub(super) gate: Gate,
    pub(super) runs: KeptRuns,
    /// Connections to providers are opened before the first request.
    pub(super) warms_up: bool,
    pub(super) reload: ReloadHandle,
    pub(super) role: ListenerRole,
    pub(super) telemetry: Telemetry,
    pub(super) ledger: LedgerReader,
    pub(super) board: Option<DocumentBoard>,
    pub(super) batch: BatchSettings,
    /// The way to files and batches. `None`: none are kept.
    pub(super) desk: Option<BatchDesk>,
    /// Where running requests are looked at.
    pub(super) running: RunningBoard,
}

/// A runtime for one thread; its tasks never leave that thread.
pub(super) fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())
}

/// Starts a worker's thread, which ends when the drain is over.
pub(super) fn start(
    name: String,
    listeners: Vec<TcpListener>,
    config: WorkerConfig,
    gauges: WorkerGauges,
) -> io::Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.clone());
    thread.spawn(move || {
        let outcome = runtime_and_run(listeners, config, gauges);
        if let Err(error) = outcome {
            tracing::error!(%error, worker = name, "worker failed");
        }
    })
}

fn runtime_and_run(
    listeners: Vec<TcpListener>,
    config: WorkerConfig,
    gauges: WorkerGauges,
) -> io::Result<()> {
    runtime()?.block_on(run(listeners, config, gauges))
}

async fn run(listeners: Vec<TcpListener>, config: WorkerConfig, gauges: WorkerGauges) -> io::Result<()> {
    let tasks = Tasks::new();
    let upstream = Upstream::new(config.pools, config.pool_settings, gauges.clone());
    let completions = Rc::<CompletionQueue>::default();
    let drain = config.serve.drain.clone();
    let (snapshot, mut warmup) = (Arc::clone(&config.snapshot), config.warms_up.then(Warmup::default));
    let gateway = Gateway::new(
        config.snapshot,
        upstream.clone(),
        Rc::clone(&completions),
        gauges,
        config.telemetry.traces,
        (config.bodies, config.background),
    );
    let (settlement, queue) = (config.settlement.clone(), Rc::clone(&completions));
    tasks.spawn_watched("completions", async move { settlement.carry(queue).await });
    let (running, requests) = (config.running.clone(), Rc::clone(&completions));
    tasks.spawn_watched("running", async move { running.answer(requests).await });
    let (warming, requests) = (tasks.clone(), Rc::clone(&completions));
    tasks.spawn_watched("sweep", async move {
        let (mut interval, mut memory) = (interval(SWEEP_INTERVAL), IdleMemory::default());
        loop {
            interval.tick().await;
            let running = requests.running_count();
            if running == 0 || running >= BUSY_REQUESTS {
                memory.look(running > 0);
            }
            upstream.sweep();
            let snapshot = snapshot.load();
            upstream.follow(
                snapshot.providers.iter().flat_map(proxy::snapshot::Provider::targets),
                snapshot.pool,
            );
            if let Some(warmup) = &mut warmup {
                warmup.follow(&snapshot, &upstream, &warming);
            }
        }
    });
    let detached = gateway.detached().clone();
    let (ending, draining) = (detached.clone(), config.serve.drain.clone());
    tasks.spawn_watched("drain", async move {
        draining.reached(Phase::Draining).await;
        ending.close().await;
    });
    let parts = SiteParts {
        listener: config.role,
        ready: Rc::new(move || drain.phase() == Phase::Serving),
        reload: config.reload,
        telemetry: config.telemetry,
        ledger: config.ledger,
        board: config.board,
        batch: config.batch,
        desk: config.desk,
        running: config.running,
        keys: config.keys,
        own: config.own,
        gate: config.gate,
        runs: config.runs,
    };
    let handler = SiteHandler(Rc::new(Site::new(gateway, parts)));
    let outcome = serve(listeners, config.serve, handler, tasks).await;
    // First, so that the completions of detached streams are in the last flush.
    detached.close().await;
    detached.driven().await;
    completions.emptied().await;
    config.settlement.flush(&completions);
    outcome
}
