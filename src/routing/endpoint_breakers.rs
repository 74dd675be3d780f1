//! The breakers of a candidate, one for each endpoint: failures at one endpoint, as one key's requests cause
//! them, close no other.

use std::time::Duration;

use super::{
    breaker::{Breaker, BreakerState},
    window::OutcomeCounts,
};
use crate::base::{Endpoint, Moment};

/// In the order of [`Endpoint::MAIN`].
#[derive(Debug, Default)]
pub(super) struct EndpointBreakers([Breaker; Endpoint::MAIN.len()]);

impl EndpointBreakers {
    /// That of an endpoint. A further endpoint is judged by the one that it belongs to, or by chat.
    pub(super) const fn of(&self, endpoint: Endpoint) -> &Breaker {
        let [chat, completions, embeddings, responses, messages, gemini] = &self.0;
        match endpoint.main() {
            Some(Endpoint::Completions) => completions,
            Some(Endpoint::Embeddings) => embeddings,
            Some(Endpoint::Responses) => responses,
            Some(Endpoint::Messages) => messages,
            Some(Endpoint::Gemini) => gemini,
            Some(_) | None => chat,
        }
    }

    /// The worst state, with the latest end.
    pub(super) fn worst(&self, now: Moment) -> BreakerState {
        let worse = |one, other| match (one, other) {
            (BreakerState::Tripped { until: one }, BreakerState::Tripped { until: other }) => {
                BreakerState::Tripped { until: one.max(other) }
            }
            (tripped @ BreakerState::Tripped { .. }, _) | (_, tripped @ BreakerState::Tripped { .. }) => {
                tripped
            }
            (BreakerState::Probing { busy: one }, BreakerState::Probing { busy: other }) => {
                BreakerState::Probing { busy: one || other }
            }
            (probing @ BreakerState::Probing { .. }, _) | (_, probing) => probing,
        };
        self.0.iter().map(|breaker| breaker.state(now)).fold(BreakerState::Admitting, worse)
    }

    /// The endpoints at which it has tripped, with the ends.
    pub(super) fn tripped(&self, now: Moment) -> impl Iterator<Item = (Endpoint, Moment)> {
        Endpoint::MAIN.into_iter().zip(&self.0).filter_map(move |(endpoint, breaker)| {
            match breaker.state(now) {
                BreakerState::Tripped { until } => Some((endpoint, until)),
                BreakerState::Admitting | BreakerState::Probing { .. } => None,
            }
        })
    }

    /// The successes and failures of the last seconds, of all endpoints together.
    pub(super) fn outcomes(&self, now: Moment, window: Duration) -> OutcomeCounts {
        let counts = self.0.iter().map(|breaker| breaker.window().sum(now, window));
        counts.fold(OutcomeCounts::default(), |sum, one| OutcomeCounts {
            successes: sum.successes.saturating_add(one.successes),
            failures: sum.failures.saturating_add(one.failures),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Rng, routing::settings::BreakerSettings};

    const NOW: Moment = Moment(1_000_000_000);

    #[test]
    fn each_endpoint_has_a_breaker_of_its_own() {
        let settings = BreakerSettings { failures: 1, ..BreakerSettings::default() };
        for endpoint in Endpoint::MAIN {
            let breakers = EndpointBreakers::default();
            breakers.of(endpoint).failed(NOW, NOW, &settings, &mut Rng::new(1));
            let tripped: Vec<_> = breakers.tripped(NOW).map(|(endpoint, _)| endpoint).collect();
            assert_eq!(tripped, [endpoint]);
            assert!(matches!(breakers.worst(NOW), BreakerState::Tripped { .. }), "{endpoint:?}");
            assert_eq!(breakers.outcomes(NOW, settings.window).failures, 1);
            let BreakerState::Tripped { until } = breakers.of(endpoint).state(NOW) else { panic!() };
            assert_eq!(breakers.worst(until), BreakerState::Probing { busy: false });
        }
        assert_eq!(EndpointBreakers::default().worst(NOW), BreakerState::Admitting);
    }

    #[test]
    fn further_endpoints_are_judged_by_their_own() {
        let breakers = EndpointBreakers::default();
        for (further, main) in [
            (Endpoint::CountTokens, Endpoint::Messages),
            (Endpoint::Compact, Endpoint::Responses),
            (Endpoint::GeminiCount, Endpoint::Gemini),
            (Endpoint::Rerank, Endpoint::ChatCompletions),
        ] {
            assert!(std::ptr::eq(breakers.of(further), breakers.of(main)), "{further:?}");
        }
    }
}
