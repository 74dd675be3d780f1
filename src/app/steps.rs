//! The steps of a start that are not one call: each makes one part of the process out of settings and earlier
//! parts. [`super::process`] holds their order. Invariant: a part that is dropped ends, so that a failed
//! start ends them all.

use std::{future::pending, sync::Arc, thread::JoinHandle, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    StartError,
    background::{Background, BackgroundTask},
    worker::{self, WorkerConfig},
};
use crate::{
    auth::{self, Digest, Principal, StoredKeys, TokenSettings},
    config::{Settings, administration::is_loopback},
    database::DatabaseSettings,
    ledger::{self, LedgerGauges, LedgerWriter},
    prober::{FactExchange, Prober, StateFile},
    proxy::Snapshot,
    server::{self, BoundListeners, ConnLimit, Drain, Phase},
    telemetry::{Instance, LogLost, Telemetry, WorkerGauges},
    upstream::{PoolSettings, SharedPools, Upstream},
};

/// Without a key of any kind, makes a token for this run, and restricts the listener to loopback.
///
/// # Errors
/// The system gave no random bytes, or the configured host has no address: it is checked in any case.
pub(super) fn make_token(
    settings: &mut Settings,
    keys: &StoredKeys,
) -> Result<Option<TokenSettings>, StartError> {
    if !settings.tokens.is_empty() || !keys.ring().is_empty() || !keys.are_known() {
        return Ok(None);
    }
    if !is_loopback(&settings.listen) {
        server::resolve(&settings.listen).map_err(StartError::Bind)?;
        tracing::warn!("no token is configured: listening on loopback only");
        settings.listen.host = "localhost".to_owned();
    }
    // May administrate, because it is shown only to the user who started the process, and only loopback can
    // use it.
    let made = TokenSettings { admin: true, ..auth::generate::make("this run").map_err(StartError::Token)? };
    settings.tokens.push(made.clone());
    Ok(Some(made))
}

/// The telemetry of the workers with these gauges.
pub(super) fn telemetry(
    settings: &Settings,
    gauges: &[WorkerGauges],
    connections: &ConnLimit,
    log_lost: Vec<LogLost>,
) -> Telemetry {
    let connections = connections.clone();
    let mut telemetry = Telemetry::new(gauges.to_vec(), move || connections.count());
    telemetry.log_lost = log_lost.into();
    telemetry.instance = Instance::new(settings.instance.as_deref());
    telemetry.bus.set_instance(telemetry.instance.name());
    telemetry.tls = settings.listen.tls.is_some();
    telemetry.traces = settings.otel.as_ref().map(|otel| otel.sample);
    telemetry
}

/// The key that the link of the start-up lines signs in as: an administrator's, the configuration's before
/// the database's, or the only one of the configuration. `None`: there is none of these.
pub(super) fn key_of_link(snapshot: &Snapshot) -> Option<Digest> {
    let first = |admins: &mut dyn Iterator<Item = (&Digest, &Arc<Principal>)>| {
        let admins = admins.filter(|(_, principal)| principal.admin && !principal.has_expired());
        admins.min_by(|(_, one), (_, other)| one.name.cmp(&other.name)).map(|(digest, _)| *digest)
    };
    let configured = first(&mut snapshot.tokens.entries());
    configured.or_else(|| first(&mut snapshot.keys.ring().iter())).or_else(|| {
        let mut all = snapshot.tokens.entries();
        all.next().filter(|_| all.next().is_none()).map(|(digest, _)| *digest)
    })
}

/// The ledger's database. `None`: no ledger is kept.
pub(super) fn ledger_database(settings: &Settings) -> Option<DatabaseSettings> {
    settings.database.clone().filter(|_| settings.ledger.enabled)
}

/// The ledger's thread, which ends when the writer is dropped. `None`: no ledger is kept.
///
/// # Errors
/// The system gave no thread.
pub(super) fn start_ledger(
    settings: &Settings,
    gauges: &LedgerGauges,
) -> Result<Option<(LedgerWriter, JoinHandle<()>)>, StartError> {
    let Some(database) = ledger_database(settings) else { return Ok(None) };
    ledger::start(settings.ledger.clone(), database, gauges.clone()).map(Some).map_err(StartError::Thread)
}

/// One thread for each worker's listeners, pushed to `threads` as it starts.
///
/// # Errors
/// The system gave no thread; workers before that have started.
pub(super) fn start_workers(
    bound: BoundListeners,
    gauges: Vec<WorkerGauges>,
    config: &WorkerConfig,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), StartError> {
    for (index, (listeners, gauges)) in bound.per_worker.into_iter().zip(gauges).enumerate() {
        let name = format!("worker-{index}");
        threads.push(worker::start(name, listeners, config.clone(), gauges).map_err(StartError::Thread)?);
    }
    Ok(())
}

/// The prober's task, which ends when the drain begins. `swapped` changes after each reload; by `exchange`
/// facts are shared with other replicas.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start_prober(
    settings: &Settings,
    is_demo: bool,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    (swapped, exchange): (watch::Receiver<u64>, Option<FactExchange>),
    drain: &Drain,
    background: &Background,
) -> Result<BackgroundTask, StartError> {
    // No connection is kept from one check of a provider to the next.
    let pool = PoolSettings { max_keepalive: 0, keepalive_expiry: Duration::ZERO, ..settings.pool };
    // The demo provider has another port in each run, so that nothing known of it helps the next.
    let state_file = settings.state_file.clone().filter(|_| !is_demo);
    let (snapshot, drain) = (Arc::clone(snapshot), drain.clone());
    let run = move || async move {
        let upstream = Upstream::new(SharedPools::default(), pool, WorkerGauges::default());
        let state_file = StateFile::open(state_file, &snapshot.load().recalls).await;
        let prober = Prober::new(snapshot, upstream, state_file);
        let share = async {
            match exchange {
                Some(exchange) => exchange.run(&prober).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = prober.run(swapped) => {}
            () = share => {}
            () = drain.reached(Phase::Draining) => {}
        }
        prober.close().await;
    };
    background.spawn("prober", run).map_err(StartError::Thread)
}
