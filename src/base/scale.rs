//! One logarithmic scale for the histograms that are written per frame or per attempt: a fixed number of
//! buckets to each power of two, found by shifts and without a table. The counts belong to the callers,
//! because some are atomics and some are not.
//!
//! Three histograms have other scales for reasons: the ledger's classes are stored in the database, and the
//! load engine's and the time windows' digits are HdrHistogram's.

/// A scale. The compiler folds its constants into the callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogScale {
    /// An octave has two to the power of this many buckets.
    bits: u32,
    /// The first octave: from two to the power of this.
    first: u32,
    /// Buckets below the first octave: one for each value, or none.
    below: usize,
    buckets: usize,
}

impl LogScale {
    /// From 0: values below the first octave have a bucket each.
    #[must_use]
    pub const fn from_zero(bits: u32, buckets: usize) -> Self {
        Self { bits, first: bits, below: 1 << bits, buckets }
    }

    /// From two to the power of `first`; lower values fall into the first bucket.
    #[must_use]
    pub const fn from_octave(bits: u32, first: u32, buckets: usize) -> Self {
        Self { bits, first, below: 0, buckets }
    }

    /// The bucket of a value. The last one holds everything beyond the scale.
    #[inline]
    #[must_use]
    pub const fn bucket(self, value: u64) -> usize {
        if value < 1 << self.first {
            return if self.below == 0 { 0 } else { value as usize };
        }
        let octave = value.ilog2();
        let part = (value >> (octave - self.bits)) as usize & ((1 << self.bits) - 1);
        let bucket = self.below + ((octave - self.first) << self.bits) as usize + part;
        if bucket < self.buckets { bucket } else { self.buckets - 1 }
    }

    /// The smallest value of a bucket.
    #[must_use]
    pub const fn floor(self, bucket: usize) -> u64 {
        if bucket < self.below {
            return bucket as u64;
        }
        let (octave, part) =
            ((bucket - self.below) >> self.bits, (bucket - self.below) & ((1 << self.bits) - 1));
        ((1 << self.bits) + part as u64) << (octave + (self.first - self.bits) as usize)
    }

    /// The value that stands for a bucket: its middle.
    #[must_use]
    pub const fn middle(self, bucket: usize) -> u64 {
        u64::midpoint(self.floor(bucket), self.floor(bucket + 1) - 1)
    }
}

/// The bucket in which the `share` of all counts is reached. `None`: all counts are 0.
pub fn quantile(counts: impl Iterator<Item = u64> + Clone, share: f64) -> Option<usize> {
    let total: u64 = counts.clone().sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let wanted = ((total as f64 * share).ceil() as u64).max(1);
    let mut reached = 0;
    counts.enumerate().find_map(|(bucket, count)| {
        reached += count;
        (reached >= wanted).then_some(bucket)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM_ZERO: LogScale = LogScale::from_zero(2, 108);
    const FROM_OCTAVE: LogScale = LogScale::from_octave(3, 7, 176);

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_in_order() {
        for (scale, buckets) in [(FROM_ZERO, 108), (FROM_OCTAVE, 176)] {
            for bucket in 0..buckets {
                let (from, to) = (scale.floor(bucket), scale.floor(bucket + 1) - 1);
                assert!(from <= to, "{bucket}");
                assert_eq!((scale.bucket(from), scale.bucket(to)), (bucket, bucket));
                assert_eq!(scale.bucket(scale.middle(bucket)), bucket);
                assert!(from < 4 || (to - from) as f64 <= from as f64 / 4.0);
            }
            assert_eq!(scale.bucket(u64::MAX), buckets - 1);
            assert_eq!(scale.bucket(0), 0);
        }
        assert_eq!(FROM_ZERO.floor(108), 1 << 28);
        assert_eq!((FROM_OCTAVE.floor(0), FROM_OCTAVE.floor(1), FROM_OCTAVE.bucket(127)), (128, 144, 0));
    }

    #[test]
    fn a_quantile_is_where_its_share_is_reached() {
        let counts = [0, 98, 0, 1, 1];
        let at = |share| quantile(counts.into_iter(), share);
        assert_eq!(
            (at(0.0), at(0.5), at(0.98), at(0.985), at(1.0)),
            (Some(1), Some(1), Some(1), Some(3), Some(4))
        );
        assert_eq!(quantile([0, 0].into_iter(), 0.5), None);
    }
}
