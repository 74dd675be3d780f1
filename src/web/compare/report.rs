//! What came of a comparison, with names that stay and units in them: the endpoint answers it, the command line shows
//! it.

use serde::{Deserialize, Serialize};

use super::{
    figures::{LegAddedLatency, Repeated},
    leg::Leg,
    recommendation::Recommendation,
};

/// Events whose times are told one by one.
pub const MAX_TIMINGS: usize = 4096;

/// `*_us` are microseconds. Counts are the median over the repeats that worked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareReport {
    /// Version of this format.
    pub thalweg_compare: u32,
    pub model: String,
    /// The provider that the control leg asked.
    pub provider: String,
    pub repeats: u8,
    pub max_tokens: u32,
    /// The control first.
    pub legs: Vec<LegReport>,
    pub recommended: Recommendation,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegReport {
    pub leg: Leg,
    pub label: String,
    /// How a client asks for it.
    pub how: String,
    /// Every repeat was a success, heard to its end.
    pub works: bool,
    /// Of the last repeat; absent when none was answered.
    pub status: Option<u16>,
    /// What went wrong, of the first repeat that did.
    pub error: Option<String>,
    /// Reads that brought something.
    pub chunks: u64,
    pub events: u64,
    pub bytes: u64,
    pub connect_us: Option<Repeated>,
    pub ttfb_us: Option<Repeated>,
    /// First content or reasoning.
    pub ttft_us: Option<Repeated>,
    pub total_us: Option<Repeated>,
    /// Between two reads, on average.
    pub interval_us: Option<Repeated>,
    /// Share of intervals between reads shorter than 1 ms.
    pub zero_interval_share: Option<f64>,
    /// To the first token, against the control of the same repeat. For the control itself: each repeat against the one
    /// before it. What lies within that is noise.
    pub added_ttft_us: Option<LegAddedLatency>,
    /// To the end.
    pub added_total_us: Option<LegAddedLatency>,
    /// Each event against the same event of the control; absent when the two did not have as many events, so that there
    /// is no "same event".
    pub added_event_us: Option<LegAddedLatency>,
    /// When each event was complete, in the last repeat that worked; the first [`MAX_TIMINGS`] of them.
    pub events_at_us: Vec<f64>,
}
