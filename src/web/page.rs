//! The pages that need neither a provider nor a key: the list of paths, and the probes for load balancers.

use serde_json::{Value, json};

use super::routes;

/// `GET /`: name, version and all listed paths.
pub(super) fn service() -> Value {
    let endpoints: Vec<String> =
        routes::listed().map(|route| format!("{} {}", route.methods.main(), route.path)).collect();
    json!({"service": "thalweg", "version": env!("CARGO_PKG_VERSION"), "endpoints": endpoints})
}

/// `HEAD /api/hello`, by which Claude Code finds out whether its server is there.
pub(super) fn hello() -> Value {
    json!({"message": "hello"})
}

/// `GET /livez`: the process answers.
pub(super) fn live() -> Value {
    json!({"status": "alive"})
}

/// `GET /readyz`: whether the process accepts requests; it does not while it drains.
pub(super) fn ready(is_ready: bool) -> Value {
    json!({"status": if is_ready { "ready" } else { "draining" }})
}
