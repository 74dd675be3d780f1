//! One core's share of the gateway: a single-threaded runtime with its own listeners, its own pools of connections to
//! providers, and a corridor between them. Nothing of it is seen by another worker but gauges and the snapshot.

use std::{io, net::TcpListener, rc::Rc, sync::Arc, thread, time::Duration};

use arc_swap::ArcSwap;
use tokio::{runtime::LocalRuntime, time::interval};

use super::{handler::SiteHandler, warmup::Warmup};
use crate::{
    base::spawn::Tasks,
    exchange::CompletionQueue,
    ledger::LedgerReader,
    proxy::{Gateway, Snapshot},
    server::{Phase, ServeOptions, serve},
    settlement::SettlementHandle,
    telemetry::{Telemetry, WorkerGauges},
    upstream::{PoolSettings, SharedPools, Target, Upstream},
    web::{ListenerRole, ReloadHandle, Site, SiteParts, compare::Gate},
};

/// How often idle connections to providers are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// What every worker is given; cloned for each.
#[derive(Clone, Debug)]
pub(super) struct WorkerConfig {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) pools: SharedPools,
    pub(super) pool_settings: PoolSettings,
    pub(super) terms: ServeOptions,
    pub(super) settler: SettlementHandle,
    /// This gateway as its own client.
    pub(super) own: Target,
    pub(super) gate: Gate,
    /// Connections are opened ahead.
    pub(super) warms_up: bool,
    pub(super) desk: ReloadHandle,
    pub(super) entrance: ListenerRole,
    pub(super) board: Telemetry,
    pub(super) ledger: LedgerReader,
}

/// A runtime for one thread, whose tasks never leave it.
pub(super) fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())
}

/// Starts a worker's thread; it ends when the drain is over.
pub(super) fn start(
    name: String,
    listeners: Vec<TcpListener>,
    outfit: WorkerConfig,
    gauges: WorkerGauges,
) -> io::Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.clone());
    thread.spawn(move || {
        let outcome = runtime_and_run(listeners, outfit, gauges);
        if let Err(error) = outcome {
            tracing::error!(%error, worker = name, "worker failed");
        }
    })
}

fn runtime_and_run(
    listeners: Vec<TcpListener>,
    outfit: WorkerConfig,
    gauges: WorkerGauges,
) -> io::Result<()> {
    runtime()?.block_on(run(listeners, outfit, gauges))
}

async fn run(listeners: Vec<TcpListener>, outfit: WorkerConfig, gauges: WorkerGauges) -> io::Result<()> {
    let tasks = Tasks::new();
    let upstream = Upstream::new(outfit.pools, outfit.pool_settings, gauges.clone());
    let ends = Rc::<CompletionQueue>::default();
    let drain = outfit.terms.drain.clone();
    let (snapshot, mut warmup) = (Arc::clone(&outfit.snapshot), outfit.warms_up.then(Warmup::default));
    let corridor =
        Gateway::new(outfit.snapshot, upstream.clone(), Rc::clone(&ends), gauges, outfit.board.traces);
    let (settler, told) = (outfit.settler.clone(), Rc::clone(&ends));
    tasks.spawn(async move { settler.carry(told).await });
    let warming = tasks.clone();
    tasks.spawn(async move {
        let mut interval = interval(SWEEP);
        loop {
            interval.tick().await;
            upstream.sweep();
            let snapshot = snapshot.load();
            upstream.follow(snapshot.providers.iter().map(|provider| &*provider.target), snapshot.pool);
            if let Some(warmup) = &mut warmup {
                warmup.follow(&snapshot, &upstream, &warming);
            }
        }
    });
    let orphans = corridor.orphans().clone();
    let (ending, draining) = (orphans.clone(), outfit.terms.drain.clone());
    tasks.spawn(async move {
        draining.reached(Phase::Draining).await;
        ending.close().await;
    });
    let parts = SiteParts {
        listener: outfit.entrance,
        ready: Rc::new(move || drain.phase() == Phase::Serving),
        reload: outfit.desk,
        telemetry: outfit.board,
        ledger: outfit.ledger,
        own: outfit.own,
        gate: outfit.gate,
    };
    let door = SiteHandler(Rc::new(Site::new(corridor, parts)));
    let outcome = serve(listeners, outfit.terms, door, tasks).await;
    // Their ends are told before the last ends are carried over.
    orphans.close().await;
    outfit.settler.flush(&ends);
    outcome
}
