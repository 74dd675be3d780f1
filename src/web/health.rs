//! `GET /health` (S0.6, S2.8): whether each provider is healthy. A request with an accepted key also gets the
//! last check, the last error, the state of each candidate (S3.9) and the name of this replica.
//!
//! Invariant: the page holds no address and no key.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::admin::DetailScope;
use crate::{
    base::{Endpoint, Moment, time::Rfc3339, ttl_map::HitCounter},
    proxy::{Provider, Snapshot},
    routing::{BreakerState, CandidateStats, Catalog, EndpointMemory, FailureClass, ResponseKind},
    telemetry::Instance,
};

/// Above this number of candidates, those without an attempt are left out.
const MAX_UNUSED_SHOWN: usize = 100;

/// The page, with these details.
pub(super) fn page(snapshot: &Snapshot, detail: &DetailScope, instance: &Instance) -> Value {
    let mut page = match detail {
        DetailScope::None => return health(snapshot),
        DetailScope::All => in_detail(snapshot, |_| true),
        DetailScope::OfKey(principal) => in_detail(snapshot, |(provider, stats)| {
            stats.model().is_some_and(|model| {
                snapshot.allows(&principal.limits, model)
                    || snapshot.allows(&principal.limits, &format!("{provider}/{model}"))
            })
        }),
    };
    page["instance"] = instance.name().into();
    page
}

