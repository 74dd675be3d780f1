//! Attempt plans step by step; `tests/sim_routing.rs` simulates whole histories. Time and random numbers are
//! fixed.
//!
//! Only the last test is random: it checks that every plan ends.

use std::sync::Arc;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::base::Endpoint;
use crate::routing::{
    Catalog, Listing, PlanRequest, RoutedProvider, StatsRegistry,
    settings::{BudgetSettings, ModelRule, RetrySettings},
};

const NOW: Moment = Moment(1_000_000);
const MILLI: Duration = Duration::from_millis(1);

/// A catalogue with this number of candidates for the model `m`.
fn catalog(candidates: usize, change: impl FnOnce(&mut RoutingSettings)) -> Catalog {
    let served = |index: usize| RoutedProvider {
        name: format!("p{index}").into(),
        base: "b".into(),
        listing: Listing::Configured(vec!["m".into()]),
        weight: 1,
        region: None,
        dialects: None,
        known: None,
        translate: None,
        details: Arc::default(),
    };
    let mut settings = RoutingSettings::default();
    change(&mut settings);
    let served = (0..candidates).map(served).collect();
    Catalog::new(served, Vec::new(), Arc::new(settings), &StatsRegistry::default())
}

fn attempt_plan(catalog: &Catalog, deadline: Option<Moment>) -> AttemptPlan<'_> {
    let plan = catalog.plan(&PlanRequest::stream("m"), NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.registry().budgets());
    AttemptPlan::new(plan, Policy { settings, budgets, failover: true, deadline }, Rng::new(2), NOW)
}

fn started<'a>(step: Action<'a>) -> Attempt<'a> {
    match step {
        Action::Start(attempt) => attempt,
        Action::Wait(_) | Action::Done => panic!("{step:?}"),
    }
}

#[test]
fn failures_go_on_in_order_until_nobody_is_left() {
    let catalog = catalog(3, |_| {});
    let mut attempt_plan = attempt_plan(&catalog, None);
    for index in 0..3 {
        let attempt = started(attempt_plan.next(NOW));
        assert_eq!((attempt.candidate.provider, attempt.number), (index, index as u8 + 1));
        assert_eq!(attempt_plan.is_last(&attempt), index == 2);
        assert!(
            !attempt_plan.forwards_error(&attempt, FailureClass::ServerError, None, NOW),
            "several were asked"
        );
        assert!(matches!(attempt_plan.next(NOW), Action::Wait(None)));
        attempt_plan.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    }
    assert!(matches!(attempt_plan.next(NOW), Action::Done));
    assert!(matches!(attempt_plan.next(NOW), Action::Done));
}

/// Failovers have a budget, so that an outage of all candidates does not multiply the load.
#[test]
fn failovers_are_rationed_over_all_requests() {
    let failovers = BudgetSettings { share: 0.5, burst: 2 };
    let retry = RetrySettings { failovers, ..RetrySettings::default() };
    let catalog = catalog(3, |settings| {
        (settings.retry, settings.breaker.failures) = (retry, 1000);
        settings.breaker.min_requests = 1000;
    });
    let mut attempts = Vec::new();
    for _ in 0..8 {
        let mut attempt_plan = attempt_plan(&catalog, None);
        while let Action::Start(attempt) = attempt_plan.next(NOW) {
            attempt_plan.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
        }
        attempts.push(attempt_plan.attempts());
    }
    assert_eq!(attempts, [3, 1, 2, 1, 2, 1, 2, 1], "the burst, then one for every two");
    let mut race = race(&catalog, "m");
    assert_eq!([started(race.next(NOW)), started(race.next(NOW))].map(|attempt| attempt.number), [1, 2]);
}

fn race<'a>(catalog: &'a Catalog, model: &'a str) -> AttemptPlan<'a> {
    let ask = PlanRequest { strategy: Some(Strategy::Race { width: 2 }), ..PlanRequest::stream(model) };
    let plan = catalog.plan(&ask, NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.registry().budgets());
    AttemptPlan::new(plan, Policy { settings, budgets, failover: true, deadline: None }, Rng::new(2), NOW)
}

/// A prompt that is too long for one model of a list may fit another that runs at the same time.
#[test]
fn in_a_race_too_long_for_one_is_not_too_long_for_another() {
    let catalog = catalog(2, |settings| {
        let targets = vec!["p0/m".into(), "p1/m".into()];
        settings.models.push(ModelRule { name: "any".into(), targets, ..ModelRule::default() });
    });
    let mut race = race(&catalog, "any");
    let [small, big] = [started(race.next(NOW)), started(race.next(NOW))];
    assert!(!race.forwards_error(&small, FailureClass::ContextTooLong, None, NOW));
    race.failed(small, FailureClass::ContextTooLong, None, Sent::Some, NOW);
    assert!(matches!(race.next(NOW), Action::Wait(_)));
    assert!(race.forwards_error(&big, FailureClass::ContextTooLong, None, NOW), "no candidate is left");
}

