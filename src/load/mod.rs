//! The engine that measures any endpoint of the OpenAI or Anthropic kind, with the gateway's own client: behind
//! `thalweg bench`, `/streaming-compare`, `perf/` and tests. It must itself be cheap: one thread, no allocation per
//! event, no log; what it does per event is counted and recorded, nothing else. It refuses to run without a bound.
//!
//! In reading order:
//! - [`clock`]: moments that compare across processes
//! - [`prompt`]: the request body in each dialect
//! - [`spread`]: a distribution and its percentiles
//! - [`tally`]: everything a run counts
//! - [`ear`]: what one response says, event by event (`stamp`: when it says it was sent)
//! - [`call`]: one request and its whole answer
//! - [`plan`]: what to do, within bounds
//! - [`engine`]: doing it (`schedule`: which request is sent when)
//! - [`report`]: the result with stable names

pub mod call;
pub mod clock;
pub mod ear;
pub mod engine;
pub mod plan;
pub mod prompt;
pub mod report;
mod schedule;
pub mod spread;
mod stamp;
pub mod tally;

pub use call::Call;
pub use clock::Moment;
pub use ear::{Hearing, Notes};
pub use engine::{Progress, run};
pub use plan::{Arrival, Bound, Plan, PlanError};
pub use prompt::Prompt;
pub use report::Report;
pub use spread::{Spread, Summary};
