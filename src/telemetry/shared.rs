//! The process's telemetry in one value: statistics, the gauges of all workers, events, and the counts of
//! lost things. Renders `/stats` and `/metrics` of this room; which requests may read them is decided
//! elsewhere.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    batch_gauges::BatchGauges,
    events::EventBus,
    exposition::{Exposition, MetricKind},
    gauge::{Gauges, WorkerGauges},
    guard::{GuardAction, OverloadGuard},
    instance::Instance,
    log,
    meter::{LatencyMeter, MeterReading},
    otlp::LostSpans,
    redis_gauges::RedisServers,
    share::StatsShare,
    stats::SharedStats,
};

/// Clones share it.
#[derive(Clone)]
pub struct Telemetry {
    pub stats: SharedStats,
    workers: Arc<[WorkerGauges]>,
    meters: Arc<[LatencyMeter]>,
    /// The number of client connections, which the server counts.
    connections: Arc<dyn Fn() -> usize + Send + Sync>,
    /// Completions that were not settled.
    lost: Arc<AtomicU64>,
    guard: Arc<ShedEpisodes>,
    /// The bus for subscribers.
    pub bus: EventBus,
    /// The share of traces begun here that is exported. `None`: no traces.
    pub traces: Option<f64>,
    pub spans_lost: LostSpans,
    /// Whether clients use TLS, for their spans.
    pub tls: bool,
    /// The counters of lost log lines, one for each destination.
    pub log_lost: Arc<[log::LostLines]>,
    pub redis: RedisServers,
    pub batches: BatchGauges,
    pub instance: Instance,
}

