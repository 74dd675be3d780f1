//! When which provider is to be asked whether it is well (S0.6, S1.1).

use std::time::Duration;

/// How providers are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// From one look at a provider to the next; zero: none but those at start.
    pub interval: Duration,
    /// For a check's whole answer.
    pub timeout: Duration,
    /// How old a model list may become.
    pub refresh: Duration,
    /// How many candidates are asked at once at start and after a reload, to see who answers first (S1.5).
    pub precheck: usize,
    /// To how many providers connections are opened at start and after a reload (S1.9).
    pub warmup: usize,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            refresh: Duration::from_secs(3600),
            precheck: 3,
            warmup: 5,
        }
    }
}

impl HealthSettings {
    /// Nobody is asked anything that no client asked for, but for lists of models.
    #[must_use]
    pub fn off() -> Self {
        Self { interval: Duration::ZERO, precheck: 0, warmup: 0, ..Self::default() }
    }
}
