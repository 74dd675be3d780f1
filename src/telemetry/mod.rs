//! What is told about the gateway: takes facts, decides nothing.

pub mod gauge;

pub use gauge::{Gauge, Gauges, Held, WorkerGauges};
