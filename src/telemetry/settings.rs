//! What is measured and told, as the configuration says it.

/// The keys of `telemetry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Measure how long each frame of a stream stays here (B2).
    pub frame_latency: bool,
    /// Show `/metrics` to whoever asks.
    pub public_metrics: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { frame_latency: true, public_metrics: false }
    }
}
