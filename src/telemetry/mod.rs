//! What is told about the gateway: takes facts, decides nothing.
//!
//! - [`gauge`]: how many of each thing live right now
//! - [`scale`], [`tally`]: small histograms, of one stream
//! - [`meter`]: a worker's pace right now
//! - [`settings`]: what is measured, as the configuration says it
//! - [`log`]: the log

pub mod gauge;
pub mod log;
pub mod meter;
pub mod scale;
pub mod settings;
pub mod tally;

pub use gauge::{Gauge, Gauges, Generations, Held, WorkerGauges};
pub use log::{LevelHandle, Log, LogFormat, LogSettings};
pub use meter::{Meter, Pace};
pub use settings::TelemetrySettings;
pub use tally::{Shape, Tally};
