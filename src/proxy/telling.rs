//! What a client, or the configuration, wants to be told of a request beyond its answer (B2, B3).

use http::{HeaderMap, HeaderName};

use crate::telemetry::TelemetrySettings;

static TRACE: HeaderName = HeaderName::from_static("x-thalweg-trace");
static DIGESTS: HeaderName = HeaderName::from_static("x-thalweg-digests");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Telling {
    /// A comment after the last event: `x-thalweg-trace: 1`.
    pub(super) comment: bool,
    /// Digests of the bytes: `x-thalweg-digests: 1`, or `telemetry.digests`.
    pub(super) digests: bool,
}

impl Telling {
    pub(super) fn of(headers: &HeaderMap, settings: &TelemetrySettings) -> Self {
        let asked = |name| headers.get(name).is_some_and(|value| matches!(value.as_bytes(), b"1" | b"true"));
        Self { comment: asked(&TRACE), digests: settings.digests || asked(&DIGESTS) }
    }
}
