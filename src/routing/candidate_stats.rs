//! The statistics of a candidate (one model at one provider): breaker, rest, latency, counts. Shared by all
//! workers and kept across a reload; atomics only, so that no worker waits. The time is an argument of every
//! method.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    breaker::{BreakerState, is_older},
    caller_streak::CallerStreak,
    class::{FailureClass, Scope},
    endpoint_breakers::EndpointBreakers,
    endpoint_memory::EndpointMemory,
    latency::LatencyTracker,
    provider_health::ProviderHealth,
    retry_after,
    settings::BreakerSettings,
    window::OutcomeCounts,
};
use crate::{
    base::{Endpoint, Moment, Rng},
    telemetry::{Gauge, GaugeGuard},
};

/// How often a rest is doubled if the provider sends no `retry-after`.
const MAX_DOUBLINGS: u32 = 6;

/// The statistics of one candidate.
#[derive(Debug)]
pub struct CandidateStats {
    provider: Arc<ProviderHealth>,
    /// The model's name at the provider. `None`: all models that no provider lists.
    model: Option<Box<str>>,
    id: u64,
    breakers: EndpointBreakers,
    /// It rests until then, independent of the breakers.
    resting_until: AtomicU64,
    /// Rests in a row, and the start of the last one.
    consecutive_rests: AtomicU32,
    last_rest_began: AtomicU64,
    in_flight: Gauge,
    /// Requests in flight that have no first token yet.
    waiting: Gauge,
    /// Of streams, and of whole responses.
    latencies: [LatencyTracker; 2],
    successes: AtomicU64,
    failures: AtomicU64,
    last_success_at: AtomicU64,
    last_failure_at: AtomicU64,
    last_class: AtomicU8,
    /// The endpoints at which the provider has this model.
    endpoints: EndpointMemory,
    callers: CallerStreak,
    /// Committed streams that broke off in a row, and whose they were: 0, one caller's number and 1, or
    /// [`SEVERAL`].
    broken_streams: AtomicU32,
    broken_of: AtomicU32,
}

/// More callers than one.
const SEVERAL: u32 = u32::MAX;

/// Whether a request may be sent to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Open,
    /// One request may, if it gets the probe permit.
    Probe,
    /// None may before then.
    Closed {
        until: Moment,
    },
}

/// The failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptFailure {
    pub class: FailureClass,
    /// The endpoint of the request.
    pub endpoint: Endpoint,
    /// The number of the request's key; 0: unknown.
    pub caller: u32,
    /// The pause that the provider requested. `None`: it requested none.
    pub retry_after: Option<Duration>,
    /// When the attempt began.
    pub started: Moment,
}

/// The kind of response, which decides the latency that is measured: to the first token, or to the whole
/// response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    Stream,
    Whole,
}

impl CandidateStats {
    #[must_use]
    pub fn new(provider: Arc<ProviderHealth>, model: Option<&str>, id: u64) -> Self {
        Self {
            provider,
            model: model.map(Into::into),
            id,
            breakers: EndpointBreakers::default(),
            resting_until: AtomicU64::new(0),
            consecutive_rests: AtomicU32::new(0),
            last_rest_began: AtomicU64::new(0),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            latencies: Default::default(),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_success_at: AtomicU64::new(0),
            last_failure_at: AtomicU64::new(0),
            last_class: AtomicU8::new(u8::MAX),
            endpoints: EndpointMemory::default(),
            callers: CallerStreak::default(),
            broken_streams: AtomicU32::new(0),
            broken_of: AtomicU32::new(0),
        }
    }

    /// The health of its provider.
    #[must_use]
    pub const fn provider(&self) -> &Arc<ProviderHealth> {
        &self.provider
    }

    /// The model's name at the provider. `None`: all models that no provider lists.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// A hash that is the same in every process; conversations are assigned by it.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Until when the candidate itself rests; its provider may rest longer.
    #[must_use]
    pub fn resting_until(&self) -> Moment {
        Moment(self.resting_until.load(Relaxed))
    }

