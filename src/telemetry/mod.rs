//! What is told about the gateway: takes facts, decides nothing.

pub mod gauge;
pub mod log;

pub use gauge::{Gauge, Gauges, Held, WorkerGauges};
pub use log::{Log, LogFormat, LogSettings};
