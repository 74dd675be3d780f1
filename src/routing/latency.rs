//! The latency of a candidate: a decaying peak, which avoids a candidate that was slow a moment ago, and a
//! histogram with decay, for percentiles. Atomics only; if two workers record a sample at once, one may be
//! lost.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::base::{Moment, moment::micros, scale::LogScale};

/// The weight of a sample above the peak, and of one below it: one slow response is remembered for a while,
/// but does not make a candidate look worse than one that is always slow.
const RISE_WEIGHT: f64 = 0.25;
const FALL_WEIGHT: f64 = 0.1;
/// In this time, the distance of the peak to lower samples falls to little more than a third, whatever the
/// weights.
const DECAY: Duration = Duration::from_secs(10);
/// Eight buckets per octave from 128 µs on: a bucket is at most an eighth wide, the last one begins past 8
/// minutes.
const BUCKETS: usize = 8 * 22;
const SCALE: LogScale = LogScale::from_octave(3, 7, BUCKETS);
/// Samples after which all counts are halved.
const MAX_SAMPLES: u32 = 512;
/// Samples that a percentile needs.
const MIN_SAMPLES: u32 = 20;

#[derive(Debug, Default)]
pub struct LatencyTracker {
    peak: AtomicU64,
    sampled_at: AtomicU64,
    /// Allocated with the first sample, because most models of a long list are never requested.
    percentiles: OnceLock<Box<LatencyPercentiles>>,
}

#[derive(Debug)]
struct LatencyPercentiles {
    buckets: [AtomicU32; BUCKETS],
    samples: AtomicU32,
}

impl LatencyTracker {
    pub fn record(&self, sample: Duration, now: Moment) {
        let sample_us = micros(sample);
        let peak = self.peak.load(Relaxed);
        let elapsed = now.since(Moment(self.sampled_at.load(Relaxed)));
        let next = if self.sampled_at.load(Relaxed) == 0 {
            sample_us as f64
        } else {
            let (peak, sample) = (peak as f64, sample_us as f64);
            let age = elapsed.as_secs_f64() / DECAY.as_secs_f64();
            // Close to an exponential, and does not load libm into the process.
            let aged = (1.0 + age / 16.0).powi(-16);
            let kept = if sample > peak { 1.0 - RISE_WEIGHT } else { aged.min(1.0 - FALL_WEIGHT) };
            sample + (peak - sample) * kept
        } as u64;
        self.peak.store(next, Relaxed);
        self.sampled_at.store(now.0, Relaxed);
        self.percentiles.get_or_init(LatencyPercentiles::boxed).add(sample_us);
    }

    /// The decaying peak. `None`: never measured.
    #[must_use]
    pub fn peak(&self) -> Option<Duration> {
        (self.sampled_at.load(Relaxed) != 0).then(|| Duration::from_micros(self.peak.load(Relaxed)))
    }

    /// When it was last measured.
    #[must_use]
    pub fn last_sample_at(&self) -> Moment {
        Moment(self.sampled_at.load(Relaxed))
    }

    /// This percentile of the remembered samples. `None`: too few samples.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        self.percentiles.get()?.percentile(percent)
    }

    /// The remembered samples.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        let buckets = self.percentiles.get().into_iter().flat_map(|percentiles| &percentiles.buckets);
        let counts = buckets.map(|bucket| bucket.load(Relaxed)).enumerate();
        LatencyCounts(counts.filter(|(_, count)| *count > 0).collect())
    }
}

impl LatencyPercentiles {
    fn boxed() -> Box<Self> {
        Box::new(Self { buckets: [const { AtomicU32::new(0) }; BUCKETS], samples: AtomicU32::new(0) })
    }

    fn add(&self, sample: u64) {
        if let Some(bucket) = self.buckets.get(SCALE.bucket(sample)) {
            bucket.fetch_add(1, Relaxed);
        }
        if self.samples.fetch_add(1, Relaxed) + 1 == MAX_SAMPLES {
            self.samples.store(MAX_SAMPLES / 2, Relaxed);
            for bucket in &self.buckets {
                let count = bucket.load(Relaxed);
                if count > 0 {
                    bucket.store(count / 2, Relaxed);
                }
            }
        }
    }