    /// The endpoints at which answers have shown the provider to have or to lack this model.
    #[must_use]
    pub const fn endpoints(&self) -> &EndpointMemory {
        &self.endpoints
    }

    /// Whether a request to this endpoint may be sent: a missing endpoint closes the candidate for it.
    #[must_use]
    pub fn admission_to(&self, endpoint: Endpoint, now: Moment) -> Admission {
        let missing = self.endpoints.missing_until(endpoint);
        let missing = missing.max(self.provider.endpoints().missing_until(endpoint));
        self.admission_after(endpoint, missing, now)
    }

    /// The same by health alone, though the endpoint is believed to be missing.
    #[must_use]
    pub fn admission(&self, endpoint: Endpoint, now: Moment) -> Admission {
        self.admission_after(endpoint, Moment::NEVER, now)
    }

    fn admission_after(&self, endpoint: Endpoint, earliest: Moment, now: Moment) -> Admission {
        let resting_until = self.resting_until().0.max(self.provider.resting_until().0).max(earliest.0);
        match self.breakers.of(endpoint).state(now) {
            BreakerState::Tripped { until } => {
                Admission::Closed { until: Moment(until.0.max(resting_until)) }
            }
            _ if resting_until > now.0 => Admission::Closed { until: Moment(resting_until) },
            BreakerState::Admitting => Admission::Open,
            BreakerState::Probing { busy: false } => Admission::Probe,
            BreakerState::Probing { busy: true } => Admission::Closed { until: now },
        }
    }

    /// Takes the one probe permit of an endpoint; it returns on drop. `None`: it is taken.
    #[must_use]
    pub fn claim_probe(self: &Arc<Self>, endpoint: Endpoint) -> Option<ProbePermit> {
        self.breakers.of(endpoint).claim_probe().then(|| ProbePermit(Arc::clone(self), endpoint))
    }

    /// Counts a request as in flight until the guard is dropped.
    #[must_use]
    pub fn track_in_flight(&self) -> GaugeGuard {
        self.in_flight.hold()
    }

    /// Counts a request as waiting for its first token until the guard is dropped.
    #[must_use]
    pub fn track_waiting(&self) -> GaugeGuard {
        self.waiting.hold()
    }

