//! A run, checked: every run has an end, and one that is not against this machine needs an explicit
//! permission, because it costs tokens.

use std::{num::NonZeroU32, time::Duration};

use bytes::Bytes;

use crate::{
    upstream::{BaseUrl, Target},
    wire::Dialect,
};

/// The longest run.
pub const MAX_DURATION: Duration = Duration::from_secs(3600);
/// Streams at once.
pub const MAX_STREAMS: u32 = 20_000;
/// Requests a second of an open loop.
pub const MAX_RATE: f64 = 100_000.0;
/// One an hour.
pub const MIN_RATE: f64 = 1.0 / 3600.0;

#[derive(Clone, Debug)]
pub struct LoadPlan {
    pub target: Target,
    pub dialect: Dialect,
    pub body: Bytes,
    /// Whether the body asks for a stream: else only the whole answer is timed.
    pub stream: bool,
    /// Requests at once.
    pub streams: NonZeroU32,
    pub arrival: Arrival,
    pub bound: LoadLimit,
    /// Events and answers within this time from the start are not counted.
    pub warmup: Duration,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// Each when the one before it has ended.
    Closed,
    /// By the clock, independent of the answers. A request without a free stream waits, and its latency
    /// counts from when it was due (no coordinated omission).
    Open { per_second: f64 },
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimit {
    /// The run ends after this time; streams in flight are cut.
    pub duration: Duration,
    /// The run ends after this number of requests, if that is sooner.
    pub requests: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The address is not loopback, and remote runs were not permitted.
    #[error(
        "not an address of this machine: the run would cost a provider's tokens (--allow-remote if that is meant)"
    )]
    Remote,
    #[error("the duration must be above 0 and at most {} s", MAX_DURATION.as_secs())]
    Duration,
    #[error("at most {MAX_STREAMS} streams at once")]
    Streams,
    #[error("the rate must be from one request an hour to {MAX_RATE} a second")]
    Rate,
    /// The warm-up is not shorter than the run.
    #[error("the warm-up must be shorter than the run")]
    Warmup,
}

impl LoadPlan {
    /// # Errors
    /// The first limit that is exceeded.
    pub fn check(self, allow_remote: bool) -> Result<Self, PlanError> {
        let rate_is_sane = match self.arrival {
            Arrival::Closed => true,
            Arrival::Open { per_second } => (MIN_RATE..=MAX_RATE).contains(&per_second),
        };
        if !allow_remote && !is_loopback(&self.target.base) {
            Err(PlanError::Remote)
        } else if self.bound.duration.is_zero() || self.bound.duration > MAX_DURATION {
            Err(PlanError::Duration)
        } else if self.streams.get() > MAX_STREAMS {
            Err(PlanError::Streams)
        } else if !rate_is_sane {
            Err(PlanError::Rate)
        } else if self.warmup >= self.bound.duration {
            Err(PlanError::Warmup)
        } else {
            Ok(self)
        }
    }
}

fn is_loopback(base: &BaseUrl) -> bool {
    &*base.host == "localhost"
        || base.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str) -> LoadPlan {
        let target = Target::plain("bench", BaseUrl::parse(url).unwrap());
        LoadPlan {
            target,
            dialect: Dialect::ChatCompletions,
            body: Bytes::new(),
            stream: true,
            streams: NonZeroU32::MIN,
            arrival: Arrival::Closed,
            bound: LoadLimit { duration: Duration::from_secs(1), requests: None },
            warmup: Duration::ZERO,
        }
    }

    #[test]
    fn only_this_machine_unless_asked_for() {
        for url in ["http://127.0.0.1:1/v1", "http://[::1]:1", "http://localhost:9000"] {
            assert!(plan(url).check(false).is_ok(), "{url}");
        }
        for url in ["https://api.example.com", "http://10.0.0.1", "http://127.0.0.1.example.com"] {
            assert_eq!(plan(url).check(false).unwrap_err(), PlanError::Remote, "{url}");
            assert!(plan(url).check(true).is_ok());
        }
    }

    #[test]
    fn every_run_is_bounded() {
        let good = || plan("http://localhost");
        let second = Duration::from_secs(1);
        let bound = |duration| LoadLimit { duration, requests: Some(1) };
        for (plan, error) in [
            (LoadPlan { bound: bound(Duration::ZERO), ..good() }, PlanError::Duration),
            (LoadPlan { bound: bound(MAX_DURATION + second), ..good() }, PlanError::Duration),
            (LoadPlan { arrival: Arrival::Open { per_second: 0.0 }, ..good() }, PlanError::Rate),
            (LoadPlan { arrival: Arrival::Open { per_second: f64::NAN }, ..good() }, PlanError::Rate),
            (LoadPlan { streams: NonZeroU32::MAX, ..good() }, PlanError::Streams),
            (LoadPlan { warmup: second, ..good() }, PlanError::Warmup),
        ] {
            assert_eq!(plan.check(false).unwrap_err(), error);
        }
    }
}