/// S3.8: the response of the only candidate is forwarded, unless it will be tried again.
#[test]
fn the_only_one_passes_where_it_cannot_be_asked_again() {
    let retry = RetrySettings { repeats: 2, ..RetrySettings::default() };
    let passes = |retry: RetrySettings, failover, deadline| {
        let catalog = catalog(1, |settings| settings.retry = retry);
        let plan = catalog.plan(&PlanRequest::stream("m"), NOW, &mut Rng::new(1)).unwrap();
        let (settings, budgets) = (catalog.settings(), catalog.registry().budgets());
        let mut attempt_plan =
            AttemptPlan::new(plan, Policy { settings, budgets, failover, deadline }, Rng::new(2), NOW);
        let attempt = started(attempt_plan.next(NOW));
        attempt_plan.forwards_error(&attempt, FailureClass::ServerError, None, NOW)
    };
    assert!(!passes(retry, true, None));
    assert!(passes(retry, false, None), "no failover, no repeats");
    assert!(passes(RetrySettings { share: 0.0, min_repeats: 0, ..retry }, true, None), "no permit");
    assert!(passes(retry, true, Some(NOW + retry.pause)), "no time");
}

/// S3.8, R18: errors caused by the client and errors of the only candidate are forwarded.
#[test]
fn what_is_passed_on() {
    let only = catalog(1, |_| {});
    let mut alone = attempt_plan(&only, None);
    let attempt = started(alone.next(NOW));
    assert!(alone.forwards_error(&attempt, FailureClass::ServerError, None, NOW) && alone.is_last(&attempt));
    let three = catalog(3, |_| {});
    let mut attempt_plan = attempt_plan(&three, None);
    let attempt = started(attempt_plan.next(NOW));
    assert!(attempt_plan.forwards_error(&attempt, FailureClass::CallerMistake, None, NOW));
    assert!(
        attempt_plan.forwards_error(&attempt, FailureClass::ContextTooLong, None, NOW),
        "nobody has another model"
    );
    attempt_plan.failed(attempt, FailureClass::CallerMistake, None, Sent::Some, NOW);
    assert!(matches!(attempt_plan.next(NOW), Action::Done));
}

#[test]
fn another_model_of_the_list_may_take_what_was_too_long() {
    let catalog = catalog(2, |settings| {
        let targets = vec!["p0/m".into(), "p1/m".into()];
        settings.models.push(ModelRule { name: "any".into(), targets, ..ModelRule::default() });
    });
    let plan = catalog.plan(&PlanRequest::stream("any"), NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.registry().budgets());
    let policy = Policy { settings, budgets, failover: true, deadline: None };
    let mut attempt_plan = AttemptPlan::new(plan, policy, Rng::new(2), NOW);
    let attempt = started(attempt_plan.next(NOW));
    assert!(!attempt_plan.forwards_error(&attempt, FailureClass::ContextTooLong, None, NOW));
    attempt_plan.failed(attempt, FailureClass::ContextTooLong, None, Sent::Some, NOW);
    assert_eq!(started(attempt_plan.next(NOW)).candidate.provider, 1);
}

#[test]
fn a_resting_candidate_is_asked_last_and_only_one_of_them() {
    let catalog = catalog(3, |_| {});
    let mut first = attempt_plan(&catalog, None);
    for seconds in [30, 10] {
        let attempt = started(first.next(NOW));
        first.failed(attempt, FailureClass::RateLimited, Some(Duration::from_secs(seconds)), Sent::Some, NOW);
    }
    let attempt = started(first.next(NOW));
    first.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    let mut second = attempt_plan(&catalog, None);
    for provider in [2, 1] {
        let attempt = started(second.next(NOW));
        assert_eq!(attempt.candidate.provider, provider, "the open one, then the one that comes back first");
        second.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    }
    assert!(matches!(second.next(NOW), Action::Done));
    let mut third = attempt_plan(&catalog, None);
    let later = NOW + Duration::from_secs(10);
    assert_eq!(started(third.next(later)).candidate.provider, 1, "its rest is over");
}

