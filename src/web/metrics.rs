//! `GET /metrics`: counts and times since the start, in Prometheus' text format (S0.7, S3.9, B18). Built off
//! the worker, as [`super::statistics`] is. Metric names and labels are a public interface: they do not
//! change.

use std::sync::Arc;

use super::{candidate_share::breaker, statistics::gather};
use crate::{
    base::Moment,
    cache::AnswerCacheFigures,
    ledger::{LedgerReader, LedgerState},
    proxy::{Refusal, Snapshot},
    routing::CandidateStats,
    telemetry::{Exposition, MetricKind, Telemetry},
};

/// The content type of Prometheus' text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
///
/// # Errors
/// The metrics could not be built (500).
pub(super) async fn page(
    telemetry: Telemetry,
    ledger: LedgerReader,
    snapshot: Arc<Snapshot>,
) -> Result<String, Box<Refusal>> {
    gather(move || metrics(&telemetry, ledger.gauges.read(), &snapshot)).await
}

fn metrics(telemetry: &Telemetry, ledger: LedgerState, snapshot: &Snapshot) -> String {
    let mut page = Exposition::default();
    page.family("thalweg_build_info", MetricKind::Gauge, "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let help = "The name of this replica.";
    page.family("thalweg_instance_info", MetricKind::Gauge, help)
        .sample(&[("instance", telemetry.instance.name()), ("version", env!("CARGO_PKG_VERSION"))], 1.0);
    telemetry.write(&mut page, snapshot.generation);
    let help = "Whether the last contact with a provider succeeded.";
    let mut family = page.family("thalweg_provider_up", MetricKind::Gauge, help);
    for provider in &snapshot.providers {
        if let Some(alive) = provider.standing.is_alive() {
            family.sample(&[("provider", &provider.target.name)], f64::from(u8::from(alive)));
        }
    }
    write_ledger(&mut page, ledger);
    write_answer_cache(&mut page, snapshot.answers.figures());
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

fn write_answer_cache(page: &mut Exposition, cache: AnswerCacheFigures) {
    let help = "Requests that looked for a stored answer, by whether there was one.";
    page.family("thalweg_answer_cache_requests_total", MetricKind::Counter, help)
        .sample(&[("result", "hit")], cache.hits as f64)
        .sample(&[("result", "miss")], cache.misses as f64);
    if let Some(tier) = cache.tier {
        let help = "Requests that looked for a stored answer in Redis, by whether there was one.";
        page.family("thalweg_answer_cache_redis_requests_total", MetricKind::Counter, help)
            .sample(&[("result", "hit")], tier.hits as f64)
            .sample(&[("result", "miss")], tier.misses as f64)
            .sample(&[("result", "failed")], tier.failed as f64);
        let help = "Answers for Redis, by whether they were written.";
        page.family("thalweg_answer_cache_redis_answers_total", MetricKind::Counter, help)
            .sample(&[("result", "stored")], tier.stored as f64)
            .sample(&[("result", "dropped")], tier.dropped as f64);
    }
    let help = "Answers that were stored, and those that made room for others or were too old.";
    page.family("thalweg_answer_cache_entries_total", MetricKind::Counter, help)
        .sample(&[("event", "stored")], cache.stored as f64)
        .sample(&[("event", "evicted")], cache.evicted as f64);
    let help = "Tokens of the answers that were given again.";
    page.single("thalweg_tokens_saved_total", MetricKind::Counter, help, cache.tokens_saved as f64);
    let help = "Requests that shared the answer of an equal one under way.";
    page.single("thalweg_coalesced_requests_total", MetricKind::Counter, help, cache.coalesced as f64);
    let help = "Stored answers.";
    page.single("thalweg_answer_cache_entries", MetricKind::Gauge, help, cache.entries as f64);
    let help = "Bytes of the stored answers.";
    page.single("thalweg_answer_cache_bytes", MetricKind::Gauge, help, cache.bytes as f64);
}

fn write_candidates(page: &mut Exposition, snapshot: &Snapshot) {
    let (now, candidates) = (Moment::now(), snapshot.catalog.tracked());
    let help = "Attempts at a model of a provider that tell of its health, by how they ended.";
    let mut family = page.family("thalweg_upstream_attempts_total", MetricKind::Counter, help);
    for (provider, stats) in &candidates {
        let (succeeded, failed) = stats.totals();
        let [provider, model] = labels(provider, stats);
        family.sample(&[provider, model, ("result", "success")], succeeded as f64);
        family.sample(&[provider, model, ("result", "failure")], failed as f64);
    }
    let help = "The circuit breaker of a model of a provider: 0 admitting, 1 probing, 2 tripped.";
    let mut family = page.family("thalweg_breaker_state", MetricKind::Gauge, help);
    for (provider, stats) in &candidates {
        family.sample(&labels(provider, stats), f64::from(breaker(stats, now).1));
    }
    let help = "Requests and streams under way at a model of a provider.";
    let mut family = page.family("thalweg_upstream_in_flight", MetricKind::Gauge, help);
    for (provider, stats) in &candidates {
        family.sample(&labels(provider, stats), stats.in_flight() as f64);
    }
}

fn labels<'a>(provider: &'a str, stats: &'a CandidateStats) -> [(&'static str, &'a str); 2] {
    [("provider", provider), ("model", stats.model().unwrap_or("other"))]
}