    fn percentile(&self, percent: u8) -> Option<Duration> {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).enumerate();
        percentile(counts, percent)
    }
}

/// This percentile of counts by bucket, in order. `None`: too few samples.
fn percentile(counts: impl Iterator<Item = (usize, u32)> + Clone, percent: u8) -> Option<Duration> {
    let all: u64 = counts.clone().map(|(_, count)| u64::from(count)).sum();
    if all < u64::from(MIN_SAMPLES) {
        return None;
    }
    let target_count = (all * u64::from(percent)).div_ceil(100);
    let mut below = 0;
    for (place, count) in counts {
        let here = u64::from(count);
        if here > 0 && below + here >= target_count {
            // Interpolates as if the bucket's samples were spread evenly.
            let from = SCALE.floor(place);
            let width = SCALE.floor(place + 1) - from;
            return Some(Duration::from_micros(from + width * (target_count - below) / here));
        }
        below += here;
    }
    None
}

/// The remembered samples of a candidate as counts by bucket, which can be merged with those of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyCounts(BTreeMap<usize, u32>);

impl LatencyCounts {
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.0.iter().filter(|(bucket, _)| **bucket < BUCKETS) {
            let own = self.0.entry(*bucket).or_default();
            *own = own.saturating_add(*count);
        }
    }

    /// This percentile of the samples. `None`: too few samples.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        percentile(self.0.iter().map(|(bucket, count)| (*bucket, *count)), percent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn merged_samples_have_the_percentiles_of_all() {
        let (one, two, all) =
            (LatencyTracker::default(), LatencyTracker::default(), LatencyTracker::default());
        for number in 1..200 {
            let sample = Duration::from_millis(number * number % 991);
            if number.is_multiple_of(3) { &one } else { &two }.record(sample, Moment(1));
            all.record(sample, Moment(1));
        }
        let mut merged = one.counts();
        merged.merge(&two.counts());
        assert_eq!(merged, all.counts());
        assert!(merged.percentile(50).is_some() && merged.percentile(50) == all.percentile(50));
        merged.merge(&LatencyCounts(BTreeMap::from([(usize::MAX, 1), (BUCKETS, 1)])));
        assert_eq!(merged, all.counts(), "a bucket that is not there");
    }

    #[test]
    fn a_peak_is_kept_and_decays() {
        let latency = LatencyTracker::default();
        let begin = Moment(1);
        assert_eq!((latency.peak(), latency.percentile(50)), (None, None));
        latency.record(SECOND, begin);
        latency.record(5 * SECOND, begin);
        assert_eq!(latency.peak(), Some(2 * SECOND));
        latency.record(SECOND, begin);
        assert_eq!(latency.peak(), Some(SECOND * 19 / 10));
        latency.record(SECOND, begin + DECAY);
        let peak = latency.peak().unwrap();
        assert!(peak > SECOND * 13 / 10 && peak < SECOND * 14 / 10, "{peak:?}");
        latency.record(SECOND, begin + 20 * DECAY);
        assert!(latency.peak().unwrap() < SECOND + SECOND / 100);
    }

    #[test]
    fn old_samples_are_outweighed() {
        let latency = LatencyTracker::default();
        for _ in 0..5000 {
            latency.record(SECOND, Moment(1));
        }
        for _ in 0..1500 {
            latency.record(SECOND / 10, Moment(2));
        }
        assert!(latency.percentile(80).unwrap() < SECOND / 8);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_an_eighth(samples in proptest::collection::vec(200_u64..300_000_000, 20..500), percent in 1_u8..=99) {
            let latency = LatencyTracker::default();
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            for sample in samples {
                latency.record(Duration::from_micros(sample), Moment(1));
            }
            let place = (sorted.len() * usize::from(percent)).div_ceil(100).max(1) - 1;
            let (exact, reported) = (sorted[place], micros(latency.percentile(percent).unwrap()));
            prop_assert!((reported as f64 / exact as f64 - 1.0).abs() <= 0.126, "{} for {}", reported, exact);
        }

        #[test]
        fn every_time_has_a_step(micros in any::<u64>()) {
            prop_assert!(SCALE.bucket(micros) < BUCKETS);
            if (128..1 << 29).contains(&micros) {
                prop_assert!(micros < SCALE.floor(SCALE.bucket(micros) + 1));
            }
        }
    }
}
