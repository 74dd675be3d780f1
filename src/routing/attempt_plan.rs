//! Decides the attempts of one request: which candidate next, when, and when to stop. No socket, no clock;
//! the caller runs the attempts and reports their results. The gateway and the simulation
//! (`tests/sim_routing.rs`) use the same code.
//!
//! Invariants: no attempt starts after [`AttemptPlan::won`] or [`Action::Done`]; a candidate is repeated only
//! if no other candidate is left; the guards of an [`Attempt`] and of the plan return their permits on drop,
//! so a client may leave at any time.

use std::time::Duration;

use super::{
    budget::Budgets,
    candidate_stats::{Admission, AttemptFailure, ProbePermit, ResponseKind},
    class::{FailureClass, NextStep},
    plan::{Candidate, Plan},
    settings::{AllTripped, RoutingSettings},
    strategy::{HedgeDelay, Strategy},
};
use crate::{
    base::{Moment, Rng, Sent},
    telemetry::GaugeGuard,
};

/// The hedge delay while a candidate has too few samples.
const UNMEASURED_DELAY: Duration = Duration::from_secs(2);

/// The next action of the caller.
#[derive(Debug)]
pub enum Action<'a> {
    /// Start this attempt, beside those in flight.
    Start(Attempt<'a>),
    /// Wait until an attempt in flight ends, or until this moment. `None`: no time limit.
    Wait(Option<Moment>),
    /// No candidate is left, or the deadline has passed: cancel all attempts in flight and answer the client.
    Done,
}

/// One attempt. If it is dropped, it counts as cancelled and changes no statistics.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub candidate: Candidate<'a>,
    /// From 1.
    pub number: u8,
    pub started: Moment,
    /// It was started beside a slow attempt.
    pub hedge: bool,
    index: u8,
    in_flight_guard: GaugeGuard,
    _waiting: GaugeGuard,
    _probe: Option<ProbePermit>,
}

/// The rules for one request, from its client and the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    pub settings: &'a RoutingSettings,
    pub budgets: &'a Budgets,
    /// `false`: only the first candidate is tried, or in a race only the first `width`.
    pub failover: bool,
    /// The client's own deadline. `None`: it set none.
    pub deadline: Option<Moment>,
}

#[derive(Debug)]
pub struct AttemptPlan<'a> {
    plan: Plan<'a>,
    policy: Policy<'a>,
    rng: Rng,
    concurrency: Concurrency,
    /// Sets of candidates by index, one bit each: already tried, in flight, not to be tried.
    tried: u64,
    in_flight: u64,
    excluded: u64,
    /// Candidates to ask again at another endpoint.
    deferred: u64,
    number: u8,
    repeats: u8,
    last_started: Moment,
    deadline: Option<Moment>,
    /// The candidate to repeat, and when.
    pending_repeat: Option<(u8, Moment)>,
    repeat_permit: Option<GaugeGuard>,
    is_done: bool,
    learns_absence: bool,
    /// The latest failure says nothing of its provider's health, such as a model that it does not have: an
    /// attempt after it multiplies no outage's load, and costs no budget.
    spares_budget: bool,
}

/// Whether a candidate is asked at another endpoint after this failure: it lacks the one of the attempt, or
/// the request cannot be said there; and it may have another whose dialect the request can be translated to.
const fn is_asked_elsewhere(candidate: &Candidate<'_>, class: FailureClass) -> bool {
    matches!(class, FailureClass::EndpointMissing | FailureClass::ModelElsewhere | FailureClass::Unsayable)
        && !candidate.alternatives.is_empty()
}

/// How many attempts run at once.
#[derive(Debug)]
enum Concurrency {
    OneByOne,
    Race { width: u32, _permit: GaugeGuard },
    Hedge { delay: HedgeDelay },
}

