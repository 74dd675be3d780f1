//! `/stats` and `/metrics`: what has happened so far, for the operator (S0.7, S1.13, S3.9, B18). Gathered on a thread for
//! work that blocks, since it takes as long as there is to be told, and a worker has streams to relay.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use super::{Gateway, admission, fault::Refusal, health, routes::View, snapshot::Snapshot};
use crate::{
    base::Moment,
    ledger::{
        LedgerState,
        query::{GroupBy, UsageQuery},
        reader::{QueryError, report},
    },
    routing::{BreakerState, CandidateStats, ResponseKind, hint},
    telemetry::{Exposition, MetricKind, Telemetry, events::Subscriber},
};

const JSON: &str = "application/json";
pub const EVENTS: &str = "text/event-stream";
/// No question reaches back further.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Gateway {
    /// Whose news the caller may see: `None`, if all.
    fn watching(&self, head: &Parts) -> Result<Option<Arc<str>>, Box<Refusal>> {
        match self.administrate(head) {
            Ok(()) => Ok(None),
            Err(refusal) if !self.is_public() => Err(refusal),
            Err(_) => {
                let principal = admission::admit(&self.snapshot.load(), &head.headers)?;
                Ok(Some(Arc::clone(&principal.id)))
            }
        }
    }

    /// A watcher of the news, and whether it may still be told.
    ///
    /// # Errors
    /// No key, or there are too many watchers.
    pub fn watch(&self, head: Parts) -> Result<(Subscriber, impl Fn() -> bool + use<>), Box<Refusal>> {
        let key = self.watching(&head)?;
        let Some(watcher) = self.board.bus.watch(key.clone()) else {
            let mut refusal = Refusal::request(429, "too_many_watchers", "too many watch already");
            refusal.kind = "rate_limit_error";
            return Err(refusal);
        };
        let corridor = self.clone();
        Ok((watcher, move || corridor.watching(&head).is_ok_and(|now| now == key)))
    }

    /// A view of the statistics, with its content type.
    pub(super) async fn statistics(
        &self,
        view: View,
        snapshot: &Arc<Snapshot>,
        head: &Parts,
    ) -> Result<(&'static str, Bytes), Box<Refusal>> {
        if view == View::Events {
            // Whoever wants the head alone; the events themselves are the site's.
            return self.watching(head).map(|_| (EVENTS, Bytes::new()));
        }
        let is_open = view == View::Metrics && snapshot.telemetry.public_metrics;
        if !is_open {
            self.administrate(head)?;
        }
        let asked = head.uri.query().filter(|_| view == View::Stats);
        let question = history(asked.unwrap_or_default())?;
        let (board, snapshot) = (self.board.clone(), Arc::clone(snapshot));
        let ledger = self.ledger.clone();
        let told = tokio::task::spawn_blocking(move || {
            let state = ledger.gauges.read();
            match view {
                View::Stats => {
                    let mut stats = stats(&board, state, &snapshot);
                    if let (Some(question), Some(stats)) = (question, stats.as_object_mut()) {
                        let lines = ledger.ask(&question)?;
                        stats.insert("ledger".to_owned(), report(&lines, &question));
                    }
                    Ok((JSON, stats.to_string()))
                }
                View::Metrics => Ok((PROMETHEUS, metrics(&board, state, &snapshot))),
                View::Events => Ok((EVENTS, String::new())),
            }
        });
        match told.await {
            Ok(Ok((content_type, text))) => Ok((content_type, text.into())),
            Ok(Err(QueryError::Nothing)) => {
                Err(Refusal::request(404, "no_ledger", QueryError::Nothing.to_string()).of(Some("since")))
            }
            Ok(Err(error @ (QueryError::System(_) | QueryError::Database(_)))) => {
                Err(failed(503, "ledger_unavailable", format!("the ledger does not answer: {error}")))
            }
            Err(_) => Err(failed(500, "internal_error", "the statistics could not be gathered".to_owned())),
        }
    }
}

fn failed(status: u16, code: &'static str, message: String) -> Box<Refusal> {
    let mut refusal = Refusal::request(status, code, message);
    refusal.kind = "server_error";
    refusal
}

/// What of the ledger is asked for: `?since=24h&by=model,key`. `None`: nothing.
fn history(query: &str) -> Result<Option<UsageQuery>, Box<Refusal>> {
    let (mut since, mut by) = (None, None);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "since" => since = Some(value),
            "by" => by = Some(value),
            _ => {}
        }
    }
    if since.is_none() && by.is_none() {
        return Ok(None);
    }
    let wrong =
        |name, why: &str| Refusal::request(400, "invalid_query", format!("`{name}`: {why}")).of(Some(name));
    let ago = hint::span(since.unwrap_or("24h"), SystemTime::UNIX_EPOCH).filter(|ago| *ago <= YEAR);
    let ago = ago.ok_or_else(|| wrong("since", "expected a time as 90m, 24h or 30d, a year at most"))?;
    let by = by.map(|by| {
        by.replace("%2C", ",")
            .replace("%2c", ",")
            .split(',')
            .map(GroupBy::parse)
            .collect::<Result<Vec<GroupBy>, String>>()
    });
    let by = by.transpose().map_err(|why| wrong("by", &why))?;
    Ok(Some(UsageQuery::back(ago, by.unwrap_or_else(|| vec![GroupBy::Model]))))
}

