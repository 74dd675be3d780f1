//! The endpoint at which each candidate of a request is asked: the request's own, or one whose dialect the
//! request is translated to.

use super::Catalog;
use crate::{
    base::{Endpoint, Moment},
    routing::{
        endpoint_memory::EndpointKnowledge,
        plan::{Alternatives, Candidate, CandidateOrder, NoPlan, PlanRequest},
    },
};

/// Endpoints whose dialects are translated into each other, in order of preference. Gemini's is translated
/// into them, and none into Gemini's.
const TRANSLATED: [Endpoint; 3] = [Endpoint::ChatCompletions, Endpoint::Messages, Endpoint::Responses];

impl Catalog {
    /// What is known of an endpoint of that provider.
    #[must_use]
    pub fn knowledge(&self, provider: usize, endpoint: Endpoint, now: Moment) -> EndpointKnowledge {
        let said = self.providers.get(provider).and_then(|provider| provider.dialects);
        if let (Some(said), Some(main)) = (said, endpoint.main()) {
            return EndpointKnowledge::Configured(said.contains(main));
        }
        let Some((stats, _)) = self.unlisted_stats.get(provider) else { return EndpointKnowledge::Unknown };
        let memory = stats.provider().endpoints();
        match memory.missing_until(endpoint) {
            until if now < until => return EndpointKnowledge::Missing { until },
            _ if memory.has_answered(endpoint) => return EndpointKnowledge::Answered,
            _ => {}
        }
        let known = self.providers.get(provider).and_then(|provider| provider.known);
        if endpoint.is_gemini() {
            // At Google's address alone: no other provider is asked to find it out.
            let has = known.is_some_and(|known| known.has.contains(&Endpoint::Gemini));
            return if has { EndpointKnowledge::Known(true) } else { EndpointKnowledge::Configured(false) };
        }
        let has = known.zip(endpoint.main()).and_then(|(known, main)| known.has(main));
        has.map_or(EndpointKnowledge::Unknown, EndpointKnowledge::Known)
    }

    /// Sets the endpoint at which each candidate is asked. Where a request may be translated, a provider that
    /// lacks its endpoint is asked at another one; one of which nothing is known is asked there once it has
    /// turned out to lack the request's own. A model's rule for translation takes precedence over its
    /// provider's, and this over the one for all.
    pub(super) fn choose_endpoints(
        &self,
        candidates: &mut CandidateOrder<'_>,
        request: &PlanRequest<'_>,
        now: Moment,
    ) {
        let own = request.endpoint;
        for candidate in candidates.iter_mut() {
            candidate.endpoint = own;
            let may_translate = request.may_translate
                && (TRANSLATED.contains(&own) || own == Endpoint::Gemini)
                && self.may_translate(candidate.provider, candidate.translate);
            if !may_translate {
                continue;
            }
            candidate.alternatives = self.alternatives(candidate, own, now);
            let lacks_endpoint = self.knowledge(candidate.provider, own, now).is_lacking();
            let lacks_model = candidate.stats.endpoints().is_missing(own, now);
            // A model that was not found is not looked for at endpoints that may not exist.
            let has = |other| self.knowledge(candidate.provider, other, now).is_having();
            if (lacks_endpoint || lacks_model && candidate.alternatives.first().is_some_and(has))
                && let Some(first) = candidate.alternatives.take_first()
            {
                candidate.endpoint = first;
            }
        }
    }

    /// Whether that provider may be asked in another dialect than the client's. `of_model`: the word of the
    /// model's rule.
    pub(super) fn may_translate(&self, provider: usize, of_model: Option<bool>) -> bool {
        let of_provider = || self.providers.get(provider)?.translate;
        of_model.or_else(of_provider).unwrap_or(!self.settings.native_only)
    }

    /// Whether a provider of that model may be asked in another dialect than the client's.
    #[must_use]
    pub fn translates(&self, requested: &str) -> bool {
        let may = |candidate: &Candidate<'_>| self.may_translate(candidate.provider, candidate.translate);
        self.candidates(requested, 0).is_some_and(|(order, _)| order.iter().any(may))
    }

    /// Whether that candidate is known to lack an endpoint, and another answer may take its place.
    #[must_use]
    pub fn is_known_to_lack(&self, candidate: &Candidate<'_>, endpoint: Endpoint, now: Moment) -> bool {
        self.may_translate(candidate.provider, candidate.translate)
            && self.knowledge(candidate.provider, endpoint, now).is_lacking()
    }

    /// The endpoints at which that candidate is asked if it lacks `own`: first those that its provider is
    /// known to have, the best first; then those of which nothing is known. Where answers have said that the
    /// model is missing at each, they are asked again, as `own` is.
    fn alternatives(&self, candidate: &Candidate<'_>, own: Endpoint, now: Moment) -> Alternatives {
        let known = self.providers.get(candidate.provider).and_then(|provider| provider.known);
        let in_order = known.map_or(&[][..], |known| known.has).iter().chain(&TRANSLATED).copied();
        let [mut found, mut others, mut missing] = [Alternatives::default(); 3];
        for endpoint in in_order.filter(|other| *other != own && TRANSLATED.contains(other)) {
            let known = self.knowledge(candidate.provider, endpoint, now);
            if known.is_lacking() {
                continue;
            }
            if candidate.stats.endpoints().is_missing(endpoint, now) {
                if known.is_having() { &mut missing } else { continue }
            } else if known.is_having() {
                &mut found
            } else {
                &mut others
            }
            .add(endpoint);
        }
        while let Some(other) = others.take_first() {
            found.add(other);
        }
        let has_own = || !self.knowledge(candidate.provider, own, now).is_lacking();
        if found.is_empty() && !has_own() { missing } else { found }
    }

    /// Leaves out the candidates whose provider lacks the endpoint. If only its answers say so and no other
    /// candidate is left, the one that is to be asked again first stays: the answers may be out of date.
    ///
    /// # Errors
    /// [`NoPlan::NoEndpoint`]: by configuration no candidate is left.
    pub(super) fn keep_having(&self, candidates: &mut CandidateOrder<'_>, now: Moment) -> Result<(), NoPlan> {
        let known = |candidate: &Candidate<'_>| self.knowledge(candidate.provider, candidate.endpoint, now);
        let lacks = |candidate: &Candidate<'_>| known(candidate) == EndpointKnowledge::Configured(false);
        let missing_until = |candidate: &Candidate<'_>| match known(candidate) {
            EndpointKnowledge::Missing { until } => Some(until),
            EndpointKnowledge::Known(false) => Some(Moment(u64::MAX)),
            EndpointKnowledge::Configured(_)
            | EndpointKnowledge::Answered
            | EndpointKnowledge::Known(true)
            | EndpointKnowledge::Unknown => None,
        };
        match candidates {
            CandidateOrder::One(candidate) if lacks(candidate) => {
                return Err(NoPlan::NoEndpoint(candidate.endpoint));
            }
            CandidateOrder::One(_) => {}
            CandidateOrder::Many(candidates) => {
                let endpoint = candidates.first().map_or(Endpoint::ChatCompletions, |first| first.endpoint);
                candidates.retain(|candidate| !lacks(candidate));
                if candidates.iter().any(|candidate| missing_until(candidate).is_none()) {
                    candidates.retain(|candidate| missing_until(candidate).is_none());
                } else {
                    let first = candidates.iter().copied().min_by_key(missing_until);
                    *candidates = Vec::from([first.ok_or(NoPlan::NoEndpoint(endpoint))?]);
                }
            }
        }
        Ok(())
    }
}
