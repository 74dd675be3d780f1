//! The overload guard (B11): when added latency exceeds a bound, optional work stops before requests suffer.
//! Pure: it is given the workers' meters once a second and returns the action. It sheds when the p99 of the
//! last ten seconds is above the bound, and resumes when the p99 of ten seconds of shedding is below half of
//! it or no frames pass, so that it does not alternate around the bound.

use std::{collections::VecDeque, time::Duration};

use super::meter::MeterReading;

/// Readings in the window of the p99: ten seconds.
const MAX_READINGS: usize = 10;
/// Frames that a p99 needs.
const MIN_FRAMES: u64 = 100;

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAction {
    /// Optional work stops.
    Shed { p99: Duration },
    /// Optional work starts again.
    Resume { after: Duration },
}

#[derive(Debug, Default)]
pub struct OverloadGuard {
    /// Oldest first, each with its time.
    readings: VecDeque<(Duration, MeterReading)>,
    /// The start of shedding. `None`: it does not shed.
    shedding: Option<Duration>,
}

impl OverloadGuard {
    /// Takes a reading at `now`. `bound`: `None` if the guard is off. Returns `None` if nothing changes.
    pub fn judge(
        &mut self,
        now: Duration,
        reading: MeterReading,
        bound: Option<Duration>,
    ) -> Option<GuardAction> {
        let recent = self.readings.front().map(|(_, before)| reading.since(before)).unwrap_or_default();
        self.readings.push_back((now, reading));
        if self.readings.len() > MAX_READINGS {
            self.readings.pop_front();
        }
        let p99 = recent.quantile(0.99);
        match (self.shedding, bound) {
            (Some(since), None) => self.resume(now, since),
            (None, None) => None,
            (None, Some(bound)) => {
                let p99 = p99.filter(|p99| recent.count() >= MIN_FRAMES && *p99 > bound)?;
                self.shedding = Some(now);
                // Frames before this change do not count for the next decision.
                self.readings.drain(..self.readings.len().saturating_sub(1));
                Some(GuardAction::Shed { p99 })
            }
            (Some(since), Some(bound)) => {
                let full = self.readings.len() == MAX_READINGS;
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
        /// One second of frames with this latency; returns the action of the guard.
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
