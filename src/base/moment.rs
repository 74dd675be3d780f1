//! A point of time as a number that fits an atomic. Code that decides by time is given moments instead of
//! reading a clock, so that a simulation can supply its own. Monotonic: wall-clock time is [`super::time`]'s.

use std::{
    ops::{Add, Sub},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Microseconds since the first use of the clock in the process, plus one. 0 means "never" and lies before
/// every other moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

static ORIGIN: OnceLock<Instant> = OnceLock::new();

impl Moment {
    /// Before every other moment.
    pub const NEVER: Self = Self(0);

    #[must_use]
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The moment of an instant of the standard clock. An instant before the first use counts as the first
    /// use.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        let origin = *ORIGIN.get_or_init(Instant::now);
        Self(1) + instant.saturating_duration_since(origin)
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// Saturates.
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

/// Whole microseconds of a duration; `u64::MAX` if there are more.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_microseconds_and_saturates() {
        let first = Moment::now();
        assert!(first > Moment::NEVER);
        let later = first + Duration::from_millis(5);
        assert_eq!(later.since(first), Duration::from_millis(5));
        assert_eq!((first.since(later), later - Duration::from_millis(5)), (Duration::ZERO, first));
        assert_eq!(first - Duration::MAX, Moment::NEVER);
        assert_eq!(first + Duration::MAX, Moment(u64::MAX));
    }

    #[test]
    fn follows_the_standard_clock() {
        // An instant before the first use would count as that.
        let _ = Moment::now();
        let (instant, now) = (Instant::now(), Moment::now());
        assert!(Moment::at(instant) <= now);
        assert_eq!(
            Moment::at(instant + Duration::from_secs(1)).since(Moment::at(instant)),
            Duration::from_secs(1)
        );
    }
}
