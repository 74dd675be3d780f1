//! The added latency of one worker's frames: a histogram that the worker alone writes, without a lock and
//! without an atomic exchange, and any thread reads, so that the overload guard sees streams that have not
//! ended. The guard's answer to the worker, the shed flag, is beside the counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::stream_histogram::{BUCKETS, Resolution};
use crate::base::scale;

/// One worker's meter. Clones share it; only the worker records.
#[derive(Clone, Debug, Default)]
pub struct LatencyMeter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counts: [AtomicU64; BUCKETS],
    sheds: AtomicBool,
}

impl Default for Inner {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], sheds: AtomicBool::new(false) }
    }
}

impl LatencyMeter {
    /// Records one frame. Only for the worker that owns the meter, because two writers would lose counts.
    pub fn note(&self, time: Duration) {
        self.note_at(Resolution::Fine.bucket(time));
    }

    /// Records one frame by its bucket.
    pub fn note_at(&self, bucket: usize) {
        if let Some(count) = self.0.counts.get(bucket) {
            // One writer, so a load and a store suffice; an exchange costs ten times as much.
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Whether optional work is off.
    #[must_use]
    pub fn sheds(&self) -> bool {
        self.0.sheds.load(Ordering::Relaxed)
    }

    pub fn shed(&self, sheds: bool) {
        self.0.sheds.store(sheds, Ordering::Relaxed);
    }
}

/// The counts of all meters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterReading([u64; BUCKETS]);

impl Default for MeterReading {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl MeterReading {
    #[must_use]
    pub fn of(meters: &[LatencyMeter]) -> Self {
        let mut reading = Self::default();
        for meter in meters {
            for (sum, count) in reading.0.iter_mut().zip(&meter.0.counts) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        reading
    }

    /// The counts added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut reading = self.clone();
        reading
            .0
            .iter_mut()
            .zip(&before.0)
            .for_each(|(count, before)| *count = count.saturating_sub(*before));
        reading
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that this share of frames did not exceed. `None`: no frames.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        scale::quantile(self.0.iter().copied(), share).map(|bucket| Resolution::Fine.time(bucket))
    }

    /// The recorded times, to the resolution of the buckets, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> {
        let recorded = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        recorded.map(|(bucket, count)| (Resolution::Fine.time(bucket), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_is_of_all_workers_and_of_a_stretch_of_time() {
        let meters = [LatencyMeter::default(), LatencyMeter::default()];
        meters[0].note(Duration::from_micros(10));
        let before = MeterReading::of(&meters);
        meters[0].note(Duration::from_micros(100));
        meters[1].note(Duration::from_micros(100));
        let since = MeterReading::of(&meters).since(&before);
        assert_eq!((before.count(), since.count()), (1, 2));
        let micros = since.quantile(0.01).unwrap().as_micros();
        assert!((88..=112).contains(&micros), "{micros}");
        assert_eq!(MeterReading::default().quantile(0.5), None);
    }
}
