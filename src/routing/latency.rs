//! How quickly a candidate gives its first token: a peak that decays, which is wary of who was slow a moment ago, and a
//! histogram that forgets, for percentiles. Atomics only; a sample that two workers write at once may be lost.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::base::{Moment, moment::micros};

/// What was measured weighs so much if it lies above the peak, and so much below it: one slow answer is remembered for
/// a while, and does not outweigh a candidate that is always slow.
const RISE: f64 = 0.25;
const FALL: f64 = 0.1;
/// Whatever the weights, a peak falls to little more than a third of its height above what is measured in this time.
const DECAY: Duration = Duration::from_secs(10);
/// Eight steps an octave from 128 µs on: a step is at most an eighth wide, the last begins past 8 minutes.
const FIRST_OCTAVE: u32 = 7;
const STEPS: usize = 8 * 22;
/// Samples after which all counts are halved.
const REMEMBERED: u32 = 512;
/// Fewer say nothing of a percentile.
const ENOUGH: u32 = 20;

#[derive(Debug, Default)]
pub struct LatencyTracker {
    peak: AtomicU64,
    at: AtomicU64,
    /// Made with the first sample: most models of a long list are never asked for.
    spread: OnceLock<Box<LatencyPercentiles>>,
}

#[derive(Debug)]
struct LatencyPercentiles {
    steps: [AtomicU32; STEPS],
    samples: AtomicU32,
}

impl LatencyTracker {
    pub fn note(&self, sample: Duration, now: Moment) {
        let sample_us = micros(sample);
        let peak = self.peak.load(Relaxed);
        let elapsed = now.since(Moment(self.at.load(Relaxed)));
        let next = if self.at.load(Relaxed) == 0 {
            sample_us as f64
        } else {
            let (peak, sample) = (peak as f64, sample_us as f64);
            let age = elapsed.as_secs_f64() / DECAY.as_secs_f64();
            // Near enough to an exponential, and libm stays out of the process.
            let aged = (1.0 + age / 16.0).powi(-16);
            let kept = if sample > peak { 1.0 - RISE } else { aged.min(1.0 - FALL) };
            sample + (peak - sample) * kept
        } as u64;
        self.peak.store(next, Relaxed);
        self.at.store(now.0, Relaxed);
        self.spread.get_or_init(LatencyPercentiles::boxed).add(sample_us);
    }

    /// The decaying peak. `None`: never measured.
    #[must_use]
    pub fn peak(&self) -> Option<Duration> {
        (self.at.load(Relaxed) != 0).then(|| Duration::from_micros(self.peak.load(Relaxed)))
    }

    /// When it was last measured.
    #[must_use]
    pub fn measured(&self) -> Moment {
        Moment(self.at.load(Relaxed))
    }

    /// The time within which this share of the remembered samples came. `None`: too few of them.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        self.spread.get()?.percentile(percent)
    }
}

impl LatencyPercentiles {
    fn boxed() -> Box<Self> {
        Box::new(Self { steps: [const { AtomicU32::new(0) }; STEPS], samples: AtomicU32::new(0) })
    }

    fn add(&self, sample: u64) {
        if let Some(step) = self.steps.get(step(sample)) {
            step.fetch_add(1, Relaxed);
        }
        if self.samples.fetch_add(1, Relaxed) + 1 == REMEMBERED {
            self.samples.store(REMEMBERED / 2, Relaxed);
            for step in &self.steps {
                let held = step.load(Relaxed);
                if held > 0 {
                    step.store(held / 2, Relaxed);
                }
            }
        }
    }

    fn percentile(&self, percent: u8) -> Option<Duration> {
        let all: u32 = self.steps.iter().map(|step| step.load(Relaxed)).sum();
        if all < ENOUGH {
            return None;
        }
        let wanted = (u64::from(all) * u64::from(percent)).div_ceil(100);
        let mut below = 0;
        for (place, step) in self.steps.iter().enumerate() {
            let here = u64::from(step.load(Relaxed));
            if here > 0 && below + here >= wanted {
                // As if a step's samples lay evenly in it.
                let (from, width) = (lower(place), upper(place) - lower(place));
                return Some(Duration::from_micros(from + width * (wanted - below) / here));
            }
            below += here;
        }
        None
    }
}

/// Which step a number of microseconds falls into.
fn step(micros: u64) -> usize {
    let micros = micros.max(1 << FIRST_OCTAVE);
    let octave = micros.ilog2();
    let eighth = (micros >> (octave - 3)) & 7;
    (((octave - FIRST_OCTAVE) as usize) * 8 + eighth as usize).min(STEPS - 1)
}

/// Where a step begins, in microseconds.
const fn lower(step: usize) -> u64 {
    let (octave, eighth) = (step / 8 + FIRST_OCTAVE as usize, step % 8);
    (eighth as u64 + 8) << (octave - 3)
}

/// Where a step ends, in microseconds.
const fn upper(step: usize) -> u64 {
    let (octave, eighth) = (step / 8 + FIRST_OCTAVE as usize, step % 8);
    (eighth as u64 + 9) << (octave - 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peak_is_kept_and_decays() {
        let pace = LatencyTracker::default();
        let begin = Moment(1);
        assert_eq!((pace.peak(), pace.percentile(50)), (None, None));
        pace.note(SECOND, begin);
        pace.note(5 * SECOND, begin);
        assert_eq!(pace.peak(), Some(2 * SECOND));
        pace.note(SECOND, begin);
        assert_eq!(pace.peak(), Some(SECOND * 19 / 10));
        pace.note(SECOND, begin + DECAY);
        let peak = pace.peak().unwrap();
        assert!(peak > SECOND * 13 / 10 && peak < SECOND * 14 / 10, "{peak:?}");
        pace.note(SECOND, begin + 20 * DECAY);
        assert!(pace.peak().unwrap() < SECOND + SECOND / 100);
    }

    #[test]
    fn old_samples_are_outweighed() {
        let pace = LatencyTracker::default();
        for _ in 0..5000 {
            pace.note(SECOND, Moment(1));
        }
        for _ in 0..1500 {
            pace.note(SECOND / 10, Moment(2));
        }
        assert!(pace.percentile(80).unwrap() < SECOND / 8);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_an_eighth(samples in proptest::collection::vec(200_u64..300_000_000, 20..500), percent in 1_u8..=99) {
            let pace = LatencyTracker::default();
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            for sample in samples {
                pace.note(Duration::from_micros(sample), Moment(1));
            }
            let place = (sorted.len() * usize::from(percent)).div_ceil(100).max(1) - 1;
            let (exact, told) = (sorted[place], micros(pace.percentile(percent).unwrap()));
            prop_assert!((told as f64 / exact as f64 - 1.0).abs() <= 0.126, "{} for {}", told, exact);
        }

        #[test]
        fn every_time_has_a_step(micros in any::<u64>()) {
            prop_assert!(step(micros) < STEPS);
            if (1 << FIRST_OCTAVE..1 << 29).contains(&micros) {
                prop_assert!(micros < upper(step(micros)));
            }
        }
    }
}
