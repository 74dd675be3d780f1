//! The trace comment: one comment after the last event of a stream, if its client requested it
//! (`x-thalweg-trace: 1`, B2), with the stream's figures and the gateway's own time, as JSON. Readers of
//! events ignore comments (WHATWG HTML, "Server-sent events").

use bytes::Bytes;
use serde_json::json;
use tokio::time::Duration;

use crate::exchange::{Digests, RequestRecord, StreamStats};

/// `stats` beside `record`, because the record gets its stats only when the stream is dropped.
pub(super) fn render(record: &RequestRecord, stats: &StreamStats) -> Bytes {
    let added = stats.added_latency();
    let intake = record.intake.unwrap_or_default();
    let comment = json!({
        "id": record.id.as_str(),
        "provider": record.provider.as_deref(),
        "attempts": record.attempts,
        "frames": stats.frames,
        "events": stats.events,
        "bytes": stats.bytes,
        "intake_ms": millis(intake),
        "first_byte_ms": stats.first_byte.map(millis),
        "first_token_ms": stats.first_token.map(millis),
        "total_ms": millis(record.started.elapsed()),
        "added_us": added.map(|added| json!({
            "first_byte": stats.first_added.map(|added| micros(intake + added)),
            "p50": micros(added.p50),
            "p99": micros(added.p99),
            "max": micros(added.max),
        })),
        "waited_for_client": stats.waited_for_client,
        "digests": stats.digests.as_deref().map(|digests| json!({
            "algorithm": "sha256",
            "received": Digests::hex(&digests.received),
            "given": Digests::hex(&digests.given),
        })),
    });
    format!(": thalweg {comment}\n\n").into()
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn micros(time: Duration) -> f64 {
    (time.as_nanos() / 100) as f64 / 10.0
}
