//! The process: built step by step in [`start_in`], ended in the reverse order in [`Running::stop`]. Owns
//! every thread and background task that it starts; the steps themselves are in `steps` and in the parts.
//! Invariant: a start that fails ends the parts that it had started before it returns.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    StartError, StartReport, admin,
    background::{Background, BackgroundTask},
    batch::{self, PreparedBatches},
    build,
    cluster::{self, RunningRedis},
    demo::DemoSlot,
    event_relay::{self, RunningEventRelay},
    key_sync::{self, KeySyncStart, RunningKeySync},
    reload::Reloader,
    reload_task,
    running_relay::{self, WantedViews},
    running_task, start_report,
    stats_task::{self, RunningStatsTask, StatsSource},
    steps, traces,
    worker::WorkerConfig,
};
use crate::{
    auth::{KeyDesk, StoredKeys, TokenSettings},
    base::Secret,
    cluster::DocumentBoard,
    config::{ConfigSource, Settings},
    exchange::{BackgroundCharges, RunningBoard},
    ledger::{LedgerGauges, LedgerReader, LedgerState},
    proxy::{BodyMemory, Snapshot},
    routing::StatsRegistry,
    server::{self, BoundListeners, ConnLimit, Drain, Phase, ServeOptions, ServerLimits, TlsSource},
    settlement::{self, Settlement},
    telemetry::{Gauges, LevelHandle, LogLost, Telemetry, WorkerGauges},
    upstream::SharedPools,
    web::{
        ListenerRole, ReloadHandle,
        compare::{Gate, KeptRuns},
        reload::ReloadWork,
    },
};

/// A running gateway. Dropping it lets it run on; [`Process::stop`] ends it.
#[derive(Debug)]
pub struct Process {
    view: ProcessView,
    running: Running,
}

/// The readable state of a running gateway, and its reload.
#[derive(Debug)]
struct ProcessView {
    addresses: Vec<SocketAddr>,
    admin_addresses: Vec<SocketAddr>,
    made_token: Option<TokenSettings>,
    database_refusal: Option<String>,
    is_demo: bool,
    snapshot: Arc<ArcSwap<Snapshot>>,
    limits: Arc<ArcSwap<ServerLimits>>,
    reload: ReloadHandle,
    telemetry: Telemetry,
    ledger: LedgerGauges,
}

/// Threads and tasks, in the order in which they start.
#[derive(Debug, Default)]
struct Running {
    drain: Drain,
    /// `None`: the caller runs the background tasks.
    background: Option<JoinHandle<()>>,
    key_sync: Option<RunningKeySync>,
    demo: DemoSlot,
    redis: RunningRedis,
    stats: Option<RunningStatsTask>,
    events: Option<RunningEventRelay>,
    /// The views of running requests that other replicas want, until their task takes it.
    wanted: Option<WantedViews>,
    exporter: Option<BackgroundTask>,
    ledger: Option<JoinHandle<()>>,
    settlement: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    admin: Option<JoinHandle<()>>,
    batches: Option<JoinHandle<()>>,
    views: Vec<BackgroundTask>,
    prober: Option<BackgroundTask>,
    reload: Option<BackgroundTask>,
}

/// Inputs of a gateway beside the settings.
#[derive(Debug, Default)]
pub struct ProcessContext {
    /// Where settings can be read again. `None`: there is no reload.
    pub source: Option<ConfigSource>,
    /// The log's level, set by a reload.
    pub level: Option<LevelHandle>,
    /// The counters of lines that the log has lost.
    pub log_lost: Vec<LogLost>,
    /// `None`: the process starts a thread for its background tasks. Else the caller must run the other end,
    /// from before the start until after the stop.
    pub background: Option<Background>,
}

/// Starts a gateway; it listens when this returns. With no provider configured the demo provider serves. With
/// no token configured a token is made for this run, and the gateway listens on loopback only.
///
/// # Errors
/// Names the part that could not be started. The parts before it have ended.
pub fn start(settings: Settings) -> Result<Process, StartError> {
    start_in(settings, ProcessContext::default())
}

