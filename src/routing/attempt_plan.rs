//! One request's way through its candidates, without a socket or a clock: what to do next, told by what has happened.
//! Used alike by the corridor and by the simulation.
//!
//! Invariants: nobody is asked after [`AttemptPlan::won`] or after the way is over; a candidate is asked again only when there
//! is nobody else; the guards of a [`Attempt`] and of the course give back what they took when they are dropped, so a client
//! may leave at any time.

use std::time::Duration;

use super::{
    budget::{Budgets, Permit},
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

/// Until a candidate was measured often enough, a hedge waits so long.
const UNMEASURED_DELAY: Duration = Duration::from_secs(2);

/// What to do now.
#[derive(Debug)]
pub enum Action<'a> {
    /// Ask this candidate, beside those that are being asked.
    Ask(Attempt<'a>),
    /// Nothing, until one of those being asked answers or that moment comes.
    Wait(Option<Moment>),
    /// Nobody is left, or time is up: give up those being asked and answer the client.
    Over,
}

/// One attempt. Dropped, it counts as given up: nothing is learnt from it.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub candidate: Candidate<'a>,
    /// From 1.
    pub number: u8,
    pub asked: Moment,
    /// It was asked beside another that was slow.
    pub hedge: bool,
    place: u8,
    flight: GaugeGuard,
    _waiting: GaugeGuard,
    _probe: Option<ProbePermit>,
}

/// What a request's client and the configuration say.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    pub settings: &'a RoutingSettings,
    pub budgets: &'a Budgets,
    /// `false`: one candidate is asked and that is it.
    pub failover: bool,
    /// When the client's patience ends.
    pub deadline: Option<Moment>,
}

#[derive(Debug)]
pub struct AttemptPlan<'a> {
    plan: Plan<'a>,
    terms: Policy<'a>,
    dice: Rng,
    mode: Concurrency,
    /// Bits by place: who has been asked, who is being asked, who will not be.
    asked: u64,
    flying: u64,
    barred: u64,
    number: u8,
    repeats: u8,
    last_asked: Moment,
    deadline: Option<Moment>,
    /// Who is to be asked again, and when.
    repeat: Option<(u8, Moment)>,
    _repeating: Option<Permit>,
    is_over: bool,
}

/// How many at once.
#[derive(Debug)]
enum Concurrency {
    OneByOne,
    Race { width: u32, _permit: Permit },
    Hedge { delay: HedgeDelay },
}

impl<'a> AttemptPlan<'a> {
    #[must_use]
    pub fn new(plan: Plan<'a>, terms: Policy<'a>, dice: Rng, now: Moment) -> Self {
        let mode = Concurrency::of(&plan, &terms);
        if terms.failover && plan.candidates().len() > 1 {
            terms.budgets.failovers.save(terms.settings.retry.failovers, live(&plan));
        }
        let timeout = matches!(mode, Concurrency::Race { .. }).then(|| now + terms.settings.race.timeout);
        let deadline = match (terms.deadline, timeout) {
            (Some(deadline), Some(timeout)) => Some(deadline.min(timeout)),
            (deadline, timeout) => deadline.or(timeout),
        };
        Self {
            plan,
            terms,
            dice,
            mode,
            asked: 0,
            flying: 0,
            barred: 0,
            number: 0,
            repeats: 0,
            last_asked: now,
            deadline,
            repeat: None,
            _repeating: None,
            is_over: false,
        }
    }

