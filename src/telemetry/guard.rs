//! The overhead guard (B11): when what the gateway itself adds to a frame passes a bound, optional work is left out first.
//! Pure: it is given what the workers' meters read, once a second, and says when to shed and when to take the work up
//! again. It sheds when the p99 of the last ten seconds is above the bound, and stops when that of ten seconds of
//! shedding is below half of it, or nothing passes any more; so it does not flutter around the bound.

use std::{collections::VecDeque, time::Duration};

use super::meter::MeterReading;

/// Readings that the p99 is taken over: ten seconds.
const WINDOW: usize = 10;
/// Frames that a p99 must be made of.
const ENOUGH: u64 = 100;

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAction {
    /// Leave optional work out from now on.
    Shed { p99: Duration },
    /// Take it up again.
    Resume { after: Duration },
}

#[derive(Debug, Default)]
pub struct OverloadGuard {
    /// The oldest first; with the moment of each.
    readings: VecDeque<(Duration, MeterReading)>,
    /// Since when it sheds.
    shedding: Option<Duration>,
}

impl OverloadGuard {
    /// Takes a reading at `now`. `bound`: `None` if there is no guard.
    pub fn judge(
        &mut self,
        now: Duration,
        pace: MeterReading,
        bound: Option<Duration>,
    ) -> Option<GuardAction> {
        let passed = self.readings.front().map(|(_, before)| pace.since(before)).unwrap_or_default();
        self.readings.push_back((now, pace));
        if self.readings.len() > WINDOW {
            self.readings.pop_front();
        }
        let p99 = passed.quantile(0.99);
        match (self.shedding, bound) {
            (Some(since), None) => self.resume(now, since),
            (None, None) => None,
            (None, Some(bound)) => {
                let p99 = p99.filter(|p99| passed.count() >= ENOUGH && *p99 > bound)?;
                self.shedding = Some(now);
                // What follows is judged by itself.
                self.readings.drain(..self.readings.len().saturating_sub(1));
                Some(GuardAction::Shed { p99 })
            }
            (Some(since), Some(bound)) => {
                let full = self.readings.len() == WINDOW;
                let calm = p99.is_none_or(|p99| p99 < bound / 2);
                if full && calm { self.resume(now, since) } else { None }
            }
        }
    }

    fn resume(&mut self, now: Duration, since: Duration) -> Option<GuardAction> {
        self.shedding = None;
        Some(GuardAction::Resume { after: now.saturating_sub(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::meter::LatencyMeter;

    const BOUND: Option<Duration> = Some(Duration::from_millis(1));

    /// A worker, a guard and a clock that ticks by the second.
    #[derive(Default)]
    struct Scene {
        meter: LatencyMeter,
        guard: OverloadGuard,
        now: Duration,
    }

    impl Scene {
        /// A second in which frames took so long; what the guard said, and when.
        fn second(&mut self, frames: u32, took: Duration) -> Option<GuardAction> {
            (0..frames).for_each(|_| self.meter.note(took));
            self.now += Duration::from_secs(1);
            self.guard.judge(self.now, MeterReading::of(std::slice::from_ref(&self.meter)), BOUND)
        }

        fn seconds(&mut self, count: u32, frames: u32, took: Duration) -> Vec<(u32, GuardAction)> {
            (1..=count).filter_map(|second| Some((second, self.second(frames, took)?))).collect()
        }
    }

    const FAST: Duration = Duration::from_micros(30);
    const SLOW: Duration = Duration::from_millis(3);

    #[test]
    fn sheds_once_and_resumes_when_it_has_been_calm_for_a_while() {
        let mut scene = Scene::default();
        assert!(scene.seconds(30, 1000, FAST).is_empty());
        let shed = scene.seconds(30, 1000, SLOW);
        assert!(
            matches!(shed[..], [(1, GuardAction::Shed { p99 })] if p99 > Duration::from_millis(2)),
            "{shed:?}"
        );
        let resumed = scene.seconds(30, 60, FAST);
        assert!(
            matches!(resumed[..], [(9..=11, GuardAction::Resume { after })] if after > Duration::from_secs(30)),
            "{resumed:?}"
        );
    }

    #[test]
    fn near_the_bound_it_keeps_shedding() {
        let mut scene = Scene::default();
        scene.second(1, FAST);
        assert_eq!(scene.seconds(3, 1000, SLOW).len(), 1);
        assert!(scene.seconds(60, 1000, Duration::from_micros(800)).is_empty());
        assert_eq!(scene.seconds(15, 0, FAST).len(), 1, "nothing passes any more");
    }

    #[test]
    fn a_few_slow_frames_are_no_reason_and_without_a_bound_it_rests() {
        let mut scene = Scene::default();
        scene.second(1, FAST);
        assert!(scene.seconds(20, 9, SLOW).is_empty());
        assert_eq!(scene.second(1000, SLOW).map(|turn| matches!(turn, GuardAction::Shed { .. })), Some(true));
        let pace = MeterReading::of(std::slice::from_ref(&scene.meter));
        let off = scene.guard.judge(scene.now + Duration::from_secs(1), pace, None);
        assert!(matches!(off, Some(GuardAction::Resume { .. })), "{off:?}");
    }
}
