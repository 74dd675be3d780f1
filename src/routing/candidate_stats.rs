//! What was learnt of a candidate (one model at one provider) and of a provider. Shared by all workers, kept over a
//! reload, never waited for: atomics only. Every method is given the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    breaker::{Breaker, BreakerState},
    class::{FailureClass, Scope},
    hint,
    latency::LatencyTracker,
    provider_health::ProviderHealth,
    settings::BreakerSettings,
    window::OutcomeCounts,
};
use crate::{
    base::{Moment, Rng},
    telemetry::{Gauge, GaugeGuard},
};

/// How often a rest without a word from the provider is doubled.
const DOUBLINGS: u32 = 4;

/// A candidate's record.
#[derive(Debug)]
pub struct CandidateStats {
    provider: Arc<ProviderHealth>,
    /// The model's name there; `None`: all those that nobody listed.
    model: Option<Box<str>>,
    id: u64,
    breaker: Breaker,
    /// Rests until then by what it said, whatever the breaker thinks.
    rests: AtomicU64,
    /// Rests in a row, and when the last of them began.
    rested: AtomicU32,
    rested_at: AtomicU64,
    under_way: Gauge,
    /// Of those under way, the ones without an answer yet.
    waiting: Gauge,
    /// Of streams, and of whole answers.
    paces: [LatencyTracker; 2],
    won: AtomicU64,
    failed: AtomicU64,
    last_won: AtomicU64,
    last_failed: AtomicU64,
    last_class: AtomicU8,
}

/// Whether a request may be sent to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Open,
    /// One may, if nobody else does.
    Probe,
    /// Not before then.
    Closed {
        until: Moment,
    },
}

/// A failure as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptFailure {
    pub class: FailureClass,
    /// How long the provider asked to be left alone.
    pub hint: Option<Duration>,
    /// When the attempt began.
    pub asked: Moment,
}