/// S2.8. A provider without any contact so far counts as healthy.
fn health(snapshot: &Snapshot) -> Value {
    let now = Moment::now();
    // One look at each provider: two could differ, and the count would then contradict the list.
    let states: Vec<_> = snapshot.providers.iter().map(|one| (one, is_healthy(one, now))).collect();
    let (healthy, total) = (states.iter().filter(|(_, healthy)| *healthy).count(), states.len());
    let providers: serde_json::Map<String, Value> =
        states.into_iter().map(|(one, healthy)| (one.target.name.to_string(), healthy.into())).collect();
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

/// The provider answers, and it accepts the key and has quota left.
fn is_healthy(provider: &Provider, now: Moment) -> bool {
    let health = &provider.standing;
    let is_shut_out =
        matches!(health.rest_reason(now), Some(FailureClass::KeyInvalid | FailureClass::QuotaExhausted));
    health.is_alive().unwrap_or(true) && !is_shut_out
}

/// The page with the details of providers and candidates.
fn in_detail(snapshot: &Snapshot, may_see: impl Fn((&str, &CandidateStats)) -> bool) -> Value {
    let (now, mut page) = (Moment::now(), health(snapshot));
    let tracked = snapshot.catalog.tracked();
    let show_all = tracked.len() <= MAX_UNUSED_SHOWN;
    let details: Vec<Value> = snapshot
        .providers
        .iter()
        .enumerate()
        .map(|(index, one)| {
            let own = tracked
                .iter()
                .filter(|(name, stats)| **name == *one.target.name && (show_all || stats.is_used()))
                .filter(|(name, stats)| may_see((name, stats)));
            let candidates = own.map(|(_, stats)| candidate(stats, snapshot, now)).collect();
            let mut details = provider(one, candidates, now);
            details["dialects"] = dialects(&snapshot.catalog, index, now);
            details
        })
        .collect();
    if let Some(page) = page.as_object_mut() {
        page.insert("details".to_owned(), details.into());
        page.insert("known_before".to_owned(), cache_hits(snapshot));
    }
    page
}

/// S3.9: successes and failures of a candidate within its breaker's window.
pub(super) fn recent(stats: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Value {
    let window = snapshot.catalog.settings().breaker.window;
    let seen = stats.outcomes(now, window);
    json!({"seconds": window.as_secs_f64(), "succeeded": seen.successes, "failed": seen.failures})
}

fn provider(provider: &Provider, candidates: Vec<Value>, now: Moment) -> Value {
    let health = &*provider.standing;
    let check = health.check().map(
        |check| json!({"means": check.method.as_str(), "alive": check.alive, "at": shown(check.at, now)}),
    );
    let (state, until) = match health.rest_reason(now) {
        Some(_) => ("resting", Some(health.resting_until())),
        None => ("admitting", None),
    };
    json!({
        "provider": &*provider.target.name,
        "healthy": is_healthy(provider, now),
        "state": state,
        "until": until.map(|until| shown(until, now)),
        "missing_endpoints": missing(health.endpoints(), now),
        "why": health.rest_reason(now).map(FailureClass::as_str),
        "last_check": check,
        "last_error": health.last_problem().map(|failure| error(failure, now)),
        "candidates": candidates,
    })
}

fn candidate(stats: &CandidateStats, snapshot: &Snapshot, now: Moment) -> Value {
    let (state, until) = match stats.breaker(now) {
        BreakerState::Tripped { until } => ("tripped", Some(until)),
        // The provider's own `retry-after` applies whatever the breaker's counts are.
        BreakerState::Admitting | BreakerState::Probing { .. } if stats.resting_until() > now => {
            ("resting", Some(stats.resting_until()))
        }
        BreakerState::Admitting => ("admitting", None),
        BreakerState::Probing { .. } => ("probing", None),
    };
    let (succeeded, failed) = stats.totals();
    let attempts = succeeded + failed;
    let stream = stats.latency(ResponseKind::Stream);
    json!({
        "model": stats.model(),
        "state": state,
        "until": until.map(|until| shown(until, now)),
        "tripped_at": stats.tripped(now).map(|(endpoint, _)| endpoint.as_str()).collect::<Vec<_>>(),
        "missing_at": missing(stats.endpoints(), now),
        "under_way": stats.in_flight(),
        "requests": attempts,
        "success_rate": (attempts > 0).then(|| round(succeeded as f64 / attempts as f64)),
        "recent": recent(stats, snapshot, now),
        "last_success": stats.last_success().map(|at| shown(at, now)),
        "last_error": stats.last_failure().map(|failure| error(failure, now)),
        "ttft_ms": {
            "p50": millis(stream.percentile(50)),
            "p95": millis(stream.percentile(95)),
            "peak": millis(stream.peak()),
        },
        "whole_p50_ms": millis(stats.latency(ResponseKind::Whole).percentile(50)),
    })
}

/// What is known of each dialect of a provider: whether it has it, and the source of that.
fn dialects(catalog: &Catalog, provider: usize, now: Moment) -> Value {
    let known = |endpoint: Endpoint| {
        let (has, source) = catalog.knowledge(provider, endpoint, now).source()?;
        // Few providers have Gemini's API, and none is asked to find it out.
        (has || !endpoint.is_gemini()).then_some(())?;
        Some((endpoint.as_str().to_owned(), json!({"has": has, "source": source})))
    };
    Value::Object(Endpoint::MAIN.into_iter().filter_map(known).collect())
}

/// The endpoints that are believed to be missing.
fn missing(endpoints: &EndpointMemory, now: Moment) -> Vec<&'static str> {
    endpoints.all_missing(now).map(Endpoint::as_str).collect()
}

fn error((class, at): (FailureClass, Moment), now: Moment) -> Value {
    json!({"class": class.as_str(), "at": shown(at, now)})
}

/// S1.7: hits and misses of the caches since the start.
pub(super) fn cache_hits(snapshot: &Snapshot) -> Value {
    let counts = |lookups: &HitCounter| {
        let (hits, misses) = (lookups.hits(), lookups.misses());
        let rate = (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64);
        json!({"hits": hits, "misses": misses, "rate": rate})
    };
    let caches = &snapshot.recalls;
    json!({
        "models": counts(&caches.models),
        "health": counts(&caches.health),
        "keys": counts(&caches.keys),
        "first": counts(&caches.first),
    })
}

/// A moment of the process as a date (RFC 3339).
fn shown(at: Moment, now: Moment) -> String {
    let clock = SystemTime::now();
    let time = if at > now { clock.checked_add(at.since(now)) } else { clock.checked_sub(now.since(at)) };
    Rfc3339(time.unwrap_or(clock)).to_string()
}

fn millis(time: Option<Duration>) -> Option<f64> {
    time.map(|time| round(time.as_secs_f64() * 1e3))
}

/// Rounds to three decimals.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
