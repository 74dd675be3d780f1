//! Times of `CLOCK_MONOTONIC`. Unlike `std::time::Instant` they are numbers that two processes of one machine
//! share, so that an event can carry the time at which it was sent. And this thread's CPU time, by which a
//! run notices that it was the limit itself.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadInstant(u64);

impl LoadInstant {
    #[must_use]
    pub fn now() -> Self {
        Self(read(ClockId::Monotonic))
    }

    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// CPU time that this thread has used.
#[must_use]
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(read(ClockId::ThreadCPUTime))
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_advance_and_never_underflow() {
        let (first, second) = (LoadInstant::now(), LoadInstant::now());
        assert!(second >= first);
        assert_eq!(LoadInstant::from_nanos(5).since(LoadInstant::from_nanos(9)), 0);
        assert_eq!(
            LoadInstant::from_nanos(5).plus(Duration::from_micros(2)).since(LoadInstant::from_nanos(5)),
            2000
        );
    }
}
