//! S3.9: the statistics of one candidate in a form that can be merged with those of other replicas.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    base::Moment,
    proxy::Snapshot,
    routing::{BreakerState, CandidateStats, ResponseKind, latency::LatencyCounts},
};

/// Breakers by how bad they are.
const BREAKERS: [&str; 3] = ["tripped", "probing", "admitting"];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CandidateShare {
    pub(super) provider: String,
    pub(super) model: Option<String>,
    pub(super) succeeded: u64,
    failed: u64,
    recent_seconds: f64,
    recent_succeeded: u64,
    recent_failed: u64,
    in_flight: u64,
    /// Replicas by the state of their breaker.
    pub(super) breakers: BTreeMap<String, u64>,
    streams: LatencyCounts,
    wholes: LatencyCounts,
}

impl CandidateShare {
    pub(super) fn of(provider: &str, stats: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Self {
        let (succeeded, failed) = stats.totals();
        let window = snapshot.catalog.settings().breaker.window;
        let recent = stats.outcomes(now, window);
        Self {
            provider: provider.to_owned(),
            model: stats.model().map(str::to_owned),
            succeeded,
            failed,
            recent_seconds: window.as_secs_f64(),
            recent_succeeded: u64::from(recent.successes),
            recent_failed: u64::from(recent.failures),
            in_flight: stats.in_flight() as u64,
            breakers: [(breaker(stats, now).0.to_owned(), 1)].into(),
            streams: stats.latency(ResponseKind::Stream).counts(),
            wholes: stats.latency(ResponseKind::Whole).counts(),
        }
    }

    pub(super) fn is_used(&self) -> bool {
        self.succeeded + self.failed + self.in_flight > 0 || !self.breakers.contains_key("admitting")
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.succeeded, other.succeeded),
            (&mut self.failed, other.failed),
            (&mut self.recent_succeeded, other.recent_succeeded),
            (&mut self.recent_failed, other.recent_failed),
            (&mut self.in_flight, other.in_flight),
        ] {
            *own = own.saturating_add(other);
        }
        self.recent_seconds = self.recent_seconds.max(other.recent_seconds);
        for (state, count) in other.breakers.iter().filter(|(state, _)| BREAKERS.contains(&state.as_str())) {
            let own = self.breakers.entry(state.clone()).or_default();
            *own = own.saturating_add(*count);
        }
        self.streams.merge(&other.streams);
        self.wholes.merge(&other.wholes);
    }

    pub(super) fn report(&self) -> Value {
        let requests = self.succeeded.saturating_add(self.failed);
        let median = |counts: &LatencyCounts| counts.percentile(50).map(|time| time.as_secs_f64() * 1e3);
        let worst = BREAKERS.iter().find(|state| self.breakers.contains_key(**state));
        let mut report = json!({
            "provider": self.provider,
            "model": self.model,
            "requests": requests,
            "succeeded": self.succeeded,
            "success_rate": (requests > 0).then(|| self.succeeded as f64 / requests as f64),
            "recent": {
                "seconds": self.recent_seconds,
                "succeeded": self.recent_succeeded,
                "failed": self.recent_failed,
            },
            "in_flight": self.in_flight,
            "breaker": worst,
            "first_content_p50_ms": median(&self.streams),
            "whole_answer_p50_ms": median(&self.wholes),
        });
        if self.breakers.values().fold(0, |sum: u64, count| sum.saturating_add(*count)) > 1 {
            report["breakers"] = json!(self.breakers);
        }
        report
    }
}

/// The breaker's state by name, and as `thalweg_breaker_state` counts it.
pub(super) fn breaker(stats: &CandidateStats, now: Moment) -> (&'static str, u8) {
    match stats.breaker(now) {
        BreakerState::Admitting => ("admitting", 0),
        BreakerState::Probing { .. } => ("probing", 1),
        BreakerState::Tripped { .. } => ("tripped", 2),
    }
}
