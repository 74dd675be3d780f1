//! Dates and durations as text, and the wall clock as a number: the only place of the crate that converts
//! them. The calendar is the `time` crate's, HTTP dates are httpdate's. Limits (how long, how far ahead) and
//! error texts belong to the callers; a text that cannot be read is `None` here. The clock that never jumps
//! is [`Moment`](super::Moment).
//!
//! - [`date`]: RFC 3339 and HTTP dates
//! - [`duration`]: numbers with units

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub mod date;
pub mod duration;

pub use date::Rfc3339;

/// Seconds since 1970 now; 0 if the clock stands before 1970.
#[must_use]
pub fn unix_now() -> u64 {
    since_1970(SystemTime::now()).as_secs()
}

/// Whole milliseconds since 1970; 0 for earlier times.
#[must_use]
pub fn unix_millis(at: SystemTime) -> i64 {
    i64::try_from(since_1970(at).as_millis()).unwrap_or(i64::MAX)
}

/// Whole microseconds since 1970; 0 for earlier times.
#[must_use]
pub fn unix_micros(at: SystemTime) -> i64 {
    i64::try_from(since_1970(at).as_micros()).unwrap_or(i64::MAX)
}

/// The time from 1970 to `at`; zero for earlier times.
#[must_use]
pub fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}
