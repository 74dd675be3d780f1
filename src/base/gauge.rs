//! One counter for everything that is counted while it exists: connections, requests, races, idle slots. The
//! count falls when the guard is dropped, so that no exit path can forget it.
//!
//! Orderings are relaxed: a gauge limits and reports, and protects no other memory. A count that is
//! worker-local by type ([`spawn`](super::spawn)), or does more than subtract at its end, keeps a guard of
//! its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A number of existing things. Cloning shares the number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// One thing, counted until this is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Arc<AtomicUsize>);

impl Gauge {
    /// Counts one more.
    #[must_use]
    pub fn hold(&self) -> GaugeGuard {
        self.0.fetch_add(1, Relaxed);
        GaugeGuard(Arc::clone(&self.0))
    }

    /// Counts one more if there are fewer than `limit`. Two threads never both take the last place.
    #[must_use]
    pub fn hold_below(&self, limit: usize) -> Option<GaugeGuard> {
        let more = |count| (count < limit).then_some(count + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).ok().map(|_| GaugeGuard(Arc::clone(&self.0)))
    }

    #[must_use]
    pub fn read(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Whether another clone or a guard exists.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Gauge;

    #[test]
    fn counts_what_exists_up_to_a_limit() {
        let gauge = Gauge::default();
        let held = (gauge.hold(), gauge.hold_below(2), gauge.hold_below(2));
        assert!(held.1.is_some() && held.2.is_none());
        assert_eq!((gauge.read(), gauge.is_shared()), (2, true));
        drop(held);
        assert_eq!((gauge.read(), gauge.is_shared()), (0, false));
        assert!(gauge.hold_below(0).is_none());
    }
}
