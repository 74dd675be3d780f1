//! What courses do, step by step; whole histories are simulated in `tests/sim_routing.rs`.

use std::sync::Arc;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::routing::{
    Catalog, Listing, PlanRequest, Served, StatsRegistry,
    settings::{ModelRule, Ration, RetrySettings},
};

const NOW: Moment = Moment(1_000_000);
const MILLI: Duration = Duration::from_millis(1);

/// So many candidates for the model `m`.
fn catalog(candidates: usize, change: impl FnOnce(&mut RoutingSettings)) -> Catalog {
    let served = |index: usize| Served {
        name: format!("p{index}").into(),
        base: "b".into(),
        listing: Listing::Configured(vec!["m".into()]),
        weight: 1,
        region: None,
    };
    let mut settings = RoutingSettings::default();
    change(&mut settings);
    let served = (0..candidates).map(served).collect();
    Catalog::new(served, Vec::new(), Arc::new(settings), &StatsRegistry::default())
}

fn course(catalog: &Catalog, deadline: Option<Moment>) -> AttemptPlan<'_> {
    let plan = catalog.plan(&PlanRequest::stream("m"), NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.records().budgets());
    AttemptPlan::new(plan, Policy { settings, budgets, failover: true, deadline }, Rng::new(2), NOW)
}

fn asked<'a>(step: Action<'a>) -> Attempt<'a> {
    match step {
        Action::Ask(turn) => turn,
        Action::Wait(_) | Action::Over => panic!("{step:?}"),
    }
}

#[test]
fn failures_go_on_in_order_until_nobody_is_left() {
    let catalog = catalog(3, |_| {});
    let mut course = course(&catalog, None);
    for place in 0..3 {
        let turn = asked(course.next(NOW));
        assert_eq!((turn.candidate.provider, turn.number), (place, place as u8 + 1));
        assert_eq!(course.is_last(&turn), place == 2);
        assert!(!course.passes_on(&turn, FailureClass::ServerError, None, NOW), "several were asked");
        assert!(matches!(course.next(NOW), Action::Wait(None)));
        course.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    }
    assert!(matches!(course.next(NOW), Action::Over));
    assert!(matches!(course.next(NOW), Action::Over));
}

/// Retries have a budget: what fails everywhere does not multiply the load.
#[test]
fn failovers_are_rationed_over_all_requests() {
    let failovers = Ration { share: 0.5, burst: 2 };
    let retry = RetrySettings { failovers, ..RetrySettings::default() };
    let catalog = catalog(3, |settings| {
        (settings.retry, settings.breaker.failures) = (retry, 1000);
        settings.breaker.least = 1000;
    });
    let mut attempts = Vec::new();
    for _ in 0..8 {
        let mut course = course(&catalog, None);
        while let Action::Ask(turn) = course.next(NOW) {
            course.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
        }
        attempts.push(course.attempts());
    }
    assert_eq!(attempts, [3, 1, 2, 1, 2, 1, 2, 1], "the burst, then one for every two");
    let mut race = race(&catalog, "m");
    assert_eq!([asked(race.next(NOW)), asked(race.next(NOW))].map(|turn| turn.number), [1, 2]);
}

fn race<'a>(catalog: &'a Catalog, model: &'a str) -> AttemptPlan<'a> {
    let ask = PlanRequest { strategy: Some(Strategy::Race { width: 2 }), ..PlanRequest::stream(model) };
    let plan = catalog.plan(&ask, NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.records().budgets());
    AttemptPlan::new(plan, Policy { settings, budgets, failover: true, deadline: None }, Rng::new(2), NOW)
}

