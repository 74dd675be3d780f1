//! One scale for small histograms on the line: four buckets to each power of two, so that a value is known to an eighth of
//! itself, and its place is found with a shift and two additions.

/// Buckets of the scale: values up to 2^28.
pub const BUCKETS: usize = 108;

/// The bucket of a value; what is beyond the scale falls into the last.
#[must_use]
pub const fn bucket(value: u64) -> usize {
    if value < 4 {
        return value as usize;
    }
    let power = 63 - value.leading_zeros() as usize;
    let quarter = (value >> (power - 2)) as usize & 3;
    let bucket = (power - 1) * 4 + quarter;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The smallest value of a bucket.
#[must_use]
pub const fn floor(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    (4 + bucket as u64 % 4) << (bucket / 4 - 1)
}

/// The value that stands for a bucket: its middle.
#[must_use]
pub const fn middle(bucket: usize) -> u64 {
    u64::midpoint(floor(bucket), floor(bucket + 1) - 1)
}

/// The bucket in which the `share` of all counts is reached. `None`: there are none.
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

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_in_order() {
        for bucket_number in 0..BUCKETS {
            let (from, to) = (floor(bucket_number), floor(bucket_number + 1) - 1);
            assert!(from <= to, "{bucket_number}");
            assert_eq!((bucket(from), bucket(to)), (bucket_number, bucket_number));
            assert_eq!(bucket(middle(bucket_number)), bucket_number);
            assert!(from < 4 || (to - from) as f64 <= from as f64 / 4.0);
        }
        assert_eq!(floor(BUCKETS), 1 << 28);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
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
