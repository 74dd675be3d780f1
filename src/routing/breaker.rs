//! A candidate's breaker: *admitting* until too many requests fail in a row or too large a share of the
//! window's requests fails, then *tripped* for a jittered time that doubles with each trip, then *probing*:
//! one request goes through and its result decides. Atomics only, so that workers share it without waiting.
//! Two workers may see the same failure count, but only one of them trips the breaker.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{settings::BreakerSettings, window::OutcomeWindow};
use crate::base::{Moment, Rng};

#[derive(Debug, Default)]
pub struct Breaker {
    /// When the current trip ends; 0 while admitting.
    until: AtomicU64,
    tripped_at: AtomicU64,
    /// When it began to admit again after the last trip.
    readmitted_at: AtomicU64,
    /// Trips in short succession.
    trips: AtomicU32,
    /// Failures in a row.
    consecutive_failures: AtomicU32,
    probing: AtomicBool,
    window: OutcomeWindow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Admitting,
    Tripped {
        until: Moment,
    },
    /// The next request decides. `busy`: that request is in flight.
    Probing {
        busy: bool,
    },
}

impl Breaker {
    #[must_use]
    pub fn state(&self, now: Moment) -> BreakerState {
        match Moment(self.until.load(Relaxed)) {
            Moment::NEVER => BreakerState::Admitting,
            until if now < until => BreakerState::Tripped { until },
            _ => BreakerState::Probing { busy: self.probing.load(Relaxed) },
        }
    }

    /// Takes the one probe permit. After `true` the caller must call [`Breaker::release_probe`].
    #[must_use]
    pub fn claim_probe(&self) -> bool {
        !self.probing.swap(true, Relaxed)
    }

    pub fn release_probe(&self) {
        self.probing.store(false, Relaxed);
    }

    /// A request that was sent at `started` succeeded. One from before the trip does not close the breaker.
    pub fn succeeded(&self, started: Moment, now: Moment, settings: &BreakerSettings) {
        if self.consecutive_failures.load(Relaxed) != 0 {
            self.consecutive_failures.store(0, Relaxed);
        }
        let until = self.until.load(Relaxed);
        if until != 0 && started.0 >= self.tripped_at.load(Relaxed) {
            self.window.clear();
            self.readmitted_at.store(now.0, Relaxed);
            self.until.store(0, Relaxed);
        }
        self.window.record(true, now, settings.window);
        self.forget_one_trip(now, settings);
    }

    /// Trips are forgotten one by one, each after a time without a trip that is as long as its cool-down.
    fn forget_one_trip(&self, now: Moment, settings: &BreakerSettings) {
        let trips = self.trips.load(Relaxed);
        let quiet = now.since(Moment(self.readmitted_at.load(Relaxed)));
        if trips > 0 && self.until.load(Relaxed) == 0 && quiet >= cool_down(trips, settings) {
            self.readmitted_at.store(now.0, Relaxed);
            let _ = self.trips.compare_exchange(trips, trips - 1, Relaxed, Relaxed);
        }
    }

    /// A request that was sent at `started` failed. One sent before the last trip does not count, because
    /// that trip covers it.
    pub fn failed(&self, started: Moment, now: Moment, settings: &BreakerSettings, rng: &mut Rng) {
        if started.0 < self.tripped_at.load(Relaxed) {
            return;
        }
        self.window.record(false, now, settings.window);
        let consecutive_failures = self.consecutive_failures.fetch_add(1, Relaxed).saturating_add(1);
        let until = self.until.load(Relaxed);
        let trips = if until == 0 {
            let counts = self.window.sum(now, settings.window);
            consecutive_failures >= settings.failures
                || (counts.total() >= settings.min_requests && counts.failure_share() >= settings.share)
        } else {
            // A probe failed. Requests from before the probing state do not count.
            started.0 >= until
        };
        if trips {
            self.trip(until, now, settings, rng);
        }
    }

    /// So many streams broke off in a row that it trips, although each counted as a success at its commit.
    pub fn streams_broke(&self, started: Moment, now: Moment, settings: &BreakerSettings, rng: &mut Rng) {
        if self.until.load(Relaxed) == 0 && started.0 >= self.tripped_at.load(Relaxed) {
            self.trip(0, now, settings, rng);
        }
    }

    fn trip(&self, counts: u64, now: Moment, settings: &BreakerSettings, rng: &mut Rng) {
        let trips = self.trips.load(Relaxed).saturating_add(1);
        let until = now + rng.jitter(cool_down(trips, settings));
        self.tripped_at.store(now.0, Relaxed);
        if self.until.compare_exchange(counts, until.0.max(1), Relaxed, Relaxed).is_ok() {
            self.trips.store(trips, Relaxed);
        }
    }

    /// Another replica reports a trip until `until`; a past moment: that it admits again.
    pub(super) fn learn(&self, until: Moment, now: Moment) {
        if until > now {
            self.tripped_at.store(now.0, Relaxed);
            if self.until.fetch_max(until.0, Relaxed) == 0 {
                self.trips.fetch_max(1, Relaxed);
            }
        } else if self.until.load(Relaxed) != 0 && is_older(Moment(self.tripped_at.load(Relaxed)), now) {
            self.window.clear();
            self.consecutive_failures.store(0, Relaxed);
            self.readmitted_at.store(now.0, Relaxed);
            self.until.store(0, Relaxed);
        }
    }

