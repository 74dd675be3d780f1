//! In which order candidates of equal rank are asked: as configured, thrown by weight, by what was measured, or the one
//! that knows the conversation first.

use super::{
    candidate_stats::{Admission, ResponseKind},
    plan::{Candidate, CandidateOrder},
    settings::{AdaptiveSettings, RoutingSettings},
    strategy::Strategy,
};
use crate::base::{Moment, Rng, moment::micros, rng::mix};

/// A candidate that fails all the time is not thought of as worse than this.
const LEAST_SUCCESS: f64 = 0.05;
/// Stands behind all that were measured, in microseconds: 11 days.
const UNMEASURED: f64 = 1e12;

/// What an order is made by.
#[derive(Debug)]
pub(super) struct SortBy<'a> {
    pub(super) strategy: Strategy,
    pub(super) session: Option<u64>,
    pub(super) manner: ResponseKind,
    pub(super) settings: &'a RoutingSettings,
    pub(super) now: Moment,
}

/// Orders by group, then by distance, then by `by`.
pub(super) fn arrange(candidates: &mut CandidateOrder<'_>, by: &SortBy<'_>, dice: &mut Rng) {
    let CandidateOrder::Many(candidates) = candidates else { return };
    candidates.sort_by_key(|candidate| (candidate.group, candidate.distance));
    for equals in candidates.chunk_by_mut(|a, b| (a.group, a.distance) == (b.group, b.distance)) {
        if equals.len() < 2 {
            continue;
        }
        match by.strategy {
            Strategy::Priority | Strategy::Race { .. } | Strategy::Hedge { .. } => lead(equals, by),
            Strategy::Weighted => throw(equals, dice),
            Strategy::Adaptive => measure(equals, by, dice),
        }
        if let (Some(session), false) = (by.session, matches!(by.strategy, Strategy::Race { .. })) {
            stick(equals, session, by.now);
        }
    }
}

