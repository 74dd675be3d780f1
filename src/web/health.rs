//! `GET /health` (S0.6, S2.8): for anybody, whether each provider is well; for who shows a key, how that was found out, what
//! went wrong last, and how each of its candidates does (S3.9). No address and no key is in it.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    base::{Moment, time::Rfc3339, ttl_map::HitCounter},
    proxy::{Provider, Snapshot},
    routing::{BreakerState, CandidateStats, FailureClass, ResponseKind},
};

/// Candidates beyond this are shown only if they were ever asked.
const SHOWN_UNASKED: usize = 100;

/// The page; `is_detailed` for callers who have shown an accepted key.
pub(super) fn page(snapshot: &Snapshot, is_detailed: bool) -> Value {
    if is_detailed { in_detail(snapshot) } else { health(snapshot) }
}

/// S2.8. A provider that nobody has talked to yet is not called unhealthy.
fn health(snapshot: &Snapshot) -> Value {
    let now = Moment::now();
    let healthy = snapshot.providers.iter().filter(|provider| is_well(provider, now)).count();
    let total = snapshot.providers.len();
    let providers: serde_json::Map<String, Value> = snapshot
        .providers
        .iter()
        .map(|provider| (provider.target.name.to_string(), is_well(provider, now).into()))
        .collect();
    let status = match healthy {
        _ if healthy == total => "healthy",
        0 => "unhealthy",
        _ => "degraded",
    };
    json!({
        "status": status,
        "providers": providers,
        "healthy_providers": healthy,
        "total_providers": total,
    })
}

/// It answers, and what it answers is of use.
fn is_well(provider: &Provider, now: Moment) -> bool {
    let standing = &provider.standing;
    let shut_out =
        matches!(standing.rest_reason(now), Some(FailureClass::KeyInvalid | FailureClass::QuotaGone));
    standing.is_alive().unwrap_or(true) && !shut_out
}

/// The same with all that is known.
fn in_detail(snapshot: &Snapshot) -> Value {
    let (now, mut page) = (Moment::now(), health(snapshot));
    let tracked = snapshot.catalog.tracked();
    let show_all = tracked.len() <= SHOWN_UNASKED;
    let details: Vec<Value> = snapshot
        .providers
        .iter()
        .map(|one| {
            let own = tracked
                .iter()
                .filter(|(name, record)| **name == *one.target.name && (show_all || record.is_used()));
            provider(one, own.map(|(_, record)| candidate(record, snapshot, now)).collect(), now)
        })
        .collect();
    if let Some(page) = page.as_object_mut() {
        page.insert("details".to_owned(), details.into());
        page.insert("known_before".to_owned(), recalls(snapshot));
    }
    page
}

/// S3.9: the latest successes and failures of a candidate, as its breaker counts them.
pub(super) fn recent(record: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Value {
    let window = snapshot.catalog.settings().breaker.window;
    let seen = record.seen(now, window);
    json!({"seconds": window.as_secs_f64(), "succeeded": seen.good, "failed": seen.bad})
}

fn provider(provider: &Provider, candidates: Vec<Value>, now: Moment) -> Value {
    let standing = &*provider.standing;
    let check = standing.check().map(
        |check| json!({"means": check.means.as_str(), "alive": check.alive, "at": shown(check.at, now)}),
    );
    let (state, until) = match standing.rest_reason(now) {
        Some(_) => ("resting", Some(standing.rests_until())),
        None => ("admitting", None),
    };
    json!({
        "provider": &*provider.target.name,
        "healthy": is_well(provider, now),
        "state": state,
        "until": until.map(|until| shown(until, now)),
        "why": standing.rest_reason(now).map(FailureClass::as_str),
        "last_check": check,
        "last_error": standing.trouble().map(|failure| error(failure, now)),
        "candidates": candidates,
    })
}

fn candidate(record: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Value {
    let (state, until) = match record.breaker(now) {
        BreakerState::Tripped { until } => ("tripped", Some(until)),
        // By what it said itself, whatever its figures.
        BreakerState::Admitting | BreakerState::Probing { .. } if record.rests_until() > now => {
            ("resting", Some(record.rests_until()))
        }
        BreakerState::Admitting => ("admitting", None),
        BreakerState::Probing { .. } => ("probing", None),
    };
    let (succeeded, failed) = record.totals();
    let asked = succeeded + failed;
    let stream = record.pace(ResponseKind::Stream);
    json!({
        "model": record.model(),
        "state": state,
        "until": until.map(|until| shown(until, now)),
        "under_way": record.under_way(),
        "requests": asked,
        "success_rate": (asked > 0).then(|| round(succeeded as f64 / asked as f64)),
        "recent": recent(record, snapshot, now),
        "last_success": record.last_success().map(|at| shown(at, now)),
        "last_error": record.last_failure().map(|failure| error(failure, now)),
        "ttft_ms": {
            "p50": millis(stream.percentile(50)),
            "p95": millis(stream.percentile(95)),
            "peak": millis(stream.peak()),
        },
        "whole_p50_ms": millis(record.pace(ResponseKind::Whole).percentile(50)),
    })
}

fn error((class, at): (FailureClass, Moment), now: Moment) -> Value {
    json!({"class": class.as_str(), "at": shown(at, now)})
}

/// S1.7: how often what was known before was of use, since the start.
pub(super) fn recalls(snapshot: &Snapshot) -> Value {
    let counts = |lookups: &HitCounter| json!({"hits": lookups.hits(), "misses": lookups.misses()});
    let recalls = &snapshot.recalls;
    json!({
        "models": counts(&recalls.models),
        "health": counts(&recalls.health),
        "keys": counts(&recalls.keys),
        "first": counts(&recalls.first),
    })
}

/// A moment of the process as people write it.
fn shown(at: Moment, now: Moment) -> String {
    let clock = SystemTime::now();
    let told = if at > now { clock.checked_add(at.since(now)) } else { clock.checked_sub(now.since(at)) };
    Rfc3339(told.unwrap_or(clock)).to_string()
}

fn millis(time: Option<Duration>) -> Option<f64> {
    time.map(|time| round(time.as_secs_f64() * 1e3))
}

/// To three decimals.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