    /// Requests that wait for their first token.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.read()
    }

    /// Requests and streams in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.read()
    }

    /// A request of `caller` to `endpoint` that was sent at `started` succeeded; `after`: the latency for its
    /// kind of response.
    pub fn succeeded(
        &self,
        (endpoint, kind, caller): (Endpoint, ResponseKind, u32),
        after: Duration,
        started: Moment,
        now: Moment,
        settings: &BreakerSettings,
    ) {
        self.breakers.of(endpoint).succeeded(started, now, settings);
        self.callers.succeeded(caller, now);
        self.latency(kind).record(after, now);
        self.successes.fetch_add(1, Relaxed);
        self.last_success_at.store(now.0, Relaxed);
        self.provider.succeeded(caller, started, now);
        self.endpoints.answered(endpoint, started);
        self.provider.endpoints().answered(endpoint, started);
        // A success of a request from before the rest does not end the rest.
        if self.consecutive_rests.load(Relaxed) != 0 && started.0 > self.last_rest_began.load(Relaxed) {
            self.consecutive_rests.store(0, Relaxed);
            self.resting_until.store(0, Relaxed);
        }
    }

    /// An attempt failed.
    pub fn failed(&self, failure: &AttemptFailure, now: Moment, settings: &BreakerSettings, rng: &mut Rng) {
        let consequence = failure.class.consequence();
        if failure.class != FailureClass::Unattributed {
            self.last_class.store(failure.class.number(), Relaxed);
            self.last_failure_at.store(now.0, Relaxed);
        }
        let endpoint = failure.endpoint;
        if consequence.counts_against_health {
            let breaker = self.breakers.of(endpoint);
            self.failures.fetch_add(1, Relaxed);
            if !self.callers.fails_alone(failure.caller, now, settings.window) {
                breaker.failed(failure.started, now, settings, rng);
            }
            if let BreakerState::Tripped { until } = breaker.state(now) {
                self.provider.tripped(until);
            }
        }
        let mut until = |length: Duration| now + failure.retry_after.unwrap_or_else(|| rng.jitter(length));
        match consequence.scope {
            Scope::None => {}
            // These statistics are shared by all unlisted models: one misspelt name must not rest the others.
            Scope::ModelAtEndpoint if self.model.is_none() => {}
            Scope::ModelAtEndpoint => {
                // The list may name a model that the provider has removed.
                self.provider.want_list();
                self.endpoints.missing(endpoint, until(consequence.rest), now);
            }
            Scope::Endpoint => self.provider.endpoints().missing(endpoint, until(consequence.rest), now),
            Scope::Candidate => {
                let length = consequence.rest.saturating_mul(1 << self.doublings(failure.started, now));
                self.resting_until.fetch_max(until(length.min(retry_after::MAX_RETRY_AFTER)).0, Relaxed);
            }
            Scope::Provider
                if failure.class != FailureClass::Tls
                    && self.provider.refuses_alone(failure.caller, now, settings.window) => {}
            Scope::Provider => self.provider.rest(until(consequence.rest), failure.class, now),
        }
    }

    /// A stream broke off after its commit, which counted as a success. Without a count of their own, such
    /// ones would never fail in a row.
    pub fn broke_off(
        &self,
        failure: &AttemptFailure,
        now: Moment,
        settings: &BreakerSettings,
        rng: &mut Rng,
    ) {
        self.failed(failure, now, settings, rng);
        if !failure.class.consequence().counts_against_health {
            return;
        }
        let own = failure.caller.saturating_add(1);
        let of = self.broken_of.load(Relaxed);
        let of = if of == 0 || of == own { own } else { SEVERAL };
        self.broken_of.store(of, Relaxed);
        // One caller's requests may be what breaks them.
        let is_alone = of != SEVERAL && self.callers.fails_alone(failure.caller, now, settings.window);
        let in_a_row = self.broken_streams.fetch_add(1, Relaxed).saturating_add(1);
        if in_a_row >= settings.failures && !is_alone {
            self.stream_ended();
            let breaker = self.breakers.of(failure.endpoint);
            breaker.streams_broke(failure.started, now, settings, rng);
            if let BreakerState::Tripped { until } = breaker.state(now) {
                self.provider.tripped(until);
            }
        }
    }

    /// A committed stream has ended without a fault.
    pub fn stream_ended(&self) {
        if self.broken_streams.load(Relaxed) != 0 {
            self.broken_streams.store(0, Relaxed);
            self.broken_of.store(0, Relaxed);
        }
    }

    /// The endpoints at which its breaker has tripped, with the ends.
    pub fn tripped(&self, now: Moment) -> impl Iterator<Item = (Endpoint, Moment)> {
        self.breakers.tripped(now)
    }

    /// Another replica reports a rest until `until`; a past moment: its early end.
    pub(super) fn learn_rest(&self, until: Moment, now: Moment) {
        if until > now {
            if self.resting_until.fetch_max(until.0, Relaxed) < until.0 {
                self.last_rest_began.store(now.0, Relaxed);
                self.consecutive_rests.fetch_max(1, Relaxed);
            }
        } else if is_older(Moment(self.last_rest_began.load(Relaxed)), now) {
            self.consecutive_rests.store(0, Relaxed);
            self.resting_until.store(0, Relaxed);
        }
    }

    /// Another replica reports that the breaker of an endpoint tripped until `until`; a past moment: that it
    /// admits again.
    pub(super) fn learn_trip(&self, endpoint: Endpoint, until: Moment, now: Moment) {
        self.breakers.of(endpoint).learn(until, now);
        if until > now {
            self.provider.tripped(until);
        }
    }

    /// How often to double the next rest: each is longer than the one before. A request from before the last
    /// rest does not count, because many requests that fail at once are one reason to rest.
    fn doublings(&self, started: Moment, now: Moment) -> u32 {
        let before = if started.0 > self.last_rest_began.load(Relaxed) {
            self.last_rest_began.store(now.0, Relaxed);
            self.consecutive_rests.fetch_add(1, Relaxed)
        } else {
            self.consecutive_rests.load(Relaxed).saturating_sub(1)
        };
        before.min(MAX_DOUBLINGS)
    }

    /// It lost a race or a hedge: its latency would have been longer than `after`. Its health does not
    /// change, but the sample is recorded if the expected latency was shorter.
    pub fn overtaken(&self, kind: ResponseKind, after: Duration, now: Moment) {
        if self.latency(kind).peak().is_none_or(|peak| after > peak) {
            self.latency(kind).record(after, now);
        }
    }

    #[must_use]
    pub const fn latency(&self, kind: ResponseKind) -> &LatencyTracker {
        let [stream, whole] = &self.latencies;
        match kind {
            ResponseKind::Stream => stream,
            ResponseKind::Whole => whole,
        }
    }

    /// The worst state of its breakers.
    #[must_use]
    pub fn breaker(&self, now: Moment) -> BreakerState {
        self.breakers.worst(now)
    }

    /// Successes, and failures that count, of the last `window`.
    #[must_use]
    pub fn outcomes(&self, now: Moment, window: Duration) -> OutcomeCounts {
        self.breakers.outcomes(now, window)
    }

    /// The same of one endpoint.
    #[must_use]
    pub fn outcomes_at(&self, endpoint: Endpoint, now: Moment, window: Duration) -> OutcomeCounts {
        self.breakers.of(endpoint).window().sum(now, window)
    }

    /// Successes, and failures that count, since the process began.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.successes.load(Relaxed), self.failures.load(Relaxed))
    }

    /// Whether a request was ever sent to it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.in_flight() > 0 || self.totals() != (0, 0) || self.last_failure().is_some()
    }

    /// The class and time of the last failure, whether it counts or not. `None`: there was none.
    #[must_use]
    pub fn last_failure(&self) -> Option<(FailureClass, Moment)> {
        let class = FailureClass::from_index(self.last_class.load(Relaxed))?;
        Some((class, Moment(self.last_failure_at.load(Relaxed))))
    }

    #[must_use]
    pub fn last_success(&self) -> Option<Moment> {
        Some(Moment(self.last_success_at.load(Relaxed))).filter(|at| *at != Moment::NEVER)
    }
}

