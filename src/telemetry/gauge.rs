//! The gauges of each worker and their sums over all workers. A set is written by its worker alone and read
//! by any thread. Client connections are the server's to count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::meter::LatencyMeter;
pub use crate::base::gauge::{Gauge, GaugeGuard};

/// Streams by the configuration generation that they began with (B10).
#[derive(Clone, Debug, Default)]
pub struct Generations(Arc<Mutex<Vec<(u64, Gauge)>>>);

impl Generations {
    /// The gauge of one generation. Callers keep it, because the lookup takes a lock.
    #[must_use]
    pub fn gauge(&self, generation: u64) -> Gauge {
        let mut all = self.all();
        if let Some((_, found)) = all.iter().find(|(known, _)| *known == generation) {
            return found.clone();
        }
        // Neither kept by a worker nor held by a stream.
        all.retain(|(_, gauge)| gauge.is_shared());
        let gauge = Gauge::default();
        all.push((generation, gauge.clone()));
        gauge
    }

    /// The number over all generations.
    #[must_use]
    pub fn read(&self) -> usize {
        self.all().iter().map(|(_, gauge)| gauge.read()).sum()
    }

    /// The number of those that began before `generation`.
    #[must_use]
    pub fn before(&self, generation: u64) -> usize {
        self.all().iter().filter(|(began, _)| *began < generation).map(|(_, gauge)| gauge.read()).sum()
    }

    fn all(&self) -> MutexGuard<'_, Vec<(u64, Gauge)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's gauges.
#[derive(Clone, Debug, Default)]
pub struct WorkerGauges {
    /// Requests between head and completion.
    pub requests: Gauge,
    /// Streams whose response head has been sent.
    pub streams: Generations,
    /// Detached streams.
    pub drains: Gauge,
    /// Provider connections in use.
    pub upstream_active: Gauge,
    /// Idle provider connections.
    pub upstream_idle: Gauge,
    /// Added latency of this worker's frames.
    pub meter: LatencyMeter,
}

/// All workers' gauges at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Client connections; the server counts them.
    pub connections: usize,
    pub requests: usize,
    pub streams: usize,
    /// Streams that began with an earlier configuration.
    pub old_streams: usize,
    pub drains: usize,
    pub upstream_active: usize,
    pub upstream_idle: usize,
}

impl Gauges {
    /// The sum over `workers`. `generation`: of the current configuration.
    #[must_use]
    pub fn sum(workers: &[WorkerGauges], generation: u64) -> Self {
        let mut sum = Self::default();
        for worker in workers {
            sum.requests += worker.requests.read();
            sum.streams += worker.streams.read();
            sum.old_streams += worker.streams.before(generation);
            sum.drains += worker.drains.read();
            sum.upstream_active += worker.upstream_active.read();
            sum.upstream_idle += worker.upstream_idle.read();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_falls_when_what_it_counts_is_dropped() {
        let workers = [WorkerGauges::default(), WorkerGauges::default()];
        let held = (workers[0].requests.hold(), workers[1].requests.hold());
        assert_eq!(Gauges::sum(&workers, 0).requests, 2);
        drop(held);
        assert_eq!(Gauges::sum(&workers, 0), Gauges::default());
    }

    #[test]
    fn streams_are_told_apart_by_their_generation() {
        let workers = [WorkerGauges::default(), WorkerGauges::default()];
        let old = workers[0].streams.gauge(1).hold();
        let kept = workers[0].streams.gauge(2);
        let new = workers[1].streams.gauge(2).hold();
        let streams = |generation| {
            let sum = Gauges::sum(&workers, generation);
            (sum.streams, sum.old_streams)
        };
        assert_eq!([streams(1), streams(2), streams(3)], [(2, 0), (2, 1), (2, 2)]);
        drop((old, new));
        let _third = workers[0].streams.gauge(3).hold();
        assert_eq!(workers[0].streams.all().len(), 2, "the first is removed, the second is kept");
        let _second = kept.hold();
        assert_eq!(streams(3), (2, 1));
    }
}
