//! Running requests as a viewer sees them: sums of all, and the rows of those that need a look first. Streams
//! that stalled come first, then requests that wait long for their first token, then the oldest. A view has a
//! bounded number of rows, whatever the number of requests.

use std::{cmp::Reverse, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{
    phase::phase,
    progress::AddedSoFar,
    record::ResponseMode,
    running::{RunningFacts, RunningRequest},
};
use crate::base::{RequestId, Stage};

/// Rows of a view.
pub(super) const MAX_ROWS: usize = 100;
/// A stream that was silent for so long has stalled; a request without its first token waits.
const LONG: Duration = Duration::from_secs(2);
/// Bytes of a model's name.
const MAX_NAME: usize = 200;

/// The requests that a viewer may see: those of this key id. `None`: all.
pub type RunningScope = Option<Arc<str>>;

/// In the order of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum RunningState {
    Running,
    /// For its first token, for long.
    Waiting,
    /// Silent for long after it.
    Stalled,
}

#[derive(Clone, Debug, Default)]
pub struct RunningView {
    requests: usize,
    waiting: usize,
    stalled: usize,
    /// Requests that have no row because there are too many.
    placeless: usize,
    /// Workers of which nothing is known: they did not answer in time.
    missing: usize,
    tokens: u64,
    rows: Vec<RunningRow>,
    /// The rank of the last row, once rows were left out.
    least: Option<RowRank>,
}

/// State, and the time that counts in it.
type RowRank = (RunningState, Duration);

#[derive(Clone, Debug)]
struct RunningRow {
    rank: RowRank,
    id: RequestId,
    path: &'static str,
    principal: Option<Arc<str>>,
    model: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    mode: Option<ResponseMode>,
    stage: Stage,
    age: Duration,
    first_token: Option<Duration>,
    /// Since the last frame.
    quiet: Option<Duration>,
    events: u32,
    tokens: u32,
    added: AddedSoFar,
}

/// A row as it is shown, with the names of the ledger's rows.
#[derive(Debug, Serialize)]
struct ShownRow<'a> {
    request_id: &'a str,
    path: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_asked: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    phase: &'static str,
    state: RunningState,
    age_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttft_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_us: Option<u64>,
    events: u32,
    tokens_out: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added_first_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added_max_ns: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ShownView<'a> {
    requests: usize,
    waiting: usize,
    stalled: usize,
    tokens_out: u64,
    /// Requests without a row.
    left_out: usize,
    workers_missing: usize,
    rows: Vec<ShownRow<'a>>,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name)
}

impl RunningView {
    /// A request under way, at `now`.
    pub(super) fn add(&mut self, now: Instant, request: &RunningRequest, facts: &RunningFacts) {
        let age = now.saturating_duration_since(facts.started);
        let progress = request.progress.get();
        let first_token = request.first_token.get();
        let quiet = progress.map(|progress| now.saturating_duration_since(progress.last));
        let rank = match (first_token, quiet) {
            (Some(_), Some(quiet)) if quiet >= LONG => (RunningState::Stalled, quiet),
            (None, _) if age >= LONG => (RunningState::Waiting, age),
            (Some(_) | None, _) => (RunningState::Running, age),
        };
        let dialect = facts.route.dialect();
        let text = progress.map(|progress| progress.text).unwrap_or_default();
        let tokens = dialect.map_or(0, |dialect| text.tokens(dialect));
        self.requests += 1;
        self.waiting += usize::from(rank.0 == RunningState::Waiting);
        self.stalled += usize::from(rank.0 == RunningState::Stalled);
        self.tokens += u64::from(tokens);
        if self.least.is_some_and(|least| rank <= least) {
            return;
        }
        self.rows.push(RunningRow {
            rank,
            id: facts.id.clone(),
            path: facts.route.template(),
            principal: facts.key_name.clone(),
            model: facts.model.clone(),
            provider: request.provider(facts),
            mode: facts.mode,
            stage: request.reached(),
            age,
            first_token,
            quiet,
            events: text.events(),
            tokens,
            added: request.added.get(),
        });
        if self.rows.len() >= 2 * MAX_ROWS {
            self.leave_out();
        }
    }

    pub(super) const fn add_placeless(&mut self, count: usize) {
        self.requests += count;
        self.placeless += count;
    }

    /// So many workers have not answered.
    pub(super) const fn add_missing(&mut self, workers: usize) {
        self.missing += workers;
    }

    /// Adds the requests of another worker.
    pub(super) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.waiting += other.waiting;
        self.stalled += other.stalled;
        self.placeless += other.placeless;
        self.missing += other.missing;
        self.tokens += other.tokens;
        self.rows.extend(other.rows);
        self.least = self.least.max(other.least);
        self.leave_out();
    }

    /// Keeps the rows that come first.
    fn leave_out(&mut self) {
        self.rows.sort_by_key(|row| Reverse(row.rank));
        if self.rows.len() > MAX_ROWS {
            self.rows.truncate(MAX_ROWS);
            self.least = self.rows.last().map(|row| row.rank);
        }
    }

    /// Nothing is under way at any worker.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requests == 0 && self.missing == 0
    }

    /// The view as JSON, in one line.
    #[must_use]
    pub fn json(&mut self) -> String {
        // Numbers and text: this cannot fail.
        serde_json::to_string(&self.shown()).unwrap_or_default()
    }

    /// The view as a part of a document.
    #[must_use]
    pub fn document(&mut self) -> Value {
        serde_json::to_value(self.shown()).unwrap_or_default()
    }

    fn shown(&mut self) -> ShownView<'_> {
        self.leave_out();
        let rows: Vec<_> = self.rows.iter().map(RunningRow::shown).collect();
        ShownView {
            requests: self.requests,
            waiting: self.waiting,
            stalled: self.stalled,
            tokens_out: self.tokens,
            left_out: self.requests.saturating_sub(rows.len()),
            workers_missing: self.missing,
            rows,
        }
    }
}

impl RunningRow {
    fn shown(&self) -> ShownRow<'_> {
        let streamed = self.first_token.zip(self.quiet);
        let streamed = streamed.map(|(first, quiet)| self.age.saturating_sub(first + quiet).as_secs_f64());
        ShownRow {
            request_id: self.id.as_str(),
            path: self.path,
            principal: self.principal.as_deref(),
            model_asked: self.model.as_deref().map(cut),
            provider: self.provider.as_deref(),
            mode: self.mode.map(ResponseMode::as_str),
            phase: phase(self.stage),
            state: self.rank.0,
            age_us: micros(self.age),
            ttft_us: self.first_token.map(micros),
            quiet_us: self.quiet.map(micros),
            events: self.events,
            tokens_out: self.tokens,
            tokens_per_s: streamed
                .filter(|seconds| *seconds > 0.2)
                .map(|seconds| (f64::from(self.tokens) / seconds * 10.0).round() / 10.0),
            added_first_ns: self.added.first.map(nanos),
            added_max_ns: self.added.max.map(nanos),
        }
    }
}
