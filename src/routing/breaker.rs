//! A candidate's breaker: *admitting* until too many failures in a row or too large a share of the window's requests,
//! then *tripped* for a time that grows with repetition and is jittered, then *probing*: one request goes through and
//! decides. Atomics only, so that workers share it without waiting. Two of them may see the same failure count; only one
//! of them trips it.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{settings::BreakerSettings, window::OutcomeWindow};
use crate::base::{Moment, Rng};

#[derive(Debug, Default)]
pub struct Breaker {
    /// When the last trip is over; 0 while admitting.
    until: AtomicU64,
    tripped_at: AtomicU64,
    /// When it last admitted again after a trip.
    closed_at: AtomicU64,
    /// Trips in short succession.
    trips: AtomicU32,
    /// Failures in a row.
    streak: AtomicU32,
    probing: AtomicBool,
    window: OutcomeWindow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Admitting,
    Tripped {
        until: Moment,
    },
    /// The next request decides; `busy`: one is under way.
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

    /// Takes the place of the one probe. Who gets `true` gives it back with [`Breaker::release`].
    #[must_use]
    pub fn claim(&self) -> bool {
        !self.probing.swap(true, Relaxed)
    }

    pub fn release(&self) {
        self.probing.store(false, Relaxed);
    }

    /// A request that was sent at `asked` went well. One from before the trip proves nothing.
    pub fn succeeded(&self, asked: Moment, now: Moment, settings: &BreakerSettings) {
        if self.streak.load(Relaxed) != 0 {
            self.streak.store(0, Relaxed);
        }
        let until = self.until.load(Relaxed);
        if until != 0 && asked.0 >= self.tripped_at.load(Relaxed) {
            self.window.clear();
            self.closed_at.store(now.0, Relaxed);
            self.until.store(0, Relaxed);
        }
        self.window.count(true, now, settings.window);
        self.forget_a_trip(now, settings);
    }

    /// Trips are forgotten one by one, each after as long without another as it would have lasted.
    fn forget_a_trip(&self, now: Moment, settings: &BreakerSettings) {
        let trips = self.trips.load(Relaxed);
        let quiet = now.since(Moment(self.closed_at.load(Relaxed)));
        if trips > 0 && self.until.load(Relaxed) == 0 && quiet >= cool_down(trips, settings) {
            self.closed_at.store(now.0, Relaxed);
            let _ = self.trips.compare_exchange(trips, trips - 1, Relaxed, Relaxed);
        }
    }

    /// A request that was sent at `asked` failed.
    pub fn failed(&self, asked: Moment, now: Moment, settings: &BreakerSettings, dice: &mut Rng) {
        self.window.count(false, now, settings.window);
        let streak = self.streak.fetch_add(1, Relaxed).saturating_add(1);
        let until = self.until.load(Relaxed);
        let trips = if until == 0 {
            let seen = self.window.sum(now, settings.window);
            streak >= settings.failures || (seen.all() >= settings.least && seen.failed() >= settings.share)
        } else {
            // A probe failed. What was sent before its time came is old news.
            asked.0 >= until
        };
        if trips {
            self.trip(until, now, settings, dice);
        }
    }

    fn trip(&self, seen: u64, now: Moment, settings: &BreakerSettings, dice: &mut Rng) {
        let trips = self.trips.load(Relaxed).saturating_add(1);
        let until = now + dice.jitter(cool_down(trips, settings));
        self.tripped_at.store(now.0, Relaxed);
        if self.until.compare_exchange(seen, until.0.max(1), Relaxed, Relaxed).is_ok() {
            self.trips.store(trips, Relaxed);
        }
    }

    /// The window's figures.
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

/// Doubles with each trip.
fn cool_down(trips: u32, settings: &BreakerSettings) -> Duration {
    let doublings = trips.saturating_sub(1).min(16);
    settings.cool_down.saturating_mul(1 << doublings).min(settings.longest_cool_down)
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

    #[test]
    fn trips_on_the_share_of_a_window() {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        for _ in 0..settings.least / 2 {
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
            let meant = cool_down(trip, &settings);
            assert!(length >= meant / 2 && length <= meant * 3 / 2, "{trip}: {length:?}");
            assert!(meant <= settings.longest_cool_down);
            now = until;
            assert_eq!(breaker.state(now), BreakerState::Probing { busy: false });
            // What was sent before the trip says nothing now.
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
            now = now + settings.longest_cool_down;
            breaker.succeeded(now, now, &settings);
        }
        assert_eq!(breaker.trips(), 0);
    }

    #[test]
    fn one_probe_at_a_time() {
        let breaker = Breaker::default();
        assert!(breaker.claim() && !breaker.claim());
        breaker.release();
        assert!(breaker.claim());
    }

    proptest! {
        /// Never tripped for longer than one and a half of the longest, never without that many failures.
        #[test]
        fn whatever_happens(events in proptest::collection::vec((any::<bool>(), 0_u64..20_000), 0..200), seed in any::<u64>()) {
            let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
            let (mut now, mut dice, mut failures) = (BEGIN, Rng::new(seed), 0);
            for (good, millis) in events {
                now = now + Duration::from_millis(millis);
                if good {
                    breaker.succeeded(now, now, &settings);
                    prop_assert_eq!(breaker.state(now), BreakerState::Admitting);
                } else {
                    failures += 1;
                    breaker.failed(now, now, &settings, &mut dice);
                }
                if let BreakerState::Tripped { until } = breaker.state(now) {
                    prop_assert!(failures >= settings.failures);
                    prop_assert!(until.since(now) <= settings.longest_cool_down * 3 / 2);
                }
                prop_assert!(breaker.window().sum(now + 2 * settings.window + SECOND, settings.window).all() == 0);
            }
        }
    }
}
