//! The closing line of a completed request in the log (S0.11). Values that are unknown, or that say nothing,
//! are left out of the line.

use std::time::Duration;

use tracing::{Level, enabled, info, warn};

use crate::{
    base::{DeadlineKind, FaultKind, Side},
    exchange::{AddedLatency, Completed, Digests, Outcome, UsageSource, phase},
};

/// Logs the closing line.
pub(super) fn write(completed: &Completed) {
    let (record, stats) = (&completed.record, &completed.record.stats);
    if completed.outcome == Outcome::Complete && !enabled!(Level::INFO) {
        return;
    }
    let fields = LogFields::of(completed);
    let digests = stats.digests.as_deref();
    macro_rules! line {
        ($level:ident, $outcome:expr $(, $name:ident = $value:expr)*) => {
            $level!(
                id = %record.id,
                path = record.route.template(),
                status = completed.status(),
                model = fields.model,
                provider = record.provider.as_deref(),
                mode = record.mode.map(|mode| mode.as_str()),
                dialect = record.dialects(),
                strategy = record.strategy,
                attempts = fields.attempts,
                wasted = fields.wasted,
                wasted_tokens = Some(record.wasted_tokens()).filter(|tokens| *tokens > 0),
                total_ms = millis(completed.total),
                connected_ms = fields.attempts.map(|_| millis(record.connection_wait.unwrap_or_default())),
                first_byte_ms = stats.first_byte.map(millis),
                first_token_ms = stats.first_token.map(millis),
                chunks = fields.chunks,
                bytes = (stats.bytes > 0).then_some(stats.bytes),
                avg_bytes = fields.avg_bytes,
                avg_interval_ms = fields.avg_interval,
                zero_intervals = fields.zero_gaps,
                input_tokens = stats.usage.and_then(|usage| usage.input),
                output_tokens = stats.usage.and_then(|usage| usage.output),
                added_first_ms = record.added_first().map(millis),
                added_p50_ms = fields.added.map(|added| millis(added.p50)),
                added_p99_ms = fields.added.map(|added| millis(added.p99)),
                added_max_ms = fields.added.map(|added| millis(added.max)),
                waited = fields.waited,
                digest_up = digests.map(|digests| Digests::hex(&digests.received)),
                digest_down = digests.map(|digests| Digests::hex(&digests.given)),
                usage = stats.usage_source.map(UsageSource::as_str),
                reuse = record.reuse.as_ref().map(|reuse| reuse.kind.as_str()),
                tokens_saved = record.reuse.as_ref().map(|reuse| reuse.tokens_saved),
                key = record.key_name.as_deref(),
                $($name = $value,)*
                $outcome
            )
        };
    }
    match &completed.outcome {
        Outcome::Complete => line!(info, "done"),
        Outcome::Gone(stage) => line!(info, "client gone", phase = phase(*stage)),
        Outcome::Fault(fault) => {
            let (text, code, phase) = (tracing::field::display(fault), fault.code(), phase(fault.stage));
            match (&fault.kind, fault.side) {
                (FaultKind::Timeout(DeadlineKind::Write, _), _) => {
                    line!(info, "cut", fault = text, code = code, phase = phase);
                }
                (_, Side::Client) => line!(info, "refused", fault = text, code = code, phase = phase),
                (_, Side::Provider | Side::Gateway) => {
                    line!(warn, "failed", fault = text, code = code, phase = phase);
                }
            }
        }
    }
}

/// Fields that are left out of the line when they are zero or empty.
struct LogFields<'a> {
    model: Option<&'a str>,
    attempts: Option<u8>,
    wasted: Option<u8>,
    chunks: Option<u32>,
    avg_bytes: Option<f64>,
    avg_interval: Option<f64>,
    /// Share of the gaps that were below a millisecond.
    zero_gaps: Option<f64>,
    added: Option<AddedLatency>,
    waited: Option<u32>,
}

impl<'a> LogFields<'a> {
    fn of(completed: &'a Completed) -> Self {
        let (record, stats) = (&completed.record, &completed.record.stats);
        let share = |part: f64, whole: u32| (whole > 0).then(|| round(part / f64::from(whole)));
        let gaps = stats.frames.saturating_sub(1);
        Self {
            model: record.model.as_deref().filter(|model| !model.is_empty()),
            attempts: (record.attempts > 0).then_some(record.attempts),
            wasted: (record.cancelled_attempts > 0).then_some(record.cancelled_attempts),
            chunks: (stats.frames > 0).then_some(stats.frames),
            avg_bytes: share(stats.bytes as f64, stats.frames),
            avg_interval: share(millis(stats.span), gaps),
            zero_gaps: share(f64::from(stats.zero_gaps), gaps),
            added: stats.added_latency(),
            waited: (stats.waited_for_client > 0).then_some(stats.waited_for_client),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// To three decimals.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
