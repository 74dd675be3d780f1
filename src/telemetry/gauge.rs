//! Gauges: how many of each thing live right now. One set per worker, written by that worker alone and read by anyone;
//! an increment is undone by dropping what [`Gauge::hold`] gave, so that no exit path can forget it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::meter::Meter;

/// A number of living things, shared.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// One living thing, counted until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>);

impl Gauge {
    #[must_use]
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(Arc::clone(&self.0))
    }

    #[must_use]
    pub fn read(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One worker's gauges.
#[derive(Clone, Debug, Default)]
pub struct WorkerGauges {
    /// Requests between their head and their end.
    pub requests: Gauge,
    /// Streams among them whose head has been sent.
    pub streams: Gauge,
    /// Provider connections in use.
    pub upstream_active: Gauge,
    /// Provider connections kept for later.
    pub upstream_idle: Gauge,
    /// How long frames stay in this worker.
    pub meter: Meter,
}

/// All workers' gauges at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Client connections; counted by the server, not here.
    pub connections: usize,
    pub requests: usize,
    pub streams: usize,
    pub upstream_active: usize,
    pub upstream_idle: usize,
}

impl Gauges {
    #[must_use]
    pub fn sum(workers: &[WorkerGauges]) -> Self {
        let mut sum = Self::default();
        for worker in workers {
            sum.requests += worker.requests.read();
            sum.streams += worker.streams.read();
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
        let held = (workers[0].streams.hold(), workers[1].streams.hold());
        assert_eq!(Gauges::sum(&workers).streams, 2);
        drop(held);
        assert_eq!(Gauges::sum(&workers), Gauges::default());
    }
}
