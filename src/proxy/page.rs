//! What the gateway answers without a provider: what it is, what it offers, how its providers are.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{fault::Refusal, health, models, routes::Page, snapshot::Snapshot};

/// What a page is rendered for.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    pub path: &'a str,
    /// The process is not draining.
    pub ready: bool,
    /// A key was shown: details are not for everybody.
    pub known: bool,
}

/// A page's status and JSON.
///
/// # Errors
/// The path names what is not there.
pub fn render(
    page: Page,
    reader: PageRequest<'_>,
    snapshot: &Snapshot,
) -> Result<(StatusCode, Bytes), Box<Refusal>> {
    let (status, body) = match page {
        Page::Service => (StatusCode::OK, service()),
        Page::Models => (StatusCode::OK, models::list(snapshot)),
        Page::Model => (StatusCode::OK, models::one(snapshot, reader.path)?),
        Page::Health if reader.known => (StatusCode::OK, health::in_detail(snapshot)),
        Page::Health => (StatusCode::OK, health::health(snapshot)),
        Page::Live => (StatusCode::OK, json!({"status": "alive"})),
        Page::Ready if reader.ready => (StatusCode::OK, json!({"status": "ready"})),
        Page::Ready => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "draining"})),
    };
    Ok((status, body.to_string().into()))
}

fn service() -> Value {
    json!({
        "service": "thalweg",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": [
            "POST /v1/chat/completions",
            "POST /v1/chat/completions/asgi",
            "POST /v1/completions",
            "POST /v1/embeddings",
            "POST /v1/responses",
            "POST /v1/messages",
            "GET /v1/models",
            "GET /v1/models/{model}",
            "POST /v1/reload",
            "GET /streaming-compare",
            "GET /stats",
            "GET /metrics",
            "GET /events",
            "GET /health",
            "GET /livez",
            "GET /readyz",
        ],
    })
}
