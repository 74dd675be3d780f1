//! The endpoints that a provider, or one model there, has or lacks, as answers have shown. Kept with the
//! health of the provider and the statistics of the candidate; atomics only. [`EndpointKnowledge`] adds the
//! words of the configuration and of the address.
//!
//! Invariant: an answer that says "missing" is not remembered while good answers come from the same place,
//! so that no request can close an endpoint that serves others.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::breaker::is_older;
use crate::base::{Endpoint, Moment};

/// For how long after a good answer a missing endpoint is not believed.
const PROOF: Duration = Duration::from_secs(300);
/// A good answer within this time of the last one is not written down, because all workers share the memory.
const RESOLUTION: Duration = Duration::from_secs(1);

/// What is known of an endpoint of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKnowledge {
    /// By the configuration: it has it, or not.
    Configured(bool),
    /// It has answered there.
    Answered,
    /// It has answered that there is no such endpoint, which is believed until then.
    Missing {
        until: Moment,
    },
    /// By its address: it has it, or not.
    Known(bool),
    Unknown,
}

impl EndpointKnowledge {
    /// By the configuration, its last answer or its address it does not have the endpoint.
    pub(super) const fn is_lacking(self) -> bool {
        matches!(self, Self::Configured(false) | Self::Missing { .. } | Self::Known(false))
    }

    /// By the configuration, its last answer or its address it has the endpoint.
    pub(super) const fn is_having(self) -> bool {
        matches!(self, Self::Configured(true) | Self::Answered | Self::Known(true))
    }

    /// Whether it has the endpoint, and the source of that: the words of `/health`. `None`: nothing is known.
    #[must_use]
    pub const fn source(self) -> Option<(bool, &'static str)> {
        match self {
            Self::Configured(has) => Some((has, "said")),
            Self::Known(has) => Some((has, "known")),
            Self::Answered => Some((true, "learned")),
            Self::Missing { .. } => Some((false, "learned")),
            Self::Unknown => None,
        }
    }
}

/// What answers have shown of each endpoint.
#[derive(Debug, Default)]
pub struct EndpointMemory([EndpointFacts; Endpoint::COUNT]);

#[derive(Debug, Default)]
struct EndpointFacts {
    /// When the last good answer was requested.
    answered: AtomicU64,
    missing_until: AtomicU64,
    missing_since: AtomicU64,
}

impl EndpointMemory {
    fn facts(&self, endpoint: Endpoint) -> Option<&EndpointFacts> {
        self.0.get(endpoint.index())
    }

    /// A request that was sent at `started` got a good answer. One from before the endpoint was found
    /// missing changes nothing.
    pub fn answered(&self, endpoint: Endpoint, started: Moment) {
        let Some(facts) = self.facts(endpoint) else { return };
        let before = Moment(facts.answered.load(Relaxed));
        if before == Moment::NEVER || started.since(before) >= RESOLUTION {
            facts.answered.store(started.0, Relaxed);
        }
        if facts.missing_until.load(Relaxed) != 0 && started.0 > facts.missing_since.load(Relaxed) {
            facts.missing_until.store(0, Relaxed);
        }
    }

    /// An answer said that it is missing: it is believed from `now` until `until`, unless a good answer came
    /// a short while ago.
    pub fn missing(&self, endpoint: Endpoint, until: Moment, now: Moment) {
        let Some(facts) = self.facts(endpoint) else { return };
        if self.has_proof(endpoint, PROOF, now) {
            return;
        }
        if facts.missing_until.fetch_max(until.0, Relaxed) < until.0 {
            facts.missing_since.store(now.0, Relaxed);
        }
    }

    /// Another replica reports that it is missing until `until`; a past moment: that it answers again.
    pub(super) fn learn(&self, endpoint: Endpoint, until: Moment, now: Moment) {
        let Some(facts) = self.facts(endpoint) else { return };
        if until > now {
            self.missing(endpoint, until, now);
        } else if is_older(Moment(facts.missing_since.load(Relaxed)), now) {
            facts.missing_until.store(0, Relaxed);
        }
    }

    /// Until when it is believed to be missing; a past moment: it is not.
    #[must_use]
    pub fn missing_until(&self, endpoint: Endpoint) -> Moment {
        self.facts(endpoint).map_or(Moment::NEVER, |facts| Moment(facts.missing_until.load(Relaxed)))
    }

    #[must_use]
    pub fn is_missing(&self, endpoint: Endpoint, now: Moment) -> bool {
        now < self.missing_until(endpoint)
    }

    /// Whether a good answer ever came from there.
    #[must_use]
    pub fn has_answered(&self, endpoint: Endpoint) -> bool {
        self.facts(endpoint).is_some_and(|facts| facts.answered.load(Relaxed) != 0)
    }

    /// Whether a good answer from there was requested within `age`.
    pub(super) fn has_proof(&self, endpoint: Endpoint, age: Duration, now: Moment) -> bool {
        let answered =
            self.facts(endpoint).map_or(Moment::NEVER, |facts| Moment(facts.answered.load(Relaxed)));
        answered != Moment::NEVER && now.since(answered) < age
    }

    /// The endpoints that are believed to be missing.
    pub fn all_missing(&self, now: Moment) -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL.into_iter().filter(move |endpoint| self.is_missing(*endpoint, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_endpoint_is_remembered_for_itself() {
        let memory = EndpointMemory::default();
        memory.missing(Endpoint::Messages, NOW + MINUTE, NOW);
        assert_eq!(memory.all_missing(NOW).collect::<Vec<_>>(), [Endpoint::Messages]);
        assert_eq!(memory.all_missing(NOW + MINUTE).count(), 0, "for a minute");
        assert!(!memory.has_answered(Endpoint::Messages));
    }

    #[test]
    fn a_good_answer_ends_it_unless_it_is_older() {
        let memory = EndpointMemory::default();
        memory.missing(Endpoint::ChatCompletions, NOW + MINUTE, NOW);
        memory.answered(Endpoint::ChatCompletions, NOW - MINUTE);
        memory.answered(Endpoint::Responses, NOW + MINUTE);
        assert!(memory.is_missing(Endpoint::ChatCompletions, NOW));
        memory.answered(Endpoint::ChatCompletions, NOW + Duration::from_secs(2));
        assert!(!memory.is_missing(Endpoint::ChatCompletions, NOW));
        assert!(memory.has_answered(Endpoint::ChatCompletions));
    }

    /// One key's requests must not close an endpoint for the others.
    #[test]
    fn an_endpoint_in_use_is_not_believed_missing() {
        let memory = EndpointMemory::default();
        memory.answered(Endpoint::ChatCompletions, NOW);
        memory.missing(Endpoint::ChatCompletions, NOW + 3 * MINUTE, NOW + MINUTE);
        assert!(!memory.is_missing(Endpoint::ChatCompletions, NOW + 2 * MINUTE));
        memory.missing(Endpoint::ChatCompletions, NOW + 9 * MINUTE, NOW + 6 * MINUTE);
        assert!(memory.is_missing(Endpoint::ChatCompletions, NOW + 7 * MINUTE));
    }
}