    /// The successes and failures of the last seconds.
    #[must_use]
    pub const fn window(&self) -> &OutcomeWindow {
        &self.window
    }

    /// Trips in short succession.
    #[must_use]
    pub fn trips(&self) -> u32 {
        self.trips.load(Relaxed)
    }
}

/// Whether a pause began so long ago that another replica's report of its early end may concern it. A report
/// is older than it looks by the time that it was under way.
pub(super) fn is_older(began: Moment, now: Moment) -> bool {
    now.since(began) > Duration::from_secs(1)
}

/// The length of a trip before jitter; doubles with each trip.
fn cool_down(trips: u32, settings: &BreakerSettings) -> Duration {
    let doublings = trips.saturating_sub(1).min(16);
    settings.cool_down.saturating_mul(1 << doublings).min(settings.max_cool_down)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const BEGIN: Moment = Moment(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker, at: Moment, times: u32) {
        for _ in 0..times {
            breaker.failed(at, at, &BreakerSettings::default(), &mut Rng::new(at.0));
        }
    }

    #[test]
    fn trips_on_failures_in_a_row() {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        fail(&breaker, BEGIN, settings.failures - 1);
        breaker.succeeded(BEGIN, BEGIN, &settings);
        fail(&breaker, BEGIN, settings.failures - 1);
        assert_eq!(breaker.state(BEGIN), BreakerState::Admitting);
        fail(&breaker, BEGIN, 1);
        assert!(matches!(breaker.state(BEGIN), BreakerState::Tripped { .. }));
        assert_eq!(breaker.trips(), 1);
    }

    /// Requests that hang as a breaker trips may reach their timeout after the breaker admits again.
    #[test]
    fn failures_from_before_a_trip_do_not_trip_again() {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        let old = BEGIN;
        let mut now = BEGIN + SECOND;
        fail(&breaker, now, settings.failures);
        let BreakerState::Tripped { until } = breaker.state(now) else { panic!() };
        now = until;
        for _ in 0..2 * settings.min_requests {
            breaker.succeeded(now, now, &settings);
            breaker.failed(old, now, &settings, &mut Rng::new(1));
        }
        assert_eq!(breaker.state(now), BreakerState::Admitting);
    }

    #[test]
    fn trips_on_the_share_of_a_window() {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        for _ in 0..settings.min_requests / 2 {
            breaker.succeeded(BEGIN, BEGIN, &settings);
            assert_eq!(breaker.state(BEGIN), BreakerState::Admitting);
            fail(&breaker, BEGIN, 1);
        }
        assert!(matches!(breaker.state(BEGIN), BreakerState::Tripped { .. }));
    }

    #[test]
    fn trips_grow_and_are_forgotten() {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        let mut now = BEGIN;
        fail(&breaker, now, settings.failures);
        for trip in 1..12 {
            let BreakerState::Tripped { until } = breaker.state(now) else { panic!() };
            let length = until.since(now);
            let expected = cool_down(trip, &settings);
            assert!(length >= expected / 2 && length <= expected * 3 / 2, "{trip}: {length:?}");
            assert!(expected <= settings.max_cool_down);
            now = until;
            assert_eq!(breaker.state(now), BreakerState::Probing { busy: false });
            // A request from before the trip changes nothing.
            breaker.failed(BEGIN, now, &settings, &mut Rng::new(1));
            assert_eq!(breaker.state(now), BreakerState::Probing { busy: false });
            fail(&breaker, now, 1);
        }
        let BreakerState::Tripped { until } = breaker.state(now) else { panic!() };
        breaker.succeeded(BEGIN, until, &settings);
        assert_ne!(breaker.state(until), BreakerState::Admitting, "it was sent before the trip");
        breaker.succeeded(until, until, &settings);
        assert_eq!(breaker.state(until), BreakerState::Admitting);
        now = until;
        for _ in 0..12 {
            now = now + settings.max_cool_down;
            breaker.succeeded(now, now, &settings);
        }
        assert_eq!(breaker.trips(), 0);
    }

    #[test]
    fn one_probe_at_a_time() {
        let breaker = Breaker::default();
        assert!(breaker.claim_probe() && !breaker.claim_probe());
        breaker.release_probe();
        assert!(breaker.claim_probe());
    }

    proptest! {
        /// A trip is at most one and a half times `max_cool_down`, and needs that many failures.
        #[test]
        fn whatever_happens(events in proptest::collection::vec((any::<bool>(), 0_u64..20_000), 0..200), seed in any::<u64>()) {
            let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
            let (mut now, mut rng, mut failures) = (BEGIN, Rng::new(seed), 0);
            for (good, millis) in events {
                now = now + Duration::from_millis(millis);
                if good {
                    breaker.succeeded(now, now, &settings);
                    prop_assert_eq!(breaker.state(now), BreakerState::Admitting);
                } else {
                    failures += 1;
                    breaker.failed(now, now, &settings, &mut rng);
                }
                if let BreakerState::Tripped { until } = breaker.state(now) {
                    prop_assert!(failures >= settings.failures);
                    prop_assert!(until.since(now) <= settings.max_cool_down * 3 / 2);
                }
                prop_assert!(breaker.window().sum(now + 2 * settings.window + SECOND, settings.window).total() == 0);
            }
        }
    }
}
