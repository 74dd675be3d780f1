//! A completed request as the ledger keeps it. Requests for a completion have a row, others have none.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    config::{ProviderLabels, SettlementConfig},
    fact,
};
use crate::{
    base::{Fault, Side, time::unix_micros},
    exchange::{Completed, Digests, Outcome, UsageSource, client_address::client_address, phase},
    ledger::{Row, RowIds, RowOutcome, row::cut},
    telemetry::RequestOutcome,
};

/// Limit of a row's cost, in micro-units: a mistaken price must leave room for a month's sums.
const MAX_COST: u64 = 1 << 53;

pub(super) const fn has_row(completed: &Completed) -> bool {
    completed.record.route.endpoint().is_some()
}

/// The row. `None`: the request has none.
pub(super) fn row<'a>(
    completed: &'a Completed,
    config: &'a impl SettlementConfig,
    now: &Now,
    ids: &mut RowIds,
) -> Option<Row<'a>> {
    let record = &completed.record;
    let endpoint = record.route.endpoint()?;
    let at = unix_micros(now.arrival(record.started));
    let provider = record.provider.as_deref();
    let labels = provider.and_then(|name| config.provider(name));
    let FaultColumns { code, side, phase } = FaultColumns::of(&completed.outcome);
    let (stats, added) = (&record.stats, record.stats.added_latency());
    let usage = stats.usage.unwrap_or_default();
    // Of a corrected charge the row has the difference, so that sums are right.
    let before = record.corrected().map(|charge| charge.booked).unwrap_or_default();
    let cost = record.cost(config.prices()).map(|cost| number(cost.min(MAX_COST)));
    let cost_before = number(record.cost_before(config.prices()).min(MAX_COST));
    let (is_stream, was_attempted) = (stats.frames > 0, record.attempts > 0);
    let wait = record.connection_wait.unwrap_or_default();
    Some(Row {
        request_id: Some(record.id.as_str().into()),
        principal: record.key_name.as_deref().map(Cow::Borrowed),
        key_id: record.key_id.as_deref().map(Cow::Borrowed),
        model_asked: record.model.as_deref().filter(|model| !model.is_empty()).map(cut),
        model: record.upstream_model.as_deref().map(cut),
        path: Some(record.route.template().into()),
        dialect: Some(endpoint.as_str().into()),
        dialects: record.dialects().map(Cow::Owned),
        reuse: record.reuse.as_ref().map(|reuse| reuse.kind.as_str().into()),
        tokens_saved: record.reuse.as_ref().map(|reuse| number(reuse.tokens_saved)),
        provider: provider.map(Cow::Borrowed),
        provider_kind: labels.map(|ProviderLabels { kind, .. }| kind.into()),
        region: labels.and_then(|labels| labels.region).map(Cow::Borrowed),
        strategy: was_attempted.then(|| record.strategy.unwrap_or("-").into()),
        attempts: Some(record.attempts.into()),
        wasted: Some(record.cancelled_attempts.into()),
        wasted_tokens: Some(record.wasted_tokens()).filter(|tokens| *tokens > 0).map(number),
        mode: record.mode.map(|mode| mode.as_str().into()),
        status: Some(completed.status().into()),
        outcome: Some(outcome(fact::outcome(completed)).as_str().into()),
        fault: code.map(Cow::Borrowed),
        fault_side: side.map(Cow::Borrowed),
        phase: phase.map(Cow::Borrowed),
        first_byte_us: stats.first_byte.map(micros),
        ttft_us: stats.first_token.map(micros),
        total_us: Some(micros(completed.total)),
        queue_us: was_attempted.then(|| micros(wait)),
        upstream_us: record.answered_after.map(|after| micros(after.saturating_sub(wait))),
        added_first_ns: record.added_first().map(nanos),
        added_p50_ns: added.map(|added| nanos(added.p50)),
        added_p99_ns: added.map(|added| nanos(added.p99)),
        added_max_ns: added.map(|added| nanos(added.max)),
        frames: is_stream.then(|| stats.frames.into()),
        events: is_stream.then(|| stats.events.into()),
        request_bytes: Some(number(record.client.request_bytes)),
        bytes: (is_stream || stats.bytes > 0).then(|| number(stats.bytes)),
        digest_up: stats.digests.as_deref().map(|digests| Digests::hex(&digests.received).into()),
        digest_down: stats.digests.as_deref().map(|digests| Digests::hex(&digests.given).into()),
        tokens_in: beyond(usage.input, before.input),
        tokens_out: beyond(usage.output, before.output),
        tokens_cached: beyond(usage.cached, before.cached),
        tokens_reasoning: beyond(usage.reasoning, before.reasoning),
        usage_source: stats.usage_source.map(|source| UsageSource::as_str(source).into()),
        cost: cost.map(|cost| cost - cost_before),
        client: client_address(&record.client, config.trusted_proxies())
            .map(|address| address.to_string().into()),
        user_agent: record.client.user_agent.as_ref().map(|agent| visible(agent)),
        trace_id: record.trace.as_deref().map(|(trace, _)| format!("{:032x}", trace.id).into()),
        ..Row::new(ids.make(at), at)
    })
}