fn stats(board: &Telemetry, ledger: LedgerState, snapshot: &Snapshot) -> Value {
    let mut report = board.report(snapshot.generation);
    if let Some(report) = report.as_object_mut() {
        let now = Moment::now();
        let candidates = snapshot.catalog.tracked();
        let candidates =
            candidates.iter().map(|(provider, record)| candidate(provider, record, snapshot, now)).collect();
        report.insert("database".to_owned(), database(ledger));
        report.insert("candidates".to_owned(), Value::Array(candidates));
        report.insert("known_before".to_owned(), health::recalls(snapshot));
    }
    report
}

/// S4.5: the database, and what of the ledger is not in it yet.
fn database(ledger: LedgerState) -> Value {
    json!({
        "up": ledger.up,
        "rows_written": ledger.written,
        "rows_spooled": ledger.spooled,
        "rows_replayed": ledger.replayed,
        "rows_waiting": ledger.waiting,
        "spool_bytes": ledger.waiting_bytes,
        "rows_lost": ledger.lost,
        "rows_left_out": ledger.left_out,
        "queries": ledger.queries,
        "average_query_ms": ledger.query.as_secs_f64() * 1e3,
    })
}

/// S3.9: a model at a provider.
fn candidate(provider: &str, record: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Value {
    let (succeeded, failed) = record.totals();
    let rate = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    json!({
        "provider": provider,
        "model": record.model(),
        "requests": succeeded + failed,
        "succeeded": succeeded,
        "success_rate": rate(succeeded, succeeded + failed),
        "recent": health::recent(record, snapshot, now),
        "in_flight": record.under_way(),
        "breaker": breaker(record, now).0,
        "first_content_p50_ms": typical(record, ResponseKind::Stream).map(|time| time.as_secs_f64() * 1e3),
        "whole_answer_p50_ms": typical(record, ResponseKind::Whole).map(|time| time.as_secs_f64() * 1e3),
    })
}

fn typical(record: &CandidateStats, manner: ResponseKind) -> Option<Duration> {
    record.pace(manner).percentile(50)
}

fn breaker(record: &CandidateStats, now: Moment) -> (&'static str, u8) {
    match record.breaker(now) {
        BreakerState::Admitting => ("admitting", 0),
        BreakerState::Probing { .. } => ("probing", 1),
        BreakerState::Tripped { .. } => ("tripped", 2),
    }
}

fn metrics(board: &Telemetry, ledger: LedgerState, snapshot: &Snapshot) -> String {
    let mut page = Exposition::default();
    page.family("thalweg_build_info", MetricKind::Gauge, "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    board.write(&mut page, snapshot.generation);
    let help = "Whether the last contact with a provider succeeded.";
    let mut family = page.family("thalweg_provider_up", MetricKind::Gauge, help);
    for provider in &snapshot.providers {
        if let Some(alive) = provider.standing.is_alive() {
            family.sample(&[("provider", &provider.target.name)], f64::from(u8::from(alive)));
        }
    }
    write_ledger(&mut page, ledger);
    write_candidates(&mut page, snapshot);
    page.into_text()
}

fn write_ledger(page: &mut Exposition, ledger: LedgerState) {
    let help = "Rows of the ledger: written to the database, put into the spool, taken out of it again, lost; left out.";
    page.family("thalweg_ledger_rows_total", MetricKind::Counter, help)
        .sample(&[("state", "written")], ledger.written as f64)
        .sample(&[("state", "spooled")], ledger.spooled as f64)
        .sample(&[("state", "replayed")], ledger.replayed as f64)
        .sample(&[("state", "lost")], ledger.lost as f64)
        .sample(&[("state", "left_out")], ledger.left_out as f64);
    let help = "Rows of the ledger in memory.";
    page.single("thalweg_ledger_rows_waiting", MetricKind::Gauge, help, ledger.waiting as f64);
    let help = "Bytes of the ledger's spool file.";
    page.single("thalweg_ledger_spool_bytes", MetricKind::Gauge, help, ledger.waiting_bytes as f64);
    let help = "Whether the database answered when it was last asked.";
    page.single("thalweg_database_up", MetricKind::Gauge, help, f64::from(u8::from(ledger.up)));
    let help = "Transactions and questions to the database.";
    page.single("thalweg_database_queries_total", MetricKind::Counter, help, ledger.queries as f64);
    let help = "What one of them took on average.";
    page.single(
        "thalweg_database_query_seconds_average",
        MetricKind::Gauge,
        help,
        ledger.query.as_secs_f64(),
    );
}

fn write_candidates(page: &mut Exposition, snapshot: &Snapshot) {
    let (now, candidates) = (Moment::now(), snapshot.catalog.tracked());
    let help = "Attempts at a model of a provider that tell of its health, by how they ended.";
    let mut family = page.family("thalweg_upstream_attempts_total", MetricKind::Counter, help);
    for (provider, record) in &candidates {
        let (succeeded, failed) = record.totals();
        let [provider, model] = labels(provider, record);
        family.sample(&[provider, model, ("result", "success")], succeeded as f64);
        family.sample(&[provider, model, ("result", "failure")], failed as f64);
    }
    let help = "The circuit breaker of a model of a provider: 0 admitting, 1 probing, 2 tripped.";
    let mut family = page.family("thalweg_breaker_state", MetricKind::Gauge, help);
    for (provider, record) in &candidates {
        family.sample(&labels(provider, record), f64::from(breaker(record, now).1));
    }
    let help = "Requests and streams under way at a model of a provider.";
    let mut family = page.family("thalweg_upstream_in_flight", MetricKind::Gauge, help);
    for (provider, record) in &candidates {
        family.sample(&labels(provider, record), record.under_way() as f64);
    }
}

fn labels<'a>(provider: &'a str, record: &'a CandidateStats) -> [(&'static str, &'a str); 2] {
    [("provider", provider), ("model", record.model().unwrap_or("other"))]
}