/// What is measured: a first token or a whole answer.
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
            breaker: Breaker::default(),
            rests: AtomicU64::new(0),
            rested: AtomicU32::new(0),
            rested_at: AtomicU64::new(0),
            under_way: Gauge::default(),
            waiting: Gauge::default(),
            paces: Default::default(),
            won: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_won: AtomicU64::new(0),
            last_failed: AtomicU64::new(0),
            last_class: AtomicU8::new(u8::MAX),
        }
    }

    /// What is known of the provider behind it.
    #[must_use]
    pub const fn provider(&self) -> &Arc<ProviderHealth> {
        &self.provider
    }

    /// `None`: it stands for all models that were not listed.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The same for the same candidate in every process: what conversations are dealt out by.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Until when it rests by what it said itself, its provider apart.
    #[must_use]
    pub fn rests_until(&self) -> Moment {
        Moment(self.rests.load(Relaxed))
    }

    #[must_use]
    pub fn admission(&self, now: Moment) -> Admission {
        let rests = self.rests_until().0.max(self.provider.rests_until().0);
        match self.breaker.state(now) {
            BreakerState::Tripped { until } => Admission::Closed { until: Moment(until.0.max(rests)) },
            _ if rests > now.0 => Admission::Closed { until: Moment(rests) },
            BreakerState::Admitting => Admission::Open,
            BreakerState::Probing { busy: false } => Admission::Probe,
            BreakerState::Probing { busy: true } => Admission::Closed { until: now },
        }
    }

    /// Takes the place of the one probe; the guard gives it back.
    #[must_use]
    pub fn claim(self: &Arc<Self>) -> Option<ProbePermit> {
        self.breaker.claim().then(|| ProbePermit(Arc::clone(self)))
    }

    /// Counts a request under way until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> GaugeGuard {
        self.under_way.hold()
    }

    /// Counts a request that waits for its first token until the guard is dropped.
    #[must_use]
    pub fn wait(&self) -> GaugeGuard {
        self.waiting.hold()
    }

    /// Requests that wait for their first token.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.read()
    }

    /// Requests and streams under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.read()
    }

    /// A good answer came, `after` so long, to a request that was sent at `asked`.
    pub fn succeeded(
        &self,
        manner: ResponseKind,
        after: Duration,
        asked: Moment,
        now: Moment,
        settings: &BreakerSettings,
    ) {
        self.breaker.succeeded(asked, now, settings);
        self.pace(manner).note(after, now);
        self.won.fetch_add(1, Relaxed);
        self.last_won.store(now.0, Relaxed);
        self.provider.succeeded(asked);
        // What was sent before a rest began does not speak against it.
        if self.rested.load(Relaxed) != 0 && asked.0 > self.rested_at.load(Relaxed) {
            self.rested.store(0, Relaxed);
            self.rests.store(0, Relaxed);
        }
    }

    /// An attempt came to nothing.
    pub fn failed(&self, failure: &AttemptFailure, now: Moment, settings: &BreakerSettings, dice: &mut Rng) {
        let consequence = failure.class.consequence();
        if failure.class != FailureClass::OwnDoing {
            self.last_class.store(failure.class.number(), Relaxed);
            self.last_failed.store(now.0, Relaxed);
        }
        if consequence.counts {
            self.failed.fetch_add(1, Relaxed);
            self.breaker.failed(failure.asked, now, settings, dice);
            if let BreakerState::Tripped { until } = self.breaker.state(now) {
                self.provider.tripped(until);
            }
        }
        let mut until = |length: Duration| now + failure.hint.unwrap_or_else(|| dice.jitter(length));
        match consequence.scope {
            Scope::Nobody => {}
            // It stands for all that nobody listed: one misspelt name says nothing of the others.
            Scope::Candidate if self.model.is_none() && failure.class == FailureClass::ModelMissing => {}
            Scope::Candidate => {
                let length = consequence.rest.saturating_mul(1 << self.doublings(failure.asked, now));
                self.rests.fetch_max(until(length.min(hint::LONGEST)).0, Relaxed);
            }
            Scope::Provider => self.provider.rest(until(consequence.rest), failure.class, now),
        }
    }

    /// A rest is longer than the one before it. What was sent before that one began says nothing new: many requests
    /// that fail at once are one reason to rest.
    fn doublings(&self, asked: Moment, now: Moment) -> u32 {
        let before = if asked.0 > self.rested_at.load(Relaxed) {
            self.rested_at.store(now.0, Relaxed);
            self.rested.fetch_add(1, Relaxed)
        } else {
            self.rested.load(Relaxed).saturating_sub(1)
        };
        before.min(DOUBLINGS)
    }

    /// It lost a race or a hedge: it would have taken longer than this. Its health is left alone; that it is no quicker
    /// than this is worth knowing if it was thought to be.
    pub fn overtaken(&self, manner: ResponseKind, after: Duration, now: Moment) {
        if self.pace(manner).peak().is_none_or(|peak| after > peak) {
            self.pace(manner).note(after, now);
        }
    }

    #[must_use]
    pub const fn pace(&self, manner: ResponseKind) -> &LatencyTracker {
        let [stream, whole] = &self.paces;
        match manner {
            ResponseKind::Stream => stream,
            ResponseKind::Whole => whole,
        }
    }

    #[must_use]
    pub fn breaker(&self, now: Moment) -> BreakerState {
        self.breaker.state(now)
    }

    /// Successes and failures that count, of the last so many seconds.
    #[must_use]
    pub fn seen(&self, now: Moment, window: Duration) -> OutcomeCounts {
        self.breaker.window().sum(now, window)
    }

    /// Successes and failures that count, since the process began.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.won.load(Relaxed), self.failed.load(Relaxed))
    }

    /// Whether it was ever asked.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.under_way() > 0 || self.totals() != (0, 0) || self.last_failure().is_some()
    }

    /// The last failure and when it was, whether it counts or not.
    #[must_use]
    pub fn last_failure(&self) -> Option<(FailureClass, Moment)> {
        let class = FailureClass::numbered(self.last_class.load(Relaxed))?;
        Some((class, Moment(self.last_failed.load(Relaxed))))
    }

    #[must_use]
    pub fn last_success(&self) -> Option<Moment> {
        Some(Moment(self.last_won.load(Relaxed))).filter(|at| *at != Moment::NEVER)
    }
}

/// The one request that goes to a probing candidate.
#[derive(Debug)]
pub struct ProbePermit(Arc<CandidateStats>);

impl Drop for ProbePermit {
    fn drop(&mut self) {
        self.0.breaker.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000);