/// The beginning of a header's value.
fn visible(value: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(text) => cut(text),
        Cow::Owned(text) => cut(&text).into_owned().into(),
    }
}

const fn outcome(outcome: RequestOutcome) -> RowOutcome {
    match outcome {
        RequestOutcome::Done => RowOutcome::Ok,
        RequestOutcome::Refused => RowOutcome::Refused,
        RequestOutcome::Failed => RowOutcome::Failed,
        RequestOutcome::Gone(_) => RowOutcome::Gone,
    }
}

/// The error's code, the side at fault, and how far the request had come.
struct FaultColumns {
    code: Option<&'static str>,
    side: Option<&'static str>,
    phase: Option<&'static str>,
}

impl FaultColumns {
    const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Complete => Self { code: None, side: None, phase: None },
            Outcome::Gone(stage) => Self { code: None, side: None, phase: Some(phase(*stage)) },
            Outcome::Fault(fault @ Fault { stage, .. }) => {
                let side = match fault.side {
                    Side::Client => "client",
                    Side::Gateway => "gateway",
                    Side::Provider => "provider",
                };
                Self { code: Some(fault.code()), side: Some(side), phase: Some(phase(*stage)) }
            }
        }
    }
}

/// One moment by both clocks, for the rows of a batch.
#[derive(Debug)]
pub(super) struct Now {
    monotonic: Instant,
    wall: SystemTime,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn arrival(&self, started: Instant) -> SystemTime {
        self.wall.checked_sub(self.monotonic.saturating_duration_since(started)).unwrap_or(self.wall)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The part of a count that no earlier row has; below zero if that had too much.
fn beyond(count: Option<u64>, before: Option<u64>) -> Option<i64> {
    count.map(|count| number(count) - number(before.unwrap_or(0)))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Endpoint, id::IdSource},
        exchange::{RequestRecord, RequestRoute},
    };

    #[test]
    fn only_completions_have_a_row() {
        let of = |route| {
            let record = Box::new(RequestRecord::new(IdSource::default().make(), Instant::now(), route));
            has_row(&Completed { record, outcome: Outcome::Complete, total: Duration::ZERO })
        };
        for endpoint in
            [Endpoint::ChatCompletions, Endpoint::Messages, Endpoint::CountTokens, Endpoint::Rerank]
        {
            assert!(of(RequestRoute::Completion { template: endpoint.path(), endpoint }), "{endpoint:?}");
        }
        for template in ["/health", "/v1/models", "/v1/reload", "/"] {
            assert!(!of(RequestRoute::Page { template }), "{template}");
        }
        assert!(!of(RequestRoute::Unknown));
    }
}