impl<'a> AttemptPlan<'a> {
    #[must_use]
    pub fn new(plan: Plan<'a>, policy: Policy<'a>, rng: Rng, now: Moment) -> Self {
        let concurrency = Concurrency::of(&plan, &policy);
        if policy.failover && plan.candidates().len() > 1 {
            policy.budgets.failovers.deposit(policy.settings.retry.failovers, total_in_flight(&plan));
        }
        let is_race = matches!(concurrency, Concurrency::Race { .. });
        let timeout = (is_race && !plan.is_first_race).then(|| now + policy.settings.race.timeout);
        let deadline = match (policy.deadline, timeout) {
            (Some(deadline), Some(timeout)) => Some(deadline.min(timeout)),
            (deadline, timeout) => deadline.or(timeout),
        };
        Self {
            plan,
            policy,
            rng,
            concurrency,
            tried: 0,
            in_flight: 0,
            excluded: 0,
            deferred: 0,
            number: 0,
            repeats: 0,
            last_started: now,
            deadline,
            pending_repeat: None,
            repeat_permit: None,
            is_done: false,
            learns_absence: true,
            spares_budget: false,
        }
    }

    #[must_use]
    pub const fn plan(&self) -> &Plan<'a> {
        &self.plan
    }

    /// Attempts started so far.
    #[must_use]
    pub const fn attempts(&self) -> u8 {
        self.number
    }

    /// Whether several attempts may run at once: in a race or with hedging.
    #[must_use]
    pub const fn may_run_several(&self) -> bool {
        match self.concurrency {
            Concurrency::Race { .. } | Concurrency::Hedge { .. } => true,
            Concurrency::OneByOne => false,
        }
    }

    /// Whether the deadline of the client or of the race has passed.
    #[must_use]
    pub fn is_past_deadline(&self, now: Moment) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// The earlier of the client's deadline and the race's timeout. `None`: there is neither.
    #[must_use]
    pub const fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// Whether this is a race.
    #[must_use]
    pub const fn is_race(&self) -> bool {
        matches!(self.concurrency, Concurrency::Race { .. })
    }

    /// The next action. Call it again after every event, until it returns [`Action::Wait`] or
    /// [`Action::Done`].
    pub fn next(&mut self, now: Moment) -> Action<'a> {
        if self.is_done || self.is_past_deadline(now) {
            self.is_done = true;
            return Action::Done;
        }
        if self.in_flight == 0 {
            return self.next_when_idle(now);
        }
        match self.concurrency {
            Concurrency::Race { width, .. } if self.race_has_room(width) => self.next_in_race(width, now),
            Concurrency::Hedge { delay } => self.next_hedge(delay, now),
            Concurrency::Race { .. } | Concurrency::OneByOne => Action::Wait(self.deadline),
        }
    }

    /// Whether fewer than `width` attempts are in flight. Without failover, a failed attempt is not replaced.
    const fn race_has_room(&self, width: u32) -> bool {
        let racing = if self.policy.failover { self.in_flight } else { self.tried };
        racing.count_ones() < width
    }

    /// The next action if no attempt is in flight.
    fn next_when_idle(&mut self, now: Moment) -> Action<'a> {
        if let Some((index, at)) = self.pending_repeat {
            if now < at {
                return Action::Wait(Some(self.deadline.map_or(at, |deadline| deadline.min(at))));
            }
            self.pending_repeat = None;
            return self.start(index, None, false, now);
        }
        if self.tried != 0 && !self.policy.failover {
            return self.finish();
        }
        match self.pick(now).or_else(|| Some((self.least_bad(now)?, None))) {
            Some((index, probe)) if self.tried == 0 || self.withdraw_failover() => {
                self.start(index, probe, false, now)
            }
            Some(_) | None => self.finish(),
        }
    }

    /// Starts one more attempt beside those in flight, if a candidate admits one.
    fn start_healthy(&mut self, now: Moment, hedge: bool) -> Action<'a> {
        match self.pick(now) {
            Some((index, probe)) => self.start(index, probe, hedge, now),
            None => Action::Wait(self.deadline),
        }
    }

    /// Starts one more attempt in a race. The first `width` are not failovers, so they cost no budget.
    fn next_in_race(&mut self, width: u32, now: Moment) -> Action<'a> {
        let is_initial = self.tried.count_ones() < width;
        if is_initial || (self.peek(now).is_some() && self.withdraw_failover()) {
            return self.start_healthy(now, false);
        }
        Action::Wait(self.deadline)
    }

    /// Takes one failover from the global budget. `false`: the budget is empty.
    fn withdraw_failover(&self) -> bool {
        let ration = self.policy.settings.retry.failovers;
        self.spares_budget || self.policy.budgets.failovers.withdraw(ration, total_in_flight(&self.plan))
    }

    fn next_hedge(&mut self, delay: HedgeDelay, now: Moment) -> Action<'a> {
        if self.untried().next().is_none() {
            return Action::Wait(self.deadline);
        }
        let at = self.last_started + self.hedge_delay(delay);
        if now < at {
            return Action::Wait(Some(self.deadline.map_or(at, |deadline| deadline.min(at))));
        }
        if self.peek(now).is_none() || !self.policy.budgets.hedges.withdraw(self.policy.settings.hedge, 0) {
            // No candidate is healthy or the budget is empty: this request goes on without hedging.
            self.concurrency = Concurrency::OneByOne;
            return Action::Wait(self.deadline);
        }
        self.start_healthy(now, true)
    }

    /// How long the attempt started last runs before a hedge starts.
    fn hedge_delay(&self, delay: HedgeDelay) -> Duration {
        match delay {
            HedgeDelay::Fixed(delay) => delay,
            HedgeDelay::Percentile(percent) => {
                let slowest = self.in_flight_indices().filter_map(|index| {
                    let candidate = self.plan.candidates().get(usize::from(index))?;
                    candidate.stats.latency(self.plan.kind).percentile(percent)
                });
                slowest.max().unwrap_or(UNMEASURED_DELAY)
            }
        }
    }

    /// The first untried candidate that admits a request. Takes the probe permit of a probing one; a probing
    /// candidate without a free permit is skipped.
    fn pick(&self, now: Moment) -> Option<(u8, Option<ProbePermit>)> {
        self.untried().find_map(|index| {
            let candidate = self.plan.candidates().get(usize::from(index))?;
            let stats = candidate.stats;
            match stats.admission_to(candidate.endpoint, now) {
                Admission::Open => Some((index, None)),
                Admission::Probe => stats.claim_probe(candidate.endpoint).map(|probe| (index, Some(probe))),
                Admission::Closed { .. } => None,
            }
        })
    }

    fn peek(&self, now: Moment) -> Option<u8> {
        self.untried().find(|index| {
            let candidate = self.plan.candidates().get(usize::from(*index));
            candidate.is_some_and(|candidate| {
                let admission = candidate.stats.admission_to(candidate.endpoint, now);
                matches!(admission, Admission::Open | Admission::Probe)
            })
        })
    }

    /// All candidates left are tripped or resting: the one that admits first again. Excludes all others, so
    /// that only one of them is tried.
    fn least_bad(&mut self, now: Moment) -> Option<u8> {
        let refuses = self.policy.settings.all_tripped == AllTripped::Refuse;
        let candidate = |index: u8| self.plan.candidates().get(usize::from(index));
        let until = |index: &u8| match candidate(*index)?.stats.admission_to(candidate(*index)?.endpoint, now)
        {
            Admission::Closed { until } => Some(until),
            Admission::Open | Admission::Probe => Some(now),
        };
        // A candidate that is only believed to lack the endpoint or the model there may be asked.
        let is_allowed = |index: &u8| {
            !refuses
                || candidate(*index).is_some_and(|candidate| {
                    !matches!(candidate.stats.admission(candidate.endpoint, now), Admission::Closed { .. })
                })
        };
        let index = self.untried().filter(is_allowed).min_by_key(until)?;
        self.excluded = u64::MAX;
        Some(index)
    }

    fn start(&mut self, index: u8, probe: Option<ProbePermit>, hedge: bool, now: Moment) -> Action<'a> {
        let Some(candidate) = self.plan.candidates().get(usize::from(index)).copied() else {
            return self.finish();
        };
        self.tried |= 1 << index;
        self.in_flight |= 1 << index;
        self.number = self.number.saturating_add(1);
        self.last_started = now;
        let (in_flight_guard, waiting) = (candidate.stats.track_in_flight(), candidate.stats.track_waiting());
        let number = self.number;
        Action::Start(Attempt {
            candidate,
            number,
            started: now,
            hedge,
            index,
            in_flight_guard,
            _waiting: waiting,
            _probe: probe,
        })
    }

    fn finish(&mut self) -> Action<'a> {
        self.is_done = true;
        Action::Done
    }

    /// Whether other requests learn from the next failure that an endpoint or a model is missing, or a key
    /// invalid. They do not where a part of this request may be the cause.
    pub const fn learn_absence(&mut self, learns: bool) {
        self.learns_absence = learns;
    }

    /// The attempt failed before any of its response reached the client.
    pub fn failed(
        &mut self,
        attempt: Attempt<'a>,
        class: FailureClass,
        retry_after: Option<Duration>,
        sent: Sent,
        now: Moment,
    ) {
        let settings = self.policy.settings;
        let (endpoint, caller) = (attempt.candidate.endpoint, self.plan.caller);
        let failure = AttemptFailure { class, endpoint, caller, retry_after, started: attempt.started };
        let says_absence = matches!(
            class,
            FailureClass::EndpointMissing
                | FailureClass::ModelMissing
                | FailureClass::ModelElsewhere
                | FailureClass::KeyInvalid
        );
        if self.learns_absence || !says_absence {
            attempt.candidate.stats.failed(&failure, now, &settings.breaker, &mut self.rng);
        }
        let consequence = class.consequence();
        self.spares_budget = !consequence.counts_against_health && class != FailureClass::RateLimited;
        self.in_flight &= !(1 << attempt.index);
        if settings.retry.safe && sent == Sent::Unknown {
            self.excluded = u64::MAX;
        }
        match consequence.next_step {
            NextStep::Stop => self.is_done = true,
            NextStep::OtherModel => self.exclude_group(attempt.candidate.group),
            NextStep::OtherCandidate { may_repeat: false } => {
                if is_asked_elsewhere(&attempt.candidate, class)
                    && let Some(candidate) = self.plan.candidates.get_mut(usize::from(attempt.index))
                    && let Some(alternative) = candidate.alternatives.take_first()
                {
                    candidate.endpoint = alternative;
                    self.tried &= !(1 << attempt.index);
                    if self.in_flight == 0 {
                        self.excluded &= !(1 << attempt.index);
                    }
                    self.deferred |= 1 << attempt.index;
                    if !self.policy.failover {
                        self.excluded |= !(1 << attempt.index);
                    }
                }
            }
            NextStep::OtherCandidate { may_repeat: true } => self.schedule_repeat(&attempt, retry_after, now),
        }
    }

    /// The attempt succeeded after `after`, and its response goes to the client. The guard counts it as in
    /// flight until its last byte.
    pub fn won(&mut self, attempt: Attempt<'a>, after: Duration, now: Moment) -> GaugeGuard {
        let settings = &self.policy.settings.breaker;
        let at = (attempt.candidate.endpoint, self.plan.kind, self.plan.caller);
        attempt.candidate.stats.succeeded(at, after, attempt.started, now, settings);
        self.in_flight &= !(1 << attempt.index);
        self.is_done = true;
        attempt.in_flight_guard
    }

    /// The attempt was cancelled because another one won.
    pub fn lost(&mut self, attempt: Attempt<'a>, now: Moment) {
        attempt.candidate.stats.overtaken(self.plan.kind, now.since(attempt.started), now);
        self.in_flight &= !(1 << attempt.index);
    }

    /// Whether no other attempt is in flight and none can follow this one, except a repeat.
    #[must_use]
    pub fn is_last(&self, attempt: &Attempt<'_>) -> bool {
        let others = self.in_flight & !(1 << attempt.index);
        others == 0 && (!self.policy.failover || self.untried().next().is_none())
    }

    /// Whether an error response of this class goes to the client unchanged: because the client caused it and
    /// every candidate would answer the same, or because there was only one candidate.
    #[must_use]
    pub fn forwards_error(
        &self,
        attempt: &Attempt<'_>,
        class: FailureClass,
        retry_after: Option<Duration>,
        now: Moment,
    ) -> bool {
        match class.consequence().next_step {
            NextStep::Stop => true,
            NextStep::OtherModel => {
                let is_alike = |index| self.group(index) == Some(attempt.candidate.group);
                let is_only_model = !self.policy.failover || self.untried().all(is_alike);
                is_only_model && self.in_flight_indices().all(is_alike)
            }
            NextStep::OtherCandidate { .. } if is_asked_elsewhere(&attempt.candidate, class) => false,
            NextStep::OtherCandidate { may_repeat } => {
                let is_only = self.plan.candidates().len() == 1
                    // The provider's words about the request are of more use than a list of failures.
                    || (class == FailureClass::Unsupported && self.is_last(attempt))
                    || (!self.policy.failover && self.tried.count_ones() == 1);
                is_only && !(may_repeat && self.may_repeat(attempt, retry_after, now))
            }
        }
    }

    fn schedule_repeat(&mut self, attempt: &Attempt<'a>, retry_after: Option<Duration>, now: Moment) {
        if !self.may_repeat(attempt, retry_after, now) {
            return;
        }
        let at = now + retry_after.unwrap_or_else(|| self.rng.jitter(self.pause()));
        // The permit of the repeat that has just failed returns.
        self.repeat_permit = None;
        let in_flight = attempt.candidate.stats.in_flight();
        if let Some(permit) = self.policy.budgets.repeat(&self.policy.settings.retry, in_flight) {
            self.repeat_permit = Some(permit);
            self.repeats += 1;
            self.pending_repeat = Some((attempt.index, at));
        }
    }

    /// Whether the same candidate will be tried again: no other is left, it was not repeated too often, there
    /// is time before the deadline, and the budget of repeats is not empty.
    fn may_repeat(&self, attempt: &Attempt<'_>, retry_after: Option<Duration>, now: Moment) -> bool {
        let retry = &self.policy.settings.retry;
        let others = self.in_flight & !(1 << attempt.index);
        let is_only = others == 0 && self.untried().next().is_none();
        // The longest pause that jitter can give.
        let latest = now + retry_after.unwrap_or_else(|| self.pause() * 3 / 2);
        is_only
            && self.policy.failover
            && self.excluded != u64::MAX
            && self.repeats < retry.repeats
            && retry_after.is_none_or(|retry_after| retry_after <= retry.max_pause)
            && self.deadline.is_none_or(|deadline| latest < deadline)
            && (self.repeat_permit.is_some()
                || self.policy.budgets.may_repeat(retry, attempt.candidate.stats.in_flight()))
    }

    fn pause(&self) -> Duration {
        let retry = &self.policy.settings.retry;
        retry.pause.saturating_mul(1 << self.repeats.min(16)).min(retry.max_pause)
    }

    fn exclude_group(&mut self, group: u8) {
        for (index, candidate) in self.plan.candidates().iter().enumerate() {
            if candidate.group == group {
                self.excluded |= 1 << index;
            }
        }
    }

    fn group(&self, index: u8) -> Option<u8> {
        self.plan.candidates().get(usize::from(index)).map(|candidate| candidate.group)
    }

    /// Indices of the candidates that were neither tried nor excluded, in order; those that need a
    /// translation, as their answers have shown, come last.
    fn untried(&self) -> impl Iterator<Item = u8> + use<> {
        let all = u64::MAX >> (64 - self.plan.candidates().len().clamp(1, 64));
        let left = all & !self.tried & !self.excluded;
        set_bits(left & !self.deferred).chain(set_bits(left & self.deferred))
    }

    fn in_flight_indices(&self) -> impl Iterator<Item = u8> + use<> {
        set_bits(self.in_flight)
    }
}

