//! The request series for Prometheus: counters and histograms with fixed bounds since the start, by provider
//! and model. Labels are names of the configuration, never a client's text. Their number is limited; beyond
//! it the label is `other`.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::{
    exposition::{Buckets, Exposition, MetricKind},
    facts::{RequestFacts, RequestOutcome, TokenCounts},
};

/// Pairs of provider and model.
pub(super) const MAX_SERIES: usize = 512;
/// Combinations of path, status and outcome for each pair.
const MAX_ENDS: usize = 64;
pub(super) const OTHER: &str = "other";

/// Bounds in seconds for whole requests and first tokens.
pub(super) const LONG: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Bounds in seconds between frames.
const GAPS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds in seconds for added latency.
pub const OWN: &[f64] = &[
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5,
];
/// Bounds in seconds for the wait for a connection.
const WAITS: &[f64] = &[0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Selects one histogram of a pair.
type SelectBuckets = fn(&SeriesPair) -> &Buckets;
/// Path, status and outcome.
type EndKey = (&'static str, u16, &'static str);

#[derive(Debug)]
struct SeriesPair {
    ends: BTreeMap<EndKey, u64>,
    total: Buckets,
    first_token: Buckets,
    gaps: Buckets,
    tokens: TokenCounts,
    frames: u64,
    bytes: u64,
}

impl Default for SeriesPair {
    fn default() -> Self {
        Self {
            ends: BTreeMap::new(),
            total: Buckets::new(LONG),
            first_token: Buckets::new(LONG),
            gaps: Buckets::new(GAPS),
            tokens: TokenCounts::default(),
            frames: 0,
            bytes: 0,
        }
    }
}

impl SeriesPair {
    fn add(&mut self, facts: &RequestFacts<'_>) {
        let key = (facts.path, facts.status, facts.outcome.as_str());
        let known = self.ends.len() < MAX_ENDS || self.ends.contains_key(&key);
        *self.ends.entry(if known { key } else { (OTHER, 0, facts.outcome.as_str()) }).or_default() += 1;
        if facts.attempts == 0 {
            return;
        }
        self.total.note(facts.total.as_secs_f64(), 1);
        if let Some(first_token) = facts.first_token {
            self.first_token.note(first_token.as_secs_f64(), 1);
        }
        for (gap, count) in facts.frame_timings.iter().flat_map(|timings| timings.gaps.iter()) {
            self.gaps.note(gap.as_secs_f64(), count);
        }
        self.tokens.input += facts.tokens.input;
        self.tokens.output += facts.tokens.output;
        self.tokens.cached += facts.tokens.cached;
        self.frames += u64::from(facts.frames);
        self.bytes += facts.bytes;
    }
}

#[derive(Debug)]
pub struct Series {
    /// By provider and model.
    pairs: BTreeMap<Arc<str>, BTreeMap<Arc<str>, SeriesPair>>,
    pair_count: usize,
    /// By phase.
    gone: BTreeMap<&'static str, u64>,
    added_first: Buckets,
    waits: Buckets,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            pairs: BTreeMap::new(),
            pair_count: 0,
            gone: BTreeMap::new(),
            added_first: Buckets::new(OWN),
            waits: Buckets::new(WAITS),
        }
    }
}

impl Series {
    pub fn add(&mut self, facts: &RequestFacts<'_>) {
        if let RequestOutcome::Gone(phase) = facts.outcome {
            *self.gone.entry(phase).or_default() += 1;
        }
        if let Some(added) = facts.added_first {
            self.added_first.note(added.as_secs_f64(), 1);
        }
        if let Some(waited) = facts.waited {
            self.waits.note(waited.as_secs_f64(), 1);
        }
        let (provider, model) = (facts.provider.unwrap_or_default(), facts.model.unwrap_or_default());
        match self.pairs.get_mut(provider).and_then(|models| models.get_mut(model)) {
            Some(pair) => pair.add(facts),
            None => self.new_pair(provider, model).add(facts),
        }
    }

    /// The pair of labels that no request has had, or `other`.
    fn new_pair(&mut self, provider: &str, model: &str) -> &mut SeriesPair {
        let (provider, model) = if self.pair_count < MAX_SERIES { (provider, model) } else { (OTHER, OTHER) };
        let place = self.pairs.entry(provider.into()).or_default().entry(model.into());
        self.pair_count += usize::from(matches!(place, Entry::Vacant(_)));
        place.or_default()
    }

