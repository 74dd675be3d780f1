//! Gauges, statistics, events, traces and the log. Collects facts and reports them; decides nothing about
//! requests, except that the overload guard switches optional work off.
//!
//! - [`gauge`]: the number of requests, streams and connections that exist
//! - [`stream_histogram`]: the histograms of one stream; [`meter`]: the latency histogram of one worker
//! - [`guard`]: switches optional work off under load
//! - [`events`]: events for subscribers, as they happen; [`running_feeds`]: views of running requests
//! - [`facts`]: the facts of one completed request; [`stats`] adds them up: [`sums`], times over [`window`]s,
//!   [`races`], the last hour in steps for charts ([`history`]); [`share`]: the same in a form that can be
//!   merged with those of other processes
//! - [`instance`]: the name of this replica
//! - [`series`]: the series for Prometheus, in its [`exposition`] format
//! - [`redis_gauges`]: the state of connections to Redis; [`batch_gauges`]: batches of files
//! - [`shared`]: the process's telemetry in one value
//! - [`trace`]: the trace context of a request; [`otlp`]: spans for collectors (`protobuf`: their wire
//!   format)
//! - [`settings`]: the configuration's section
//! - [`log`]: the log

pub mod batch_gauges;
pub mod events;
pub mod exposition;
pub mod facts;
pub mod gauge;
pub mod guard;
pub mod history;
pub mod instance;
pub mod log;
pub mod meter;
pub mod otlp;
mod protobuf;
pub mod races;
pub mod redis_gauges;
pub mod running_feeds;
pub mod series;
pub mod settings;
pub mod share;
pub mod shared;
pub mod stats;
pub mod stream_histogram;
pub mod sums;
pub mod trace;
pub mod window;

pub use batch_gauges::BatchGauges;
pub use exposition::{Exposition, MetricKind};
pub use facts::{RaceFacts, RequestFacts, RequestOutcome, TokenCounts};
pub use gauge::{Gauge, GaugeGuard, Gauges, Generations, WorkerGauges};
pub use guard::{GuardAction, OverloadGuard};
pub use history::HistorySpan;
pub use instance::Instance;
pub use log::{FileSettings, LevelHandle, Log, LogFormat, LogSettings, LostLines as LogLost};
pub use meter::{LatencyMeter, MeterReading};
pub use redis_gauges::{RedisGauges, RedisServers};
pub use settings::TelemetrySettings;
pub use share::StatsShare;
pub use shared::Telemetry;
pub use stats::{SharedStats, Stats};
pub use stream_histogram::{FrameTimings, StreamHistogram};
pub use trace::Trace;
