//! Orders candidates of equal group and region: as configured, at random by weight, or by expected latency;
//! the candidate that has served the conversation comes first.
//!
//! Never adds or removes a candidate.

use super::{
    candidate_stats::{Admission, CandidateStats, ResponseKind},
    class::NextStep,
    plan::{Candidate, CandidateOrder},
    settings::{AdaptiveSettings, RoutingSettings},
    strategy::Strategy,
};
use crate::base::{Endpoint, Moment, Rng, moment::micros, rng::mix};

/// The lower bound of a success share, so that the expected latency of a candidate that always fails stays
/// finite.
const MIN_SUCCESS_SHARE: f64 = 0.05;
/// The expected latency of a candidate without samples that is not to be tried first, in microseconds: 11
/// days, behind all measured ones.
const UNMEASURED_MICROS: f64 = 1e12;

/// The criteria of an order.
#[derive(Debug)]
pub(super) struct SortBy<'a> {
    pub(super) strategy: Strategy,
    pub(super) session: Option<u64>,
    pub(super) kind: ResponseKind,
    pub(super) endpoint: Endpoint,
    pub(super) settings: &'a RoutingSettings,
    pub(super) now: Moment,
}

/// Orders by group, then by whether the request needs a translation, then by region, then by `by`.
pub(super) fn arrange(candidates: &mut CandidateOrder<'_>, by: &SortBy<'_>, rng: &mut Rng) {
    let CandidateOrder::Many(candidates) = candidates else { return };
    let rank = |candidate: &Candidate<'_>| {
        (candidate.group, candidate.endpoint != by.endpoint, candidate.region_rank)
    };
    candidates.sort_by_key(rank);
    for peers in candidates.chunk_by_mut(|a, b| rank(a) == rank(b)) {
        if peers.len() < 2 {
            continue;
        }
        match by.strategy {
            Strategy::Priority | Strategy::Race { .. } | Strategy::Hedge { .. } => {
                move_preferred_first(peers, by)
            }
            Strategy::Weighted => shuffle_by_weight(peers, rng),
            Strategy::Adaptive => sort_by_expected_latency(peers, by, rng),
        }
        if let (Some(session), false) = (by.session, matches!(by.strategy, Strategy::Race { .. })) {
            move_sticky_first(peers, session, by);
        }
    }
}