/// [`start`] with surroundings.
///
/// # Errors
/// As there.
pub fn start_in(settings: Settings, context: ProcessContext) -> Result<Process, StartError> {
    let mut running = Running::default();
    match build_process(settings, context, &mut running) {
        Ok(view) => Ok(Process { view, running }),
        Err(error) => {
            running.stop();
            Err(error)
        }
    }
}

/// The steps of the start. Started parts are put into `running`, so that a later error ends it.
fn build_process(
    mut settings: Settings,
    context: ProcessContext,
    running: &mut Running,
) -> Result<ProcessView, StartError> {
    let ProcessContext { source, level, log_lost, background } = context;
    let background = running.start_background(background)?;

    let mut keys = StoredKeys::default();
    let mut database_refusal = None;
    let key_sync = match key_sync::start(&settings, &keys, &background).map_err(StartError::Thread)? {
        KeySyncStart::Started(key_sync) => Some(key_sync),
        KeySyncStart::Absent => None,
        KeySyncStart::Refused(error) => {
            // Neither keys nor ledger: the gateway serves as without a database.
            keys = StoredKeys::default();
            settings.database = None;
            database_refusal = Some(error.to_string());
            None
        }
    };
    let made_token = steps::make_token(&mut settings, &keys)?;
    running.demo.keep(running.demo.provide(&mut settings).map_err(StartError::Demo)?);
    let tls = settings.listen.tls.clone().map(TlsSource::load).transpose().map_err(StartError::Tls)?;
    let bound = server::bind(&settings.listen, settings.workers.get()).map_err(StartError::Bind)?;
    let addresses = bound.addresses.clone();

    let records = StatsRegistry::default();
    let snapshot = Snapshot { keys, ..build::snapshot(&settings, &records) };
    let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
    running.key_sync = key_sync.map(|key_sync| key_sync.begin(&snapshot));

    let conn_limit = ConnLimit::default();
    let mut gauges: Vec<WorkerGauges> = bound.per_worker.iter().map(|_| WorkerGauges::default()).collect();
    let (desk, batches) = batch::prepare(&settings, &mut gauges).unzip();
    let telemetry = steps::telemetry(&settings, &gauges, &conn_limit, log_lost);
    let redis = cluster::start(&settings, &snapshot.load(), &telemetry.redis, &background);
    running.redis = redis.map_err(StartError::Thread)?;
    let exporter = traces::start(settings.otel.as_ref(), &telemetry.spans_lost, &background);
    let (spans, exporter) = exporter.map_err(StartError::Thread)?.unzip();
    running.exporter = exporter;
    let ledger = LedgerGauges::default();
    let board = running.share_stats((&telemetry, &ledger, &snapshot), &background)?;
    let (rows, ledger_thread) = steps::start_ledger(&settings, &ledger)?.unzip();
    running.ledger = ledger_thread;
    let settlement =
        Settlement { telemetry: telemetry.clone(), config: Arc::clone(&snapshot), ledger: rows, spans };
    let (settlement, settlement_thread) = settlement::start(settlement).map_err(StartError::Thread)?;
    running.settlement = Some(settlement_thread);

    let limits = Arc::new(ArcSwap::from_pointee(settings.limits));
    let (reload, reload_requests) = ReloadHandle::open();
    let drain = running.drain.clone();
    let serve = ServeOptions { limits: Arc::clone(&limits), drain: drain.clone(), conn_limit, tls };
    let worker = WorkerConfig {
        snapshot: Arc::clone(&snapshot),
        pools: SharedPools::default(),
        bodies: BodyMemory::default(),
        background: BackgroundCharges::default(),
        pool_settings: settings.pool,
        serve,
        settlement,
        keys: KeyDesk::new(settings.database.clone()),
        own: build::own(&settings.listen, &addresses),
        gate: Gate::default(),
        runs: KeptRuns::default(),
        warms_up: true,
        reload: reload.clone(),
        role: ListenerRole::Public,
        telemetry: telemetry.clone(),
        ledger: LedgerReader::new(ledger.clone(), steps::ledger_database(&settings)),
        board,
        batch: settings.batch,
        desk,
        running: RunningBoard::default(),
    };
    let admin_addresses = running.start_workers((bound, gauges, batches), &settings, &worker, &background)?;
    drop(worker);

    let (swapped, is_demo) = (watch::Sender::new(0), running.demo.is_running());
    let follow = swapped.subscribe();
    running.prober = Some(steps::start_prober(
        &settings,
        is_demo,
        &snapshot,
        (follow, running.redis.exchange()),
        &drain,
        &background,
    )?);
    let view = ProcessView {
        addresses,
        admin_addresses,
        made_token: made_token.clone(),
        database_refusal,
        is_demo,
        snapshot: Arc::clone(&snapshot),
        limits: Arc::clone(&limits),
        reload,
        telemetry,
        ledger,
    };
    let demo = running.demo.clone();
    let last = None;
    let reloader =
        Reloader { source, level, snapshot, limits, records, settings, made_token, demo, swapped, last };
    let reload = reload_task::start(reloader, reload_requests, drain, &background);
    running.reload = Some(reload.map_err(StartError::Thread)?);
    Ok(view)
}