    #[must_use]
    pub const fn plan(&self) -> &Plan<'a> {
        &self.plan
    }

    /// Attempts so far.
    #[must_use]
    pub const fn attempts(&self) -> u8 {
        self.number
    }

    /// Whether several may be asked at once.
    #[must_use]
    pub const fn asks_several(&self) -> bool {
        match self.mode {
            Concurrency::Race { .. } | Concurrency::Hedge { .. } => true,
            Concurrency::OneByOne => false,
        }
    }

    /// Whether the client's time, or the race's, is up.
    #[must_use]
    pub fn is_late(&self, now: Moment) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// When it is.
    #[must_use]
    pub const fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// Whether several are asked at once.
    #[must_use]
    pub const fn is_race(&self) -> bool {
        matches!(self.mode, Concurrency::Race { .. })
    }

    /// To be asked again after every event, until it says to wait or that it is over.
    pub fn next(&mut self, now: Moment) -> Action<'a> {
        if self.is_over || self.is_late(now) {
            self.is_over = true;
            return Action::Over;
        }
        if self.flying == 0 {
            return self.alone(now);
        }
        match self.mode {
            Concurrency::Race { width, .. } if self.is_short_of(width) => self.runner(width, now),
            Concurrency::Hedge { delay } => self.hedge(delay, now),
            Concurrency::Race { .. } | Concurrency::OneByOne => Action::Wait(self.deadline),
        }
    }

    /// Without failover, those that fail in a race are not replaced.
    const fn is_short_of(&self, width: u32) -> bool {
        let racing = if self.terms.failover { self.flying } else { self.asked };
        racing.count_ones() < width
    }

    /// Nobody is being asked.
    fn alone(&mut self, now: Moment) -> Action<'a> {
        if let Some((place, at)) = self.repeat {
            if now < at {
                return Action::Wait(Some(self.deadline.map_or(at, |deadline| deadline.min(at))));
            }
            self.repeat = None;
            return self.ask(place, None, false, now);
        }
        if self.asked != 0 && !self.terms.failover {
            return self.over();
        }
        match self.pick(now).or_else(|| Some((self.least_bad(now)?, None))) {
            Some((place, probe)) if self.asked == 0 || self.may_go_on() => self.ask(place, probe, false, now),
            Some(_) | None => self.over(),
        }
    }

    /// One more beside those that are being asked, if there is one that may be.
    fn healthy(&mut self, now: Moment, hedge: bool) -> Action<'a> {
        match self.pick(now) {
            Some((place, probe)) => self.ask(place, probe, hedge, now),
            None => Action::Wait(self.deadline),
        }
    }

    /// One more in a race. Those that are there from its start are no failovers.
    fn runner(&mut self, width: u32, now: Moment) -> Action<'a> {
        let starts = self.asked.count_ones() < width;
        if starts || (self.pick_place(now).is_some() && self.may_go_on()) {
            return self.healthy(now, false);
        }
        Action::Wait(self.deadline)
    }

    /// Whether what all requests together may spend on failovers is enough for one more.
    fn may_go_on(&self) -> bool {
        let ration = self.terms.settings.retry.failovers;
        self.terms.budgets.failovers.spend(ration, live(&self.plan))
    }

    fn hedge(&mut self, delay: HedgeDelay, now: Moment) -> Action<'a> {
        if self.untried().next().is_none() {
            return Action::Wait(self.deadline);
        }
        let at = self.last_asked + self.length(delay);
        if now < at {
            return Action::Wait(Some(self.deadline.map_or(at, |deadline| deadline.min(at))));
        }
        if self.pick_place(now).is_none() || !self.terms.budgets.hedges.spend(self.terms.settings.hedge, 0) {
            // Nobody is healthy or nothing is left to spend: this request does without.
            self.mode = Concurrency::OneByOne;
            return Action::Wait(self.deadline);
        }
        self.healthy(now, true)
    }

    /// How long to wait for the one asked last.
    fn length(&self, delay: HedgeDelay) -> Duration {
        match delay {
            HedgeDelay::Fixed(delay) => delay,
            HedgeDelay::Percentile(percent) => {
                let slowest = self.flying_places().filter_map(|place| {
                    let candidate = self.plan.candidates().get(usize::from(place))?;
                    candidate.record.pace(self.plan.manner).percentile(percent)
                });
                slowest.max().unwrap_or(UNMEASURED_DELAY)
            }
        }
    }

    /// The first that was not asked and may be; a probing one only if its one probe is free.
    fn pick(&self, now: Moment) -> Option<(u8, Option<ProbePermit>)> {
        self.untried().find_map(|place| {
            let record = self.plan.candidates().get(usize::from(place))?.record;
            match record.admission(now) {
                Admission::Open => Some((place, None)),
                Admission::Probe => record.claim().map(|probe| (place, Some(probe))),
                Admission::Closed { .. } => None,
            }
        })
    }

    fn pick_place(&self, now: Moment) -> Option<u8> {
        self.untried().find(|place| {
            let candidate = self.plan.candidates().get(usize::from(*place));
            candidate.is_some_and(|candidate| {
                matches!(candidate.record.admission(now), Admission::Open | Admission::Probe)
            })
        })
    }

    /// All that are left are tripped or rest: the one that comes back first, and only that one.
    fn least_bad(&mut self, now: Moment) -> Option<u8> {
        if self.terms.settings.all_tripped == AllTripped::Refuse {
            return None;
        }
        let until = |place: &u8| match self.plan.candidates().get(usize::from(*place))?.record.admission(now)
        {
            Admission::Closed { until } => Some(until),
            Admission::Open | Admission::Probe => Some(now),
        };
        let place = self.untried().min_by_key(until)?;
        self.barred = u64::MAX;
        Some(place)
    }

    fn ask(&mut self, place: u8, probe: Option<ProbePermit>, hedge: bool, now: Moment) -> Action<'a> {
        let Some(candidate) = self.plan.candidates().get(usize::from(place)).copied() else {
            return self.over();
        };
        self.asked |= 1 << place;
        self.flying |= 1 << place;
        self.number = self.number.saturating_add(1);
        self.last_asked = now;
        let (flight, waiting) = (candidate.record.enter(), candidate.record.wait());
        let number = self.number;
        Action::Ask(Attempt {
            candidate,
            number,
            asked: now,
            hedge,
            place,
            flight,
            _waiting: waiting,
            _probe: probe,
        })
    }

    fn over(&mut self) -> Action<'a> {
        self.is_over = true;
        Action::Over
    }

    /// The attempt came to nothing, and nothing of it was given to the client.
    pub fn failed(
        &mut self,
        turn: Attempt<'a>,
        class: FailureClass,
        hint: Option<Duration>,
        sent: Sent,
        now: Moment,
    ) {
        let settings = self.terms.settings;
        let failure = AttemptFailure { class, hint, asked: turn.asked };
        turn.candidate.record.failed(&failure, now, &settings.breaker, &mut self.dice);
        self.flying &= !(1 << turn.place);
        if settings.retry.safe && sent == Sent::Unknown {
            self.barred = u64::MAX;
        }
        match class.consequence().then {
            NextStep::Stop => self.is_over = true,
            NextStep::OtherModel => self.bar_group(turn.candidate.group),
            NextStep::Next { worth_waiting: false } => {}
            NextStep::Next { worth_waiting: true } => self.repeat_later(&turn, hint, now),
        }
    }

    /// A good answer: it is the client's. The guard counts it as under way until its last byte.
    pub fn won(&mut self, turn: Attempt<'a>, after: Duration, now: Moment) -> GaugeGuard {
        let settings = &self.terms.settings.breaker;
        turn.candidate.record.succeeded(self.plan.manner, after, turn.asked, now, settings);
        self.flying &= !(1 << turn.place);
        self.is_over = true;
        turn.flight
    }

    /// Another one was quicker, and this one has been given up.
    pub fn lost(&mut self, turn: Attempt<'a>, now: Moment) {
        turn.candidate.record.overtaken(self.plan.manner, now.since(turn.asked), now);
        self.flying &= !(1 << turn.place);
    }

    /// Whether nobody will be asked besides and after this one, however it ends.
    #[must_use]
    pub fn is_last(&self, turn: &Attempt<'_>) -> bool {
        let others = self.flying & !(1 << turn.place);
        others == 0 && (!self.terms.failover || self.untried().next().is_none())
    }

    /// Whether an answer that failed in this way is the client's as it came: the caller's own doing, which everybody
    /// would say, or the word of the only one there was to ask.
    #[must_use]
    pub fn passes_on(
        &self,
        turn: &Attempt<'_>,
        class: FailureClass,
        hint: Option<Duration>,
        now: Moment,
    ) -> bool {
        match class.consequence().then {
            NextStep::Stop => true,
            NextStep::OtherModel => {
                let is_alike = |place| self.group(place) == Some(turn.candidate.group);
                let alone = !self.terms.failover || self.untried().all(is_alike);
                alone && self.flying_places().all(is_alike)
            }
            NextStep::Next { worth_waiting } => {
                let is_only = self.plan.candidates().len() == 1
                    || (!self.terms.failover && self.asked.count_ones() == 1);
                is_only && !(worth_waiting && self.may_repeat(turn, hint, now))
            }
        }
    }

    fn repeat_later(&mut self, turn: &Attempt<'a>, hint: Option<Duration>, now: Moment) {
        if !self.may_repeat(turn, hint, now) {
            return;
        }
        let at = now + hint.unwrap_or_else(|| self.dice.jitter(self.pause()));
        // The repeat that has just failed is over.
        self._repeating = None;
        let under_way = turn.candidate.record.under_way();
        if let Some(permit) = self.terms.budgets.repeat(&self.terms.settings.retry, under_way) {
            self._repeating = Some(permit);
            self.repeats += 1;
            self.repeat = Some((turn.place, at));
        }
    }

    /// Whether the same candidate will be asked again: nobody else is there, it has not been asked too often, it is not
    /// too late for the client, and what all requests may repeat is not used up.
    fn may_repeat(&self, turn: &Attempt<'_>, hint: Option<Duration>, now: Moment) -> bool {
        let retry = &self.terms.settings.retry;
        let others = self.flying & !(1 << turn.place);
        let nobody_else = others == 0 && self.untried().next().is_none();
        // The longest that a pause can be thrown.
        let latest = now + hint.unwrap_or_else(|| self.pause() * 3 / 2);
        nobody_else
            && self.terms.failover
            && self.barred != u64::MAX
            && self.repeats < retry.repeats
            && hint.is_none_or(|hint| hint <= retry.longest_pause)
            && self.deadline.is_none_or(|deadline| latest < deadline)
            && (self._repeating.is_some()
                || self.terms.budgets.may_repeat(retry, turn.candidate.record.under_way()))
    }

    fn pause(&self) -> Duration {
        let retry = &self.terms.settings.retry;
        retry.pause.saturating_mul(1 << self.repeats.min(16)).min(retry.longest_pause)
    }

    fn bar_group(&mut self, group: u8) {
        for (place, candidate) in self.plan.candidates().iter().enumerate() {
            if candidate.group == group {
                self.barred |= 1 << place;
            }
        }
    }

    fn group(&self, place: u8) -> Option<u8> {
        self.plan.candidates().get(usize::from(place)).map(|candidate| candidate.group)
    }

    /// Places that were neither asked nor barred, in order.
    fn untried(&self) -> impl Iterator<Item = u8> + use<> {
        let all = u64::MAX >> (64 - self.plan.candidates().len().clamp(1, 64));
        places(all & !self.asked & !self.barred)
    }

    fn flying_places(&self) -> impl Iterator<Item = u8> + use<> {
        places(self.flying)
    }
}

/// Requests and streams under way at all who may serve this one.
fn live(plan: &Plan<'_>) -> usize {
    plan.candidates().iter().map(|candidate| candidate.record.under_way()).sum()
}

/// The bits that are set, lowest first.
fn places(mut bits: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        u8::try_from(place).ok().filter(|place| *place < 64)
    })
}

impl Concurrency {
    fn of(plan: &Plan<'_>, terms: &Policy<'_>) -> Self {
        if plan.candidates().len() < 2 {
            return Self::OneByOne;
        }
        match plan.strategy {
            Strategy::Priority | Strategy::Weighted | Strategy::Adaptive => Self::OneByOne,
            Strategy::Race { width } => match terms.budgets.race(&terms.settings.race) {
                Some(permit) => Self::Race { width: u32::from(width), _permit: permit },
                None => Self::OneByOne,
            },
            Strategy::Hedge { delay } => {
                terms.budgets.hedges.save(terms.settings.hedge, 0);
                Self::Hedge { delay }
            }
        }
    }
}

impl ResponseKind {
    /// By whether a stream was asked for.
    #[must_use]
    pub const fn of(streams: bool) -> Self {
        if streams { Self::Stream } else { Self::Whole }
    }
}

#[cfg(test)]
mod tests;
