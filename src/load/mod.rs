//! The engine that measures any endpoint of the OpenAI or Anthropic kind, with the gateway's own client: behind
//! `thalweg bench`, `/streaming-compare`, `perf/` and tests. It must itself be cheap: one thread, no allocation per
//! event, no log; what it does per event is counted and recorded, nothing else. It refuses to run without a bound.
//!
//! In reading order:
//! - [`clock`]: moments that compare across processes
//! - [`prompt`]: the request body in each dialect
//! - [`latency`]: a distribution and its percentiles
//! - [`totals`]: everything a run counts
//! - [`observer`]: what one response says, event by event (`stamp`: when it says it was sent)
//! - [`request`]: one request and its whole answer
//! - [`plan`]: what to do, within bounds
//! - [`engine`]: doing it (`schedule`: which request is sent when)
//! - [`report`]: the result with stable names

pub mod clock;
pub mod engine;
pub mod latency;
pub mod observer;
pub mod plan;
pub mod prompt;
pub mod report;
pub mod request;
mod schedule;
mod stamp;
pub mod totals;

pub use clock::LoadInstant;
pub use engine::{Progress, run};
pub use latency::{LatencyHistogram, LatencySummary};
pub use observer::{Recorder, StreamOutcome};
pub use plan::{Arrival, LoadLimit, LoadPlan, PlanError};
pub use prompt::Prompt;
pub use report::LoadReport;
pub use request::LoadRequest;