impl Running {
    /// The background runtime: the caller's, or a thread of this process.
    fn start_background(&mut self, background: Option<Background>) -> Result<Background, StartError> {
        if let Some(background) = background {
            return Ok(background);
        }
        let (background, thread) = Background::on_thread().map_err(StartError::Thread)?;
        self.background = Some(thread);
        Ok(background)
    }

    /// Shows this replica's statistics and events to the others; returns the place of all statistics. `None`:
    /// there is no Redis.
    fn share_stats(
        &mut self,
        (telemetry, ledger, snapshot): (&Telemetry, &LedgerGauges, &Arc<ArcSwap<Snapshot>>),
        background: &Background,
    ) -> Result<Option<DocumentBoard>, StartError> {
        let Some(board) = self.redis.stats_board() else { return Ok(None) };
        let own = telemetry.clone();
        let (telemetry, ledger, snapshot) = (telemetry.clone(), ledger.clone(), Arc::clone(snapshot));
        let source = StatsSource { telemetry, ledger, snapshot };
        let task = stats_task::start(source, board.clone(), background);
        self.stats = Some(task.map_err(StartError::Thread)?);
        if let Some(channel) = self.redis.event_channel() {
            let task = event_relay::start(own, channel, background);
            let (task, wanted) = task.map_err(StartError::Thread)?;
            (self.events, self.wanted) = (Some(task), Some(wanted));
        }
        Ok(Some(board))
    }

    /// The workers, those of batches and of operators, and the task that shows what they have under way.
    /// Returns the addresses of the operators' listener.
    fn start_workers(
        &mut self,
        (bound, gauges, batches): (BoundListeners, Vec<WorkerGauges>, Option<PreparedBatches>),
        settings: &Settings,
        worker: &WorkerConfig,
        background: &Background,
    ) -> Result<Vec<SocketAddr>, StartError> {
        self.batches = batch::start(batches, worker)?;
        steps::start_workers(bound, gauges, worker, &mut self.workers)?;
        let (admin_addresses, admin) = admin::start(settings.admin_listen.as_ref(), worker)?.unzip();
        self.admin = admin;
        let watched = (worker.telemetry.clone(), worker.running.clone());
        let view = running_task::start(watched.clone(), self.drain.clone(), background);
        self.views.push(view.map_err(StartError::Thread)?);
        if let (Some(documents), Some(wanted)) = (self.redis.running_documents(), self.wanted.take()) {
            let task = running_relay::start(watched, (documents, wanted), self.drain.clone(), background);
            self.views.push(task.map_err(StartError::Thread)?);
        }
        Ok(admin_addresses.unwrap_or_default())
    }

