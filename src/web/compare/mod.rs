//! `/streaming-compare`: one prompt through every mode of the gateway and, as a control, to the provider
//! itself, repeated and interleaved; then the time of each leg and the recommended mode (S0.9, B1). The
//! gateway's legs are ordinary requests to its own listener; the control passes the same door as they do, its
//! key's models and limits, and has a row. The cost of a run is bounded: repeats, tokens,
//! one run at a time in the process, a deadline for each request.
//!
//! In reading order:
//! - [`params`]: the query string
//! - `prepare`: the checks before a run
//! - [`gate`]: one run at a time
//! - [`leg`]: the six legs, and the request of each
//! - [`run`]: the rounds of requests
//! - [`leg_run`]: the measured times of one answer
//! - [`figures`]: median, spread and percentiles of a few numbers
//! - [`leg_report`]: the result of each leg (`sum`: its computation); [`report`]: the result of the
//!   comparison
//! - [`recommendation`]: the recommended leg, with its reason
//! - [`progress`]: a run as a stream of events
//! - [`picture`]: a report as a picture; [`kept`]: the last reports

pub mod figures;
pub mod gate;
pub mod kept;
pub mod leg;
pub mod leg_report;
pub mod leg_run;
pub mod params;
pub mod picture;
mod prepare;
pub mod progress;
pub mod recommendation;
pub mod report;
pub mod run;
mod sum;

pub use gate::Gate;
pub use kept::KeptRuns;
pub use leg::Leg;
pub use params::{Params, ParamsError};
pub(super) use prepare::{offered_models, own_target, parameters, prepare};
pub use progress::{CompareStream, ProgressEvent};
pub use report::CompareReport;
pub(super) use run::first_that_answers;
pub use run::{Context, run};

/// The path of the comparison.
pub const PATH: &str = "/streaming-compare";
