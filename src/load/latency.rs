//! A distribution of durations and its percentiles, by HdrHistogram: three significant figures, fixed memory,
//! no allocation when recording. Nanoseconds go in, microseconds come out.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// An hour in nanoseconds. Longer durations count as this.
const MAX_NANOS: u64 = 3_600_000_000_000;

#[derive(Clone, Debug)]
pub struct LatencyHistogram(Histogram<u64>);

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts")]
        Self(Histogram::new_with_bounds(1, MAX_NANOS, 3).expect("valid bounds"))
    }
}

impl LatencyHistogram {
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub fn record_times(&mut self, nanos: u64, times: u64) {
        self.0.saturating_record_n(nanos, times);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// `None` when nothing was recorded.
    #[must_use]
    pub fn summary(&self) -> Option<LatencySummary> {
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| LatencySummary {
            count: self.0.len(),
            min: micros(self.0.min()),
            mean: round(self.0.mean() / 1000.0),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(self.0.max()),
        })
    }
}

/// Microseconds to one decimal.
#[must_use]
pub fn micros(nanos: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an hour of nanoseconds fits in 53 bits")]
    round(nanos as f64 / 1000.0)
}

fn round(micros: f64) -> f64 {
    (micros * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut spread = LatencyHistogram::default();
        assert_eq!(spread.summary(), None);
        for micros in 1..=1000 {
            spread.record(micros * 1000);
        }
        let summary = spread.summary().unwrap();
        let near = |value: f64, expected: f64| (value - expected).abs() / expected < 0.002;
        assert_eq!(summary.count, 1000);
        assert!(
            near(summary.p50, 500.0) && near(summary.p90, 900.0) && near(summary.p99, 990.0),
            "{summary:?}"
        );
        assert!(
            near(summary.p999, 999.0) && near(summary.max, 1000.0) && near(summary.mean, 500.5),
            "{summary:?}"
        );
    }

    #[test]
    fn nothing_is_too_short_or_too_long() {
        let mut spread = LatencyHistogram::default();
        spread.record(0);
        spread.record_times(u64::MAX, 3);
        let summary = spread.summary().unwrap();
        assert_eq!((summary.count, summary.min), (4, 0.0));
        assert!((summary.max / 3.6e9 - 1.0).abs() < 0.002);
        spread.clear();
        assert_eq!(spread.summary(), None);
    }
}
