//! What is told about the gateway: takes facts, decides nothing.
//!
//! - [`gauge`]: how many of each thing live right now
//! - [`stream_histogram`]: small histograms, of one stream
//! - [`meter`]: a worker's pace right now
//! - [`guard`]: when optional work is left out
//! - [`events`]: what happens, for whoever watches
//! - [`facts`]: what is told of one request; [`stats`]: what becomes of it, in [`sums`] over [`window`]s, and [`races`]
//! - [`series`]: the same for Prometheus, in its [`exposition`] format
//! - [`shared`]: all of it in one hand
//! - [`trace`]: where a request stands in a trace; [`otlp`]: traces as collectors read them
//! - [`settings`]: what is measured, as the configuration says it
//! - [`log`]: the log

pub mod events;
pub mod exposition;
pub mod facts;
pub mod gauge;
pub mod guard;
pub mod log;
pub mod meter;
pub mod otlp;
pub mod races;
pub mod series;
pub mod settings;
pub mod shared;
pub mod stats;
pub mod stream_histogram;
pub mod sums;
pub mod trace;
pub mod window;

pub use exposition::{Exposition, MetricKind};
pub use facts::{RaceFacts, RequestFacts, RequestOutcome, TokenCounts};
pub use gauge::{Gauge, GaugeGuard, Gauges, Generations, WorkerGauges};
pub use guard::{GuardAction, OverloadGuard};
pub use log::{FileSettings, LevelHandle, Log, LogFormat, LogSettings, LostLines as LogLost};
pub use meter::{LatencyMeter, MeterReading};
pub use settings::TelemetrySettings;
pub use shared::Telemetry;
pub use stats::{SharedStats, Stats};
pub use stream_histogram::{FrameTimings, StreamHistogram};
pub use trace::Trace;