    /// Begins the drain, which asks everything to end, and waits for the parts in the reverse order of their
    /// start. A part ends when those after it have ended, because they hold its senders.
    fn stop(self) {
        self.drain.advance(Phase::Draining);
        self.reload.into_iter().for_each(BackgroundTask::join);
        self.prober.into_iter().for_each(BackgroundTask::join);
        self.views.into_iter().for_each(BackgroundTask::join);
        self.admin.into_iter().for_each(join);
        self.workers.into_iter().for_each(join);
        self.batches.into_iter().for_each(join);
        self.settlement.into_iter().for_each(join);
        self.ledger.into_iter().for_each(join);
        self.exporter.into_iter().for_each(BackgroundTask::join);
        self.demo.stop();
        self.events.into_iter().for_each(RunningEventRelay::stop);
        self.stats.into_iter().for_each(RunningStatsTask::stop);
        self.redis.stop();
        self.key_sync.into_iter().for_each(RunningKeySync::stop);
        self.background.into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread had panicked");
    }
}

impl Process {
    /// The ledger's counters.
    #[must_use]
    pub fn ledger(&self) -> LedgerState {
        self.view.ledger.read()
    }

    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.view.addresses
    }

    /// The addresses of the listener for operators. Empty: they use the clients' listeners.
    #[must_use]
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.view.admin_addresses
    }

    /// The name of this replica.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.view.telemetry.instance.name()
    }

    /// The token made for this run. `None`: keys are configured.
    #[must_use]
    pub const fn made_token(&self) -> Option<&TokenSettings> {
        self.view.made_token.as_ref()
    }

    /// A text that signs a browser in once, for a link. `None`: others than this machine may reach the
    /// gateway, or it is unclear as which key.
    #[must_use]
    pub fn sign_in_code(&self) -> Option<Secret<String>> {
        if self.addresses().is_empty() || !self.addresses().iter().all(|address| address.ip().is_loopback()) {
            return None;
        }
        let snapshot = self.view.snapshot.load();
        let key = steps::key_of_link(&snapshot)?;
        snapshot.sessions.make_code(key, Instant::now()).ok()
    }

    /// Why the configured database is not used. `None`: it is, or there is none.
    #[must_use]
    pub fn database_refusal(&self) -> Option<&str> {
        self.view.database_refusal.as_deref()
    }

    /// The providers' first answers. Waits for them, but not long; any thread but the background's may ask.
    #[must_use]
    pub fn start_report(&self) -> StartReport {
        start_report::wait(&self.view.snapshot)
    }

    /// Whether a key of the database may administrate. `None`: there is no database, or it could not be read
    /// yet.
    #[must_use]
    pub fn has_stored_admin(&self) -> Option<bool> {
        let keys = &self.view.snapshot.load().keys;
        (self.running.key_sync.is_some() && keys.are_known()).then(|| keys.has_admin())
    }

    /// Whether the demo provider served when the gateway started.
    #[must_use]
    pub const fn is_demo(&self) -> bool {
        self.view.is_demo
    }

    /// The present gauges, summed over all workers.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.view.telemetry.gauges(self.view.snapshot.load().generation)
    }

    /// Requests a reload of the configuration; the log holds its outcome.
    pub fn reload(&self, asked_by: &'static str) {
        if self.view.reload.put(ReloadWork::Apply, asked_by).is_none() {
            tracing::warn!(by = asked_by, "too many reloads are waiting already");
        }
    }

    /// How long the gateway serves while it is not ready, before the drain.
    #[must_use]
    pub fn shutdown_delay(&self) -> Duration {
        self.view.limits.load().shutdown_delay
    }

    /// Denies readiness from now on, and serves as before; the first step of a stop.
    pub fn deny_readiness(&self) {
        self.running.drain.advance(Phase::Unready);
    }

    /// Stops accepting connections, lets requests finish within the drain's time, and returns when everything
    /// has ended.
    pub fn stop(self) {
        self.view.telemetry.bus.end();
        // Before the parts are waited for, because some end only with the last sender.
        drop(self.view);
        self.running.stop();
    }
}
