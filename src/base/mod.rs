//! Leaf of the house: words that every room shares. Knows nothing of sockets or configuration.
//!
//! - [`deadlines`]: what a request waits for, and the error code of each wait
//! - [`episode`]: a condition that is logged when it begins and when it ends
//! - [`fault`]: the one error type at the seams between rooms
//! - [`scale`]: the buckets of histograms
//! - [`secret`]: values that never print
//! - [`id`]: request ids
//! - [`moment`]: time as a number; [`rng`]: chance from a seed
//! - [`byte_list`]: a chain of `Bytes` that is written without being joined
//! - [`network`]: ranges of addresses
//! - [`time`]: dates and durations as text
//! - [`pem`]: certificate and key files
//! - [`ttl_map`]: what was learnt, and for how long it holds good
//! - [`spawn`]: the only door to the runtime's spawner
//! - [`gauge`]: a counter with a guard
//! - [`glob`]: names with stars in them
//! - [`turn`]: which poll of a worker this is

pub mod byte_list;
pub mod deadlines;
pub mod episode;
pub mod fault;
pub mod gauge;
pub mod glob;
pub mod id;
pub mod moment;
pub mod network;
pub mod pem;
pub mod rng;
pub mod scale;
pub mod secret;
pub mod spawn;
pub mod time;
pub mod ttl_map;
pub mod turn;

pub use byte_list::ByteList;
pub use deadlines::{DeadlineKind, Deadlines};
pub use episode::Episode;
pub use fault::{Fault, FaultKind, Sent, Side, Stage};
pub use gauge::{Gauge, GaugeGuard};
pub use id::RequestId;
pub use moment::Moment;
pub use network::Network;
pub use rng::Rng;
pub use secret::Secret;
pub use ttl_map::TtlMap;
