//! The result of one leg of a comparison, over all of its repeats. Names are a public interface and carry
//! their units.

use serde::{Deserialize, Serialize};

use super::{
    figures::{LegAddedLatency, Repeated},
    leg::Leg,
};

/// The largest number of single event times in a report.
pub const MAX_TIMINGS: usize = 4096;

/// `*_us` are microseconds. Counts are the median of the repeats that worked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegReport {
    pub leg: Leg,
    pub label: String,
    /// The instruction to a client that wants this mode.
    pub how: String,
    /// Every repeat was a success and complete.
    pub works: bool,
    /// The status of the last repeat that was answered. `None`: no repeat was answered.
    pub status: Option<u16>,
    /// The error of the first repeat that failed.
    pub error: Option<String>,
    /// Reads that brought bytes.
    pub chunks: u64,
    pub events: u64,
    pub bytes: u64,
    pub connect_us: Option<Repeated>,
    pub ttfb_us: Option<Repeated>,
    /// Time to the first content or reasoning.
    pub ttft_us: Option<Repeated>,
    pub total_us: Option<Repeated>,
    /// The average interval between two reads.
    pub interval_us: Option<Repeated>,
    /// Share of intervals between reads shorter than 1 ms.
    pub zero_interval_share: Option<f64>,
    /// Time to the first token, minus that of the control in the same repeat. For the control itself: each
    /// repeat minus the one before it, which is the noise of the measurement.
    pub added_ttft_us: Option<LegAddedLatency>,
    /// Time to the end, compared in the same way.
    pub added_total_us: Option<LegAddedLatency>,
    /// Time of each event, minus that of the same event of the control. `None`: the numbers of events differ.
    pub added_event_us: Option<LegAddedLatency>,
    /// Time of each event's end in the last repeat that worked; the first [`MAX_TIMINGS`] events.
    pub events_at_us: Vec<f64>,
}
