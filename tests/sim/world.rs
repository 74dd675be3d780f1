//! A discrete-event simulation around the real catalogue, attempt plans and statistics: requests arrive,
//! candidates answer or fail, clients leave, and every invariant is checked at every step. One seed, one
//! history.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use thalweg::{
    base::{Moment, Rng},
    routing::{
        Action, Attempt, AttemptPlan, Catalog, Listing, PlanRequest, Policy, ResponseKind, RoutedProvider,
        RoutingSettings, StatsRegistry, Strategy, candidate_stats::CandidateStats, class::NextStep,
    },
    telemetry::GaugeGuard,
};

use super::provider::{Answer, Provider, gap};

/// The setup of a simulation.
#[derive(Clone, Debug)]
pub struct Plot {
    pub seed: u64,
    pub requests: u32,
    pub per_second: f64,
    pub providers: Vec<Provider>,
    pub settings: RoutingSettings,
    pub failover: bool,
    /// The share of clients that disconnect before their first token.
    pub disconnects: f64,
    /// The share of requests that belong to a conversation.
    pub sessions: f64,
    /// The client's deadline; `None`: it has none.
    pub patience: Option<Duration>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Good,
    /// A candidate's own failure was passed on.
    PassedOn,
    /// No candidate was left.
    Failed,
    /// The deadline passed.
    Late,
    Left,
}

/// The observations of a request.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    pub at: Moment,
    pub end: End,
    pub after: Duration,
    pub calls: u32,
    pub wasted: u32,
}

#[derive(Debug)]
pub struct Outcome {
    pub told: Vec<Observed>,
    /// The moments at which each candidate was tried.
    pub asked: Vec<Vec<Moment>>,
    pub hedges: u32,
    pub hedgeable: u32,
    /// Attempts at another candidate after a failure; counted only without races, because races use others
    /// anyway.
    pub failovers: u32,
    pub most_live: usize,
    pub most_races: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Answer { request: u32, number: u8 },
    Wake { request: u32 },
    Leave { request: u32 },
    StreamEnds { request: u32 },
}

struct Request<'a> {
    course: Option<AttemptPlan<'a>>,
    flying: Vec<(Attempt<'a>, Answer)>,
    stream: Option<GaugeGuard>,
    came: Moment,
    asked: u64,
    calls: u32,
    wasted: u32,
    /// The time that failed attempts took, where they ran one by one.
    failures: Duration,
    one_by_one: bool,
}

pub struct World<'a> {
    plot: &'a Plot,
    catalog: &'a Catalog,
    providers: Vec<Provider>,
    now: Moment,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    sequence: u64,
    dice: Rng,
    requests: VecDeque<Option<Request<'a>>>,
    first: u32,
    arrived: u32,
    outcome: Outcome,
}

const MODEL: &str = "m";

/// The providers of a plot, in regions and weights by their place.
pub fn catalog(plot: &Plot) -> (Catalog, StatsRegistry) {
    let records = StatsRegistry::default();
    let served = |index: usize| RoutedProvider {
        name: format!("p{index}").into(),
        base: "http://p".into(),
        listing: Listing::Configured(vec![MODEL.into()]),
        weight: index as u32 + 1,
        region: Some(if index.is_multiple_of(2) { "even" } else { "odd" }.into()),
        dialects: None,
        known: None,
        translate: None,
        details: Arc::default(),
    };
    let served = (0..plot.providers.len()).map(served).collect();
    let catalog = Catalog::new(served, Vec::new(), Arc::new(plot.settings.clone()), &records);
    (catalog, records)
}

