//! The shape of one stream: how long its frames stayed in the gateway and how far apart they came. Two small histograms
//! that are allocated with the first frame, written without looking up anything, and merged when the stream has ended.

use std::time::Duration;

use crate::base::scale::{self, LogScale};

/// Buckets of a histogram: values up to 2^28.
pub(super) const BUCKETS: usize = 108;
/// Four buckets to each power of two: a value is known to an eighth of itself.
const SCALE: LogScale = LogScale::from_zero(2, BUCKETS);

/// What a stream's histogram counts in.
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

    /// The time that stands for a bucket.
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

/// Times of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHistogram {
    grain: Resolution,
    counts: [u16; BUCKETS],
    max: Duration,
}

impl StreamHistogram {
    #[must_use]
    pub const fn new(grain: Resolution) -> Self {
        Self { grain, counts: [0; BUCKETS], max: Duration::ZERO }
    }

    pub fn note(&mut self, time: Duration) {
        self.note_at(self.grain.bucket(time), time);
    }

    /// The same where its bucket is known already.
    pub fn note_at(&mut self, bucket: usize, time: Duration) {
        let Some(count) = self.counts.get_mut(bucket) else { return };
        if *count == u16::MAX {
            // The shape stays when all are halved.
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

    /// The times that were noted, as their buckets have them, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> {
        let recorded = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        recorded.map(|(bucket, count)| (self.grain.time(bucket), u64::from(*count)))
    }

    /// `None` if nothing was noted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let bucket = scale::quantile(self.counts.iter().map(|count| u64::from(*count)), share)?;
        Some(self.grain.time(bucket).min(self.max))
    }
}

/// What is known of the frames of one stream.
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
        let mut tally = StreamHistogram::new(Resolution::Fine);
        assert_eq!(tally.quantile(0.5), None);
        for micros in 1..=1000 {
            tally.note(Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = tally.quantile(share).unwrap().as_nanos() as f64 / 1000.0;
            assert!((found / micros - 1.0).abs() < 0.13, "{share}: {found}");
        }
        assert_eq!(tally.max(), Duration::from_millis(1));
        assert!(tally.quantile(1.0) <= Some(tally.max()));
        tally.note(Duration::from_secs(100));
        assert_eq!(tally.max(), Duration::from_secs(100));
    }

    #[test]
    fn a_long_stream_keeps_its_shape() {
        let mut tally = StreamHistogram::new(Resolution::Coarse);
        for _ in 0..100_000 {
            tally.note(Duration::from_millis(1));
            tally.note(Duration::from_millis(1));
            tally.note(Duration::from_millis(9));
        }
        let near = |share, millis: f64| {
            let found = tally.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!((found / millis - 1.0).abs() < 0.13, "{share}: {found}");
        };
        near(0.6, 1.0);
        near(0.7, 9.0);
        assert_eq!(tally.iter().count(), 2);
    }
}