/// The only candidate is asked though it rests, and then at another endpoint if it lacks the first.
#[test]
fn a_resting_candidate_is_asked_at_its_other_endpoint() {
    let catalog = catalog(1, |_| {});
    let mut first = attempt_plan(&catalog, None);
    let attempt = started(first.next(NOW));
    first.failed(attempt, FailureClass::RateLimited, Some(Duration::from_secs(30)), Sent::Some, NOW);
    let ask = PlanRequest { may_translate: true, ..PlanRequest::stream("m") };
    let plan = catalog.plan(&ask, NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.registry().budgets());
    let policy = Policy { settings, budgets, failover: true, deadline: None };
    let mut second = AttemptPlan::new(plan, policy, Rng::new(2), NOW);
    let attempt = started(second.next(NOW));
    assert_eq!(attempt.candidate.endpoint, Endpoint::ChatCompletions);
    second.failed(attempt, FailureClass::EndpointMissing, None, Sent::Some, NOW);
    assert_ne!(started(second.next(NOW)).candidate.endpoint, Endpoint::ChatCompletions);
}

#[test]
fn a_request_that_may_have_been_seen_stays_where_it_is_if_so_configured() {
    for (safe, sent, goes_on) in [
        (false, Sent::Unknown, true),
        (true, Sent::Unknown, false),
        (true, Sent::Nothing, true),
        (true, Sent::Some, true),
    ] {
        let catalog = catalog(2, |settings| settings.retry.safe = safe);
        let mut attempt_plan = attempt_plan(&catalog, None);
        let attempt = started(attempt_plan.next(NOW));
        attempt_plan.failed(attempt, FailureClass::Reset, None, sent, NOW);
        assert_eq!(matches!(attempt_plan.next(NOW), Action::Start(_)), goes_on, "{safe} {sent:?}");
    }
}

#[test]
fn repeats_pause_and_are_rationed() {
    let retry = RetrySettings { repeats: 2, min_repeats: 1, share: 0.0, ..RetrySettings::default() };
    let catalog = catalog(1, |settings| settings.retry = retry);
    let mut first = attempt_plan(&catalog, None);
    let attempt = started(first.next(NOW));
    assert!(!first.forwards_error(&attempt, FailureClass::ServerError, None, NOW), "it will be asked again");
    assert!(
        first.forwards_error(&attempt, FailureClass::ServerError, Some(Duration::from_secs(60)), NOW),
        "not so late"
    );
    first.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    let Action::Wait(Some(at)) = first.next(NOW) else { panic!() };
    assert!(at >= NOW + retry.pause / 2 && at <= NOW + retry.pause * 3 / 2);
    assert_eq!(catalog.registry().budgets().repeats(), 1);
    // Another request finds the budget empty.
    let mut second = attempt_plan(&catalog, None);
    let attempt = started(second.next(NOW));
    second.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    assert!(matches!(second.next(NOW), Action::Done));
    // The first goes on, and ends after its second repeat.
    let attempt = started(first.next(at));
    first.failed(attempt, FailureClass::ServerError, Some(MILLI), Sent::Some, at);
    let Action::Wait(Some(soon)) = first.next(at) else { panic!() };
    assert_eq!(soon, at + MILLI, "as the provider said");
    let attempt = started(first.next(soon));
    first.failed(attempt, FailureClass::ServerError, None, Sent::Some, soon);
    assert!(matches!(first.next(soon), Action::Done));
    drop(first);
    assert_eq!(catalog.registry().budgets().repeats(), 0);
    // No pause goes past the client's deadline.
    let mut third = attempt_plan(&catalog, Some(NOW + MILLI));
    let attempt = started(third.next(NOW));
    third.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    assert!(matches!(third.next(NOW), Action::Done));
}

/// S3.1, S3.11: `width` attempts at once; past the cap of races one after another.
#[test]
fn races_have_a_width_and_a_cap() {
    let catalog = catalog(3, |settings| {
        settings.strategy = Strategy::Race { width: 2 };
        settings.race.max_races = 1;
    });
    let mut race = attempt_plan(&catalog, None);
    let (one, two) = (started(race.next(NOW)), started(race.next(NOW)));
    let Action::Wait(Some(end)) = race.next(NOW) else { panic!() };
    assert_eq!(end, NOW + catalog.settings().race.timeout);
    race.failed(one, FailureClass::ServerError, None, Sent::Some, NOW);
    let three = started(race.next(NOW));
    let mut beyond = attempt_plan(&catalog, None);
    assert!(!beyond.is_race());
    let attempt = started(beyond.next(NOW));
    assert!(matches!(beyond.next(NOW), Action::Wait(None)));
    drop((attempt, beyond));
    drop(race.won(two, MILLI, NOW));
    race.lost(three, NOW);
    assert!(matches!(race.next(NOW), Action::Done), "no attempt starts after the commit");
    drop(race);
    assert!(attempt_plan(&catalog, None).is_race());
}