/// Runs a simulation to its end.
pub fn play(plot: &Plot) -> Outcome {
    let (catalog, records) = catalog(plot);
    let mut world = World::new(plot, &catalog);
    world.run();
    let outcome = world.outcome;
    assert_eq!(outcome.told.len(), plot.requests as usize, "every request ends with one answer");
    assert_eq!((records.budgets().races(), records.budgets().repeats()), (0, 0), "permits return");
    let saved = plot.settings.hedge.share * f64::from(outcome.hedgeable);
    assert!(f64::from(outcome.hedges) <= saved, "B4: {} hedges of {saved}", outcome.hedges);
    let ration = plot.settings.retry.failovers;
    let saved = ration.share * f64::from(plot.requests) + f64::from(ration.burst) + outcome.most_live as f64;
    assert!(f64::from(outcome.failovers) <= saved, "{} failovers of {saved}", outcome.failovers);
    for record in candidates(&catalog) {
        assert_eq!(record.in_flight(), 0, "nothing stays under way");
    }
    outcome
}

fn candidates(catalog: &Catalog) -> Vec<Arc<CandidateStats>> {
    let plan = catalog.plan(&PlanRequest::stream(MODEL), Moment(u64::MAX / 2), &mut Rng::new(0));
    let plan = plan.expect("candidates rest at most an hour");
    plan.candidates().iter().map(|candidate| Arc::clone(candidate.stats)).collect()
}

