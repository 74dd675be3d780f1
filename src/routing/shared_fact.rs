//! Facts that replicas share: a pause of a provider or of one of its models, with its end. A fact has a name
//! that is the same in all replicas. A replica takes over a pause of another one, and its early end, as if
//! its own request had shown it; its own newer observation stays in force.

use std::{fmt, time::Duration};

use super::{
    breaker::is_older, candidate_stats::CandidateStats, class::FailureClass, endpoint_memory::EndpointMemory,
    provider_health::ProviderHealth,
};
use crate::base::{Endpoint, Moment};

/// For so long after a good answer a trip elsewhere does not count here: its cause may be the other
/// replica's network, or its callers.
const OWN_PROOF: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedFact {
    /// The provider rests because of this failure.
    ProviderRest(FailureClass),
    /// The candidate rests.
    Rest,
    /// The candidate's breaker has tripped at this endpoint.
    Trip(Endpoint),
    /// The endpoint is missing: of a provider for all models, of a candidate for its model.
    Missing(Endpoint),
}

impl fmt::Display for SharedFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProviderRest(class) => write!(f, "provider_rest {}", class.as_str()),
            Self::Rest => f.write_str("rest"),
            // As gateways of earlier versions read it, which had one for all endpoints.
            Self::Trip(Endpoint::ChatCompletions) => f.write_str("trip"),
            Self::Trip(endpoint) => write!(f, "trip {endpoint:?}"),
            // Its variant, because two endpoints may have one path.
            Self::Missing(endpoint) => write!(f, "missing {endpoint:?}"),
        }
    }
}

impl SharedFact {
    /// `None`: a fact that another version knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let endpoint = |name: &str| Endpoint::ALL.into_iter().find(|known| format!("{known:?}") == name);
        match text.split_once(' ') {
            None if text == "rest" => Some(Self::Rest),
            None if text == "trip" => Some(Self::Trip(Endpoint::ChatCompletions)),
            Some(("trip", name)) => endpoint(name).map(Self::Trip),
            Some(("provider_rest", class)) => {
                FailureClass::ALL.into_iter().find(|known| known.as_str() == class).map(Self::ProviderRest)
            }
            Some(("missing", name)) => endpoint(name).map(Self::Missing),
            None | Some(_) => None,
        }
    }
}

impl ProviderHealth {
    /// The pauses in force at `now`, with their ends.
    pub fn shared_facts(&self, now: Moment) -> impl Iterator<Item = (SharedFact, Moment)> {
        let rest = self.rest_reason(now).map(|class| (SharedFact::ProviderRest(class), self.resting_until()));
        rest.into_iter().chain(missing_endpoints(self.endpoints(), now))
    }

    /// Another replica reports a pause until `until`; a past moment: its early end.
    pub fn learn(&self, fact: SharedFact, until: Moment, now: Moment) {
        match fact {
            SharedFact::ProviderRest(class) if until > now => self.rest(until, class, now),
            // Another rest may have taken its place here.
            SharedFact::ProviderRest(class)
                if self.rest_reason(now) == Some(class) && is_older(self.rest_began_at(), now) =>
            {
                self.end_rest();
            }
            SharedFact::Missing(endpoint) => self.endpoints().learn(endpoint, until, now),
            SharedFact::ProviderRest(_) | SharedFact::Rest | SharedFact::Trip(_) => {}
        }
    }
}

impl CandidateStats {
    /// The pauses in force at `now`, with their ends.
    pub fn shared_facts(&self, now: Moment) -> impl Iterator<Item = (SharedFact, Moment)> {
        let rest = Some((SharedFact::Rest, self.resting_until()));
        let trips = self.tripped(now).map(|(endpoint, until)| (SharedFact::Trip(endpoint), until));
        let pauses = rest.into_iter().chain(trips).filter(move |(_, until)| *until > now);
        pauses.chain(missing_endpoints(self.endpoints(), now))
    }

    /// Another replica reports a pause until `until`; a past moment: its early end.
    pub fn learn(&self, fact: SharedFact, until: Moment, now: Moment) {
        match fact {
            SharedFact::Rest => self.learn_rest(until, now),
            SharedFact::Trip(endpoint)
                if until > now && self.endpoints().has_proof(endpoint, OWN_PROOF, now) => {}
            SharedFact::Trip(endpoint) => self.learn_trip(endpoint, until, now),
            SharedFact::Missing(endpoint) => self.endpoints().learn(endpoint, until, now),
            SharedFact::ProviderRest(_) => {}
        }
    }
}

