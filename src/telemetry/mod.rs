//! What is told about the gateway: takes facts, decides nothing.
//!
//! - [`gauge`]: how many of each thing live right now
//! - [`scale`], [`tally`]: small histograms, of one stream
//! - [`meter`]: a worker's pace right now
//! - [`guard`]: when optional work is left out
//! - [`news`]: what happens, for whoever watches
//! - [`fact`]: what is told of one request; [`stats`]: what becomes of it, in [`sums`] over [`window`]s, and [`races`]
//! - [`series`]: the same for Prometheus, in its [`exposition`] format
//! - [`board`]: all of it in one hand
//! - [`trace`]: where a request stands in a trace; [`otlp`]: traces as collectors read them
//! - [`settings`]: what is measured, as the configuration says it
//! - [`log`]: the log

pub mod board;
pub mod exposition;
pub mod fact;
pub mod gauge;
pub mod guard;
pub mod log;
pub mod meter;
pub mod news;
pub mod otlp;
pub mod races;
pub mod scale;
pub mod series;
pub mod settings;
pub mod stats;
pub mod sums;
pub mod tally;
pub mod trace;
pub mod window;

pub use board::Board;
pub use exposition::{Exposition, Kind};
pub use fact::{Contest, Fact, TokenCounts, Verdict};
pub use gauge::{Gauge, Gauges, Generations, Held, WorkerGauges};
pub use guard::{Guard, Turn};
pub use log::{FileSettings, LevelHandle, Log, LogFormat, LogSettings, Lost as LogLost};
pub use meter::{Meter, Pace};
pub use settings::TelemetrySettings;
pub use stats::{SharedStats, Stats};
pub use tally::{Shape, Tally};
pub use trace::Trace;