/// Requests and streams in flight at all candidates of this plan.
fn total_in_flight(plan: &Plan<'_>) -> usize {
    plan.candidates().iter().map(|candidate| candidate.stats.in_flight()).sum()
}

/// The indices of the set bits, lowest first.
fn set_bits(mut bits: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let index = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        u8::try_from(index).ok().filter(|index| *index < 64)
    })
}

impl Concurrency {
    fn of(plan: &Plan<'_>, policy: &Policy<'_>) -> Self {
        if plan.candidates().len() < 2 {
            return Self::OneByOne;
        }
        match plan.strategy {
            Strategy::Priority | Strategy::Weighted | Strategy::Adaptive => Self::OneByOne,
            Strategy::Race { width } => match policy.budgets.race(&policy.settings.race) {
                Some(permit) => Self::Race { width: u32::from(width), _permit: permit },
                None => Self::OneByOne,
            },
            Strategy::Hedge { delay } => {
                policy.budgets.hedges.deposit(policy.settings.hedge, 0);
                Self::Hedge { delay }
            }
        }
    }
}

impl ResponseKind {
    /// `streams`: the client requested a stream.
    #[must_use]
    pub const fn of(streams: bool) -> Self {
        if streams { Self::Stream } else { Self::Whole }
    }
}

#[cfg(test)]
mod tests;
