//! `GET /stats`: counts and times since the start, as JSON, for operators (S0.7, S1.13, S3.9, B18); with
//! `?since=` or `?by=` also sums of the ledger.
//!
//! The page is built on tokio's pool of blocking threads, because its time grows with the number of
//! candidates and rows and a worker has streams to relay.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::health;
use crate::{
    base::Moment,
    cache::AnswerCacheFigures,
    ledger::{
        LedgerReader, LedgerState,
        query::{GroupBy, UsageQuery},
        reader::{QueryError, report},
    },
    proxy::{Refusal, Snapshot},
    routing::{BreakerState, CandidateStats, ResponseKind, retry_after},
    telemetry::Telemetry,
};

/// The longest time that `?since=` reaches back.
const MAX_SINCE: Duration = Duration::from_secs(366 * 24 * 3600);

/// The page; `query` is the query string of the request.
///
/// # Errors
/// The query is wrong (400), there is no ledger (404) or the ledger does not answer (503).
pub(super) async fn page(
    telemetry: Telemetry,
    ledger: LedgerReader,
    snapshot: Arc<Snapshot>,
    query: &str,
) -> Result<String, Box<Refusal>> {
    let sums = ledger_query(query)?;
    let gathered = gather(move || {
        let mut stats = stats(&telemetry, ledger.gauges.read(), &snapshot);
        if let (Some(query), Some(stats)) = (sums, stats.as_object_mut()) {
            let lines = ledger.ask(&query)?;
            stats.insert("ledger".to_owned(), report(&lines, &query));
        }
        Ok(stats.to_string())
    });
    match gathered.await? {
        Ok(text) => Ok(text),
        Err(QueryError::Nothing) => {
            Err(Refusal::request(404, "no_ledger", QueryError::Nothing.to_string()).of(Some("since")))
        }
        Err(error @ (QueryError::System(_) | QueryError::Database(_))) => {
            let message = format!("the ledger does not answer: {error}");
            Err(Refusal::gateway(503, "ledger_unavailable", message))
        }
    }
}

/// Runs `work` on tokio's pool of blocking threads.
///
/// # Errors
/// The work panicked (500).
pub(super) async fn gather<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<Refusal>> {
    let failure = |_| Refusal::gateway(500, "internal_error", "the statistics could not be gathered");
    tokio::task::spawn_blocking(work).await.map_err(failure)
}

/// The ledger query of `?since=24h&by=model,key`. `None`: the request asks for no sums of the ledger.
///
/// # Errors
/// A value is wrong (400).
pub fn ledger_query(query: &str) -> Result<Option<UsageQuery>, Box<Refusal>> {
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
    let ago = retry_after::parse_span(since.unwrap_or("24h"), SystemTime::UNIX_EPOCH)
        .filter(|ago| *ago <= MAX_SINCE);
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

fn stats(telemetry: &Telemetry, ledger: LedgerState, snapshot: &Snapshot) -> Value {
    let mut report = telemetry.report(snapshot.generation);
    if let Some(report) = report.as_object_mut() {
        let now = Moment::now();
        let candidates = snapshot.catalog.tracked();
        let candidates =
            candidates.iter().map(|(provider, stats)| candidate(provider, stats, snapshot, now)).collect();
        report.insert("database".to_owned(), database(ledger));
        report.insert("candidates".to_owned(), Value::Array(candidates));
        report.insert("cache".to_owned(), answer_cache(snapshot));
        report.insert("known_before".to_owned(), health::cache_hits(snapshot));
    }
    report
}

/// S4.5: the database, and the rows of the ledger that are not in it yet.
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

/// S4.5: the answer cache.
fn answer_cache(snapshot: &Snapshot) -> Value {
    let AnswerCacheFigures { hits, misses, stored, evicted, tokens_saved, coalesced, entries, bytes } =
        snapshot.answers.figures();
    let rate = (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64);
    json!({
        "hits": hits,
        "misses": misses,
        "rate": rate,
        "stored": stored,
        "evicted": evicted,
        "entries": entries,
        "bytes": bytes,
        "tokens_saved": tokens_saved,
        "coalesced": coalesced,
    })
}

/// S3.9: one candidate.
fn candidate(provider: &str, stats: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Value {
    let (succeeded, failed) = stats.totals();
    let rate = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    json!({
        "provider": provider,
        "model": stats.model(),
        "requests": succeeded + failed,
        "succeeded": succeeded,
        "success_rate": rate(succeeded, succeeded + failed),
        "recent": health::recent(stats, snapshot, now),
        "in_flight": stats.in_flight(),
        "breaker": breaker(stats, now).0,
        "first_content_p50_ms": median(stats, ResponseKind::Stream).map(|time| time.as_secs_f64() * 1e3),
        "whole_answer_p50_ms": median(stats, ResponseKind::Whole).map(|time| time.as_secs_f64() * 1e3),
    })
}

fn median(stats: &CandidateStats, kind: ResponseKind) -> Option<Duration> {
    stats.latency(kind).percentile(50)
}

/// The breaker's state by name, and as `thalweg_breaker_state` counts it.
pub(super) fn breaker(stats: &CandidateStats, now: Moment) -> (&'static str, u8) {
    match stats.breaker(now) {
        BreakerState::Admitting => ("admitting", 0),
        BreakerState::Probing { .. } => ("probing", 1),
        BreakerState::Tripped { .. } => ("tripped", 2),
    }
}
