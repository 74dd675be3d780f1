//! The one comment after the last event of a stream whose client asked for it (`x-thalweg-trace: 1`, B2): what the stream
//! was and what it cost here, as JSON. A comment is nothing to a reader of events (WHATWG HTML, "Server-sent events").

use bytes::Bytes;
use serde_json::json;
use tokio::time::Duration;

use super::{
    digest::Digests,
    end::{RequestRecord, StreamStats},
};

/// Renders it. `story` has no figures yet.
pub(super) fn comment(story: &RequestRecord, figures: &StreamStats) -> Bytes {
    let added = figures.added();
    let told = json!({
        "id": story.id.as_str(),
        "provider": story.provider.as_deref(),
        "attempts": story.attempts,
        "frames": figures.frames,
        "events": figures.events,
        "bytes": figures.bytes,
        "intake_ms": millis(story.intake),
        "first_byte_ms": figures.first_byte.map(millis),
        "first_token_ms": figures.first_token.map(millis),
        "total_ms": millis(story.started.elapsed()),
        "added_us": added.map(|added| json!({
            "first_byte": figures.first_added.map(|added| micros(story.intake + added)),
            "p50": micros(added.p50),
            "p99": micros(added.p99),
            "max": micros(added.max),
        })),
        "waited_for_client": figures.waited,
        "digests": figures.digests.map(|digests| json!({
            "algorithm": "sha256",
            "received": Digests::hex(&digests.received),
            "given": Digests::hex(&digests.given),
        })),
    });
    format!(": thalweg {told}\n\n").into()
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn micros(time: Duration) -> f64 {
    (time.as_nanos() / 100) as f64 / 10.0
}
