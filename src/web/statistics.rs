//! `GET /stats`: counts and times since the start, as JSON, for operators (S0.7, S1.13, S3.9, B18); with
//! `?since=` or `?by=` also sums of the ledger, with
//! `?scope=cluster` of all replicas; with `?running=true` also the requests under way on this one, with
//! `?history=minute` or `hour` also its last minute or hour in steps.
//!
//! The page is built on tokio's pool of blocking threads, because its time grows with the number of
//! candidates and rows and a worker has streams to relay.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::stats_share::{ReplicaName, ReplicaStats};
use crate::{
    cluster::{DocumentBoard, board::PostedDocument},
    exchange::RunningBoard,
    ledger::{
        LedgerReader,
        query::{GroupBy, UsageQuery},
        reader::{QueryError, report},
    },
    proxy::{Refusal, Snapshot},
    routing::retry_after,
    telemetry::{HistorySpan, Telemetry},
};

/// The longest time that `?since=` reaches back.
const MAX_SINCE: Duration = Duration::from_secs(366 * 24 * 3600);
/// For the documents of all other replicas.
const MAX_READ: Duration = Duration::from_secs(2);
/// A replica that has put up nothing for longer counts as down: it puts a document up every five seconds at
/// least.
const MAX_SILENCE: Duration = Duration::from_secs(7);

/// The parts of the process that the page is made of.
#[derive(Clone, Debug)]
pub(super) struct StatsParts {
    pub(super) telemetry: Telemetry,
    pub(super) ledger: LedgerReader,
    pub(super) snapshot: Arc<Snapshot>,
    /// The statistics of other replicas. `None`: there is no Redis.
    pub(super) board: Option<DocumentBoard>,
    pub(super) running: RunningBoard,
}

/// The page; `query` is the query string of the request.
///
/// # Errors
/// The query is wrong (400), there is no ledger (404) or the ledger does not answer (503).
pub(super) async fn page(parts: StatsParts, query: &str) -> Result<String, Box<Refusal>> {
    let (sums, of_all, history) = (ledger_query(query)?, asks_for_all(query)?, asks_for_history(query)?);
    let running =
        if asks_for_running(query)? { parts.running.read(Arc::new([None])).await.views } else { Vec::new() };
    let posted = if of_all { Some(posted(&parts).await) } else { None };
    let gathered = gather(move || {
        let StatsParts { telemetry, ledger, snapshot, .. } = &parts;
        let own = ReplicaStats::gather(telemetry, ledger.gauges.read(), snapshot);
        let mut stats = match posted {
            Some(posted) => of_replicas(own, posted, telemetry),
            None => of_one(&own, telemetry),
        };
        if let Some(query) = sums {
            let answer = ledger.ask(&query)?;
            stats.insert("ledger".to_owned(), report(&answer, &query));
        }
        if let Some(span) = history {
            let (mut own, now) = telemetry.stats.open();
            stats.insert("history".to_owned(), own.history(now, span));
        }
        for mut view in running {
            stats.insert("running".to_owned(), view.document());
        }
        Ok(Value::from(stats).to_string())
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

/// Whether `?scope=cluster` asks for all replicas.
///
/// # Errors
/// It is another word (400).
pub(super) fn asks_for_all(query: &str) -> Result<bool, Box<Refusal>> {
    let scope = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "scope");
    match scope.map(|(_, value)| value) {
        None | Some("instance") => Ok(false),
        Some("cluster") => Ok(true),
        Some(_) => {
            let message = "`scope`: expected `instance` or `cluster`";
            Err(Refusal::request(400, "invalid_query", message).of(Some("scope")))
        }
    }
}

/// Whether `?running=true` asks for the requests under way.
///
/// # Errors
/// It is another word (400).
pub(super) fn asks_for_running(query: &str) -> Result<bool, Box<Refusal>> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(name, _)| *name == "running").map(|(_, value)| value) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            let message = "`running`: expected `true` or `false`";
            Err(Refusal::request(400, "invalid_query", message).of(Some("running")))
        }
    }
}

/// The range of `?history=minute` or `hour`.
///
/// # Errors
/// It is another word (400).
fn asks_for_history(query: &str) -> Result<Option<HistorySpan>, Box<Refusal>> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(name, _)| *name == "history").map(|(_, value)| value) {
        None => Ok(None),
        Some("minute") => Ok(Some(HistorySpan::Minute)),
        Some("hour") => Ok(Some(HistorySpan::Hour)),
        Some(_) => {
            let message = "`history`: expected `minute` or `hour`; longer ones are `?since=` with `by=hour` or `by=day`";
            Err(Refusal::request(400, "invalid_query", message).of(Some("history")))
        }
    }
}

/// The documents of the other replicas, or why they cannot be read.
async fn posted(parts: &StatsParts) -> Result<Vec<PostedDocument>, String> {
    let Some(board) = &parts.board else { return Err("no Redis is configured".to_owned()) };
    let own = parts.telemetry.instance.place();
    match timeout(MAX_READ, board.read(&own)).await {
        Ok(Ok(documents)) => Ok(documents),
        Ok(Err(fault)) => Err(format!("Redis: {fault}")),
        Err(_) => Err(format!("Redis: not all documents came within {MAX_READ:?}")),
    }
}

fn of_one(own: &ReplicaStats, telemetry: &Telemetry) -> Map<String, Value> {
    let mut stats = own.report();
    stats.insert("instance".to_owned(), telemetry.instance.name().into());
    stats.insert("uptime_s".to_owned(), telemetry.stats.elapsed().as_secs().into());
    stats
}

/// Of this replica and, as far as they can be read, of the others.
fn of_replicas(
    mut own: ReplicaStats,
    posted: Result<Vec<PostedDocument>, String>,
    telemetry: &Telemetry,
) -> Map<String, Value> {
    let mut replicas = vec![ReplicaName::own(telemetry).report(Duration::ZERO, true)];
    let documents = match posted {
        Ok(documents) => documents,
        Err(reason) => {
            let mut stats = of_one(&own, telemetry);
            stats.insert("scope".to_owned(), "instance".into());
            stats.insert("reason".to_owned(), reason.into());
            stats.insert("replicas".to_owned(), replicas.into());
            return stats;
        }
    };
    let mut skipped = Vec::new();
    for document in documents {
        match ReplicaStats::read(&document.bytes) {
            Ok((name, stats)) => {
                own.merge(stats);
                replicas.push(name.report(document.age, document.age <= MAX_SILENCE));
            }
            Err((name, reason)) => {
                let (instance, version) =
                    name.map_or((document.place, None), |name| (name.instance, Some(name.version)));
                skipped.push(json!({"instance": instance, "version": version, "reason": reason}));
            }
        }
    }
    let mut stats = own.report();
    for (name, value) in
        [("scope", "cluster".into()), ("replicas", replicas.into()), ("skipped", skipped.into())]
    {
        stats.insert(name.to_owned(), value);
    }
    stats
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