/// What is too long for one model of a list need not be for another that is being asked at the same time.
#[test]
fn in_a_race_too_long_for_one_is_not_too_long_for_another() {
    let catalog = catalog(2, |settings| {
        let stands_for = vec!["p0/m".into(), "p1/m".into()];
        settings.models.push(ModelRule { name: "any".into(), stands_for, ..ModelRule::default() });
    });
    let mut race = race(&catalog, "any");
    let [small, big] = [asked(race.next(NOW)), asked(race.next(NOW))];
    assert!(!race.passes_on(&small, FailureClass::ContextTooLong, None, NOW));
    race.failed(small, FailureClass::ContextTooLong, None, Sent::Some, NOW);
    assert!(matches!(race.next(NOW), Action::Wait(_)));
    assert!(race.passes_on(&big, FailureClass::ContextTooLong, None, NOW), "nobody is left");
}

/// S3.8: who is the only one has the last word, unless it will be asked again.
#[test]
fn the_only_one_passes_where_it_cannot_be_asked_again() {
    let retry = RetrySettings { repeats: 2, ..RetrySettings::default() };
    let passes = |retry: RetrySettings, failover, deadline| {
        let catalog = catalog(1, |settings| settings.retry = retry);
        let plan = catalog.plan(&PlanRequest::stream("m"), NOW, &mut Rng::new(1)).unwrap();
        let (settings, budgets) = (catalog.settings(), catalog.records().budgets());
        let mut course =
            AttemptPlan::new(plan, Policy { settings, budgets, failover, deadline }, Rng::new(2), NOW);
        let turn = asked(course.next(NOW));
        course.passes_on(&turn, FailureClass::ServerError, None, NOW)
    };
    assert!(!passes(retry, true, None));
    assert!(passes(retry, false, None), "no failover, no repeats");
    assert!(passes(RetrySettings { share: 0.0, least: 0, ..retry }, true, None), "no permit");
    assert!(passes(retry, true, Some(NOW + retry.pause)), "no time");
}

/// S3.8, R18: the caller's own mistake and the only candidate's word are the client's.
#[test]
fn what_is_passed_on() {
    let only = catalog(1, |_| {});
    let mut alone = course(&only, None);
    let turn = asked(alone.next(NOW));
    assert!(alone.passes_on(&turn, FailureClass::ServerError, None, NOW) && alone.is_last(&turn));
    let three = catalog(3, |_| {});
    let mut course = course(&three, None);
    let turn = asked(course.next(NOW));
    assert!(course.passes_on(&turn, FailureClass::CallerMistake, None, NOW));
    assert!(course.passes_on(&turn, FailureClass::ContextTooLong, None, NOW), "nobody has another model");
    course.failed(turn, FailureClass::CallerMistake, None, Sent::Some, NOW);
    assert!(matches!(course.next(NOW), Action::Over));
}

#[test]
fn another_model_of_the_list_may_take_what_was_too_long() {
    let catalog = catalog(2, |settings| {
        let stands_for = vec!["p0/m".into(), "p1/m".into()];
        settings.models.push(ModelRule { name: "any".into(), stands_for, ..ModelRule::default() });
    });
    let plan = catalog.plan(&PlanRequest::stream("any"), NOW, &mut Rng::new(1)).unwrap();
    let (settings, budgets) = (catalog.settings(), catalog.records().budgets());
    let terms = Policy { settings, budgets, failover: true, deadline: None };
    let mut course = AttemptPlan::new(plan, terms, Rng::new(2), NOW);
    let turn = asked(course.next(NOW));
    assert!(!course.passes_on(&turn, FailureClass::ContextTooLong, None, NOW));
    course.failed(turn, FailureClass::ContextTooLong, None, Sent::Some, NOW);
    assert_eq!(asked(course.next(NOW)).candidate.provider, 1);
}