/// The permit of the one request that goes to a probing candidate.
#[derive(Debug)]
pub struct ProbePermit(Arc<CandidateStats>, Endpoint);

impl Drop for ProbePermit {
    fn drop(&mut self) {
        self.0.breakers.of(self.1).release_probe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000);
    const CHAT: (Endpoint, ResponseKind, u32) = (Endpoint::ChatCompletions, ResponseKind::Stream, 1);

    fn fail(
        stats: &CandidateStats,
        class: FailureClass,
        retry_after: Option<u64>,
        started: Moment,
        now: Moment,
    ) {
        let failure = AttemptFailure {
            class,
            endpoint: Endpoint::ChatCompletions,
            caller: 1,
            retry_after: retry_after.map(Duration::from_secs),
            started,
        };
        stats.failed(&failure, now, &BreakerSettings::default(), &mut Rng::new(1));
    }

    fn rest(stats: &CandidateStats, now: Moment) -> Duration {
        match stats.admission_to(Endpoint::ChatCompletions, now) {
            Admission::Closed { until } => until.since(now),
            Admission::Open | Admission::Probe => Duration::ZERO,
        }
    }

    /// R18: a rate limit does not count against health; rests in a row grow, and many failures at once count
    /// as one.
    #[test]
    fn a_limited_candidate_rests_longer_each_time() {
        let stats = CandidateStats::new(Arc::default(), Some("m"), 1);
        let (mut now, base) = (NOW, FailureClass::RateLimited.consequence().rest);
        for doublings in [0, 1, 2, 3, 4, 5, 6, 6] {
            for _ in 0..20 {
                fail(&stats, FailureClass::RateLimited, None, now, now);
            }
            let length = rest(&stats, now);
            let expected = base * (1 << doublings);
            assert!(length >= expected / 2 && length <= expected * 3 / 2, "{doublings}: {length:?}");
            // A request from before the rest that fails later changes nothing.
            fail(&stats, FailureClass::RateLimited, None, now - Duration::from_secs(1), now);
            now = now + Duration::from_secs(600);
        }
        assert_eq!((stats.breaker(now), stats.totals()), (BreakerState::Admitting, (0, 0)));
        stats.succeeded(CHAT, base, now, now, &BreakerSettings::default());
        fail(&stats, FailureClass::RateLimited, None, now, now);
        assert!(rest(&stats, now) <= base * 3 / 2, "a success begins anew");
    }

