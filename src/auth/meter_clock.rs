//! The time of all meters: that of the system at the start, and steady from then on.

use std::time::{Duration, Instant, SystemTime};

/// Copies give the same time.
#[derive(Clone, Copy, Debug)]
pub struct MeterClock {
    origin: Instant,
    unix: Duration,
}

impl MeterClock {
    #[must_use]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), unix }
    }

    #[must_use]
    pub fn at(&self, moment: Instant) -> Duration {
        self.unix + moment.saturating_duration_since(self.origin)
    }

    #[must_use]
    pub fn now(&self) -> Duration {
        self.at(Instant::now())
    }
}