impl<'a> World<'a> {
    fn new(plot: &'a Plot, catalog: &'a Catalog) -> Self {
        let outcome = Outcome {
            told: Vec::with_capacity(plot.requests as usize),
            asked: vec![Vec::new(); plot.providers.len()],
            hedges: 0,
            hedgeable: 0,
            failovers: 0,
            most_live: 0,
            most_races: 0,
        };
        Self {
            plot,
            catalog,
            providers: plot.providers.clone(),
            now: Moment(1),
            events: BinaryHeap::new(),
            sequence: 0,
            dice: Rng::new(plot.seed),
            requests: VecDeque::new(),
            first: 0,
            arrived: 0,
            outcome,
        }
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence, event)));
    }

    fn run(&mut self) {
        self.at(Duration::ZERO, Event::Arrive);
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            assert!(at >= self.now, "time goes forward");
            self.now = at;
            match event {
                Event::Arrive => self.arrive(),
                Event::Answer { request, number } => self.answered(request, number),
                Event::Wake { request } => self.step(request),
                Event::Leave { request } => self.leave(request),
                Event::StreamEnds { request } => drop(self.take(request)),
            }
            let races = self.catalog.registry().budgets().races();
            self.outcome.most_races = self.outcome.most_races.max(races);
            assert!(races <= self.plot.settings.race.max_races, "S3.11: the cap on races holds");
        }
    }

    fn arrive(&mut self) {
        self.arrived += 1;
        if self.arrived < self.plot.requests {
            let gap = gap(self.plot.per_second, &mut self.dice);
            self.at(gap, Event::Arrive);
        }
        let session = self.dice.happens(self.plot.sessions).then(|| self.dice.below(50) as u64);
        let ask = PlanRequest { session, kind: ResponseKind::Stream, ..PlanRequest::stream(MODEL) };
        let (request, now) = (self.first + self.requests.len() as u32, self.now);
        let Ok(plan) = self.catalog.plan(&ask, now, &mut self.dice) else {
            self.requests.push_back(None);
            self.outcome.told.push(Observed {
                at: now,
                end: End::Failed,
                after: Duration::ZERO,
                calls: 0,
                wasted: 0,
            });
            return self.tidy();
        };
        let one_by_one = !matches!(plan.strategy, Strategy::Race { .. } | Strategy::Hedge { .. });
        self.outcome.hedgeable += u32::from(matches!(plan.strategy, Strategy::Hedge { .. }));
        let terms = Policy {
            settings: self.catalog.settings(),
            budgets: self.catalog.registry().budgets(),
            failover: self.plot.failover,
            deadline: self.plot.patience.map(|patience| now + patience),
        };
        let course = AttemptPlan::new(plan, terms, self.dice.fork(), now);
        self.requests.push_back(Some(Request {
            course: Some(course),
            flying: Vec::new(),
            stream: None,
            came: now,
            asked: 0,
            calls: 0,
            wasted: 0,
            failures: Duration::ZERO,
            one_by_one,
        }));
        if self.dice.happens(self.plot.disconnects) {
            let after = Duration::from_millis(self.dice.below(2000) as u64);
            self.at(after, Event::Leave { request });
        }
        self.step(request);
    }

    fn slot(&mut self, request: u32) -> Option<&mut Option<Request<'a>>> {
        self.requests.get_mut(request.checked_sub(self.first)? as usize)
    }

    fn take(&mut self, request: u32) -> Option<Request<'a>> {
        let taken = self.slot(request)?.take();
        self.tidy();
        taken
    }

    fn tidy(&mut self) {
        while matches!(self.requests.front(), Some(None)) {
            self.requests.pop_front();
            self.first += 1;
        }
    }

    /// Carries out the attempt plan's actions until it waits or ends.
    fn step(&mut self, number: u32) {
        let Some(mut request) = self.slot(number).and_then(Option::take) else { return };
        let Some(mut course) = request.course.take() else {
            // Committed: a timer came late.
            *self.slot(number).expect("still there") = Some(request);
            return;
        };
        loop {
            match course.next(self.now) {
                Action::Start(turn) => {
                    self.check(&course, &request, &turn);
                    request.calls += 1;
                    self.outcome.hedges += u32::from(turn.hedge);
                    let again = request.asked >> turn.candidate.provider & 1 == 1;
                    let fails_over = request.calls > 1 && !again && !turn.hedge && !course.is_race();
                    self.outcome.failovers += u32::from(fails_over);
                    self.outcome.asked[turn.candidate.provider].push(self.now);
                    let answer = self.providers[turn.candidate.provider].answer(self.now, &mut self.dice);
                    self.at(answer.after, Event::Answer { request: number, number: turn.number });
                    request.asked |= 1 << turn.candidate.provider;
                    request.flying.push((turn, answer));
                    let live =
                        course.plan().candidates().iter().map(|candidate| candidate.stats.in_flight()).sum();
                    self.outcome.most_live = self.outcome.most_live.max(live);
                }
                Action::Wait(until) => {
                    assert!(until.is_some() || !request.flying.is_empty(), "never waits for nothing");
                    if let Some(until) = until {
                        assert!(until > self.now, "never waits for what has been");
                        self.at(until.since(self.now), Event::Wake { request: number });
                    }
                    request.course = Some(course);
                    *self.slot(number).expect("still there") = Some(request);
                    return;
                }
                Action::Done => {
                    let late = !request.flying.is_empty() || self.is_late(&request);
                    request.wasted += request.flying.len() as u32;
                    return self.finish(number, request, if late { End::Late } else { End::Failed });
                }
            }
        }
    }

    fn is_late(&self, request: &Request<'_>) -> bool {
        self.plot.patience.is_some_and(|patience| self.now >= request.came + patience)
    }

    /// The invariants at each attempt.
    fn check(&self, course: &AttemptPlan<'_>, request: &Request<'a>, turn: &Attempt<'a>) {
        let settings = &self.plot.settings;
        assert_eq!(u32::from(turn.number), request.calls + 1, "attempts are counted");
        let again = request.asked >> turn.candidate.provider & 1 == 1;
        let all = self.plot.providers.len() as u32;
        if again {
            assert!(request.flying.is_empty(), "repeats only when nobody else is being asked");
            assert!(request.calls < all + u32::from(settings.retry.repeats), "repeats are bounded");
        }
        let beside = request.flying.len() as u32;
        match course.plan().strategy {
            Strategy::Race { width } if course.is_race() => {
                assert!(beside < u32::from(width), "no wider than it may be");
            }
            Strategy::Hedge { .. } => assert!(beside == 0 || turn.hedge, "only a hedge is beside another"),
            Strategy::Race { .. } | Strategy::Priority | Strategy::Weighted | Strategy::Adaptive => {
                assert_eq!(beside, 0, "one by one");
            }
        }
        if !self.plot.failover && beside == 0 && !course.is_race() {
            assert_eq!(request.calls, 0, "without failover one is asked");
        }
    }

    fn answered(&mut self, number: u32, turn: u8) {
        let now = self.now;
        let Some(mut request) = self.slot(number).and_then(Option::take) else { return };
        let place = request.flying.iter().position(|(flying, _)| flying.number == turn);
        let (Some(place), Some(mut course)) = (place, request.course.take()) else {
            // Cancelled before it answered.
            *self.slot(number).expect("still there") = Some(request);
            return;
        };
        let (turn, answer) = request.flying.swap_remove(place);
        let Some(failure) = answer.failure else {
            request.stream = Some(course.won(turn, answer.after, now));
            for (loser, _) in request.flying.drain(..) {
                request.wasted += 1;
                course.lost(loser, now);
            }
            assert!(matches!(course.next(now), Action::Done), "nobody is asked after the commit");
            if request.one_by_one && self.plot.settings.retry.repeats == 0 && request.calls < 200 {
                let took = now.since(request.came);
                assert_eq!(
                    took,
                    request.failures + answer.after,
                    "failing over costs what the failures took"
                );
            }
            return self.finish(number, request, End::Good);
        };
        request.failures += answer.after;
        let passes = course.forwards_error(&turn, failure.class, failure.hint, now);
        let stops = failure.class.consequence().next_step == NextStep::Stop;
        course.failed(turn, failure.class, failure.hint, failure.sent, now);
        if passes || stops {
            request.wasted += request.flying.len() as u32;
            return self.finish(number, request, End::PassedOn);
        }
        request.course = Some(course);
        *self.slot(number).expect("still there") = Some(request);
        self.step(number);
    }

    fn leave(&mut self, number: u32) {
        let Some(slot) = self.slot(number) else { return };
        // A client that disconnects after its first token only ends the stream.
        if slot.as_ref().is_some_and(|request| request.course.is_some())
            && let Some(request) = slot.take()
        {
            self.finish(number, request, End::Left);
        }
    }

    fn finish(&mut self, number: u32, mut request: Request<'a>, end: End) {
        let after = self.now.since(request.came);
        let Request { calls, wasted, came, .. } = request;
        self.outcome.told.push(Observed { at: came, end, after, calls, wasted });
        request.course = None;
        request.flying.clear();
        if request.stream.is_some() {
            *self.slot(number).expect("still there") = Some(request);
            let length = Duration::from_millis(500 + self.dice.below(4000) as u64);
            self.at(length, Event::StreamEnds { request: number });
        } else {
            self.tidy();
        }
    }
}

impl Outcome {
    pub fn share_of(&self, end: End) -> f64 {
        self.told.iter().filter(|told| told.end == end).count() as f64 / self.told.len().max(1) as f64
    }

    /// Times to the first token, sorted, of the good ones from the `skip`th request on.
    pub fn first_tokens(&self, skip: usize) -> Vec<Duration> {
        let mut told: Vec<&Observed> = self.told.iter().collect();
        told.sort_by_key(|told| told.at);
        let good = told.into_iter().skip(skip).filter(|told| told.end == End::Good);
        let mut times: Vec<Duration> = good.map(|told| told.after).collect();
        times.sort_unstable();
        times
    }

    pub fn calls(&self) -> f64 {
        self.told.iter().map(|told| f64::from(told.calls)).sum::<f64>() / self.told.len().max(1) as f64
    }

    pub fn wasted(&self) -> f64 {
        self.told.iter().map(|told| f64::from(told.wasted)).sum::<f64>() / self.told.len().max(1) as f64
    }
}

/// The time within which this share of `sorted` arrived.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}
