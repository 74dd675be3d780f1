//! Two small histograms of one stream: the added latency of its frames and the gaps between them. Allocated
//! with the first frame, written without a lookup, merged into the statistics when the stream has ended.

use std::time::Duration;

use crate::base::scale::{self, LogScale};

/// Buckets of a histogram: values up to 2^28.
pub(super) const BUCKETS: usize = 108;
/// Four buckets to each power of two: a value is known to an eighth of itself.
const SCALE: LogScale = LogScale::from_zero(2, BUCKETS);

/// The unit of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// 64 ns: to 17 s.
    Fine,
    /// 1 µs: to 268 s.
    Coarse,
}

impl Resolution {
    /// The bucket of a time.
    #[must_use]
    pub const fn bucket(self, time: Duration) -> usize {
        SCALE.bucket(match self {
            Self::Fine => nanos(time) >> 6,
            Self::Coarse => nanos(time) / 1000,
        })
    }

    /// The time that represents a bucket: its middle.
    #[must_use]
    pub const fn time(self, bucket: usize) -> Duration {
        let middle = SCALE.middle(bucket);
        match self {
            Self::Fine => Duration::from_nanos((middle << 6) + 32),
            Self::Coarse => Duration::from_micros(middle),
        }
    }
}

const fn nanos(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + time.subsec_nanos() as u64
}

/// Times of one stream, as counts per bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHistogram {
    resolution: Resolution,
    counts: [u16; BUCKETS],
    max: Duration,
}

impl StreamHistogram {
    #[must_use]
    pub const fn new(resolution: Resolution) -> Self {
        Self { resolution, counts: [0; BUCKETS], max: Duration::ZERO }
    }

    pub fn note(&mut self, time: Duration) {
        self.note_at(self.resolution.bucket(time), time);
    }

    /// Records a time by its bucket, where the caller has computed it already.
    pub fn note_at(&mut self, bucket: usize, time: Duration) {
        let Some(count) = self.counts.get_mut(bucket) else { return };
        if *count == u16::MAX {
            // Halving all counts keeps the distribution.
            self.counts.iter_mut().for_each(|count| *count /= 2);
            return self.note_at(bucket, time);
        }
        *count += 1;
        if time > self.max {
            self.max = time;
        }
    }

    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// The recorded times, to the resolution of the buckets, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> {
        let recorded = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        recorded.map(|(bucket, count)| (self.resolution.time(bucket), u64::from(*count)))
    }

    /// The time that this share of records did not exceed. `None`: no records.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let bucket = scale::quantile(self.counts.iter().map(|count| u64::from(*count)), share)?;
        Some(self.resolution.time(bucket).min(self.max))
    }
}

/// The histograms of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTimings {
    /// From the read that brought a frame to the write that took it.
    pub added: StreamHistogram,
    /// Between the reads of two frames.
    pub gaps: StreamHistogram,
}

impl Default for FrameTimings {
    fn default() -> Self {
        Self { added: StreamHistogram::new(Resolution::Fine), gaps: StreamHistogram::new(Resolution::Coarse) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_and_never_beyond_the_largest() {
        let mut histogram = StreamHistogram::new(Resolution::Fine);
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=1000 {
            histogram.note(Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = histogram.quantile(share).unwrap().as_nanos() as f64 / 1000.0;
            assert!((found / micros - 1.0).abs() < 0.13, "{share}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(1));
        assert!(histogram.quantile(1.0) <= Some(histogram.max()));
        histogram.note(Duration::from_secs(100));
        assert_eq!(histogram.max(), Duration::from_secs(100));
    }

    #[test]
    fn a_long_stream_keeps_its_shape() {
        let mut histogram = StreamHistogram::new(Resolution::Coarse);
        for _ in 0..100_000 {
            histogram.note(Duration::from_millis(1));
            histogram.note(Duration::from_millis(1));
            histogram.note(Duration::from_millis(9));
        }
        let near = |share, millis: f64| {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!((found / millis - 1.0).abs() < 0.13, "{share}: {found}");
        };
        near(0.6, 1.0);
        near(0.7, 9.0);
        assert_eq!(histogram.iter().count(), 2);
    }
}
