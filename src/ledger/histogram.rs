//! Times in twenty classes, each 1.75 times as long as the one before: sums of them over any set of rows still tell
//! percentiles, within a class's width. 4 ms to 166 s; the first class holds what is shorter, the last what is longer.

use std::iter;

pub const CLASSES: usize = 20;
/// The first class ends here, in microseconds.
const FIRST: f64 = 4000.0;
const GROWTH: f64 = 1.75;

/// How many times fell into each class.
pub type Histogram = [i64; CLASSES];

/// Which class a time of so many microseconds is in.
#[must_use]
pub fn class(micros: i64) -> usize {
    ends().position(|end| micros as f64 <= end).unwrap_or(CLASSES - 1)
}

/// Where each class ends, in microseconds.
fn ends() -> impl Iterator<Item = f64> {
    iter::successors(Some(FIRST), |end| Some(end * GROWTH)).take(CLASSES)
}

/// The time that a `share` of all is not longer than, in microseconds, on the assumption that times lie evenly
/// within a class. `None`: there is none.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a time")]
pub fn quantile(histogram: &Histogram, share: f64) -> Option<i64> {
    let whole: i64 = histogram.iter().sum();
    if whole <= 0 {
        return None;
    }
    let wanted = (whole as f64 * share).max(1.0);
    let mut below = 0.0;
    for (count, end) in histogram.iter().zip(ends()) {
        let inside = *count as f64;
        if inside > 0.0 && below + inside >= wanted {
            let part = (wanted - below) / inside;
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
