//! Durations in twenty classes, each 1.75 times as long as the one before. Sums of histograms over any rows
//! still give percentiles, to within the width of a class. The range is 4 ms to 166 s; shorter durations are
//! in the first class, longer ones in the last.

use std::iter;

pub const CLASSES: usize = 20;
/// The upper bound of the first class, in microseconds.
const FIRST_BOUND: f64 = 4000.0;
const GROWTH: f64 = 1.75;

/// Durations per class.
pub type Histogram = [i64; CLASSES];

/// The class of a duration.
#[must_use]
pub fn class(micros: i64) -> usize {
    bounds().position(|end| micros as f64 <= end).unwrap_or(CLASSES - 1)
}

/// The upper bound of each class, in microseconds.
fn bounds() -> impl Iterator<Item = f64> {
    iter::successors(Some(FIRST_BOUND), |end| Some(end * GROWTH)).take(CLASSES)
}

/// The duration that a `share` of all does not exceed, in microseconds, assuming that durations are spread
/// evenly within a class. `None`: the histogram is empty.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a time")]
pub fn quantile(histogram: &Histogram, share: f64) -> Option<i64> {
    let total: i64 = histogram.iter().sum();
    if total <= 0 {
        return None;
    }
    let rank = (total as f64 * share).max(1.0);
    let mut below = 0.0;
    for (count, end) in histogram.iter().zip(bounds()) {
        let inside = *count as f64;
        if inside > 0.0 && below + inside >= rank {
            let part = (rank - below) / inside;
            let begin = end / GROWTH;
            return Some((begin + (end - begin) * part).round() as i64);
        }
        below += inside;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_begin_where_the_last_ended() {
        assert_eq!(
            [class(-5), class(0), class(4000), class(4001), class(7000), class(7001)],
            [0, 0, 0, 1, 1, 2]
        );
        assert_eq!([class(166_000_000), class(i64::MAX)], [19, 19]);
    }

    #[test]
    fn percentiles_are_right_within_a_class() {
        let mut histogram = [0; CLASSES];
        for millis in 1..=10_000 {
            histogram[class(millis * 1000)] += 1;
        }
        for (share, exact) in [(0.1, 1e6), (0.5, 5e6), (0.95, 9.5e6), (0.99, 9.9e6)] {
            let found = quantile(&histogram, share).unwrap() as f64;
            assert!((found / exact).max(exact / found) < GROWTH.sqrt(), "{share}: {found}");
        }
        assert_eq!(quantile(&[0; CLASSES], 0.5), None);
        let mut one = [0; CLASSES];
        one[3] = 1;
        assert!(quantile(&one, 0.01).is_some() && quantile(&one, 1.0).is_some());
    }
}