#[test]
fn a_resting_candidate_is_asked_last_and_only_one_of_them() {
    let catalog = catalog(3, |_| {});
    let mut first = course(&catalog, None);
    for seconds in [30, 10] {
        let turn = asked(first.next(NOW));
        first.failed(turn, FailureClass::RateLimited, Some(Duration::from_secs(seconds)), Sent::Some, NOW);
    }
    let turn = asked(first.next(NOW));
    first.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    let mut second = course(&catalog, None);
    for provider in [2, 1] {
        let turn = asked(second.next(NOW));
        assert_eq!(turn.candidate.provider, provider, "the open one, then the one that comes back first");
        second.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    }
    assert!(matches!(second.next(NOW), Action::Over));
    let mut third = course(&catalog, None);
    let later = NOW + Duration::from_secs(10);
    assert_eq!(asked(third.next(later)).candidate.provider, 1, "its rest is over");
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
        let mut course = course(&catalog, None);
        let turn = asked(course.next(NOW));
        course.failed(turn, FailureClass::Reset, None, sent, NOW);
        assert_eq!(matches!(course.next(NOW), Action::Ask(_)), goes_on, "{safe} {sent:?}");
    }
}

#[test]
fn repeats_pause_and_are_rationed() {
    let retry = RetrySettings { repeats: 2, least: 1, share: 0.0, ..RetrySettings::default() };
    let catalog = catalog(1, |settings| settings.retry = retry);
    let mut first = course(&catalog, None);
    let turn = asked(first.next(NOW));
    assert!(!first.passes_on(&turn, FailureClass::ServerError, None, NOW), "it will be asked again");
    assert!(
        first.passes_on(&turn, FailureClass::ServerError, Some(Duration::from_secs(60)), NOW),
        "not so late"
    );
    first.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    let Action::Wait(Some(at)) = first.next(NOW) else { panic!() };
    assert!(at >= NOW + retry.pause / 2 && at <= NOW + retry.pause * 3 / 2);
    assert_eq!(catalog.records().budgets().repeats(), 1);
    // Another request finds the budget spent.
    let mut second = course(&catalog, None);
    let turn = asked(second.next(NOW));
    second.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    assert!(matches!(second.next(NOW), Action::Over));
    // The first goes on, and ends after its second repeat.
    let turn = asked(first.next(at));
    first.failed(turn, FailureClass::ServerError, Some(MILLI), Sent::Some, at);
    let Action::Wait(Some(soon)) = first.next(at) else { panic!() };
    assert_eq!(soon, at + MILLI, "as the provider said");
    let turn = asked(first.next(soon));
    first.failed(turn, FailureClass::ServerError, None, Sent::Some, soon);
    assert!(matches!(first.next(soon), Action::Over));
    drop(first);
    assert_eq!(catalog.records().budgets().repeats(), 0);
    // Nobody waits past the client's deadline.
    let mut third = course(&catalog, Some(NOW + MILLI));
    let turn = asked(third.next(NOW));
    third.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    assert!(matches!(third.next(NOW), Action::Over));
}

/// S3.1, S3.11: as many as the race is wide; past the cap one after another.
#[test]
fn races_have_a_width_and_a_cap() {
    let catalog = catalog(3, |settings| {
        settings.strategy = Strategy::Race { width: 2 };
        settings.race.max_races = 1;
    });
    let mut race = course(&catalog, None);
    let (one, two) = (asked(race.next(NOW)), asked(race.next(NOW)));
    let Action::Wait(Some(end)) = race.next(NOW) else { panic!() };
    assert_eq!(end, NOW + catalog.settings().race.timeout);
    race.failed(one, FailureClass::ServerError, None, Sent::Some, NOW);
    let three = asked(race.next(NOW));
    let mut beyond = course(&catalog, None);
    assert!(!beyond.is_race());
    let turn = asked(beyond.next(NOW));
    assert!(matches!(beyond.next(NOW), Action::Wait(None)));
    drop((turn, beyond));
    drop(race.won(two, MILLI, NOW));
    race.lost(three, NOW);
    assert!(matches!(race.next(NOW), Action::Over), "nobody is asked after the commit");
    drop(race);
    assert!(course(&catalog, None).is_race());
}