    #[test]
    fn the_providers_word_goes_first() {
        let stats = CandidateStats::new(Arc::default(), Some("m"), 1);
        fail(&stats, FailureClass::Overloaded, None, NOW, NOW);
        assert_eq!(rest(&stats, NOW), Duration::ZERO);
        fail(&stats, FailureClass::Overloaded, Some(7), NOW, NOW);
        assert_eq!(rest(&stats, NOW), Duration::from_secs(7));
        assert_eq!(stats.last_failure(), Some((FailureClass::Overloaded, NOW)));
    }

    /// The success of a request from after the start of a rest ends the rest, one from before does not.
    #[test]
    fn a_success_ends_a_rest() {
        let (second, settings) = (Duration::from_secs(1), BreakerSettings::default());
        for class in [
            FailureClass::ModelMissing,
            FailureClass::KeyInvalid,
            FailureClass::QuotaExhausted,
            FailureClass::RateLimited,
        ] {
            let stats = CandidateStats::new(Arc::default(), Some("m"), 1);
            fail(&stats, class, None, NOW, NOW);
            stats.succeeded(CHAT, second, NOW - second, NOW + second, &settings);
            assert!(rest(&stats, NOW + second) > Duration::ZERO, "{class:?}");
            stats.succeeded(CHAT, second, NOW + second, NOW + 2 * second, &settings);
            assert_eq!(rest(&stats, NOW + 2 * second), Duration::ZERO, "{class:?}");
        }
    }

    /// B1: a missing model or endpoint is missing at that endpoint alone.
    #[test]
    fn a_missing_endpoint_closes_no_other() {
        let stats = [1, 2].map(|id| CandidateStats::new(Arc::default(), Some("m"), id));
        let [by_model, by_endpoint] = &stats;
        for (stats, class) in
            [(by_model, FailureClass::ModelMissing), (by_endpoint, FailureClass::EndpointMissing)]
        {
            let failure = AttemptFailure {
                class,
                endpoint: Endpoint::Messages,
                caller: 1,
                retry_after: None,
                started: NOW,
            };
            stats.failed(&failure, NOW, &BreakerSettings::default(), &mut Rng::new(1));
            assert!(matches!(stats.admission_to(Endpoint::Messages, NOW), Admission::Closed { .. }));
            assert_eq!(
                (
                    stats.admission_to(Endpoint::ChatCompletions, NOW),
                    stats.admission(Endpoint::Messages, NOW)
                ),
                (Admission::Open, Admission::Open)
            );
            let other = CandidateStats::new(Arc::clone(stats.provider()), Some("n"), 3);
            let is_open = other.admission_to(Endpoint::Messages, NOW) == Admission::Open;
            assert_eq!(is_open, class == FailureClass::ModelMissing, "the endpoint concerns all models");
        }
    }