/// The actions of the guard since the start.
#[derive(Debug, Default)]
struct ShedEpisodes {
    sheds: AtomicBool,
    count: AtomicU64,
    /// Length of all ended episodes together.
    seconds: AtomicU64,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Telemetry {
    #[must_use]
    pub fn new(workers: Vec<WorkerGauges>, connections: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        let meters = workers.iter().map(|worker| worker.meter.clone()).collect();
        Self {
            stats: SharedStats::default(),
            workers: workers.into(),
            meters,
            connections: Arc::new(connections),
            lost: Arc::default(),
            guard: Arc::default(),
            bus: EventBus::default(),
            traces: None,
            tls: false,
            spans_lost: LostSpans::default(),
            log_lost: Arc::default(),
            redis: RedisServers::default(),
            batches: BatchGauges::default(),
            instance: Instance::default(),
        }
    }

    /// The current gauges. `generation`: of the current configuration.
    #[must_use]
    pub fn gauges(&self, generation: u64) -> Gauges {
        Gauges { connections: (self.connections)(), ..Gauges::sum(&self.workers, generation) }
    }

    fn log_lines_lost(&self) -> u64 {
        self.log_lost.iter().map(log::LostLines::read).sum()
    }

    /// Counts completions that were not settled.
    pub fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Reads the workers' meters into the statistics; called about every second.
    pub fn tick(&self) {
        let (mut stats, now) = self.stats.open();
        // Read under the lock: an earlier reading after a later one would count the frames between them
        // twice.
        stats.measure(now, MeterReading::of(&self.meters));
    }

    /// Gives the workers' meters to `guard` and carries out its action. Called every second, by one thread.
    pub fn watch(&self, guard: &mut OverloadGuard, bound: Option<Duration>) {
        let Some(action) = guard.judge(self.stats.elapsed(), MeterReading::of(&self.meters), bound) else {
            return;
        };
        let sheds = match action {
            GuardAction::Shed { p99 } => {
                self.guard.count.fetch_add(1, Ordering::Relaxed);
                let (p99_us, bound_us) =
                    (p99.as_micros() as u64, bound.map(|bound| bound.as_micros() as u64));
                tracing::warn!(
                    p99_us,
                    bound_us,
                    "frames stay here too long: digests, frames' times and chunk lines are left out"
                );
                true
            }
            GuardAction::Resume { after } => {
                self.guard.seconds.fetch_add(after.as_secs(), Ordering::Relaxed);
                tracing::warn!(
                    after_s = after.as_secs(),
                    "frames pass quickly again: nothing is left out any more"
                );
                false
            }
        };
        self.guard.sheds.store(sheds, Ordering::Relaxed);
        self.meters.iter().for_each(|meter| meter.shed(sheds));
    }

    /// The statistics. Slow when there are many labels, so never called on a worker.
    #[must_use]
    pub fn share(&self) -> StatsShare {
        self.tick();
        let (mut stats, now) = self.stats.open();
        stats.share(now)
    }

    /// All else of this room for `/stats`: numbers that replicas add up, and whether something is up.
    #[must_use]
    pub fn figures(&self, generation: u64) -> Map<String, Value> {
        let gauges = self.gauges(generation);
        let mut report = Map::new();
        report.insert("ends_lost".to_owned(), self.lost.load(Ordering::Relaxed).into());
        let in_flight = json!({
            "connections": gauges.connections,
            "requests": gauges.requests,
            "streams": gauges.streams,
            "drains": gauges.drains,
            "streams_of_old_configurations": gauges.old_streams,
            "upstream_active": gauges.upstream_active,
            "upstream_idle": gauges.upstream_idle,
        });
        let guard = json!({
            "sheds": self.guard.sheds.load(Ordering::Relaxed),
            "episodes": self.guard.count.load(Ordering::Relaxed),
            "seconds": self.guard.seconds.load(Ordering::Relaxed),
        });
        report.insert("log_lines_lost".to_owned(), self.log_lines_lost().into());
        report.insert("spans_lost".to_owned(), self.spans_lost.read().into());
        report.insert("overhead_guard".to_owned(), guard);
        report.insert("in_flight".to_owned(), in_flight);
        if let Some(redis) = self.redis.report() {
            report.insert("redis".to_owned(), redis);
        }
        if let Some(batches) = self.batches.report() {
            report.insert("batches".to_owned(), batches);
        }
        report
    }

    /// All of this room for `/metrics`. Never called on a worker either.
    pub fn write(&self, page: &mut Exposition, generation: u64) {
        self.tick();
        let gauges = self.gauges(generation);
        let (stats, now) = self.stats.open();
        stats.write(page);
        drop(stats);
        self.redis.write(page);
        self.batches.write(page);
        for (name, help, count) in [
            ("thalweg_client_connections", "Client connections.", gauges.connections),
            ("thalweg_in_flight_requests", "Requests between their head and their end.", gauges.requests),
            ("thalweg_in_flight_streams", "Streams whose head has been sent.", gauges.streams),
            (
                "thalweg_in_flight_drains",
                "Streams that are read on after their client has left.",
                gauges.drains,
            ),
            (
                "thalweg_old_configuration_streams",
                "Streams that began with a configuration that has been replaced since.",
                gauges.old_streams,
            ),
        ] {
            page.single(name, MetricKind::Gauge, help, count as f64);
        }
        page.family("thalweg_upstream_connections", MetricKind::Gauge, "Connections to providers.")
            .sample(&[("state", "active")], gauges.upstream_active as f64)
            .sample(&[("state", "idle")], gauges.upstream_idle as f64);
        let help = "Whether the overhead guard leaves optional work out.";
        let sheds = f64::from(u8::from(self.guard.sheds.load(Ordering::Relaxed)));
        page.single("thalweg_overhead_guard_sheds", MetricKind::Gauge, help, sheds);
        let help = "How often the overhead guard has begun to leave work out.";
        let count = self.guard.count.load(Ordering::Relaxed) as f64;
        page.single("thalweg_overhead_guard_episodes_total", MetricKind::Counter, help, count);
        let help = "Spans that no collector took.";
        page.single("thalweg_spans_lost_total", MetricKind::Counter, help, self.spans_lost.read() as f64);
        let help = "Lines of the log that were lost: its file or terminal did not take them.";
        page.single("thalweg_log_lines_lost_total", MetricKind::Counter, help, self.log_lines_lost() as f64);
        let help = "Ends of requests that log, ledger and these figures were not told of.";
        page.single(
            "thalweg_ends_lost_total",
            MetricKind::Counter,
            help,
            self.lost.load(Ordering::Relaxed) as f64,
        );
        page.single(
            "thalweg_uptime_seconds",
            MetricKind::Gauge,
            "Since the start of the process.",
            now.as_secs_f64(),
        );
    }
}