/// The configuration's order; while no candidate has samples, the one that answered the pre-check first leads
/// (S1.5).
fn move_preferred_first(peers: &mut [Candidate<'_>], by: &SortBy<'_>) {
    let is_preferred = |candidate: &Candidate<'_>| candidate.stats.provider().is_preferred(by.now);
    if let Some(place) = peers.iter().position(is_preferred)
        && peers.iter().all(|candidate| candidate.stats.latency(by.kind).peak().is_none())
        && let Some(front) = peers.get_mut(..=place)
    {
        front.rotate_right(1);
    }
}

/// A random order: the chance to be the next is a candidate's share of the weights left.
fn shuffle_by_weight(peers: &mut [Candidate<'_>], rng: &mut Rng) {
    let mut left = peers;
    while left.len() > 1 {
        let total: u64 = left.iter().map(|candidate| u64::from(candidate.weight)).sum();
        let mut mark = rng.unit() * total as f64;
        let drawn = left.iter().position(|candidate| {
            mark -= f64::from(candidate.weight);
            mark < 0.0
        });
        left.swap(0, drawn.unwrap_or_default());
        left = left.split_at_mut(1).1;
    }
}

/// The better of two random candidates leads, the rest follow by expected latency; a small share of requests
/// is led by a candidate without recent samples (S3.3).
fn sort_by_expected_latency(peers: &mut [Candidate<'_>], by: &SortBy<'_>, rng: &mut Rng) {
    let mut keyed: Vec<(f64, Candidate<'_>)> =
        peers.iter().map(|candidate| (expected_latency(candidate, by, rng), *candidate)).collect();
    keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let open = keyed.iter().take_while(|(expected_latency, _)| expected_latency.is_finite()).count();
    let first = match find_cold(&keyed, by, rng) {
        Some(find_cold) => find_cold,
        // Of two random open candidates, the one with the lower index is the better.
        None if open > 2 => {
            let one = rng.below(open);
            let other = (one + 1 + rng.below(open - 1)) % open;
            one.min(other)
        }
        None => 0,
    };
    if let Some(front) = keyed.get_mut(..=first) {
        front.rotate_right(1);
    }
    for (slot, (_, candidate)) in peers.iter_mut().zip(keyed) {
        *slot = candidate;
    }
}

/// The expected time to the first token, in microseconds: the decaying peak, times the root of the requests
/// that wait there, divided by the success share. Infinite for a closed candidate.
fn expected_latency(candidate: &Candidate<'_>, by: &SortBy<'_>, rng: &mut Rng) -> f64 {
    let stats = candidate.stats;
    let outcomes = stats.outcomes_at(candidate.endpoint, by.now, by.settings.breaker.window);
    // A provider has many machines: twice the requests are not twice the wait, hence the root.
    let load = (stats.waiting() as f64 + 1.0).sqrt();
    match (stats.admission_to(candidate.endpoint, by.now), stats.latency(by.kind).peak()) {
        (Admission::Closed { .. }, _) => f64::INFINITY,
        (Admission::Open | Admission::Probe, Some(peak)) => {
            micros(peak) as f64 * load / (1.0 - outcomes.failure_share()).max(MIN_SUCCESS_SHARE)
        }
        // A candidate without samples leads for one request at a time, until it has failed.
        (Admission::Open | Admission::Probe, None)
            if outcomes.failures == 0 && stats.waiting() == 0 && !has_refused(stats, by) =>
        {
            rng.unit()
        }
        (Admission::Open | Admission::Probe, None) => UNMEASURED_MICROS * load,
    }
}

/// It has passed a request on of late. Refusals (403) count for no breaker, because they may be of one client
/// alone; a candidate that refuses all would lead for ever.
fn has_refused(stats: &CandidateStats, by: &SortBy<'_>) -> bool {
    stats.last_failure().is_some_and(|(class, at)| {
        matches!(class.consequence().next_step, NextStep::OtherCandidate { .. })
            && by.now.since(at) <= by.settings.adaptive.cold_after
    })
}

/// A candidate to lead only to be measured: it has no recent sample, or it is probing after a trip.
fn find_cold(keyed: &[(f64, Candidate<'_>)], by: &SortBy<'_>, rng: &mut Rng) -> Option<usize> {
    let AdaptiveSettings { exploration, cold_after, .. } = by.settings.adaptive;
    let is_cold = |(expected_latency, candidate): &(f64, Candidate<'_>)| {
        let stats = candidate.stats;
        let measured = stats.latency(by.kind).last_sample_at();
        expected_latency.is_finite()
            && (by.now.since(measured) > cold_after
                || stats.admission_to(candidate.endpoint, by.now) == Admission::Probe)
    };
    if !rng.happens(exploration) {
        return None;
    }
    keyed.iter().position(is_cold)
}

/// Rendezvous hashing over the open candidates: a conversation moves only if its candidate closes.
fn move_sticky_first(peers: &mut [Candidate<'_>], session: u64, by: &SortBy<'_>) {
    let score = |candidate: &Candidate<'_>| {
        let admission = candidate.stats.admission_to(candidate.endpoint, by.now);
        let open = !matches!(admission, Admission::Closed { .. });
        (open, mix(session ^ candidate.stats.id()))
    };
    let chosen = peers.iter().enumerate().max_by_key(|(_, candidate)| score(candidate));
    if let Some((place, _)) = chosen
        && let Some(front) = peers.get_mut(..=place)
    {
        front.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::routing::{FailureClass, StatsRegistry, candidate_stats::AttemptFailure};

    const NOW: Moment = Moment(100_000_000);

    fn registry(count: usize) -> Vec<Arc<CandidateStats>> {
        let registry = StatsRegistry::default();
        (0..count).map(|n| registry.candidate(&n.to_string(), "b", Some("m"))).collect()
    }

    fn line(registry: &[Arc<CandidateStats>]) -> Vec<Candidate<'_>> {
        let candidate = |(provider, stats)| Candidate {
            provider,
            model: "m",
            stats,
            endpoint: Endpoint::ChatCompletions,
            alternatives: crate::routing::plan::Alternatives::default(),
            translate: None,
            group: 0,
            region_rank: 0,
            weight: provider as u32 + 1,
        };
        registry.iter().enumerate().map(candidate).collect()
    }

    fn arranged(
        registry: &[Arc<CandidateStats>],
        strategy: Strategy,
        session: Option<u64>,
        rng: &mut Rng,
    ) -> Vec<usize> {
        let settings = RoutingSettings::default();
        let by = SortBy {
            strategy,
            session,
            kind: ResponseKind::Stream,
            endpoint: Endpoint::ChatCompletions,
            settings: &settings,
            now: NOW,
        };
        let mut line = CandidateOrder::Many(line(registry));
        arrange(&mut line, &by, rng);
        line.iter().map(|candidate| candidate.provider).collect()
    }

    fn measure_as(stats: &CandidateStats, millis: u64) {
        stats.latency(ResponseKind::Stream).record(Duration::from_millis(millis), NOW);
    }

    #[test]
    fn weights_decide_how_often_one_stands_first() {
        let (registry, mut rng) = (registry(3), Rng::new(5));
        let mut first = [0_u32; 3];
        for _ in 0..6000 {
            first[arranged(&registry, Strategy::Weighted, None, &mut rng)[0]] += 1;
        }
        for (place, count) in first.into_iter().enumerate() {
            let expected = 1000 * (place as u32 + 1);
            assert!(count.abs_diff(expected) < 150, "{first:?}");
        }
    }

    /// S3.3: the better of two random candidates leads, so the worst of three leads only to be measured.
    #[test]
    fn the_measured_best_stand_first() {
        let (registry, mut rng) = (registry(3), Rng::new(5));
        for (stats, millis) in registry.iter().zip([900, 100, 300]) {
            measure_as(stats, millis);
        }
        let mut first = [0_u32; 3];
        for _ in 0..3000 {
            first[arranged(&registry, Strategy::Adaptive, None, &mut rng)[0]] += 1;
        }
        assert_eq!(first[0], 0);
        assert!(first[1] > 1800 && first[2] > 800, "{first:?}");
    }

    #[test]
    fn the_unmeasured_is_tried_by_one_and_the_cold_at_a_rate() {
        let (registry, mut rng) = (registry(2), Rng::new(5));
        measure_as(&registry[0], 1);
        assert_eq!(arranged(&registry, Strategy::Adaptive, None, &mut rng)[0], 1);
        let waiting = registry[1].track_waiting();
        assert_eq!(arranged(&registry, Strategy::Adaptive, None, &mut rng)[0], 0);
        drop(waiting);
        registry[1].latency(ResponseKind::Stream).record(Duration::from_secs(9), Moment(1));
        let explored = (0..5000).filter(|_| arranged(&registry, Strategy::Adaptive, None, &mut rng)[0] == 1);
        let explored = explored.count();
        assert!((50..150).contains(&explored), "2 %: {explored}");
    }

    /// S3.3: each request would go to it first, and pass on.
    #[test]
    fn one_that_refuses_all_does_not_lead() {
        let (registry, mut rng) = (registry(2), Rng::new(5));
        measure_as(&registry[0], 1);
        let refused = |class| AttemptFailure {
            class,
            endpoint: Endpoint::ChatCompletions,
            caller: 0,
            retry_after: None,
            started: NOW,
        };
        let breaker = RoutingSettings::default().breaker;
        registry[1].failed(&refused(FailureClass::CallerMistake), NOW, &breaker, &mut rng);
        assert_eq!(arranged(&registry, Strategy::Adaptive, None, &mut rng)[0], 1, "the caller's own mistake");
        registry[1].failed(&refused(FailureClass::Forbidden), NOW, &breaker, &mut rng);
        let led =
            (0..5000).filter(|_| arranged(&registry, Strategy::Adaptive, None, &mut rng)[0] == 1).count();
        assert!((50..150).contains(&led), "2 %, to be measured: {led}");
    }

    proptest! {
        /// B21: a conversation moves only when its own candidate is gone.
        #[test]
        fn conversations_stay(count in 2_usize..8, session in any::<u64>(), seed in any::<u64>()) {
            let (registry, mut rng) = (registry(count), Rng::new(seed));
            let home = arranged(&registry, Strategy::Weighted, Some(session), &mut rng)[0];
            for _ in 0..5 {
                prop_assert_eq!(arranged(&registry, Strategy::Adaptive, Some(session), &mut rng)[0], home);
            }
            let other = (home + 1) % count;
            registry[other].provider().rest(NOW + Duration::from_secs(9), FailureClass::QuotaExhausted, NOW);
            prop_assert_eq!(arranged(&registry, Strategy::Weighted, Some(session), &mut rng)[0], home);
            registry[home].provider().rest(NOW + Duration::from_secs(9), FailureClass::QuotaExhausted, NOW);
            let moved = arranged(&registry, Strategy::Weighted, Some(session), &mut rng)[0];
            // With two, both rest now, and it may as well stay.
            prop_assert!(count == 2 || (moved != home && moved != other));
            registry[home].provider().end_rest();
            prop_assert_eq!(arranged(&registry, Strategy::Priority, Some(session), &mut rng)[0], home);
        }

        /// With any strategy, each candidate stays in the order exactly once.
        #[test]
        fn an_order_is_a_permutation(count in 2_usize..8, peaks in proptest::collection::vec(0_u64..1000, 8), seed in any::<u64>(), session in any::<Option<u64>>()) {
            let (registry, mut rng) = (registry(count), Rng::new(seed));
            for (stats, peak) in registry.iter().zip(peaks).filter(|(_, peak)| *peak > 100) {
                measure_as(stats, peak);
            }
            for strategy in [Strategy::Priority, Strategy::Weighted, Strategy::Adaptive, Strategy::Race { width: 2 }] {
                let mut order = arranged(&registry, strategy, session, &mut rng);
                order.sort_unstable();
                prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
        }
    }
}
