//! The limits of one key, counted in memory without a lock: requests and tokens per minute, requests at once,
//! a budget.
//!
//! - [`window`]: the sliding minute
//! - [`lease`]: a request's share of its key's limits, taken by estimate, settled by use
//!
//! The names and values of limits are [`KeyLimits`](super::KeyLimits)'; the meters here know no key and no
//! database.

pub mod lease;
pub mod window;

pub use lease::{Exceeded, Lease, Limit, LimitMeter, LimitValues, Reservation, Use};