    fn fail(record: &CandidateStats, class: FailureClass, hint: Option<u64>, asked: Moment, now: Moment) {
        let failure = AttemptFailure { class, hint: hint.map(Duration::from_secs), asked };
        record.failed(&failure, now, &BreakerSettings::default(), &mut Rng::new(1));
    }

    fn rest(record: &CandidateStats, now: Moment) -> Duration {
        match record.admission(now) {
            Admission::Closed { until } => until.since(now),
            Admission::Open | Admission::Probe => Duration::ZERO,
        }
    }

    /// R18: a limit reached is no illness; rests in a row grow, and many failures at once are one.
    #[test]
    fn a_limited_candidate_rests_longer_each_time() {
        let record = CandidateStats::new(Arc::default(), Some("m"), 1);
        let (mut now, base) = (NOW, FailureClass::RateLimited.consequence().rest);
        for doublings in [0, 1, 2, 3, 4, 4] {
            for _ in 0..20 {
                fail(&record, FailureClass::RateLimited, None, now, now);
            }
            let length = rest(&record, now);
            let meant = base * (1 << doublings);
            assert!(length >= meant / 2 && length <= meant * 3 / 2, "{doublings}: {length:?}");
            // What was sent before the rest and fails later is no news.
            fail(&record, FailureClass::RateLimited, None, now - Duration::from_secs(1), now);
            now = now + Duration::from_secs(600);
        }
        assert_eq!((record.breaker(now), record.totals()), (BreakerState::Admitting, (0, 0)));
        record.succeeded(ResponseKind::Stream, base, now, now, &BreakerSettings::default());
        fail(&record, FailureClass::RateLimited, None, now, now);
        assert!(rest(&record, now) <= base * 3 / 2, "a success begins anew");
    }

    #[test]
    fn the_providers_word_goes_first() {
        let record = CandidateStats::new(Arc::default(), Some("m"), 1);
        fail(&record, FailureClass::Overloaded, None, NOW, NOW);
        assert_eq!(rest(&record, NOW), Duration::ZERO);
        fail(&record, FailureClass::Overloaded, Some(7), NOW, NOW);
        assert_eq!(rest(&record, NOW), Duration::from_secs(7));
        assert_eq!(record.last_failure(), Some((FailureClass::Overloaded, NOW)));
    }

    /// A good answer to what was sent after a rest began ends it, one to what was sent before does not.
    #[test]
    fn a_success_ends_a_rest() {
        let (second, settings) = (Duration::from_secs(1), BreakerSettings::default());
        for class in [
            FailureClass::ModelMissing,
            FailureClass::KeyInvalid,
            FailureClass::QuotaGone,
            FailureClass::RateLimited,
        ] {
            let record = CandidateStats::new(Arc::default(), Some("m"), 1);
            fail(&record, class, None, NOW, NOW);
            record.succeeded(ResponseKind::Stream, second, NOW - second, NOW + second, &settings);
            assert!(rest(&record, NOW + second) > Duration::ZERO, "{class:?}");
            record.succeeded(ResponseKind::Stream, second, NOW + second, NOW + 2 * second, &settings);
            assert_eq!(rest(&record, NOW + 2 * second), Duration::ZERO, "{class:?}");
        }
    }

    #[test]
    fn a_misspelt_name_rests_nobody_else() {
        let record = CandidateStats::new(Arc::default(), None, 1);
        fail(&record, FailureClass::ModelMissing, None, NOW, NOW);
        assert_eq!(rest(&record, NOW), Duration::ZERO);
        fail(&record, FailureClass::RateLimited, None, NOW, NOW);
        assert!(rest(&record, NOW) > Duration::ZERO);
    }

    /// S1.14: a key that is not accepted rests everything behind it.
    #[test]
    fn a_key_rests_its_provider() {
        let provider = Arc::<ProviderHealth>::default();
        let records = [1, 2].map(|id| CandidateStats::new(Arc::clone(&provider), Some("m"), id));
        fail(&records[0], FailureClass::KeyInvalid, None, NOW, NOW);
        assert!(rest(&records[1], NOW) >= Duration::from_secs(300));
        assert_eq!(provider.rest_reason(NOW), Some(FailureClass::KeyInvalid));
        provider.wake();
        assert_eq!(records[1].admission(NOW), Admission::Open);
    }
}
