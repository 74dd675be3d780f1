//! The engine that measures any endpoint of the OpenAI or Anthropic kind with the gateway's own client: for
//! `thalweg bench`, `/streaming-compare`, `perf/` and tests. It must be cheap itself: one thread, no
//! allocation and no log line per event; each event is counted and its times recorded. A run without a limit
//! is refused.
//!
//! In reading order:
//! - [`clock`]: times that compare across processes
//! - [`prompt`]: the request body in each dialect
//! - [`latency`]: a distribution and its percentiles
//! - [`totals`]: all counts of a run
//! - [`observer`]: one response, event by event (`stamp`: the time in an event)
//! - [`request`]: one request and its whole answer
//! - [`plan`]: a run, within limits
//! - [`engine`]: running it (`schedule`: when each request is sent)
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
pub use engine::{Progress, run, try_once};
pub use latency::{LatencyHistogram, LatencySummary};
pub use observer::{Recorder, StreamOutcome};
pub use plan::{Arrival, LoadLimit, LoadPlan, PlanError};
pub use prompt::Prompt;
pub use report::LoadReport;
pub use request::{LoadRequest, LoadResponse};
