//! The limits of one key, counted in memory without a lock: requests and tokens per minute, requests at once,
//! a budget.
//!
//! - [`window`]: the sliding minute
//! - [`values`]: the limits; [`meter`]: their use
//! - [`lease`]: a request's share of its key's limits, taken by estimate, settled by use
//! - [`share`]: amounts that were granted to this replica out of the shared limit; [`report`]: how it
//!   gets them; [`due`]: when; [`places`]: requests at once; [`wait`]: a request that waits
//! - [`alone`]: without the shared store; [`outage`]: a time without its answers
//! - [`usage`]: how far they are used, by all replicas where they are shared
//!
//! The names and values of limits are [`KeyLimits`](super::KeyLimits)'; the meters here know no key and no
//! database.

pub mod alone;
mod due;
pub mod lease;
pub mod meter;
pub mod outage;
mod places;
pub mod report;
pub mod share;
pub mod usage;
pub mod values;
pub mod wait;
pub mod window;

pub use alone::WhenAlone;
pub use lease::Lease;
pub use meter::LimitMeter;
pub use report::{ShareAnswer, ShareReport};
pub use share::LimitShare;
pub use usage::{KeyUse, LimitUse};
pub use values::{Exceeded, Limit, LimitValues, Reservation, Use};
pub use wait::ShareHandle;