/// B4: after the percentile of the one being asked, out of a budget.
#[test]
fn a_hedge_waits_for_the_percentile_and_pays() {
    let strategy = Strategy::Hedge { delay: HedgeDelay::Percentile(90) };
    let catalog = catalog(2, |settings| {
        settings.strategy = strategy;
        settings.hedge.share = 0.5;
    });
    let mut first = course(&catalog, None);
    let turn = asked(first.next(NOW));
    let Action::Wait(Some(at)) = first.next(NOW) else { panic!() };
    assert_eq!(at, NOW + UNMEASURED_DELAY);
    assert!(matches!(first.next(at), Action::Wait(None)), "half a hedge is none");
    let record = Arc::clone(turn.candidate.record);
    drop(first.won(turn, MILLI, NOW));
    for _ in 0..30 {
        record.pace(ResponseKind::Stream).note(100 * MILLI, NOW);
    }
    let mut second = course(&catalog, None);
    let one = asked(second.next(NOW));
    let Action::Wait(Some(at)) = second.next(NOW) else { panic!() };
    assert!(at > NOW + 80 * MILLI && at < NOW + 120 * MILLI);
    let two = asked(second.next(at));
    assert!(two.hedge && !one.hedge && two.candidate.provider == 1);
    assert_eq!((record.under_way(), record.waiting()), (1, 1));
    drop(second.won(two, MILLI, at));
    second.lost(one, at);
    assert_eq!((record.under_way(), record.waiting()), (0, 0));
}

#[test]
fn one_request_probes_and_losing_a_race_is_no_illness() {
    let catalog = catalog(2, |settings| settings.breaker.failures = 1);
    let mut tripping = course(&catalog, None);
    let turn = asked(tripping.next(NOW));
    let record = Arc::clone(turn.candidate.record);
    tripping.failed(turn, FailureClass::ServerError, None, Sent::Some, NOW);
    assert!(matches!(record.admission(NOW), Admission::Closed { .. }));
    let later = NOW + catalog.settings().breaker.cool_down * 2;
    assert_eq!(record.admission(later), Admission::Probe);
    let (mut one, mut two) = (course(&catalog, None), course(&catalog, None));
    let probe = asked(one.next(later));
    let other = asked(two.next(later));
    assert_eq!((probe.candidate.provider, other.candidate.provider), (0, 1), "one at a time");
    one.lost(probe, later);
    assert_eq!(record.admission(later), Admission::Probe, "a loser proves nothing");
    drop(one);
    let mut again = course(&catalog, None);
    let probe = asked(again.next(later));
    drop(again.won(probe, MILLI, later));
    assert_eq!(record.admission(later), Admission::Open);
}

proptest! {
    /// Whatever the failures, each candidate is asked once at most, and the way ends.
    #[test]
    fn every_way_ends(candidates in 1_usize..8, classes in proptest::collection::vec(0_usize..FailureClass::ALL.len(), 8), width in 2_u8..5, race in any::<bool>()) {
        let catalog = catalog(candidates, |settings| {
            settings.strategy = if race { Strategy::Race { width } } else { Strategy::Weighted };
        });
        let mut course = course(&catalog, None);
        let mut flying: Vec<Attempt<'_>> = Vec::new();
        let mut asked = Vec::new();
        let mut classes = classes.into_iter().cycle();
        for _ in 0..40 {
            match course.next(NOW) {
                Action::Ask(turn) => {
                    prop_assert!(!asked.contains(&turn.candidate.provider));
                    asked.push(turn.candidate.provider);
                    flying.push(turn);
                    prop_assert!(flying.len() <= usize::from(width));
                }
                Action::Wait(_) => {
                    let class = FailureClass::ALL[classes.next().unwrap_or_default()];
                    course.failed(flying.remove(0), class, None, Sent::Some, NOW);
                }
                Action::Over => return Ok(()),
            }
        }
        prop_assert!(false, "it never ended");
    }
}
