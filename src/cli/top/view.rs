//! The contents of a gateway's events: views of running requests, sums, and requests that have ended. Fields
//! that a gateway of another version lacks are empty. Control characters in names, which clients choose, are
//! replaced, because a terminal would obey them.

use serde::{Deserialize, Deserializer};

use crate::base::control::is_display_control;

/// A `running` event, of one replica or of several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopView {
    #[serde(deserialize_with = "clean")]
    pub(super) instance: String,
    pub(super) requests: u64,
    pub(super) waiting: u64,
    pub(super) stalled: u64,
    pub(super) left_out: u64,
    pub(super) workers_missing: u64,
    pub(super) replicas: Vec<TopReplica>,
    pub(super) rows: Vec<TopRow>,
}

/// A replica that is in a view.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopReplica {
    #[serde(deserialize_with = "clean")]
    pub(super) instance: String,
}

/// A request under way. Times are in microseconds, unless their names say nanoseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopRow {
    #[serde(deserialize_with = "clean")]
    pub(super) request_id: String,
    /// The replica that has it; empty where one alone is shown.
    #[serde(deserialize_with = "clean")]
    pub(super) instance: String,
    #[serde(deserialize_with = "clean")]
    pub(super) path: String,
    #[serde(deserialize_with = "clean")]
    pub(super) principal: String,
    #[serde(deserialize_with = "clean")]
    pub(super) model_asked: String,
    #[serde(deserialize_with = "clean")]
    pub(super) provider: String,
    #[serde(deserialize_with = "clean")]
    pub(super) mode: String,
    #[serde(deserialize_with = "clean")]
    pub(super) phase: String,
    #[serde(deserialize_with = "clean")]
    pub(super) state: String,
    pub(super) age_us: u64,
    pub(super) ttft_us: Option<u64>,
    pub(super) quiet_us: Option<u64>,
    pub(super) events: u64,
    pub(super) tokens_out: u64,
    pub(super) tokens_per_s: Option<f64>,
    pub(super) added_first_ns: Option<u64>,
    pub(super) added_max_ns: Option<u64>,
}

/// A `stats` event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopSums {
    #[serde(deserialize_with = "clean")]
    pub(super) instance: String,
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) tokens: SummedTokens,
    pub(super) in_flight: OpenConnections,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SummedTokens {
    pub(super) output: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OpenConnections {
    pub(super) connections: u64,
}

/// A `row` event: a request that has ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EndedRequest {
    #[serde(deserialize_with = "clean")]
    pub(super) request_id: String,
    #[serde(deserialize_with = "clean")]
    pub(super) outcome: String,
    #[serde(deserialize_with = "clean")]
    pub(super) fault: String,
    pub(super) status: u64,
    pub(super) total_us: u64,
    pub(super) tokens_out: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LostEvents {
    pub(super) count: u64,
}

/// A text without control characters; null is none.
fn clean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(text.replace(is_display_control, "\u{fffd}"))
}
