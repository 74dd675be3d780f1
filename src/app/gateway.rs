//! The gateway as a process sees it: started in order, stopped in order.

use std::{io, net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{administration, build, key_sync, reload::Reloader, traces, worker};
use crate::{
    auth::{self, StoredKeys, TokenSettings, generate::NoRandomness},
    base::pem::PemError,
    config::{ConfigSource, ProviderSettings, Settings, administration::is_loopback},
    demo::{self, Demo},
    ledger::{self, LedgerGauges, LedgerReader, LedgerState, LedgerWriter},
    prober::{Prober, StateFile},
    proxy::Snapshot,
    routing::StatsRegistry,
    server::{self, BindError, ConnLimit, Drain, Phase, ServeOptions, ServerLimits, tls::TlsSource},
    settlement::{self, Settlement},
    telemetry::{Gauges, LevelHandle, LogLost, Telemetry, WorkerGauges},
    upstream::{BaseUrl, PoolSettings, SharedPools, Target, Upstream},
    web::{ListenerRole, ReloadHandle, compare::Gate},
};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(BindError),
    #[error("cannot use the TLS files")]
    Tls(#[source] PemError),
    /// The demo provider could not listen on loopback.
    #[error("cannot start the demo provider")]
    Demo(#[source] io::Error),
    #[error("cannot make a token")]
    Token(#[source] NoRandomness),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A running gateway. Dropping it lets it run on; [`Process::stop`] ends it.
#[derive(Debug)]
pub struct Process {
    addresses: Vec<SocketAddr>,
    admin_addresses: Vec<SocketAddr>,
    made_token: Option<TokenSettings>,
    is_demo: bool,
    snapshot: Arc<ArcSwap<Snapshot>>,
    limits: Arc<ArcSwap<ServerLimits>>,
    desk: ReloadHandle,
    drain: Drain,
    board: Telemetry,
    ledger: LedgerGauges,
    threads: Vec<JoinHandle<()>>,
    kept: Option<key_sync::RunningKeySync>,
}

/// What a gateway has from the process beside its settings.
#[derive(Debug, Default)]
pub struct ProcessContext {
    /// Where settings may be had again. `None`: there is no reload.
    pub source: Option<ConfigSource>,
    /// The log's level, set by a reload.
    pub level: Option<LevelHandle>,
    /// What counts the lines that the log has lost.
    pub log_lost: Vec<LogLost>,
}

/// Starts a gateway; it listens when this returns. With no provider configured the demo provider serves; with no token
/// configured one is made for this run and only loopback is listened on.
///
/// # Errors
/// Says what could not be had. What had been started ends.
pub fn start(settings: Settings) -> Result<Process, StartError> {
    start_in(settings, ProcessContext::default())
}

/// [`start`] with a way to reload.
///
/// # Errors
/// As there.
pub fn start_in(mut settings: Settings, surroundings: ProcessContext) -> Result<Process, StartError> {
    let keys = StoredKeys::default();
    let keeping = keep_keys(&settings, &keys).map_err(StartError::Thread)?;
    let made_token = make_token(&mut settings, &keys)?;
    let demo = start_demo(&mut settings, None).map_err(StartError::Demo)?;
    let tls = settings.listen.tls.clone().map(TlsSource::load).transpose().map_err(StartError::Tls)?;
    let bound = server::bind(&settings.listen, settings.workers.get()).map_err(StartError::Bind)?;
    let records = StatsRegistry::default();
    let snapshot = Snapshot { keys, ..build::snapshot(&settings, &records) };
    let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
    let kept = keeping.map(|keeping| keeping.begin(&snapshot));
    let (drain, census) = (Drain::default(), ConnLimit::default());
    let (desk, errands) = ReloadHandle::open();
    let gauges: Vec<WorkerGauges> = bound.per_worker.iter().map(|_| WorkerGauges::default()).collect();
    let counted = census.clone();
    let mut board = Telemetry::new(gauges.clone(), move || counted.count());
    board.log_lost = surroundings.log_lost.into();
    board.traces = settings.otel.as_ref().map(|otel| otel.sample);
    let exporter = settings.otel.clone().map(|otel| traces::start(otel, board.spans_lost.clone()));
    let (spans, exporting) = exporter.transpose().map_err(StartError::Thread)?.unzip();
    let ledger_gauges = LedgerGauges::default();
    let (inbox, booking) = start_ledger(&settings, &ledger_gauges).map_err(StartError::Thread)?.unzip();
    let books = Settlement { telemetry: board.clone(), config: Arc::clone(&snapshot), ledger: inbox, spans };
    let (settler, settling) = settlement::start(books).map_err(StartError::Thread)?;
    let limits = Arc::new(ArcSwap::from_pointee(settings.limits));
    let terms = ServeOptions { limits: Arc::clone(&limits), drain: drain.clone(), census, tls };
    let pools = SharedPools::default();
    let outfit = worker::WorkerConfig {
        snapshot: Arc::clone(&snapshot),
        pools,
        pool_settings: settings.pool,
        terms,
        settler,
        own: build::own(&settings.listen, &bound.addresses),
        gate: Gate::default(),
        warms_up: true,
        desk: desk.clone(),
        entrance: ListenerRole::Public,
        board: board.clone(),
        ledger: LedgerReader::new(
            ledger_gauges.clone(),
            settings.database.clone().filter(|_| settings.ledger.enabled),
        ),
    };
    let mut threads = Vec::new();
    for (index, (listeners, own)) in bound.per_worker.into_iter().zip(gauges).enumerate() {
        threads.push(
            worker::start(format!("worker-{index}"), listeners, outfit.clone(), own)
                .map_err(StartError::Thread)?,
        );
    }
    let administration = administration::start(settings.admin_listen.as_ref(), &outfit)?;
    let (admin_addresses, thread) = administration.unzip();
    threads.extend(thread);
    let swapped = watch::Sender::new(0);
    let listening = (Arc::clone(&snapshot), swapped.subscribe());
    threads.push(
        start_background(listening, &settings, demo.is_some(), drain.clone()).map_err(StartError::Thread)?,
    );
    threads.push(settling);
    threads.extend(exporting);
    // Last, as it ends last: with the thread that settles.
    threads.extend(booking);
    let is_demo = demo.is_some();
    let ProcessContext { source, level, .. } = surroundings;
    let (made, shared) = (made_token.clone(), Arc::clone(&snapshot));
    let reloader = Reloader {
        source,
        level,
        snapshot: shared,
        limits: Arc::clone(&limits),
        records,
        settings,
        made_token: made,
        demo,
        swapped,
    };
    threads.push(reloader.start(errands).map_err(StartError::Thread)?);
    let addresses = bound.addresses;
    Ok(Process {
        addresses,
        admin_addresses: admin_addresses.unwrap_or_default(),
        made_token,
        is_demo,
        snapshot,
        limits,
        desk,
        drain,
        board,
        ledger: ledger_gauges,
        threads,
        kept,
    })
}

/// The ledger, if there is to be one.
fn start_ledger(
    settings: &Settings,
    gauges: &LedgerGauges,
) -> io::Result<Option<(LedgerWriter, JoinHandle<()>)>> {
    let Some(database) = settings.database.clone().filter(|_| settings.ledger.enabled) else {
        return Ok(None);
    };
    ledger::start(settings.ledger.clone(), database, gauges.clone()).map(Some)
}

/// The store's keys, if there is a store.
fn keep_keys(settings: &Settings, keys: &StoredKeys) -> io::Result<Option<key_sync::StartingKeySync>> {
    let Some(database) = settings.database.clone() else { return Ok(None) };
    keys.await_store();
    key_sync::start(auth::KeySync::new(database, keys.clone())).map(Some)
}

/// Without a key of any kind, one for this run.
fn make_token(settings: &mut Settings, keys: &StoredKeys) -> Result<Option<TokenSettings>, StartError> {
    if !settings.tokens.is_empty() || !keys.ring().is_empty() || !keys.are_known() {
        return Ok(None);
    }
    if !is_loopback(&settings.listen) {
        tracing::warn!("no token is configured: listening on loopback only");
        settings.listen.host = "localhost".to_owned();
    }
    // It was shown to whoever started this process, and only loopback is listened on.
    let made = TokenSettings { admin: true, ..auth::generate::make("this run").map_err(StartError::Token)? };
    settings.tokens.push(made.clone());
    Ok(Some(made))
}

/// With no provider configured, the demo provider; `running` is one that serves already. Gives one that was started.
pub(super) fn start_demo(settings: &mut Settings, running: Option<&Demo>) -> io::Result<Option<Demo>> {
    if !settings.providers.is_empty() {
        return Ok(None);
    }
    let started = if running.is_none() { Some(demo::start()?) } else { None };
    let base = started.as_ref().or(running).map(Demo::base_url).unwrap_or_default();
    let base = BaseUrl::parse(&base).map_err(|_| io::Error::other("the demo provider has no address"))?;
    let target = Target::plain("demo", base);
    settings
        .providers
        .push(ProviderSettings { models: Some(demo::models()), ..ProviderSettings::plain(target) });
    Ok(started)
}

/// The thread for what is not on the line: it has connections of its own.
fn start_background(
    (snapshot, swapped): (Arc<ArcSwap<Snapshot>>, watch::Receiver<u64>),
    settings: &Settings,
    is_demo: bool,
    drain: Drain,
) -> io::Result<JoinHandle<()>> {
    // From one look at a provider to the next nothing is kept open.
    let pool = PoolSettings { max_keepalive: 0, keepalive_expiry: Duration::ZERO, ..settings.pool };
    // What is found of a port of this run means nothing to the next.
    let state_file = settings.state_file.clone().filter(|_| !is_demo);
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        let run = async {
            let upstream = Upstream::new(SharedPools::default(), pool, WorkerGauges::default());
            let keeper = StateFile::open(state_file, &snapshot.load().recalls).await;
            let prober = Prober::new(snapshot, upstream, keeper);
            tokio::select! {
                () = prober.run(swapped) => {}
                () = drain.reached(Phase::Draining) => {}
            }
            prober.close().await;
        };
        match worker::runtime() {
            Ok(runtime) => runtime.block_on(run),
            Err(error) => tracing::error!(%error, "no background runtime"),
        }
    })
}

impl Process {
    /// How the ledger fares.
    #[must_use]
    pub fn ledger(&self) -> LedgerState {
        self.ledger.read()
    }

    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where administration is served apart; empty: beside the clients.
    #[must_use]
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin_addresses
    }

    /// The token made for this run, if none was configured.
    #[must_use]
    pub const fn made_token(&self) -> Option<&TokenSettings> {
        self.made_token.as_ref()
    }

    /// Whether a key of the database may administrate; `None`: there is no database, or it could not be read yet.
    #[must_use]
    pub fn has_stored_admin(&self) -> Option<bool> {
        let keys = &self.snapshot.load().keys;
        (self.kept.is_some() && keys.are_known()).then(|| keys.has_admin())
    }

    /// The demo provider serves.
    #[must_use]
    pub const fn is_demo(&self) -> bool {
        self.is_demo
    }

    /// What lives right now, over all workers.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.board.gauges(self.snapshot.load().generation)
    }

    /// Loads the configuration again; the log tells what came of it.
    pub fn reload(&self, asked_by: &'static str) {
        if self.desk.put(false, asked_by).is_none() {
            tracing::warn!(by = asked_by, "too many reloads are waiting already");
        }
    }

    /// For how long a gateway that is told to end goes on serving unready.
    #[must_use]
    pub fn shutdown_delay(&self) -> Duration {
        self.limits.load().shutdown_delay
    }

    /// Denies readiness from now on, and serves all the same; the first step of a stop.
    pub fn deny_readiness(&self) {
        self.drain.advance(Phase::Unready);
    }

    /// Stops accepting, lets what runs finish within the drain's time, and returns when all of it has ended.
    pub fn stop(self) {
        self.board.bus.end();
        self.drain.advance(Phase::Draining);
        // The reload's thread ends with the last desk.
        drop(self.desk);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread had panicked");
            }
        }
        // What the others have settled is booked last.
        if let Some(kept) = self.kept {
            kept.stop();
        }
    }
}
