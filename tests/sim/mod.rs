//! The simulation of routing: providers and clients are numbers, the routing room is the real one.
//!
//! - [`provider`]: latencies and troubles
//! - [`world`]: events in order, and the invariants at each
//! - [`chance`]: a history from a seed
//! - [`table`]: strategies against scenarios

pub mod chance;
pub mod provider;
pub mod table;
pub mod world;
