//! A moment as a number, so that what decides over time can be given one: the process's own clock hands out real ones, a
//! simulation makes its own. Fits an atomic.

use std::{
    ops::{Add, Sub},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Microseconds since the process first asked for the time, plus one: 0 is before everything, and means "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

static BEGINNING: OnceLock<Instant> = OnceLock::new();

impl Moment {
    /// Before everything.
    pub const NEVER: Self = Self(0);

    #[must_use]
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The same moment of the standard clock; what lies before the beginning is the beginning.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        let beginning = *BEGINNING.get_or_init(Instant::now);
        Self(1) + instant.saturating_duration_since(beginning)
    }

    /// The time from `earlier` to here; nothing if that lies ahead.
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

/// Whole microseconds of a duration, as many as fit.
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
        let (here, now) = (Instant::now(), Moment::now());
        assert!(Moment::at(here) <= now);
        assert_eq!(Moment::at(here + Duration::from_secs(1)).since(Moment::at(here)), Duration::from_secs(1));
    }
}
