//! Median, spread and percentiles of a few numbers. There are at most ten repeats, so percentiles are taken
//! from the sorted values (nearest rank) and not from a histogram.

use serde::{Deserialize, Serialize};

/// One time over the repeats of a leg, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeated {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// Differences to the control, in microseconds. Negative: faster than the control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegAddedLatency {
    pub p50: f64,
    pub p99: f64,
    /// The number of differences.
    pub count: usize,
}

impl Repeated {
    /// `None` when there are no values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self { median: rank(&values, 0.5)?, min: *values.first()?, max: *values.last()? })
    }

    /// The spread between the repeats.
    #[must_use]
    pub fn spread(&self) -> f64 {
        self.max - self.min
    }
}

impl LegAddedLatency {
    /// `None` when there are no differences.
    #[must_use]
    pub fn of(mut differences: Vec<f64>) -> Option<Self> {
        differences.sort_by(f64::total_cmp);
        Some(Self { p50: rank(&differences, 0.5)?, p99: rank(&differences, 0.99)?, count: differences.len() })
    }
}

/// The smallest value that is not below `share` of all values.
fn rank(sorted: &[f64], share: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of events")]
    let position = (sorted.len() as f64 * share).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number within the length"
    )]
    let index = (position as usize).saturating_sub(1);
    sorted.get(index).copied()
}

/// Microseconds from nanoseconds, to one decimal.
pub(super) fn micros(nanos: u64) -> f64 {
    crate::load::latency::micros(nanos)
}

/// The signed difference in microseconds, to one decimal.
pub(super) fn difference(nanos: u64, control: u64) -> f64 {
    let size = micros(nanos.abs_diff(control));
    if nanos < control { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let across = Repeated::of(vec![30.0, 10.0, 20.0]).unwrap();
        assert_eq!((across.median, across.min, across.max, across.spread()), (20.0, 10.0, 30.0, 20.0));
        let added = LegAddedLatency::of((1..=200).map(f64::from).collect()).unwrap();
        assert_eq!((added.p50, added.p99, added.count), (100.0, 198.0, 200));
        assert_eq!((Repeated::of(vec![]), LegAddedLatency::of(vec![])), (None, None));
        assert_eq!(LegAddedLatency::of(vec![7.0]).map(|added| added.p99), Some(7.0));
    }

    #[test]
    fn differences_are_signed() {
        assert_eq!(difference(1_000, 3_500), -2.5);
    }
}
