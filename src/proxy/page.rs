//! What the gateway answers without a provider: what it is, what it offers, how its providers are.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    fault::Refusal,
    models,
    routes::Page,
    snapshot::{Provider, Snapshot},
};

/// A page's status and JSON. `ready` is false while the process drains.
///
/// # Errors
/// `path` names what is not there.
pub fn render(
    page: Page,
    path: &str,
    snapshot: &Snapshot,
    ready: bool,
) -> Result<(StatusCode, Bytes), Box<Refusal>> {
    let (status, body) = match page {
        Page::Service => (StatusCode::OK, service()),
        Page::Models => (StatusCode::OK, models::list(snapshot)),
        Page::Model => (StatusCode::OK, models::one(snapshot, path)?),
        Page::Health => (StatusCode::OK, health(snapshot)),
        Page::Live => (StatusCode::OK, json!({"status": "alive"})),
        Page::Ready if ready => (StatusCode::OK, json!({"status": "ready"})),
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
            "GET /health",
            "GET /livez",
            "GET /readyz",
        ],
    })
}

/// S2.8. A provider that nobody has talked to yet is not called unhealthy.
fn health(snapshot: &Snapshot) -> Value {
    let alive = |provider: &Provider| provider.standing.is_alive().unwrap_or(true);
    let healthy = snapshot.providers.iter().filter(|provider| alive(provider)).count();
    let total = snapshot.providers.len();
    let providers: serde_json::Map<String, Value> = snapshot
        .providers
        .iter()
        .map(|provider| (provider.target.name.to_string(), alive(provider).into()))
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