    /// The pairs with their labels.
    fn all(&self) -> impl Iterator<Item = ((&str, &str), &SeriesPair)> {
        self.pairs
            .iter()
            .flat_map(|(provider, models)| models.iter().map(|(model, pair)| ((&**provider, &**model), pair)))
    }

    pub fn write(&self, page: &mut Exposition) {
        self.write_counters(page);
        self.write_times(page);
        let help = "Clients that left before the end of their answer, by phase.";
        let mut family = page.family("thalweg_client_gone_total", MetricKind::Counter, help);
        for (phase, count) in &self.gone {
            family.sample(&[("phase", phase)], *count as f64);
        }
        let help = "What the gateway added before a stream's first byte: until the provider was asked, and from the commit \
                    to the first write.";
        page.family("thalweg_added_first_byte_seconds", MetricKind::Histogram, help)
            .histogram(&[], &self.added_first);
        let help =
            "Waiting for a provider's connection: a place in the pool and, where none was open, dialling.";
        page.family("thalweg_connection_wait_seconds", MetricKind::Histogram, help)
            .histogram(&[], &self.waits);
    }

    fn write_counters(&self, page: &mut Exposition) {
        let help = "Requests that have ended, by route, provider, model, status and outcome.";
        let mut family = page.family("thalweg_requests_total", MetricKind::Counter, help);
        for ((provider, model), pair) in self.all() {
            for ((path, status, outcome), count) in &pair.ends {
                let mut digits = itoa::Buffer::new();
                let status = digits.format(*status);
                let labels = [
                    ("path", *path),
                    ("provider", provider),
                    ("model", model),
                    ("status", status),
                    ("outcome", outcome),
                ];
                family.sample(&labels, *count as f64);
            }
        }
        let help = "Tokens as they were told or estimated; cached ones are among the input.";
        let mut family = page.family("thalweg_tokens_total", MetricKind::Counter, help);
        for (labels, pair) in self.attempted() {
            let tokens = &pair.tokens;
            for (name, count) in
                [("input", tokens.input), ("output", tokens.output), ("cached", tokens.cached)]
            {
                family.sample(&[labels[0], labels[1], ("type", name)], count as f64);
            }
        }
        let help = "Reads from providers that carried bytes of a stream.";
        let mut family = page.family("thalweg_stream_frames_total", MetricKind::Counter, help);
        for (labels, pair) in self.attempted() {
            family.sample(&labels, pair.frames as f64);
        }
        let help = "Bytes of answers, streams or not, as they came from providers.";
        let mut family = page.family("thalweg_stream_bytes_total", MetricKind::Counter, help);
        for (labels, pair) in self.attempted() {
            family.sample(&labels, pair.bytes as f64);
        }
    }

    fn write_times(&self, page: &mut Exposition) {
        let families: [(&str, &str, SelectBuckets); 3] = [
            (
                "thalweg_request_duration_seconds",
                "From a request's arrival to its end, of those that reached a provider.",
                |pair| &pair.total,
            ),
            (
                "thalweg_time_to_first_token_seconds",
                "From a request's arrival to the first content, reasoning or tool call.",
                |pair| &pair.first_token,
            ),
            ("thalweg_inter_frame_seconds", "Between two frames of a stream.", |pair| &pair.gaps),
        ];
        for (name, help, buckets) in families {
            let mut family = page.family(name, MetricKind::Histogram, help);
            for (labels, pair) in self.attempted() {
                family.histogram(&labels, buckets(pair));
            }
        }
    }

    /// The pairs of requests that reached a provider, with their labels.
    fn attempted(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], &SeriesPair)> {
        let attempted = self.all().filter(|((provider, _), _)| !provider.is_empty());
        attempted.map(|((provider, model), pair)| ([("provider", provider), ("model", model)], pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::facts::tests::done;

    #[test]
    fn labels_are_bounded() {
        let mut series = Series::default();
        for number in 0..2 * MAX_SERIES {
            let (provider, model) = (format!("p{number}"), format!("m{number}"));
            series.add(&RequestFacts { provider: Some(&provider), model: Some(&model), ..done() });
        }
        for status in 100..600 {
            series.add(&RequestFacts { status, ..done() });
        }
        assert_eq!((series.all().count(), series.pair_count), (MAX_SERIES + 1, MAX_SERIES + 1));
        assert!(series.all().all(|(_, pair)| pair.ends.len() <= MAX_ENDS + 4));
        let total: u64 = series.all().flat_map(|(_, pair)| pair.ends.values()).sum();
        assert_eq!(total, 2 * MAX_SERIES as u64 + 500, "nothing is lost");
    }
}
