//! The settings of this room. The log's and the traces' settings are theirs.

use std::time::Duration;

/// The keys of `telemetry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Measure the added latency of each frame of a stream (B2).
    pub frame_latency: bool,
    /// Digest the bytes of every response (B3).
    pub digests: bool,
    /// The p99 of added latency above which the guard sheds (B11). `None`: no guard.
    pub guard: Option<Duration>,
    /// Serve `/metrics` without authorisation.
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
