//! What is measured and told, as the configuration says it.

use std::time::Duration;

/// The keys of `telemetry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Measure how long each frame of a stream stays here (B2).
    pub frame_latency: bool,
    /// Digest the bytes of every answer (B3).
    pub digests: bool,
    /// What p99 of the frames' own times the guard lets pass (B11). `None`: there is no guard.
    pub guard: Option<Duration>,
    /// Show `/metrics` to whoever asks.
    pub public_metrics: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            frame_latency: true,
            digests: false,
            guard: Some(Duration::from_millis(1)),
            public_metrics: false,
        }
    }
}
