//! Sums and rolling times of a group of requests: all, or those of one provider, model or key. A share of
//! them can be merged with those of other processes; it renders its part of `/stats`, where a value that
//! cannot be computed yet is `null`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    facts::{RequestFacts, RequestOutcome, TokenCounts},
    window::{Quantiles, TimeWindow, WindowCounts, Windows},
};

/// Groups of one kind by name; further names count as `other`.
pub(super) const MAX_NAMES: usize = 1000;
/// A shorter wait means that an idle connection was available.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Counts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestCounts {
    pub requests: u64,
    pub done: u64,
    pub refused: u64,
    pub failed: u64,
    pub gone: u64,
    pub frames: u64,
    pub bytes: u64,
    pub tokens: TokenCounts,
    /// Requests that reached a provider, and those served by the first attempt.
    pub attempted: u64,
    pub first_succeeded: u64,
    /// Requests with more than one attempt, and those of them that were served.
    pub retried: u64,
    pub retry_succeeded: u64,
    /// Requests that waited for a provider's connection longer than for an idle one.
    pub queued: u64,
}

impl RequestCounts {
    pub fn add(&mut self, facts: &RequestFacts<'_>) {
        self.requests += 1;
        match facts.outcome {
            RequestOutcome::Done => self.done += 1,
            RequestOutcome::Refused => self.refused += 1,
            RequestOutcome::Failed => self.failed += 1,
            RequestOutcome::Gone(_) => self.gone += 1,
        }
        self.frames += u64::from(facts.frames);
        self.bytes += facts.bytes;
        self.tokens.input += facts.tokens.input;
        self.tokens.output += facts.tokens.output;
        self.tokens.cached += facts.tokens.cached;
        let served = u64::from(facts.served);
        match facts.attempts {
            0 => {}
            1 => {
                self.attempted += 1;
                self.first_succeeded += served;
            }
            2.. => {
                self.attempted += 1;
                self.retried += 1;
                self.retry_succeeded += served;
            }
        }
        self.queued += u64::from(facts.waited.is_some_and(|waited| waited >= MIN_WAIT));
    }

    fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.requests, other.requests),
            (&mut self.done, other.done),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.gone, other.gone),
            (&mut self.frames, other.frames),
            (&mut self.bytes, other.bytes),
            (&mut self.tokens.input, other.tokens.input),
            (&mut self.tokens.output, other.tokens.output),
            (&mut self.tokens.cached, other.tokens.cached),
            (&mut self.attempted, other.attempted),
            (&mut self.first_succeeded, other.first_succeeded),
            (&mut self.retried, other.retried),
            (&mut self.retry_succeeded, other.retry_succeeded),
            (&mut self.queued, other.queued),
        ];
        for (own, other) in pairs {
            *own = own.saturating_add(other);
        }
    }

    fn report(&self) -> Value {
        let rate = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        json!({
            "requests": self.requests,
            "done": self.done,
            "refused": self.refused,
            "failed": self.failed,
            "client_gone": self.gone,
            "frames": self.frames,
            "bytes": self.bytes,
            "tokens": {
                "input": self.tokens.input,
                "output": self.tokens.output,
                "cached": self.tokens.cached,
            },
            "first_connect": {
                "requests": self.attempted,
                "succeeded": self.first_succeeded,
                "rate": rate(self.first_succeeded, self.attempted),
            },
            "retry": {
                "requests": self.retried,
                "succeeded": self.retry_succeeded,
                "rate": rate(self.retry_succeeded, self.retried),
            },
            "queued": self.queued,
        })
    }
}

/// Sums and rolling times of a group.
#[derive(Debug, Default)]
pub struct GroupStats {
    pub sums: RequestCounts,
    first_token: Windows,
    gaps: Windows,
    total: Windows,
}

impl GroupStats {
    pub fn add(&mut self, now: Duration, facts: &RequestFacts<'_>) {
        self.sums.add(facts);
        if facts.attempts == 0 {
            return;
        }
        self.total.record(now, facts.total, 1);
        if let Some(first_token) = facts.first_token {
            self.first_token.record(now, first_token, 1);
        }
        for (gap, count) in facts.frame_timings.iter().flat_map(|timings| timings.gaps.iter()) {
            self.gaps.record(now, gap, count);
        }
    }

    /// The same, as it can be merged.
    pub fn share(&mut self, now: Duration) -> GroupShare {
        GroupShare {
            sums: self.sums,
            first_token: self.first_token.counts(now),
            gaps: self.gaps.counts(now),
            total: self.total.counts(now),
        }
    }
}

/// Sums and times of a group at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupShare {
    pub sums: RequestCounts,
    first_token: WindowCounts,
    gaps: WindowCounts,
    total: WindowCounts,
}

impl GroupShare {
    pub fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums);
        self.first_token.merge(&other.first_token);
        self.gaps.merge(&other.gaps);
        self.total.merge(&other.total);
    }

    /// The sums and, beside them, the times by window.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        let mut report = match self.sums.report() {
            Value::Object(report) => report,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        };
        let times = [
            ("first_token_ms", &self.first_token),
            ("inter_frame_ms", &self.gaps),
            ("total_ms", &self.total),
        ];
        for (name, counts) in times {
            report.insert(name.to_owned(), by_window(counts, millis));
        }
        report
    }
}

/// Quantiles by window, in the unit of `scale`.
pub(super) fn by_window(counts: &WindowCounts, scale: fn(Duration) -> f64) -> Value {
    let mut by_window = Map::new();
    for span in TimeWindow::ALL {
        let Quantiles { count, p50, p90, p95, p99, max } = counts.read(span);
        let quantiles = match count {
            0 => json!({"count": 0}),
            _ => json!({
                "count": count,
                "p50": scale(p50),
                "p90": scale(p90),
                "p95": scale(p95),
                "p99": scale(p99),
                "max": scale(max),
            }),
        };
        by_window.insert(span.name().to_owned(), quantiles);
    }
    by_window.into()
}

/// Milliseconds to three decimals.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Microseconds to one decimal.
pub(super) fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}