fn missing_endpoints(memory: &EndpointMemory, now: Moment) -> impl Iterator<Item = (SharedFact, Moment)> {
    memory.all_missing(now).map(|endpoint| (SharedFact::Missing(endpoint), memory.missing_until(endpoint)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        base::Rng,
        routing::{
            ResponseKind,
            candidate_stats::{Admission, AttemptFailure},
            settings::BreakerSettings,
        },
    };

    const NOW: Moment = Moment(1_000_000_000);
    const ENDPOINT: Endpoint = Endpoint::ChatCompletions;

    fn replica() -> CandidateStats {
        CandidateStats::new(Arc::default(), Some("m"), 1)
    }

    /// The candidate after a failure of this class at `NOW`.
    fn failed(class: FailureClass) -> CandidateStats {
        let stats = replica();
        let failure =
            AttemptFailure { class, endpoint: ENDPOINT, caller: 1, retry_after: None, started: NOW };
        let settings = BreakerSettings { failures: 1, ..BreakerSettings::default() };
        stats.failed(&failure, NOW, &settings, &mut Rng::new(7));
        stats
    }

    /// All that one replica has to report at `now`, taken over by another one.
    fn pass_on(from: &CandidateStats, to: &CandidateStats, now: Moment) {
        for (fact, until) in from.shared_facts(now) {
            to.learn(SharedFact::parse(&fact.to_string()).unwrap(), until, now);
        }
        for (fact, until) in from.provider().shared_facts(now) {
            to.provider().learn(SharedFact::parse(&fact.to_string()).unwrap(), until, now);
        }
    }

    #[test]
    fn every_fact_has_a_name_of_its_own() {
        let classes = FailureClass::ALL.map(SharedFact::ProviderRest);
        let endpoints = Endpoint::ALL.map(SharedFact::Missing);
        let trips = Endpoint::ALL.map(SharedFact::Trip);
        for fact in classes.into_iter().chain(endpoints).chain(trips).chain([SharedFact::Rest]) {
            assert_eq!(SharedFact::parse(&fact.to_string()), Some(fact), "{fact}");
        }
        for text in ["", "rest ", "trips", "provider_rest", "provider_rest x", "missing X", "trip X"] {
            assert_eq!(SharedFact::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pause_holds_at_every_replica_until_its_end() {
        for class in [
            FailureClass::RateLimited,
            FailureClass::ServerError,
            FailureClass::KeyInvalid,
            FailureClass::QuotaExhausted,
            FailureClass::EndpointMissing,
            FailureClass::ModelMissing,
        ] {
            let (one, other) = (failed(class), replica());
            let Admission::Closed { until } = one.admission_to(ENDPOINT, NOW) else { panic!("{class:?}") };
            assert_eq!(other.admission_to(ENDPOINT, NOW), Admission::Open);
            pass_on(&one, &other, NOW);
            assert_eq!(other.admission_to(ENDPOINT, NOW), Admission::Closed { until }, "{class:?}");
            assert_eq!(other.admission_to(ENDPOINT, until), one.admission_to(ENDPOINT, until), "{class:?}");
            // It is reported with the same end, so reports do not lengthen it.
            assert!(other.shared_facts(NOW).eq(one.shared_facts(NOW)), "{class:?}");
        }
    }

    #[test]
    fn an_early_end_holds_everywhere_unless_a_pause_began_since() {
        let later = NOW + Duration::from_secs(3);
        for (fact, class) in [
            (SharedFact::Rest, FailureClass::RateLimited),
            (SharedFact::Trip(ENDPOINT), FailureClass::ServerError),
            (SharedFact::Missing(ENDPOINT), FailureClass::ModelMissing),
        ] {
            let stats = failed(class);
            stats.learn(fact, Moment::NEVER, NOW + Duration::from_millis(500));
            assert_ne!(stats.admission_to(ENDPOINT, NOW), Admission::Open, "{fact}");
            stats.learn(fact, Moment::NEVER, later);
            assert_eq!(stats.admission_to(ENDPOINT, later), Admission::Open, "{fact}");
        }
        let fact = SharedFact::ProviderRest(FailureClass::KeyInvalid);
        let stats = failed(FailureClass::KeyInvalid);
        stats.provider().learn(fact, Moment::NEVER, NOW + Duration::from_millis(500));
        assert_ne!(stats.admission(ENDPOINT, NOW), Admission::Open);
        let other = SharedFact::ProviderRest(FailureClass::QuotaExhausted);
        stats.provider().learn(other, Moment::NEVER, later);
        assert_ne!(stats.admission(ENDPOINT, later), Admission::Open, "another rest has ended");
        stats.provider().learn(fact, Moment::NEVER, later);
        assert_eq!(stats.admission(ENDPOINT, later), Admission::Open);
    }

    /// A trip whose cause is another gateway's network, or its callers' requests, does not count where
    /// requests succeed.
    #[test]
    fn a_trip_elsewhere_does_not_count_where_requests_succeed() {
        let (one, other) = (failed(FailureClass::ServerError), replica());
        let kind = (ENDPOINT, ResponseKind::Stream, 1);
        other.succeeded(kind, Duration::from_secs(1), NOW, NOW, &BreakerSettings::default());
        let elsewhere = (Endpoint::Embeddings, ResponseKind::Stream, 1);
        let late = NOW + Duration::from_secs(3);
        other.succeeded(elsewhere, Duration::from_secs(1), late, late, &BreakerSettings::default());
        for (pause, open) in [(1, true), (3, false)] {
            let now = NOW + Duration::from_secs(pause);
            pass_on(&one, &other, now);
            assert_eq!(other.admission_to(ENDPOINT, now) == Admission::Open, open, "{pause}");
        }
    }

    #[test]
    fn a_success_here_ends_a_pause_from_elsewhere() {
        for class in [FailureClass::RateLimited, FailureClass::ServerError, FailureClass::ModelMissing] {
            let (one, other) = (failed(class), replica());
            pass_on(&one, &other, NOW);
            let (started, ended) = (NOW + Duration::from_secs(1), NOW + Duration::from_secs(2));
            let kind = (ENDPOINT, ResponseKind::Stream, 1);
            other.succeeded(kind, Duration::from_secs(1), started, ended, &BreakerSettings::default());
            assert_eq!(other.admission_to(ENDPOINT, ended), Admission::Open, "{class:?}");
        }
    }
}