/// B4: a hedge starts after the percentile of the attempt in flight, and takes from a budget.
#[test]
fn a_hedge_waits_for_the_percentile_and_pays() {
    let strategy = Strategy::Hedge { delay: HedgeDelay::Percentile(90) };
    let catalog = catalog(2, |settings| {
        settings.strategy = strategy;
        settings.hedge.share = 0.5;
    });
    let mut first = attempt_plan(&catalog, None);
    let attempt = started(first.next(NOW));
    let Action::Wait(Some(at)) = first.next(NOW) else { panic!() };
    assert_eq!(at, NOW + UNMEASURED_DELAY);
    assert!(matches!(first.next(at), Action::Wait(None)), "half a hedge is none");
    let stats = Arc::clone(attempt.candidate.stats);
    drop(first.won(attempt, MILLI, NOW));
    for _ in 0..30 {
        stats.latency(ResponseKind::Stream).record(100 * MILLI, NOW);
    }
    let mut second = attempt_plan(&catalog, None);
    let one = started(second.next(NOW));
    let Action::Wait(Some(at)) = second.next(NOW) else { panic!() };
    assert!(at > NOW + 80 * MILLI && at < NOW + 120 * MILLI);
    let two = started(second.next(at));
    assert!(two.hedge && !one.hedge && two.candidate.provider == 1);
    assert_eq!((stats.in_flight(), stats.waiting()), (1, 1));
    drop(second.won(two, MILLI, at));
    second.lost(one, at);
    assert_eq!((stats.in_flight(), stats.waiting()), (0, 0));
}

#[test]
fn one_request_probes_and_losing_a_race_is_no_illness() {
    let catalog = catalog(2, |settings| settings.breaker.failures = 1);
    let mut tripping = attempt_plan(&catalog, None);
    let attempt = started(tripping.next(NOW));
    let stats = Arc::clone(attempt.candidate.stats);
    tripping.failed(attempt, FailureClass::ServerError, None, Sent::Some, NOW);
    assert!(matches!(stats.admission(Endpoint::ChatCompletions, NOW), Admission::Closed { .. }));
    let later = NOW + catalog.settings().breaker.cool_down * 2;
    assert_eq!(stats.admission(Endpoint::ChatCompletions, later), Admission::Probe);
    let (mut one, mut two) = (attempt_plan(&catalog, None), attempt_plan(&catalog, None));
    let probe = started(one.next(later));
    let other = started(two.next(later));
    assert_eq!((probe.candidate.provider, other.candidate.provider), (0, 1), "one at a time");
    one.lost(probe, later);
    assert_eq!(stats.admission(Endpoint::ChatCompletions, later), Admission::Probe, "a loser proves nothing");
    drop(one);
    let mut again = attempt_plan(&catalog, None);
    let probe = started(again.next(later));
    drop(again.won(probe, MILLI, later));
    assert_eq!(stats.admission(Endpoint::ChatCompletions, later), Admission::Open);
}

proptest! {
    /// With any failures, each candidate is tried at most once, and the plan ends.
    #[test]
    fn every_way_ends(candidates in 1_usize..8, classes in proptest::collection::vec(0_usize..FailureClass::ALL.len(), 8), width in 2_u8..5, race in any::<bool>()) {
        let catalog = catalog(candidates, |settings| {
            settings.strategy = if race { Strategy::Race { width } } else { Strategy::Weighted };
        });
        let mut attempt_plan = attempt_plan(&catalog, None);
        let mut running: Vec<Attempt<'_>> = Vec::new();
        let mut started = Vec::new();
        let mut classes = classes.into_iter().cycle();
        for _ in 0..40 {
            match attempt_plan.next(NOW) {
                Action::Start(attempt) => {
                    prop_assert!(!started.contains(&attempt.candidate.provider));
                    started.push(attempt.candidate.provider);
                    running.push(attempt);
                    prop_assert!(running.len() <= usize::from(width));
                }
                Action::Wait(_) => {
                    let class = FailureClass::ALL[classes.next().unwrap_or_default()];
                    attempt_plan.failed(running.remove(0), class, None, Sent::Some, NOW);
                }
                Action::Done => return Ok(()),
            }
        }
        prop_assert!(false, "it never ended");
    }
}