/// Until there are figures, who answered the pre-check first stands first (S1.5); then the configuration's order holds.
fn lead(equals: &mut [Candidate<'_>], by: &SortBy<'_>) {
    let leads = |candidate: &Candidate<'_>| candidate.record.provider().leads(by.now);
    if let Some(place) = equals.iter().position(leads)
        && equals.iter().all(|candidate| candidate.record.pace(by.manner).peak().is_none())
        && let Some(front) = equals.get_mut(..=place)
    {
        front.rotate_right(1);
    }
}

/// A random order: of those that are left, the chance of standing next is the weight's share.
fn throw(equals: &mut [Candidate<'_>], dice: &mut Rng) {
    let mut left = equals;
    while left.len() > 1 {
        let whole: u64 = left.iter().map(|candidate| u64::from(candidate.weight)).sum();
        let mut mark = dice.unit() * whole as f64;
        let drawn = left.iter().position(|candidate| {
            mark -= f64::from(candidate.weight);
            mark < 0.0
        });
        left.swap(0, drawn.unwrap_or_default());
        left = left.split_at_mut(1).1;
    }
}

/// The better of two chosen at random stands first, the rest by what they promise; now and then one that was not
/// measured lately (S3.3).
fn measure(equals: &mut [Candidate<'_>], by: &SortBy<'_>, dice: &mut Rng) {
    let mut keyed: Vec<(f64, Candidate<'_>)> =
        equals.iter().map(|candidate| (promise(candidate, by, dice), *candidate)).collect();
    keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let open = keyed.iter().take_while(|(promise, _)| promise.is_finite()).count();
    let first = match cold(&keyed, by, dice) {
        Some(cold) => cold,
        // Of two drawn from all that are open, the better is the one that stands further to the front.
        None if open > 2 => {
            let one = dice.below(open);
            let other = (one + 1 + dice.below(open - 1)) % open;
            one.min(other)
        }
        None => 0,
    };
    if let Some(front) = keyed.get_mut(..=first) {
        front.rotate_right(1);
    }
    for (slot, (_, candidate)) in equals.iter_mut().zip(keyed) {
        *slot = candidate;
    }
}

/// The time to a first token that is to be expected, in microseconds: the decaying peak, times the root of those that wait
/// there, over the share that succeeds. Infinite for who may not be asked.
fn promise(candidate: &Candidate<'_>, by: &SortBy<'_>, dice: &mut Rng) -> f64 {
    let record = candidate.record;
    let seen = record.seen(by.now, by.settings.breaker.window);
    // A provider is many machines: twice the requests are not twice the wait.
    let load = (record.waiting() as f64 + 1.0).sqrt();
    match (record.admission(by.now), record.pace(by.manner).peak()) {
        (Admission::Closed { .. }, _) => f64::INFINITY,
        (Admission::Open | Admission::Probe, Some(peak)) => {
            micros(peak) as f64 * load / (1.0 - seen.failed()).max(LEAST_SUCCESS)
        }
        // Who was never measured is asked by one request at a time, until it has failed.
        (Admission::Open | Admission::Probe, None) if seen.bad == 0 && record.waiting() == 0 => dice.unit(),
        (Admission::Open | Admission::Probe, None) => UNMEASURED * load,
    }
}

/// A candidate to be measured for its own sake: it was not for long, or it comes back from a trip.
fn cold(keyed: &[(f64, Candidate<'_>)], by: &SortBy<'_>, dice: &mut Rng) -> Option<usize> {
    let AdaptiveSettings { exploration, cold_after, .. } = by.settings.adaptive;
    let is_cold = |(promise, candidate): &(f64, Candidate<'_>)| {
        let record = candidate.record;
        let measured = record.pace(by.manner).measured();
        promise.is_finite()
            && (by.now.since(measured) > cold_after || record.admission(by.now) == Admission::Probe)
    };
    if !dice.happens(exploration) {
        return None;
    }
    keyed.iter().position(is_cold)
}

/// Rendezvous hashing over those that may be asked: a conversation moves only when its candidate is gone.
fn stick(equals: &mut [Candidate<'_>], session: u64, now: Moment) {
    let score = |candidate: &Candidate<'_>| {
        let open = !matches!(candidate.record.admission(now), Admission::Closed { .. });
        (open, mix(session ^ candidate.record.id()))
    };
    let chosen = equals.iter().enumerate().max_by_key(|(_, candidate)| score(candidate));
    if let Some((place, _)) = chosen
        && let Some(front) = equals.get_mut(..=place)
    {
        front.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::routing::{CandidateStats, StatsRegistry};

    const NOW: Moment = Moment(100_000_000);

    fn records(count: usize) -> Vec<Arc<CandidateStats>> {
        let records = StatsRegistry::default();
        (0..count).map(|n| records.candidate(&n.to_string(), "b", Some("m"))).collect()
    }

    fn line(records: &[Arc<CandidateStats>]) -> Vec<Candidate<'_>> {
        let candidate = |(provider, record)| Candidate {
            provider,
            model: "m",
            record,
            group: 0,
            distance: 0,
            weight: provider as u32 + 1,
        };
        records.iter().enumerate().map(candidate).collect()
    }

    fn arranged(
        records: &[Arc<CandidateStats>],
        strategy: Strategy,
        session: Option<u64>,
        dice: &mut Rng,
    ) -> Vec<usize> {
        let settings = RoutingSettings::default();
        let by = SortBy { strategy, session, manner: ResponseKind::Stream, settings: &settings, now: NOW };
        let mut line = CandidateOrder::Many(line(records));
        arrange(&mut line, &by, dice);
        line.iter().map(|candidate| candidate.provider).collect()
    }

    fn measure_as(record: &CandidateStats, millis: u64) {
        record.pace(ResponseKind::Stream).note(Duration::from_millis(millis), NOW);
    }

    #[test]
    fn weights_decide_how_often_one_stands_first() {
        let (records, mut dice) = (records(3), Rng::new(5));
        let mut first = [0_u32; 3];
        for _ in 0..6000 {
            first[arranged(&records, Strategy::Weighted, None, &mut dice)[0]] += 1;
        }
        for (place, count) in first.into_iter().enumerate() {
            let meant = 1000 * (place as u32 + 1);
            assert!(count.abs_diff(meant) < 150, "{first:?}");
        }
    }

    /// S3.3: of two drawn, the better; so the worst of three is asked only to be measured.
    #[test]
    fn the_measured_best_stand_first() {
        let (records, mut dice) = (records(3), Rng::new(5));
        for (record, millis) in records.iter().zip([900, 100, 300]) {
            measure_as(record, millis);
        }
        let mut first = [0_u32; 3];
        for _ in 0..3000 {
            first[arranged(&records, Strategy::Adaptive, None, &mut dice)[0]] += 1;
        }
        assert_eq!(first[0], 0);
        assert!(first[1] > 1800 && first[2] > 800, "{first:?}");
    }

    #[test]
    fn the_unmeasured_is_tried_by_one_and_the_cold_at_a_rate() {
        let (records, mut dice) = (records(2), Rng::new(5));
        measure_as(&records[0], 1);
        assert_eq!(arranged(&records, Strategy::Adaptive, None, &mut dice)[0], 1);
        let waiting = records[1].wait();
        assert_eq!(arranged(&records, Strategy::Adaptive, None, &mut dice)[0], 0);
        drop(waiting);
        records[1].pace(ResponseKind::Stream).note(Duration::from_secs(9), Moment(1));
        let explored = (0..5000).filter(|_| arranged(&records, Strategy::Adaptive, None, &mut dice)[0] == 1);
        let explored = explored.count();
        assert!((50..150).contains(&explored), "2 %: {explored}");
    }

    proptest! {
        /// B21: a conversation moves only when its own candidate is gone.
        #[test]
        fn conversations_stay(count in 2_usize..8, session in any::<u64>(), seed in any::<u64>()) {
            let (records, mut dice) = (records(count), Rng::new(seed));
            let home = arranged(&records, Strategy::Weighted, Some(session), &mut dice)[0];
            for _ in 0..5 {
                prop_assert_eq!(arranged(&records, Strategy::Adaptive, Some(session), &mut dice)[0], home);
            }
            let other = (home + 1) % count;
            records[other].provider().rest(NOW + Duration::from_secs(9), crate::routing::FailureClass::QuotaGone, NOW);
            prop_assert_eq!(arranged(&records, Strategy::Weighted, Some(session), &mut dice)[0], home);
            records[home].provider().rest(NOW + Duration::from_secs(9), crate::routing::FailureClass::QuotaGone, NOW);
            let moved = arranged(&records, Strategy::Weighted, Some(session), &mut dice)[0];
            // With two, both rest now, and it may as well stay.
            prop_assert!(count == 2 || (moved != home && moved != other));
            records[home].provider().wake();
            prop_assert_eq!(arranged(&records, Strategy::Priority, Some(session), &mut dice)[0], home);
        }

        /// Whatever the strategy, nobody is lost or doubled.
        #[test]
        fn an_order_is_a_permutation(count in 2_usize..8, peaks in proptest::collection::vec(0_u64..1000, 8), seed in any::<u64>(), session in any::<Option<u64>>()) {
            let (records, mut dice) = (records(count), Rng::new(seed));
            for (record, peak) in records.iter().zip(peaks).filter(|(_, peak)| *peak > 100) {
                measure_as(record, peak);
            }
            for strategy in [Strategy::Priority, Strategy::Weighted, Strategy::Adaptive, Strategy::Race { width: 2 }] {
                let mut order = arranged(&records, strategy, session, &mut dice);
                order.sort_unstable();
                prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
        }
    }
}
