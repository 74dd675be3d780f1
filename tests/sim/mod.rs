//! The simulation of routing: providers and clients as numbers, the routing room as it is.
//!
//! - [`provider`]: latencies and troubles
//! - [`world`]: events in order, and what must hold at each
//! - [`chance`]: a history out of a seed
//! - [`table`]: strategies against scenarios

pub mod chance;
pub mod provider;
pub mod table;
pub mod world;