    /// One key's failures do not trip the breaker while another key's requests go well.
    #[test]
    fn one_keys_failures_close_nothing_for_others() {
        let settings = BreakerSettings::default();
        let fail_as = |stats: &CandidateStats, caller, times: u32| {
            for _ in 0..times {
                let class = FailureClass::ServerError;
                let endpoint = Endpoint::ChatCompletions;
                let failure = AttemptFailure { class, endpoint, caller, retry_after: None, started: NOW };
                stats.failed(&failure, NOW, &settings, &mut Rng::new(1));
            }
            matches!(stats.breaker(NOW), BreakerState::Tripped { .. })
        };
        let stats = CandidateStats::new(Arc::default(), Some("m"), 1);
        stats.succeeded(CHAT, Duration::from_secs(1), NOW, NOW, &settings);
        assert!(!fail_as(&stats, 2, 100));
        assert!(fail_as(&stats, 1, settings.failures), "both fail");
        let alone = CandidateStats::new(Arc::default(), Some("m"), 1);
        alone.succeeded(CHAT, Duration::from_secs(1), NOW, NOW, &settings);
        assert!(fail_as(&alone, 1, settings.failures), "the only key");
    }

    /// Failures at one endpoint close no other.
    #[test]
    fn a_failing_endpoint_closes_no_other() {
        let settings = BreakerSettings::default();
        for failing in Endpoint::MAIN {
            let stats = CandidateStats::new(Arc::default(), Some("m"), 1);
            for _ in 0..settings.failures {
                let class = FailureClass::ServerError;
                let failure =
                    AttemptFailure { class, endpoint: failing, caller: 1, retry_after: None, started: NOW };
                stats.failed(&failure, NOW, &settings, &mut Rng::new(1));
            }
            for endpoint in Endpoint::MAIN {
                let is_closed = matches!(stats.admission_to(endpoint, NOW), Admission::Closed { .. });
                assert_eq!(is_closed, endpoint == failing, "{failing:?} {endpoint:?}");
            }
            assert!(matches!(stats.breaker(NOW), BreakerState::Tripped { .. }));
            assert_eq!(stats.tripped(NOW).map(|(endpoint, _)| endpoint).collect::<Vec<_>>(), [failing]);
        }
    }

    /// A 401 to one key's requests alone may be about these requests.
    #[test]
    fn a_refusal_of_one_key_alone_rests_no_provider() {
        let settings = BreakerSettings::default();
        let refuse = |stats: &CandidateStats, caller| {
            let (class, endpoint) = (FailureClass::KeyInvalid, Endpoint::ChatCompletions);
            let failure = AttemptFailure { class, endpoint, caller, retry_after: None, started: NOW };
            stats.failed(&failure, NOW, &settings, &mut Rng::new(1));
            stats.provider().rest_reason(NOW)
        };
        let stats = CandidateStats::new(Arc::default(), Some("m"), 1);
        stats.succeeded(CHAT, Duration::from_secs(1), NOW, NOW, &settings);
        assert_eq!([refuse(&stats, 2), refuse(&stats, 2)], [None, None]);
        assert_eq!(refuse(&stats, 1), Some(FailureClass::KeyInvalid), "now both are refused");
        let alone = CandidateStats::new(Arc::default(), Some("m"), 1);
        alone.succeeded(CHAT, Duration::from_secs(1), NOW, NOW, &settings);
        assert_eq!(refuse(&alone, 1), Some(FailureClass::KeyInvalid), "the only key");
    }

    #[test]
    fn a_misspelt_name_rests_nobody_else() {
        let stats = CandidateStats::new(Arc::default(), None, 1);
        fail(&stats, FailureClass::ModelMissing, None, NOW, NOW);
        assert_eq!(rest(&stats, NOW), Duration::ZERO);
        fail(&stats, FailureClass::RateLimited, None, NOW, NOW);
        assert!(rest(&stats, NOW) > Duration::ZERO);
    }

    /// S1.14: an invalid key rests all candidates of its provider.
    #[test]
    fn a_key_rests_its_provider() {
        let provider = Arc::<ProviderHealth>::default();
        let registry = [1, 2].map(|id| CandidateStats::new(Arc::clone(&provider), Some("m"), id));
        fail(&registry[0], FailureClass::KeyInvalid, None, NOW, NOW);
        assert!(rest(&registry[1], NOW) >= Duration::from_secs(300));
        assert_eq!(provider.rest_reason(NOW), Some(FailureClass::KeyInvalid));
        provider.end_rest();
        assert_eq!(registry[1].admission(Endpoint::ChatCompletions, NOW), Admission::Open);
    }
}
