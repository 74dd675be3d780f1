//! What is told about the process in one hand: the statistics, all workers' gauges, and the moment that is called now.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};

use super::{
    exposition::{Exposition, Kind},
    gauge::{Gauges, WorkerGauges},
    meter::{Meter, Pace},
    stats::SharedStats,
};

/// Cloning shares it.
#[derive(Clone)]
pub struct Board {
    pub stats: SharedStats,
    workers: Arc<[WorkerGauges]>,
    meters: Arc<[Meter]>,
    /// How many client connections there are: the server counts them.
    connections: Arc<dyn Fn() -> usize + Send + Sync>,
    /// Ends of requests that nobody could be told of.
    lost: Arc<AtomicU64>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Board {
    #[must_use]
    pub fn new(workers: Vec<WorkerGauges>, connections: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        let meters = workers.iter().map(|worker| worker.meter.clone()).collect();
        Self {
            stats: SharedStats::default(),
            workers: workers.into(),
            meters,
            connections: Arc::new(connections),
            lost: Arc::default(),
        }
    }

    /// What lives right now. `generation`: that of the configuration in force.
    #[must_use]
    pub fn gauges(&self, generation: u64) -> Gauges {
        Gauges { connections: (self.connections)(), ..Gauges::sum(&self.workers, generation) }
    }

    /// Ends of requests were lost.
    pub fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Reads the workers' meters into the statistics; called every second or so.
    pub fn tick(&self) {
        let pace = Pace::of(&self.meters);
        let (mut stats, now) = self.stats.open();
        stats.measure(now, pace);
    }

    /// Everything of this room, for `/stats`. Takes as long as there is to be read: not for a worker's own thread.
    #[must_use]
    pub fn report(&self, generation: u64) -> Value {
        self.tick();
        let gauges = self.gauges(generation);
        let (mut stats, now) = self.stats.open();
        let mut report = stats.report(now);
        drop(stats);
        report.insert("uptime_s".to_owned(), now.as_secs().into());
        report.insert("ends_lost".to_owned(), self.lost.load(Ordering::Relaxed).into());
        let in_flight = json!({
            "connections": gauges.connections,
            "requests": gauges.requests,
            "streams": gauges.streams,
            "streams_of_old_configurations": gauges.old_streams,
            "upstream_active": gauges.upstream_active,
            "upstream_idle": gauges.upstream_idle,
        });
        report.insert("in_flight".to_owned(), in_flight);
        report.into()
    }

    /// Everything of this room, for `/metrics`; as there.
    pub fn write(&self, page: &mut Exposition, generation: u64) {
        self.tick();
        let gauges = self.gauges(generation);
        let (stats, now) = self.stats.open();
        stats.write(page);
        drop(stats);
        for (name, help, count) in [
            ("thalweg_client_connections", "Client connections.", gauges.connections),
            ("thalweg_in_flight_requests", "Requests between their head and their end.", gauges.requests),
            ("thalweg_in_flight_streams", "Streams whose head has been sent.", gauges.streams),
            (
                "thalweg_old_configuration_streams",
                "Streams that began with a configuration that has been replaced since.",
                gauges.old_streams,
            ),
        ] {
            page.single(name, Kind::Gauge, help, count as f64);
        }
        page.family("thalweg_upstream_connections", Kind::Gauge, "Connections to providers.")
            .sample(&[("state", "active")], gauges.upstream_active as f64)
            .sample(&[("state", "idle")], gauges.upstream_idle as f64);
        let help = "Ends of requests that log, ledger and these figures were not told of.";
        page.single("thalweg_ends_lost_total", Kind::Counter, help, self.lost.load(Ordering::Relaxed) as f64);
        page.single(
            "thalweg_uptime_seconds",
            Kind::Gauge,
            "Since the start of the process.",
            now.as_secs_f64(),
        );
    }
}
