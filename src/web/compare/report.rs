//! The result of a comparison: the JSON that the endpoint answers and the command line shows. Names are a
//! public interface and carry their units.

use serde::{Deserialize, Serialize};

use super::{leg_report::LegReport, recommendation::Recommendation};

/// `*_us` are microseconds. Counts are the median of the repeats that worked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareReport {
    /// Version of this format.
    pub thalweg_compare: u32,
    /// The number under which the gateway keeps the run. `None`: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub model: String,
    /// The provider of the control leg.
    pub provider: String,
    pub repeats: u8,
    pub max_tokens: u32,
    /// The control first.
    pub legs: Vec<LegReport>,
    pub recommended: Recommendation,
}
