//! `/streaming-compare`: the same prompt through every way of asking the gateway and, as a control, straight to the
//! provider, repeated and interleaved; then what each way cost and which one to use (S0.9, B1). The gateway's legs go
//! through its own listener like anybody's requests. What a run may cost is capped: repeats, tokens, one run at a time
//! in the process, a deadline for each request.
//!
//! In reading order:
//! - [`params`]: what may be asked
//! - `prepare`: what refuses a comparison
//! - [`gate`]: one run at a time
//! - [`leg`]: the six ways of asking
//! - [`run`]: asking, again and again
//! - [`leg_run`]: what one answer did
//! - [`figures`]: a few numbers and their middle
//! - [`report`]: what came of it, per leg (`sum`: how it is computed)
//! - [`recommendation`]: which way to use, and why
//! - [`progress`]: a run that tells how far it has come

pub mod figures;
pub mod gate;
pub mod leg;
pub mod leg_run;
pub mod params;
mod prepare;
pub mod progress;
pub mod recommendation;
pub mod report;
pub mod run;
mod sum;

pub use gate::Gate;
pub use leg::Leg;
pub use params::{Params, ParamsError};
pub(super) use prepare::prepare;
pub use progress::{CompareStream, ProgressEvent};
pub use report::CompareReport;
pub use run::{Context, run};

/// The path of the comparison.
pub const PATH: &str = "/streaming-compare";
