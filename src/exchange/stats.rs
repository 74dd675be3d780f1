//! The figures of one response on its way from the provider to the client, measured at the gateway. Written
//! by `relay`, read once the request has completed.

use tokio::time::Duration;

use super::digests::Digests;
use crate::{base::origins::OriginToken, telemetry::FrameTimings, wire::Usage};

#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    /// Frames of a stream; 0 for a response that came as a whole.
    pub frames: u32,
    pub events: u32,
    /// Bytes of the body.
    pub bytes: u64,
    /// From the request's arrival to the first frame. `None`: there was none.
    pub first_byte: Option<Duration>,
    /// From the request's arrival to the first content. `None`: there was none.
    pub first_token: Option<Duration>,
    /// First frame to last frame.
    pub span: Duration,
    /// Gaps between frames shorter than a millisecond.
    pub zero_gaps: u32,
    /// Usage as the provider reported it; after the accounting, as it is booked, with all cached input as a
    /// part of the input.
    pub usage: Option<Usage>,
    /// Where `usage` comes from. `None` until the accounting, and where nothing is booked.
    pub usage_source: Option<UsageSource>,
    /// Times of single frames. `None`: not measured.
    pub frame_timings: Option<Box<FrameTimings>>,
    /// From the commit, or the first read after it, to the first frame's write (B2).
    pub first_added: Option<Duration>,
    /// Frames that had to wait for the client.
    pub waited_for_client: u32,
    /// `None`: not requested. Boxed, because they rarely are.
    pub digests: Option<Box<Digests>>,
    /// Estimated tokens of output in the part that passed.
    pub passed_tokens: u32,
    /// The id of the response, which is made in the background. `None`: it is not.
    pub background: Option<OriginToken>,
}

/// Where token counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The provider reported all of them.
    Reported,
    /// Estimated from the sizes of the request and of the part that passed.
    Estimated,
    /// The provider reported some, or reported before the end; the rest is estimated or missing.
    Partial,
}

impl UsageSource {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Partial => "partial",
        }
    }
}

/// How long frames stayed in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedLatency {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl StreamStats {
    /// `None` if no frame was measured.
    #[must_use]
    pub fn added_latency(&self) -> Option<AddedLatency> {
        let added = &self.frame_timings.as_ref()?.added;
        Some(AddedLatency { p50: added.quantile(0.5)?, p99: added.quantile(0.99)?, max: added.max() })
    }
}
