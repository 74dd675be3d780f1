//! Writes Prometheus' text format, version 0.0.4 ("Exposition formats" of its documentation): families one
//! after another, each with help and type. Holds no registry: callers pass samples that are already summed,
//! so that no request updates one.

use std::fmt::Write as _;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// The page under construction.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// A family that takes samples.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

impl Exposition {
    pub fn family(&mut self, name: &'static str, kind: MetricKind, help: &str) -> Family<'_> {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.text, name }
    }

    /// Writes a family of one sample without labels.
    pub fn single(&mut self, name: &'static str, kind: MetricKind, help: &str, value: impl Into<f64>) {
        self.family(name, kind, help).sample(&[], value);
    }

    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<f64>) -> &mut Self {
        self.line("", labels, None, value.into());
        self
    }

    pub fn histogram(&mut self, labels: &[(&str, &str)], buckets: &Buckets) -> &mut Self {
        let mut sum = 0;
        for (bound, count) in buckets.bounds.iter().zip(&buckets.counts) {
            sum += count;
            self.line("_bucket", labels, Some(*bound), sum as f64);
        }
        self.line("_bucket", labels, Some(f64::INFINITY), buckets.count() as f64);
        self.line("_sum", labels, None, buckets.sum);
        self.line("_count", labels, None, buckets.count() as f64);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>, value: f64) {
        let text = &mut *self.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let mut opened = false;
        let mut label = |text: &mut String, name: &str, value: &str| {
            text.push_str(if opened { "," } else { "{" });
            opened = true;
            text.push_str(name);
            text.push_str("=\"");
            escape(text, value);
            text.push('"');
        };
        for (name, value) in labels {
            label(text, name, value);
        }
        if let Some(bound) = bound {
            label(text, "le", &if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() });
        }
        if opened {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(letter),
        }
    }
}

/// A histogram with fixed bounds, in seconds, since the start of the process.
#[derive(Clone, Debug)]
pub struct Buckets {
    bounds: &'static [f64],
    /// One per bound, and one for values above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Buckets {
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub fn note(&mut self, seconds: f64, count: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(slot) = self.counts.get_mut(bucket) {
            *slot += count;
            self.sum += seconds * count as f64;
        }
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_prometheus_reads() {
        let mut page = Exposition::default();
        page.single("a_total", MetricKind::Counter, "All.", 3_u32);
        page.family("b", MetricKind::Gauge, "Some.").sample(&[("model", "x\"\\\n"), ("provider", "p")], 0.5);
        let mut buckets = Buckets::new(&[0.1, 1.0]);
        for seconds in [0.1, 0.2, 7.0] {
            buckets.note(seconds, 1);
        }
        page.family("c_seconds", MetricKind::Histogram, "Times.").histogram(&[("m", "n")], &buckets);
        assert_eq!(
            page.into_text(),
            "# HELP a_total All.\n# TYPE a_total counter\na_total 3\n\
             # HELP b Some.\n# TYPE b gauge\nb{model=\"x\\\"\\\\\\n\",provider=\"p\"} 0.5\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{m=\"n\",le=\"0.1\"} 1\nc_seconds_bucket{m=\"n\",le=\"1\"} 2\n\
             c_seconds_bucket{m=\"n\",le=\"+Inf\"} 3\nc_seconds_sum{m=\"n\"} 7.3\nc_seconds_count{m=\"n\"} 3\n"
        );
    }
}
